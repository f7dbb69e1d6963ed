/**
 * Runs every transcript of this folder with both command lines, each against both implementations' server (and agent). With
 * SPIRE_EDGE_RECORD=1 the answers in the files are replaced by the reference's, for a commit of their own.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { eventually, type Finished, run } from "../support/process.ts";
import { executable, type Implementation, Stage, TestAgent, TestServer } from "../support/spire.ts";
import { answerLines, parseTranscript, type Step, type Transcript } from "./transcript.ts";

const RECORD = process.env["SPIRE_EDGE_RECORD"] !== undefined;
const names = readdirSync(import.meta.dir).filter((name) => name.endsWith(".txt"));
const both: readonly Implementation[] = RECORD ? ["reference"] : ["reference", "ours"];
const pairs = both.flatMap((cli) => both.map((server) => ({ cli, server })));

describe.each(names)("%s", (name) => {
  const path = join(import.meta.dir, name);
  const transcript = parseTranscript(readFileSync(path, "utf8"));
  describe.each(pairs)("$cli command line, $server server", ({ cli, server }) => {
    const stage = new Stage();
    let player: Player;

    beforeAll(async () => {
      player = await Player.prepare(stage, cli, server, transcript);
    }, 60_000);

    afterAll(() => stage.close(), 60_000);

    test("answers as written", async () => {
      const answers: string[][] = [];
      for (const step of transcript.steps) {
        const lines = await player.play(step);
        answers.push(lines);
        const command = step.words.join(" ");
        if (!RECORD) expect({ command, lines }).toEqual({ command, lines: [...step.expected] });
      }
      if (RECORD) writeFileSync(path, recorded(transcript, answers));
    }, 120_000);
  });
});

/** Runs the steps of one transcript with one command line. */
class Player {
  readonly #cli: Implementation;
  readonly #directory: string;
  readonly #environment: Readonly<Record<string, string>>;
  readonly #variables: Map<string, string>;

  private constructor(
    cli: Implementation,
    directory: string,
    environment: Readonly<Record<string, string>>,
    variables: Map<string, string>,
  ) {
    this.#cli = cli;
    this.#directory = directory;
    this.#environment = environment;
    this.#variables = variables;
  }

  static async prepare(
    stage: Stage,
    cli: Implementation,
    implementation: Implementation,
    transcript: Transcript,
  ): Promise<Player> {
    const directory = stage.room("transcript");
    for (const [name, text] of transcript.files) writeFileSync(join(directory, name), text);
    for (const words of transcript.preparations) {
      const { code, stderr } = await run(words, { cwd: directory });
      if (code !== 0) throw new Error(`${words.join(" ")}: ${stderr}`);
    }
    const added = (name: string): string =>
      (transcript.files.get(name) ?? "").replaceAll("$DIR", directory);
    const server = await TestServer.start(stage, implementation, {
      settings: added("server-settings.conf"),
      plugins: added("server-plugins.conf"),
    });
    const environment: Record<string, string> = {
      TZ: "UTC",
      SPIRE_SERVER_PRIVATE_SOCKET: server.socket,
    };
    const variables = new Map([
      ["DIR", directory],
      ["SERVER_SOCKET", server.socket],
    ]);
    if (transcript.needsAgent) {
      const adminSocket = join(stage.room("admin"), "admin.sock");
      const agent = await TestAgent.start(stage, implementation, server, {
        settings: `admin_socket_path = "${adminSocket}"`,
      });
      variables.set("AGENT_ADMIN_SOCKET", adminSocket);
      environment["SPIRE_AGENT_PUBLIC_SOCKET"] = agent.socket;
      variables.set("AGENT_SOCKET", agent.socket);
      variables.set("AGENT_ID", agent.id);
      variables.set("AGENT_PATH", new URL(agent.id).pathname);
      variables.set("UNIX_UID", `unix:uid:${process.getuid?.() ?? 0}`);
    }
    return new Player(cli, directory, environment, variables);
  }

  async play(step: Step): Promise<string[]> {
    const answer = step.repeat
      ? await eventually(step.words.join(" "), async () => {
          const attempt = await this.#run(step);
          return attempt.code === 0 ? attempt : undefined;
        })
      : await this.#run(step);
    const lines = answerLines(
      this.#cli === "ours" ? withoutWarnings(answer) : answer,
      this.#variables,
    );
    for (const [name, pattern] of step.captures) {
      const value = pattern.exec(answer.stdout)?.[1];
      if (value === undefined) throw new Error(`${name}: ${pattern} is not in ${answer.stdout}`);
      this.#variables.set(name, value);
    }
    return lines;
  }

  #run(step: Step): Promise<Finished> {
    const expand = (text: string): string =>
      text.replace(/\$([A-Z][A-Z0-9_]*)/g, (whole, name) => this.#variables.get(name) ?? whole);
    const [program = "", ...words] = step.words.map(expand);
    if (program !== "spire-server" && program !== "spire-agent") {
      return run([program, ...words], { cwd: this.#directory });
    }
    const input =
      step.input === undefined ? "" : readFileSync(join(this.#directory, step.input), "utf8");
    return run([executable(this.#cli, program), ...words], {
      cwd: this.#directory,
      env: { ...this.#environment, ...step.environment },
      input: expand(input),
    });
  }
}

/** What is carried out with a warning on standard error is, for a script, what the reference does without one. */
function withoutWarnings(answer: Finished): Finished {
  return { ...answer, stderr: answer.stderr.replaceAll(/^Warning: .*\n/gm, "") };
}

function recorded(transcript: Transcript, answers: readonly (readonly string[])[]): string {
  const lines = [...transcript.lines];
  for (const [index, step] of [...transcript.steps.entries()].reverse()) {
    lines.splice(step.from, step.to - step.from, ...(answers[index] ?? []));
  }
  return `${lines.join("\n")}\n`;
}

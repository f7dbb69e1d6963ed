/** Completion as a person at a terminal has it, in bash, zsh and fish, and manual pages as their readers show them. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { run } from "../support/process.ts";

const ROOT = resolve(import.meta.dir, "../..");
const directory = mkdtempSync(join(tmpdir(), "spire-edge-shells-"));
const at = (name: string): string => join(directory, name);

beforeAll(async () => {
  const installed = await run([join(import.meta.dir, "install-shells")], { timeoutMs: 300_000 });
  expect(installed).toMatchObject({ code: 0 });
  const words = [join(ROOT, "scripts/shell-files.ts"), directory, "1.2.3", "2026-11-30"];
  expect(await run([process.execPath, ...words], { cwd: ROOT })).toMatchObject({ code: 0 });
  writeFileSync(at("backup-file"), "");
}, 320_000);
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const SETUP = {
  bash: `source ${at("bash/spire-server")}; source ${at("bash/spire-agent")}`,
  zsh: `fpath=(${at("zsh")} $fpath); autoload -Uz compinit; compinit -D -u`,
  fish: `source ${at("fish/spire-server.fish")}; source ${at("fish/spire-agent.fish")}`,
} as const;

/** What an interactive shell runs when the line is typed, with `\t` for the key. */
async function typed(shell: "bash" | "zsh", line: string): Promise<string> {
  const options = shell === "bash" ? "--norc -i" : "-f -i";
  const terminal = Bun.spawn(["script", "-qec", `${shell} ${options}`, "/dev/null"], {
    stdin: "pipe",
    stdout: "pipe",
    cwd: directory,
    env: { PATH: process.env["PATH"] ?? "", HOME: directory, TERM: "dumb" },
  });
  const show = ["spire-server", "spire-agent"]
    .map((name) => `${name}() { echo "RA""N=$*="; }`)
    .join("; ");
  terminal.stdin.write(`${SETUP[shell]}; ${show}; echo RE''ADY\n`);
  terminal.stdin.flush();
  let printed = "";
  const decoder = new TextDecoder();
  for await (const bytes of terminal.stdout) {
    const wasReady = printed.includes("READY");
    printed += decoder.decode(bytes, { stream: true });
    if (wasReady || !printed.includes("READY")) continue;
    terminal.stdin.write(`${line}\nexit\n`);
    terminal.stdin.end();
  }
  await terminal.exited;
  return /RAN=(.*?) ?=/.exec(printed)?.[1] ?? printed;
}

/** What fish offers for a line. */
async function offered(line: string): Promise<string[]> {
  const script = `${SETUP.fish}; complete -C ${JSON.stringify(line)}`;
  const { stdout } = await run(["fish", "--no-config", "-c", script], {
    cwd: directory,
    env: { HOME: directory },
  });
  return stdout.split("\n").flatMap((one) => one.split("\t")[0] || []);
}

describe.each(["bash", "zsh"] as const)("%s completes", (shell) => {
  test.each([
    ["a command", "spire-server heal\t", "healthcheck"],
    ["a command behind another", "spire-server entry cre\t", "entry create"],
    ["a flag", "spire-server entry create -spiff\t", "entry create -spiffeID"],
    ["the value of a flag", "spire-server entry show -output js\t", "entry show -output json"],
    ["a command behind help", "spire-server help tok\tgen\t", "help token generate"],
    ["a file", "spire-server backup verify backup-f\t", "backup verify backup-file"],
    [
      "a file as the value of a flag",
      "spire-server validate -config backup-f\t",
      "validate -config backup-file",
    ],
    ["the agent's commands", "spire-agent api fetch jw\t", "api fetch jwt"],
    [
      "a flag of a command that has others behind it",
      "spire-agent api fetch -sil\t",
      "api fetch -silent",
    ],
  ])("%s", async (_what, line, expected) => {
    expect(await typed(shell, line)).toBe(expected);
  });
});

describe("fish offers", () => {
  test.each([
    ["spire-server heal", ["healthcheck"]],
    ["spire-server entry cre", ["create"]],
    ["spire-server entry create -spiff", ["-spiffeID"]],
    ["spire-server entry show -output js", ["json"]],
    ["spire-server help token gen", ["generate"]],
    ["spire-server backup verify backup-f", ["backup-file"]],
    ["spire-server validate -config backup-f", ["backup-file"]],
    ["spire-agent api fetch jw", ["jwt"]],
    ["spire-agent api fetch -sil", ["-silent"]],
    ["spire-server entry create backup-f", []],
  ])("%s", async (line, expected) => {
    expect(await offered(line)).toEqual(expected);
  });
});

describe.each(["spire-server", "spire-agent"])("the manual page of %s", (name) => {
  const page = at(`man/${name}.1`);

  test("has nothing that a strict reader complains of", async () => {
    expect(await run(["mandoc", "-T", "lint", page])).toEqual({ code: 0, stdout: "", stderr: "" });
  });

  test("reads well", async () => {
    const { stdout } = await run(["man", "-l", page], {
      env: { MANPAGER: "cat", MANWIDTH: "80", LC_ALL: "C.UTF-8" },
    });
    expect(stdout).toMatch(new RegExp(`^${name.toUpperCase()}\\(1\\)`));
    expect(stdout).toContain("spire-edge 1.2.3");
    expect(stdout).toContain(`   ${name} healthcheck\n`);
    expect(stdout).toContain("-socketPath value\n");
  });

  test("has every command", () => {
    const text = readFileSync(join(ROOT, "docs/COMMANDS.md"), "utf8");
    const documented = [...text.matchAll(new RegExp(`^### (${name} (?!wit).*)$`, "gm"))];
    const headings = readFileSync(page, "utf8").match(/^\.SS .*$/gm) ?? [];
    expect(headings.length).toBeGreaterThan(9);
    expect(headings).toHaveLength(documented.length);
  });
});

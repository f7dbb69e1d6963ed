/** Commands whose output nobody gets: what they printed is lost, a join word for instance, and whoever started them must know. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { type Finished, run } from "../support/process.ts";
import { executable, Stage, TestAgent, TestServer, TRUST_DOMAIN } from "../support/spire.ts";

const stage = new Stage();
let server: TestServer;
let agent: TestAgent;

beforeAll(async () => {
  server = await TestServer.start(stage, "ours");
  agent = await TestAgent.start(stage, "ours", server);
}, 60_000);

afterAll(() => stage.close(), 60_000);

/** Runs a command with its standard output led away by the shell. */
function redirected(redirection: string, ...command: string[]): Promise<Finished> {
  return run(["bash", "-c", `set -o pipefail; "$@" ${redirection}`, "bash", ...command]);
}

const serverCommand = (...words: string[]): string[] => [
  executable("ours", "spire-server"),
  ...words,
  "-socketPath",
  server.socket,
];

test.each([
  ["a join token", ["token", "generate", "-ttl", "60"]],
  ["a bundle as JSON", ["bundle", "show", "-output", "json"]],
])("%s that the disk has no room for ends the command with 1", async (_, words) => {
  const { code, stderr } = await redirected(">/dev/full", ...serverCommand(...words));
  expect(code).toBe(1);
  expect(stderr).toContain("standard output cannot be written to (no space left on device)");
});

test("so does a pipe that nobody reads", async () => {
  const readerGone = 'exec 3> >(true); wait $!; "$@" >&3';
  const command = serverCommand("bundle", "show");
  const { code, stderr } = await run(["bash", "-c", readerGone, "bash", ...command]);
  expect(code).toBe(1);
  expect(stderr).toContain("standard output cannot be written to (broken pipe)");
});

test("a command that prints until it is ended, ends", async () => {
  await server.entry(`spiffe://${TRUST_DOMAIN}/me`, agent.id, ["unix:uid:0"]);
  const watch = [executable("ours", "spire-agent"), "api", "watch", "-socketPath", agent.socket];
  const { code, stderr } = await redirected(">/dev/full", ...watch);
  expect(code).toBe(1);
  expect(stderr).toContain("standard output cannot be written to");
});

test("help and errors go to standard error and are told as before", async () => {
  const { code } = await redirected(">/dev/full", ...serverCommand("entry", "show", "-help"));
  expect(code).toBe(0);
});

test("what was written to a file is not lost with standard output", async () => {
  const directory = join(server.directory, "svids");
  mkdirSync(directory);
  const { code } = await redirected(
    ">/dev/full",
    ...serverCommand(
      "x509",
      "mint",
      "-spiffeID",
      `spiffe://${TRUST_DOMAIN}/me`,
      "-write",
      directory,
    ),
  );
  expect(code).toBe(1);
  expect(existsSync(join(directory, "svid.pem"))).toBe(true);
});

/** Backups of servers under test, and servers that take over from them. */
import { type Finished, run } from "./process.ts";
import { executable, type Stage, TestServer } from "./spire.ts";

/** Runs `spire-server backup …`. */
export function backup(...words: string[]): Promise<Finished> {
  return run([executable("ours", "spire-server"), "backup", ...words]);
}

/** Makes a backup, which must succeed. */
export async function backUp(server: TestServer, path: string, ...more: string[]): Promise<string> {
  const made = await backup("create", "-config", server.configuration, "-output", path, ...more);
  if (made.code !== 0) throw new Error(made.stderr);
  return made.stdout;
}

/** Restores a backup, which must succeed. */
export async function restore(
  server: TestServer,
  path: string,
  ...more: string[]
): Promise<string> {
  const own = more.includes("-passphraseFile") ? [] : ["-force"];
  const done = await backup("restore", "-config", server.configuration, ...own, ...more, path);
  if (done.code !== 0) throw new Error(done.stderr);
  return done.stdout;
}

/** Another machine that gets the address of the server: nothing is there but the configuration. It is not started. */
export function freshMachine(
  stage: Stage,
  { port }: TestServer,
  settings = "",
): Promise<TestServer> {
  return TestServer.prepare(stage, "ours", { port, settings });
}

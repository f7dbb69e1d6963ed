/** The executables need libc and nothing else, do not read what lies about in their directory, and say their version. */
import { afterAll, expect, test } from "bun:test";
import { cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { run } from "../support/process.ts";
import { executable, Stage, TestServer } from "../support/spire.ts";

const stage = new Stage();
afterAll(() => stage.close(), 60_000);
const version = JSON.parse(
  readFileSync(join(import.meta.dir, "../../package.json"), "utf8"),
).version;

test.each(["spire-server", "spire-agent"] as const)(
  "%s runs in a root that holds libc alone",
  async (name) => {
    const root = stage.room("root");
    const file = executable("ours", name);
    const { stdout } = await run(["ldd", file]);
    const libraries = [...stdout.matchAll(/(\/\S+) \(0x/g)].map(([, path]) => path ?? "");
    expect(libraries.length).toBeGreaterThan(0);
    for (const library of libraries) {
      mkdirSync(join(root, dirname(library)), { recursive: true });
      cpSync(library, join(root, library), { dereference: true });
    }
    cpSync(file, join(root, name));
    // The kernel's own file systems are there in any container; a name space of its own takes them away again.
    const script =
      'mkdir "$0/proc" "$0/dev"; mount --bind /proc "$0/proc"; mount --bind /dev "$0/dev"; exec chroot "$0" "$1" --version';
    const answer = await run(["unshare", "--mount", "sh", "-c", script, root, `/${name}`]);
    expect(answer.stderr.trim()).toBe(version);
    expect(answer.code).toBe(0);
  },
);

test("a stray .env or bunfig.toml in the current directory has no effect", async () => {
  const directory = stage.room("stray");
  writeFileSync(join(directory, "evil.ts"), 'require("node:fs").writeFileSync("ran", "");');
  writeFileSync(join(directory, "bunfig.toml"), 'preload = ["./evil.ts"]\n');
  writeFileSync(join(directory, ".env"), "SPIRE_SERVER_PRIVATE_SOCKET=/nowhere/evil.sock\n");
  const answer = await run([executable("ours", "spire-server"), "healthcheck", "-verbose"], {
    cwd: directory,
  });
  expect(answer.stderr).not.toContain("evil");
  expect(await Bun.file(join(directory, "ran")).exists()).toBe(false);
});

test("files with keys are for their owner alone", async () => {
  const server = await TestServer.start(stage, "ours");
  for (const name of ["keys.json", "datastore.sqlite3"]) {
    const { stdout } = await run(["stat", "-c", "%a", join(server.directory, "data", name)]);
    expect(stdout.trim()).toBe("600");
  }
});

test("a stop by SIGTERM ends with 0, and the log says so; a token never reaches the log", async () => {
  const server = await TestServer.start(stage, "ours");
  const token = await server.token();
  expect(await server.daemon.stop()).toBe(0);
  const said = server.daemon.lines.join("\n");
  expect(said).toContain("Server stopped gracefully");
  expect(said).not.toContain(token);
});

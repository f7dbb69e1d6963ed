/** Programs that would be taken for other programs: by changing while they are looked at, or by arranging the files that are seen. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import {
  appendFileSync,
  chmodSync,
  chownSync,
  copyFileSync,
  mkdirSync,
  readFileSync,
  realpathSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { eventually, run } from "../support/process.ts";
import { executable, Stage, TestAgent, TestServer, TRUST_DOMAIN } from "../support/spire.ts";

const NOBODY = 65_534;
const idOf = (name: string): string => `spiffe://${TRUST_DOMAIN}/${name}`;

const stage = new Stage();
const mounted: string[] = [];
/** Of the system, as one in a home is for its owner alone. */
const python = realpathSync("/usr/bin/python3");
const ENV = { PYTHONHOME: "/usr", PYTHONDONTWRITEBYTECODE: "1" };
let server: TestServer;
let agent: TestAgent;
let trusting: TestAgent;
let room: string;

beforeAll(async () => {
  room = stage.room("programs");
  // Where every user, and every container, can read them.
  for (const file of ["attacks/ask.py", "attacks/digest_swap.py", "support/workload_call.py"]) {
    mkdirSync(join(room, dirname(file)), { recursive: true });
    copyFileSync(join(import.meta.dir, "..", file), join(room, file));
  }
  server = await TestServer.start(stage, "ours");
  const unix = "discover_workload_path = true";
  agent = await TestAgent.start(stage, "ours", server, { unix });
  trusting = await TestAgent.start(stage, "ours", server, {
    unix: `${unix}\n discover_container_path = true`,
  });
}, 120_000);

afterAll(async () => {
  for (const directory of mounted) await run(["umount", "-l", directory]);
  await stage.close();
}, 60_000);

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

/** A Python of its own, with which every process can do what a program can. */
function program(name: string, owner: number): string {
  const directory = join(room, name);
  mkdirSync(directory, { mode: 0o755 });
  const path = join(directory, "program");
  copyFileSync(python, path);
  chownSync(directory, owner, owner);
  chownSync(path, owner, owner);
  return path;
}

/** What a program gets that asks for its SVID, be it run by another command. */
async function asked(
  of: TestAgent,
  words: readonly string[],
  { uid, after = [] }: { readonly uid?: number; readonly after?: readonly string[] } = {},
): Promise<string> {
  const command = [...words, join(room, "attacks/ask.py"), of.socket, ...after];
  const done = await run(command, { env: ENV, ...(uid === undefined ? {} : { uid }) });
  if (done.code !== 0) throw new Error(done.stderr);
  return done.stdout.trim();
}

/** Registers the program at a path, and waits until its entry has reached the agent. */
async function register(name: string, path: string, of: TestAgent = agent): Promise<void> {
  await server.entry(idOf(name), of.id, [`unix:path:${path}`]);
  await eventually(
    `the entry ${name}`,
    async () => (await asked(of, [path])).includes(idOf(name)) || undefined,
  );
}

/** A shell that runs the rest of the words once these commands are done, in namespaces of its own. */
const inside = (unshare: readonly string[], ...commands: string[]): string[] => [
  "unshare",
  ...unshare,
  "sh",
  "-ec",
  [...commands, 'exec "$@"'].join("\n"),
  "-",
];

test("a program that becomes another while its digest is taken is never known by the other's", async () => {
  const victim = join(room, "victim");
  copyFileSync("/usr/bin/sleep", victim);
  chmodSync(victim, 0o711);
  await server.entry(idOf("victim"), agent.id, [`unix:sha256:${sha256(readFileSync(victim))}`]);
  const own = program("swapping", NOBODY);
  const script = join(room, "attacks/digest_swap.py");
  const done = await run([own, script, agent.socket, victim, "6"], { uid: NOBODY, env: ENV });
  expect(done.stderr).toBe("");
  expect(done.stdout.trim()).toBe("nothing");
}, 60_000);

test("a mount in a user namespace gives nobody another program's path, and explain says why", async () => {
  const path = program("mounted", 0);
  await register("mounted", path);
  const own = program("anybodys", NOBODY);
  const bind = (what: string) => inside(["-Ur", "-m"], `mount --bind ${what} ${path}`);
  expect(await asked(agent, [...bind(own), path], { uid: NOBODY })).toBe("nothing");
  const cli = join(room, "cli");
  copyFileSync(executable("ours", "spire-agent"), cli);
  const words = [path, "api", "explain", "-socketPath", agent.socket];
  const { stdout } = await run([...bind(cli), ...words], { uid: NOBODY });
  expect(stdout).toContain(`unix:uid:${NOBODY}`);
  expect(stdout).toMatch(/unix:path not given: .*discover_container_path/);
  expect(stdout).toMatch(/unix:sha256 not given: .*discover_container_path/);
}, 60_000);

test("the same file in a user namespace is the same program", async () => {
  const path = program("sandboxed", 0);
  await register("sandboxed", path);
  const sandbox = inside(["-Ur", "-m"]);
  expect(await asked(agent, [...sandbox, path], { uid: NOBODY })).toBe(idOf("sandboxed"));
}, 60_000);

test("root in a container has no path of the machine's, unless the operator wants it", async () => {
  const path = program("contained", 0);
  const own = program("containers", 0);
  await register("contained", path);
  await register("contained-too", path, trusting);
  const root = stage.room("root");
  const container = inside(
    ["-m", "--propagation", "private"],
    `mount -t tmpfs none ${root}`,
    `for d in usr bin lib lib64 tmp etc; do [ ! -e /$d ] || { mkdir ${root}/$d; mount --rbind /$d ${root}/$d; }; done`,
    `mount --bind ${own} ${root}${path}`,
    `mkdir ${root}/old; cd ${root}; pivot_root . old`,
  );
  expect(await asked(agent, [...container, path])).toBe("nothing");
  expect(await asked(trusting, [...container, path])).toBe(idOf("contained-too"));
}, 60_000);

test("a file system that was taken out gives no path of another program's", async () => {
  const path = program("detached", 0);
  await register("detached", path);
  const other = stage.room("other");
  // As any user may do with a FUSE mount of his own: the kernel then tells the path without the place where it was mounted.
  const mounted = inside(
    ["-m", "--propagation", "private"],
    `mount -t tmpfs none ${other}`,
    `mkdir -p ${other}${dirname(path)}`,
    `cp ${python} ${other}${path}`,
  );
  const after = [`umount -l ${other}`];
  expect(await asked(agent, [...mounted, `${other}${path}`], { after })).toBe("nothing");
}, 60_000);

test("a program that was replaced or removed while it runs keeps its path; a name that only looks so does not give another's", async () => {
  const path = program("upgraded", 0);
  await register("upgraded", path);
  const upgrade = `cp ${path} ${path}.new; mv ${path}.new ${path}`;
  expect(await asked(agent, [path], { after: [upgrade] })).toBe(idOf("upgraded"));
  const own = ["-m", "--propagation", "private"];
  expect(await asked(agent, [...inside(own), path], { after: [upgrade] })).toBe(idOf("upgraded"));
  const hidden = inside(["-Ur", "-m"], `mount --bind ${program("hidden", 0)} ${path}`);
  expect(await asked(agent, [...hidden, path], { uid: NOBODY })).toBe("nothing");
  const linked = [`ln ${path} ${path}.link; ${upgrade}`];
  expect(await asked(agent, [path], { after: linked })).toBe(idOf("upgraded"));
  const shared = stage.room("shared");
  chmodSync(shared, 0o1777);
  const name = join(shared, "program");
  copyFileSync(python, name);
  chmodSync(name, 0o755);
  await register("shared", name);
  // Not deleted, but named like that.
  const forged = `${name} (deleted)`;
  copyFileSync(python, forged);
  chmodSync(forged, 0o755);
  expect(await asked(agent, [forged], { uid: NOBODY })).toBe("nothing");
  const renamed = [`ln '${forged}' '${shared}/more'`, `rm '${forged}'`];
  expect(await asked(agent, [forged], { after: renamed })).toBe("nothing");
  expect(await asked(agent, [path], { after: [`rm -r ${dirname(path)}`] })).toBe(idOf("upgraded"));
}, 60_000);

test("a service whose mount namespace root made keeps the path that it has there", async () => {
  const path = join(stage.room("private"), "program");
  const mounted = inside(
    ["-m", "--propagation", "private"],
    `mount -t tmpfs none ${dirname(path)}`,
    `cp ${python} ${path}`,
  );
  await server.entry(idOf("private"), agent.id, [`unix:path:${path}`]);
  await eventually(
    "the entry",
    async () => (await asked(agent, [...mounted, path])).includes(idOf("private")) || undefined,
  );
}, 60_000);

/** A file system of one program, which shows other bytes once the file `DIRECTORY.switch` is there. @returns the program's path */
async function fuse(name: string, owner: number): Promise<{ path: string; toOther: string }> {
  const directory = stage.room(name);
  const other = `${directory}.other`;
  copyFileSync(python, other);
  appendFileSync(other, `the other of ${name}`);
  const script = join(import.meta.dir, "fuse_file.py");
  const words = ["python3", script, directory, python, other, String(owner)];
  const daemon = stage.daemon(words, `${directory}.log`);
  await daemon.line((line) => line === "mounted", 10_000);
  mounted.push(directory);
  await server.entry(idOf(name), agent.id, [`unix:sha256:${sha256(readFileSync(other))}`]);
  await eventually("the entry", async () => {
    const copy = join(stage.room("copy"), "program");
    copyFileSync(other, copy);
    chmodSync(copy, 0o755);
    return (await asked(agent, [copy])).includes(idOf(name)) || undefined;
  });
  return { path: join(directory, "program"), toOther: `touch ${directory}.switch` };
}

test("a user's file system that shows the agent other bytes than it runs gives no digest", async () => {
  const { path, toOther } = await fuse("users-fuse", NOBODY);
  expect(await asked(agent, [path], { after: [toOther] })).toBe("nothing");
}, 60_000);

test("of a file system that root serves the digest is taken, each time anew", async () => {
  const { path, toOther } = await fuse("roots-fuse", 0);
  expect(await asked(agent, [path])).toBe("nothing");
  expect(await asked(agent, [path], { after: [toOther] })).toBe(idOf("roots-fuse"));
}, 60_000);

/**
 * A user of the machine gets in first where a daemon is to have its socket: he must not gain a file's mode by it, nor callers of his own, and
 * the operator is told what stands in the way.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  lchownSync,
  mkdirSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { type Daemon, type Finished, run } from "../support/process.ts";
import { executable, Stage, TestServer } from "../support/spire.ts";

const NOBODY = 65534;
const stage = new Stage();
let sticky: string;

beforeAll(() => {
  sticky = stage.room("tmp");
  chmodSync(sticky, 0o1777);
});

afterAll(() => stage.close(), 60_000);

/** Starts a server whose socket is to be at that path. */
async function server(socket: string): Promise<Daemon> {
  const { configuration, directory } = await TestServer.prepare(stage, "ours");
  const words = ["run", "-config", configuration, "-socketPath", socket];
  const command = [executable("ours", "spire-server"), ...words];
  return stage.daemon(command, join(directory, "server.log"), { cwd: directory });
}

/** The last words of a server that does not start there. */
async function refusal(socket: string): Promise<string> {
  const daemon = await server(socket);
  expect(await daemon.exited).toBe(1);
  return daemon.lines.join("\n");
}

test("a directory of somebody else's is refused, with the way out", async () => {
  const theirs = join(sticky, "theirs");
  mkdirSync(join(theirs, "private"), { recursive: true });
  chownSync(theirs, NOBODY, NOBODY);
  const said = await refusal(join(theirs, "private/api.sock"));
  expect(said).toContain(`directory ${theirs} can be changed by other users`);
  expect(said).toContain("it belongs to user 65534");
  expect(said).toContain("move it away, chown it, or use another path");
});

test("so is one that everybody may write, and a link that somebody else made", async () => {
  const open = join(sticky, "open");
  mkdirSync(open);
  chmodSync(open, 0o777);
  expect(await refusal(join(open, "api.sock"))).toContain(`chmod go-w ${open}`);
  const link = join(sticky, "link");
  symlinkSync(stage.room("target"), link);
  lchownSync(link, NOBODY, NOBODY);
  expect(await refusal(join(link, "api.sock"))).toContain(`link ${link} can be changed`);
});

/** What a user can do in a directory like /tmp: make the name, put links into it, take it away, as fast as he can. */
const RACER = `
import os, sys
name, victim = sys.argv[1:]
print('racing', flush=True)
while True:
    for make in (lambda: os.mkdir(name, 0o777), lambda: os.symlink(victim, name + "/api.sock"),
                 lambda: os.unlink(name + "/api.sock"), lambda: os.rmdir(name),
                 lambda: os.symlink(os.path.dirname(victim), name), lambda: os.unlink(name)):
        try: make()
        except OSError: pass
`;

test("however a user hurries, no file of root's gets another mode", async () => {
  const victim = join(stage.room("root"), "api.sock");
  writeFileSync(victim, "secret");
  chmodSync(victim, 0o600);
  for (let tries = 0; tries < 4; tries++) {
    const name = join(sticky, `raced-${tries}`);
    const log = join(stage.directory, "racer.log");
    const racer = stage.daemon(["/usr/bin/python3", "-c", RACER, name, victim], log, {
      uid: NOBODY,
    });
    await racer.line((line) => line === "racing");
    const daemon = await server(join(name, "api.sock"));
    const served = daemon.line((line) => line.includes("Starting Server APIs"));
    await Promise.race([daemon.exited, served.catch(() => undefined)]);
    expect(statSync(victim).mode & 0o777).toBe(0o600);
    await Promise.all([racer.kill(), daemon.kill()]);
  }
}, 120_000);

test("what a daemon makes has its mode from the start", async () => {
  const socket = join(sticky, "ours/private/api.sock");
  const daemon = await server(socket);
  await daemon.line((line) => line.includes("Starting Server APIs") && line.includes(socket));
  const modes = [join(sticky, "ours"), join(sticky, "ours/private"), socket];
  expect(modes.map((path) => statSync(path).mode & 0o777)).toEqual([0o750, 0o750, 0o770]);
  await daemon.stop();
});

/** Runs a script on a machine of its own: an empty /tmp, and somebody who listens at the default paths. */
function withImpostor(uid: number, ...command: string[]): Promise<Finished> {
  const script = `
    set -e
    mount -t tmpfs -o mode=1777 tmpfs /tmp
    mount -t tmpfs tmpfs /run
    setpriv --reuid=${uid} --regid=${uid} --clear-groups /usr/bin/python3 -c '
import os, socket, sys, time
for path in ("/tmp/spire-server/private/api.sock", "/tmp/spire-agent/public/api.sock", "/tmp/spire-agent/private/admin.sock"):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    s = socket.socket(socket.AF_UNIX); s.bind(path); os.chmod(path, 0o777); s.listen(); globals()[path] = s
print("listening", flush=True); time.sleep(600)' >/tmp/said &
    for i in $(seq 200); do grep -q listening /tmp/said && break; sleep 0.05; done
    status=0
    "$@" || status=$?
    kill $!
    exit $status`;
  return run([
    "unshare",
    "-m",
    "--propagation",
    "private",
    "bash",
    "-c",
    script,
    "bash",
    ...command,
  ]);
}

test.each([
  ["spire-server", ["entry", "show"]],
  ["spire-server", ["token", "generate", "-join", "-serverAddress", "a:1"]],
  ["spire-agent", ["api", "fetch", "x509"]],
  ["spire-agent", ["api", "explain", "-pid", "1"]],
  ["spire-agent", ["debug", "getinfo"]],
  ["spire-agent", ["logger", "get"]],
] as const)("%s %p tells nothing to a stranger at the default path", async (name, words) => {
  const { code, stderr } = await withImpostor(NOBODY, executable("ours", name), ...words);
  expect(code).toBe(1);
  expect(stderr).toContain("user 65534 listens on /tmp/spire-");
  expect(stderr).toContain("neither root nor you nor spire-");
});

test("healthcheck and doctor do not take him for the daemon either", async () => {
  const agent = executable("ours", "spire-agent");
  const health = await withImpostor(NOBODY, agent, "healthcheck", "-verbose");
  expect(health.code).toBe(1);
  expect(health.stderr).toContain("user 65534 listens on");
  const doctor = await withImpostor(NOBODY, executable("ours", "spire-server"), "doctor");
  expect(doctor.code).toBe(1);
  expect(doctor.stdout).toContain("user 65534 listens on");
});

test("whoever names the socket means it, and one's own daemon is one's own", async () => {
  const words = ["api", "fetch", "x509", "-timeout", "1s"];
  const agent = executable("ours", "spire-agent");
  const path = "/tmp/spire-agent/public/api.sock";
  for (const given of [["-socketPath", path], []]) {
    const uid = given.length === 0 ? 4711 : NOBODY;
    const user =
      given.length === 0 ? ["setpriv", "--reuid=4711", "--regid=4711", "--clear-groups"] : [];
    const { stderr } = await withImpostor(uid, ...user, agent, ...words, ...given);
    expect(stderr).not.toContain("listens on");
    expect(stderr).toContain(`nothing answered on ${path} within 1 s`);
  }
});

test("a user's own directory that his group may write: an answer, not a riddle", async () => {
  const home = stage.room("home");
  chownSync(home, 4711, 4711);
  chmodSync(home, 0o775);
  const start = (prepare: string): Daemon => {
    const where = `-dataDir ${home}/data -socketPath ${home}/sock/api.sock`;
    const user = "setpriv --reuid=4711 --regid=4711 --clear-groups";
    const script = `${prepare}
      exec ${user} "$0" run -trustDomain example.org ${where} -serverPort 0`;
    const command = ["unshare", "-m", "sh", "-c", script, executable("ours", "spire-server")];
    return stage.daemon(command, join(stage.directory, "home.log"));
  };
  const unknown = start("");
  expect(await unknown.exited).toBe(1);
  expect(unknown.lines.join("\n")).toContain(`chmod g-w ${home}`);
  // The group is nobody's but his: as good as his own.
  const accounts = stage.room("accounts");
  writeFileSync(join(accounts, "passwd"), "root:x:0:0::/:/bin/sh\nann:x:4711:4711::/:/bin/sh\n");
  writeFileSync(join(accounts, "group"), "root:x:0:\nann:x:4711:\n");
  const bind = ["passwd", "group"].map((name) => `mount --bind ${accounts}/${name} /etc/${name}`);
  const known = start(bind.join("\n"));
  await known.line((line) => line.includes("Starting Server APIs"));
  await known.stop();
}, 60_000);

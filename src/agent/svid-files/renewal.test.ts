import { afterAll, expect, test } from "bun:test";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chownSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "#clock/clock.ts";
import { DbusError } from "#dbus/connection.ts";
import { createLog } from "#log/log.ts";
import type { Renewal } from "./config.ts";
import { renew } from "./renewal.ts";

const directory = mkdtempSync(join(tmpdir(), "spire-edge-renewal-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** What is done and logged; systemd knows `web.service`, which runs, and `idle.service`, which does not. */
async function done(renewal: Partial<Renewal>): Promise<{ asked: string[]; lines: string }> {
  const asked: string[] = [];
  const lines: string[] = [];
  const write = (line: string): number => lines.push(line);
  const log = createLog({ level: "info", format: "text" }, () => 0, { write });
  const answer = async (what: string, unit: string): Promise<void> => {
    asked.push(`${what} ${unit}`);
    if (unit === "idle.service") {
      throw new DbusError("org.freedesktop.systemd1.NoSuchProcess", "No main process to kill");
    }
    if (unit !== "web.service")
      throw new DbusError("org.freedesktop.systemd1.NoSuchUnit", "unknown");
  };
  const systemd = {
    reload: (unit: string) => answer("reload", unit),
    signal: (unit: string, signal: number) => answer(`signal ${signal}`, unit),
  };
  const whole = { reloadUnits: [], signalUnits: [], command: [], ...renewal };
  await renew(whole, { systemd, clock: systemClock, log });
  return { asked, lines: lines.join("") };
}

test("all are told in order, and what fails keeps nobody else from being told", async () => {
  const { asked, lines } = await done({
    reloadUnits: ["absent.service", "web.service"],
    signal: 10,
    signalUnits: ["idle.service", "web.service"],
  });
  expect(asked).toEqual([
    "reload absent.service",
    "reload web.service",
    "signal 10 idle.service",
    "signal 10 web.service",
  ]);
  expect(lines).toMatch(
    /level=error msg="Unable to notify of the new files" error=unknown told=absent/,
  );
  expect(lines).toMatch(
    /level=info msg="No running process to notify of the new files" told=idle.service/,
  );
});

test("a command gets its words as they are", async () => {
  const out = join(directory, "out");
  const words = ["a b", "$HOME", ";ls"];
  await done({ command: ["/bin/sh", "-c", `printf '%s\\n' "$@" >${out}`, "-", ...words] });
  expect(readFileSync(out, "utf8")).toBe("a b\n$HOME\n;ls\n");
});

test.each([
  [["/bin/sh", "-c", "exit 3"], "it ended with 3"],
  [["/bin/sh", "-c", "kill -9 $$"], "it was ended by SIGKILL"],
  [["/nonexistent"], "ENOENT"],
])("a command %j that fails is told: %s", async (command, problem) => {
  expect((await done({ command })).lines).toMatch(new RegExp(`level=error.*${problem}`));
});

test.each(["", "0", "1", "-5", "12x", "99999999999", "1 2"])(
  "no signal is sent for the pid file %j",
  async (text) => {
    const pidFile = join(directory, "pid");
    writeFileSync(pidFile, text);
    expect((await done({ signal: 10, pidFile })).lines).toContain("it holds no process ID");
  },
);

test("a pid file that is not there, or names nobody, is no mistake", async () => {
  const pidFile = join(directory, "pid");
  writeFileSync(pidFile, "4194303\n");
  for (const path of [pidFile, join(directory, "absent")]) {
    expect((await done({ signal: 10, pidFile: path })).lines).toContain(
      "No running process to notify",
    );
  }
});

test("a pid file that others can write signals the processes of its owner alone", async () => {
  const nobody = 65_534;
  const children = [nobody, 0].map((uid) => spawn("sleep", ["60"], { uid, gid: uid }));
  const ended = children.map(async (child) => (await once(child, "exit"))[1] as unknown);
  const [own, root] = children.map(({ pid }) => pid ?? 0);
  const theirs = join(directory, "theirs");
  mkdirSync(theirs);
  chownSync(theirs, nobody, nobody);
  const pidFile = join(theirs, "pid");
  const signalled = async (pid: number | undefined, owner: number): Promise<string> => {
    writeFileSync(pidFile, `${pid}`);
    chownSync(pidFile, owner, owner);
    return (await done({ signal: 15, pidFile })).lines;
  };
  const refusal = `and process ${root} belongs to uid 0`;
  expect(await signalled(root, nobody)).toContain(refusal);
  expect(await signalled(root, 0)).toContain(refusal);
  expect(await signalled(own, nobody)).toContain("Notified of the new files");
  expect(await ended[0]).toBe("SIGTERM");
  children[1]?.kill("SIGKILL");
  expect(await ended[1]).toBe("SIGKILL");
});

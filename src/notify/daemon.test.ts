import { afterAll, describe, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const ROOT = resolve(import.meta.dir, "../..");
const directory = mkdtempSync(join(tmpdir(), "daemon-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** Source text that goes on when the process is sent, or was sent, SIGWINCH, which a terminal sends when its window changes. */
const GATE = "await gate()";

/** A daemon in a process of its own, whose part that serves is the given source text. */
function launch(start: string, environment: Record<string, string> = {}, reload = "") {
  const source = `
    import { systemClock } from "#clock/clock.ts";
    import { createLog } from "#log/log.ts";
    import { runDaemon } from "#notify/daemon.ts";
    process.umask(0o022);
    const lines = (line) => process.stdout.write(line);
    const log = createLog({ level: "debug", format: "text" }, () => 0, { write: lines });
    const alive = setInterval(() => {}, 1000);
    let passes = 0;
    let pass = () => {};
    process.on("SIGWINCH", () => { passes++; pass(); });
    const gate = async () => {
      if (passes === 0) await new Promise((done) => { pass = done; });
      passes--;
    };
    const { promise: stopped, resolve, reject } = Promise.withResolvers();
    let stopMs = 50;
    const stop = () => { log.info("stopping"); setTimeout(resolve, stopMs); return stopped; };
    let rounds = 0;
    const reconfigure = async () => log.info("round " + ++rounds);
    const code = await runDaemon({
      name: "Server", log, clock: systemClock,
      start: async () => {
        ${start};
        log.info("serving");
        const status = { text: async () => "Serving", onChange: () => () => {} };
        const reload = async () => { log.info("reloading"); ${reload}; };
        return { stopped, stop, status, reload, reconfigure };
      },
      reopenLog: () => log.info("reopened"),
      say: (text) => process.stderr.write(text),
    });
    process.exit(code);
  `;
  const child = Bun.spawn([process.execPath, "-e", source], {
    cwd: ROOT,
    stdout: "pipe",
    stderr: "pipe",
    env: { ...process.env, ...environment },
  });
  const reader = child.stdout.getReader();
  let text = "";
  const until = async (word: string, times = 1): Promise<void> => {
    while (text.split(word).length <= times) {
      const { done, value } = await reader.read();
      if (done) throw new Error(`no ${word} in ${text}`);
      text += new TextDecoder().decode(value);
    }
  };
  const end = async () => {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      text += new TextDecoder().decode(value);
    }
    return { code: await child.exited, out: text, err: await new Response(child.stderr).text() };
  };
  return { until, end, kill: (signal: NodeJS.Signals) => child.kill(signal) };
}

describe("a daemon", () => {
  test.each(["SIGTERM", "SIGINT"] as const)("stops gracefully on %s", async (signal) => {
    const daemon = launch("");
    await daemon.until("serving");
    daemon.kill(signal);
    const { code, out } = await daemon.end();
    expect(code).toBe(0);
    expect(out).toContain("stopping");
    expect(out).toEndWith('level=info msg="Server stopped gracefully"\n');
  });

  test("reads anew what may change on SIGUSR1, also when that came while it started", async () => {
    const daemon = launch(`log.info("starting"); ${GATE}`);
    await daemon.until("starting");
    daemon.kill("SIGUSR1");
    daemon.kill("SIGWINCH");
    await daemon.until("serving");
    await daemon.until("round 1");
    daemon.kill("SIGUSR1");
    await daemon.until("round 2");
    daemon.kill("SIGTERM");
    expect((await daemon.end()).code).toBe(0);
  });

  test("ends at once when asked again", async () => {
    const daemon = launch("stopMs = 60_000");
    await daemon.until("serving");
    daemon.kill("SIGTERM");
    await daemon.until("stopping");
    daemon.kill("SIGTERM");
    expect((await daemon.end()).code).toBe(1);
  });

  test("can be stopped while it still starts", async () => {
    const daemon = launch('log.info("starting"); await new Promise(() => {})');
    await daemon.until("starting");
    daemon.kill("SIGTERM");
    const { code, out } = await daemon.end();
    expect(code).toBe(0);
    expect(out).toContain("stopped gracefully");
  });

  test("reloads on a hang-up, and opens its log anew on SIGUSR2", async () => {
    const daemon = launch("");
    await daemon.until("serving");
    daemon.kill("SIGHUP");
    await daemon.until("Server reloaded");
    daemon.kill("SIGUSR2");
    await daemon.until("reopened");
    daemon.kill("SIGTERM");
    expect((await daemon.end()).code).toBe(0);
  });

  test("that cannot reload says why and goes on; one that is told to stop meanwhile ends the reload first", async () => {
    const daemon = launch("", {}, 'throw new Error("bad key")');
    await daemon.until("serving");
    daemon.kill("SIGHUP");
    await daemon.until('msg="Server not reloaded: it goes on as it was" error="bad key"');
    daemon.kill("SIGTERM");
    expect((await daemon.end()).code).toBe(0);
    const slow = launch("", {}, GATE);
    await slow.until("serving");
    slow.kill("SIGHUP");
    await slow.until("reloading");
    slow.kill("SIGTERM");
    await slow.until("Asked to stop");
    slow.kill("SIGWINCH");
    expect((await slow.end()).out).toMatch(/Server reloaded"\n.*stopping\n/);
  });

  test("reloads once more, not twice, for hang-ups that come while it is at it", async () => {
    const daemon = launch("", {}, `process.on("SIGHUP", () => log.info("heard")); ${GATE}`);
    await daemon.until("serving");
    daemon.kill("SIGHUP");
    await daemon.until("reloading");
    for (let times = 1; times <= 3; times++) {
      daemon.kill("SIGHUP");
      await daemon.until("heard", times);
    }
    daemon.kill("SIGWINCH");
    await daemon.until("msg=reloading", 2);
    daemon.kill("SIGTERM");
    await daemon.until("Asked to stop");
    daemon.kill("SIGWINCH");
    const { out } = await daemon.end();
    expect(out.match(/msg=reloading/g)).toHaveLength(2);
  });

  test("that cannot start says why, bare, and ends with 1", async () => {
    const { code, out, err } = await launch('throw new Error("port 8081 is taken")').end();
    expect(code).toBe(1);
    expect(err).toBe("port 8081 is taken\n");
    expect(out).toContain('msg="Server crashed" error="port 8081 is taken"');
  });

  test("that crashes while serving ends with 1", async () => {
    const { code, out } = await launch('setTimeout(() => reject(new Error("lost")), 20)').end();
    expect(code).toBe(1);
    expect(out).toEndWith('level=error msg="Server crashed" error=lost\n');
  });

  test.each([
    ["a rejection nobody waits for", 'setTimeout(() => void Promise.reject(new Error("bug")), 20)'],
    ["an exception nobody catches", 'setTimeout(() => { throw new Error("bug"); }, 20)'],
  ])("ends with 70 after %s", async (_name, start) => {
    const { code, out } = await launch(start).end();
    expect(code).toBe(70);
    expect(out).toContain("error=bug");
  });

  test("tightens a permissive umask and says so", async () => {
    const daemon = launch('log.info("umask " + process.umask())');
    await daemon.until("serving");
    daemon.kill("SIGTERM");
    const { out } = await daemon.end();
    expect(out).toContain(
      'level=warning msg="Current umask 0022 is too permissive; setting umask 0027"',
    );
    expect(out).toContain(`umask ${0o027}`);
  });

  test("tells systemd that it serves and that it stops, by the program systemd-notify", async () => {
    const told = join(directory, "told");
    const program = join(directory, "systemd-notify");
    writeFileSync(program, `#!/bin/sh\necho "$@" >> ${told}\n`);
    chmodSync(program, 0o755);
    const path = `${directory}:${process.env["PATH"]}`;
    const daemon = launch("", { NOTIFY_SOCKET: "/run/notify", PATH: path });
    await daemon.until("serving");
    daemon.kill("SIGHUP");
    await daemon.until("Server reloaded");
    daemon.kill("SIGTERM");
    expect((await daemon.end()).code).toBe(0);
    expect(readFileSync(told, "utf8").replace(/--pid=\d+/g, "--pid=N")).toBe(
      "--ready --pid=N --status=Serving\n--ready --pid=N\n--pid=N --status=Stopping\n",
    );
  });

  test("goes on when systemd-notify is missing", async () => {
    const daemon = launch("", {
      NOTIFY_SOCKET: "/run/notify",
      PATH: directory.replace(/-[^-]*$/, "-none"),
    });
    await daemon.until("Unable to notify systemd");
    daemon.kill("SIGTERM");
    expect((await daemon.end()).code).toBe(0);
  });
});

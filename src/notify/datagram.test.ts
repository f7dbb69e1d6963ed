import { afterAll, describe, expect, test } from "bun:test";
import { closeSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { type Clock, systemClock } from "#clock/clock.ts";
import { createLog } from "#log/log.ts";
import { monotonicMicroseconds, sendDatagram } from "./datagram.ts";
import { type ServiceEnvironment, serviceManager } from "./systemd.ts";

const HELPER = resolve(import.meta.dir, "../../test/support/service-manager.py");
const directory = mkdtempSync(join(tmpdir(), "notify-"));
const ends: (() => void)[] = [];
afterAll(() => {
  for (const end of ends) end();
  rmSync(directory, { recursive: true, force: true });
});

interface Message {
  readonly event: string;
  readonly pid: number;
  readonly lines: readonly string[];
  readonly descriptors: number;
}

/** A service manager that listens at the address. */
async function listen(address: string): Promise<() => Promise<Message>> {
  const child = Bun.spawn(["python3", HELPER, address], { stdin: "pipe", stdout: "pipe" });
  ends.push(() => child.kill());
  const reader = child.stdout.getReader();
  let text = "";
  const next = async (): Promise<Message> => {
    while (!text.includes("\n")) {
      const { done, value } = await reader.read();
      if (done) throw new Error("the service manager ended");
      text += new TextDecoder().decode(value);
    }
    const end = text.indexOf("\n");
    const line = text.slice(0, end);
    text = text.slice(end + 1);
    return JSON.parse(line) as Message;
  };
  expect((await next()).event).toBe("listening");
  return next;
}

const lines: string[] = [];
const log = createLog({ level: "debug", format: "text" }, () => 0, {
  write: (line) => void lines.push(line),
});
const manager = (environment: ServiceEnvironment) => serviceManager(environment, log);

describe("a datagram to the service manager", () => {
  test.each([
    ["a path", join(directory, "notify")],
    ["an abstract name", `@notify-test-${process.pid}`],
  ])("reaches %s, from this process, with descriptors", async (_what, address) => {
    const next = await listen(address);
    const file = openSync("/dev/null", "r");
    sendDatagram(address, "FDSTORE=1\nFDNAME=größe", [file, file]);
    closeSync(file);
    expect(await next()).toEqual({
      event: "message",
      pid: process.pid,
      lines: ["FDSTORE=1", "FDNAME=größe"],
      descriptors: 2,
    });
    sendDatagram(address, "WATCHDOG=1");
    expect(await next()).toMatchObject({ lines: ["WATCHDOG=1"], descriptors: 0 });
  });

  test.each([["vsock:2:1234"], ["relative/path"], [`/${"x".repeat(107)}`], [""]])(
    "is not sent to %j",
    (address) => {
      expect(() => sendDatagram(address, "READY=1")).toThrow("no path and no abstract name");
    },
  );

  test("that nobody takes is an error with its number", () => {
    expect(() => sendDatagram(join(directory, "nobody"), "READY=1")).toThrow("errno 2");
  });
});

describe("the service manager", () => {
  test("hears of a reload with the time of the monotonic clock, and of the stop", async () => {
    const address = join(directory, "reload");
    const next = await listen(address);
    const before = monotonicMicroseconds();
    manager({ NOTIFY_SOCKET: address }).reloading();
    manager({ NOTIFY_SOCKET: address }).stopping();
    const { lines: said } = await next();
    expect(said[0]).toBe("RELOADING=1");
    const uptime = Number((await Bun.file("/proc/uptime").text()).split(" ")[0]);
    const told = Number(said[1]?.replace("MONOTONIC_USEC=", ""));
    expect(told).toBeGreaterThanOrEqual(Number(before));
    expect(Math.abs(told / 1e6 - uptime)).toBeLessThan(60);
    expect((await next()).lines).toEqual(["STOPPING=1"]);
  });

  test("hears that a daemon is ready even without the program systemd-notify", async () => {
    const address = join(directory, "ready");
    const next = await listen(address);
    const path = process.env["PATH"];
    process.env["PATH"] = directory;
    try {
      await manager({ NOTIFY_SOCKET: address }).ready("Serving\nREADY=0");
    } finally {
      process.env["PATH"] = path;
    }
    expect((await next()).lines).toEqual(["READY=1", "STATUS=Serving READY=0"]);
  });

  test("is shown twice in a period that the event loop turns, until that ends", async () => {
    const address = join(directory, "watchdog");
    const next = await listen(address);
    const waits: number[] = [];
    let turn = (): void => {};
    const cancelled: boolean[] = [];
    const clock: Clock = {
      ...systemClock,
      after: (milliseconds, run) => {
        waits.push(milliseconds);
        turn = run;
        return { cancel: () => void cancelled.push(true) };
      },
    };
    const environment = { NOTIFY_SOCKET: address, WATCHDOG_USEC: "40000" };
    const timer = manager({ ...environment, WATCHDOG_PID: String(process.pid) }).watch(clock);
    for (let count = 0; count < 3; count++, turn()) {
      expect((await next()).lines).toEqual(["WATCHDOG=1"]);
    }
    expect(waits).toEqual([20, 20, 20, 20]);
    expect(cancelled).toEqual([]);
    timer.cancel();
    expect(cancelled).toEqual([true]);
  });

  test("of another process, or none at all, is told nothing and stops nothing", async () => {
    const address = join(directory, "other");
    const next = await listen(address);
    manager({ NOTIFY_SOCKET: address, WATCHDOG_USEC: "20", WATCHDOG_PID: "1" }).watch(systemClock);
    manager({ NOTIFY_SOCKET: "", WATCHDOG_USEC: "20" }).watch(systemClock);
    manager({}).stopping();
    await manager({}).ready("Serving");
    sendDatagram(address, "FIRST");
    expect((await next()).lines).toEqual(["FIRST"]);
    manager({ NOTIFY_SOCKET: join(directory, "nobody") }).stopping();
    expect(lines.at(-1)).toContain("Unable to notify systemd");
  });
});

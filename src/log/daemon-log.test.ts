import { beforeEach, expect, test } from "bun:test";
import { DaemonLog, type LogFile } from "./daemon-log.ts";

/** What was written to each path, and which are open. */
let files: Map<string, string[]>;
let open: string[];
const now = (): number => 0;

beforeEach(() => {
  files = new Map();
  open = [];
});

function openFile(path: string): LogFile {
  if (path === "/missing/log") throw new Error("no such directory");
  open.push(path);
  const lines = files.get(path) ?? [];
  files.set(path, lines);
  return {
    write: (line) => void lines.push(line),
    reopen: () => void lines.push("reopened"),
    close: () => void open.splice(open.indexOf(path), 1),
  };
}

const start = (): DaemonLog =>
  new DaemonLog({ file: "/a", level: "info", format: "text" }, now, openFile);

test("level, format and file follow the configuration, in logs that were derived before as well", () => {
  const daemonLog = start();
  const derived = daemonLog.log.with({ subsystem_name: "x" });
  derived.debug("hidden");
  daemonLog.follow({ file: "/b", level: "debug", format: "json" });
  derived.debug("shown");
  expect(open).toEqual(["/b"]);
  expect(files.get("/a")).toEqual([]);
  expect(files.get("/b")?.map((line) => JSON.parse(line).msg)).toEqual(["shown"]);
  expect(daemonLog.log.settings.launchLevel).toBe("debug");
});

test("the same file is opened anew", () => {
  start().follow({ file: "/a", level: "info", format: "text" });
  expect(files.get("/a")).toEqual(["reopened"]);
  expect(open).toEqual(["/a"]);
});

test("a file that cannot be opened leaves everything as it was", () => {
  const daemonLog = start();
  const next = { file: "/missing/log", level: "debug", format: "json" } as const;
  expect(() => daemonLog.follow(next)).toThrow("no such directory");
  daemonLog.log.debug("hidden");
  daemonLog.log.info("shown");
  expect(files.get("/a")).toHaveLength(1);
  expect(files.get("/a")?.[0]).toContain("msg=shown");
});

test("a level that was set by hand stays until the configuration's changes", () => {
  const daemonLog = start();
  const settings: { level: string } = daemonLog.log.settings;
  settings.level = "debug";
  daemonLog.follow({ file: "/a", level: "info", format: "text" });
  expect(settings.level).toBe("debug");
  daemonLog.follow({ file: "/a", level: "error", format: "text" });
  expect(settings.level).toBe("error");
});

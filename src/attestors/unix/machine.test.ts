import { expect, test } from "bun:test";
import { spawn } from "node:child_process";
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  accountOf,
  fileSystemOf,
  hasMachineRoot,
  lookUpSlowly,
  mountsOf,
  View,
} from "./machine.ts";

const never = new AbortController().signal;

test("a path is looked up in the process's own view, and no link is followed, by both ways", async () => {
  const directory = mkdtempSync(join(tmpdir(), "spire-edge-view-"));
  try {
    mkdirSync(join(directory, "real"));
    writeFileSync(join(directory, "real/file"), "1");
    symlinkSync("real", join(directory, "link"));
    symlinkSync("file", join(directory, "real/to-file"));
    using view = new View("/proc/self");
    const paths = ["real/file", "link/file", "real/nothing"];
    const ways = {
      fast: (path: string) => view.at(path, never),
      slow: (path: string) => lookUpSlowly("/proc/self/root", path),
    };
    for (const look of Object.values(ways)) {
      const found = await Promise.all(paths.map((path) => look(join(directory, path))));
      expect(found.map((status) => status?.size)).toEqual([1, undefined, undefined]);
    }
    expect(await view.at(join(directory, "real/to-file"), never)).toBeUndefined();
    const [fast, slow] = await Promise.all(
      Object.values(ways).map((look) => look(join(directory, "real/file"))),
    );
    expect(fast).toEqual(slow);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test("our own mounts are the machine's when we are what it is seen by; the type of a mount is known", async () => {
  using view = new View("/proc/self");
  expect(mountsOf("/proc/self", view)).toBe("machine");
  expect(hasMachineRoot(view, view)).toBe(true);
  const proc = await view.at("/proc", never);
  const found = await fileSystemOf(proc?.mount ?? -1, "/proc/self");
  expect(found?.type).toBe("proc");
  expect(found?.options).toContain("rw");
  expect(await fileSystemOf(-1, "/proc/self")).toBeUndefined();
});

test("a process is on the account of its user, in user namespaces on that of whoever made the outermost", async () => {
  using view = new View("/proc/self");
  expect(accountOf("/proc/self", 7, view)).toBe(7);
  const uid = process.getuid?.() ?? 0;
  const child = spawn("sh", ["-c", "exec unshare -Ur unshare -Ur sleep 60"]);
  try {
    const own = readlinkSync("/proc/self/ns/user");
    const pid = child.pid ?? 0;
    // It is in the inner one when it runs the last of these programs.
    while (!readFileSync(`/proc/${pid}/comm`, "latin1").startsWith("sleep")) await Bun.sleep(5);
    expect(readlinkSync(`/proc/${pid}/ns/user`)).not.toBe(own);
    expect(accountOf(`/proc/${pid}`, 7, view)).toBe(uid);
  } finally {
    child.kill("SIGKILL");
  }
});

import { expect, test } from "bun:test";
import { spawn } from "node:child_process";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspectPeer, openProcess } from "./peer.ts";

test("the peer of a connection is who connected, and is known to be gone when it is", async () => {
  const path = join(tmpdir(), `peer-${process.pid}.sock`);
  const accepted = Promise.withResolvers<Socket>();
  const server = createServer((socket) => accepted.resolve(socket));
  await new Promise<void>((resolve) => server.listen(path, resolve));
  const script =
    "import socket,sys,time\ns=socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\ntime.sleep(60)";
  const child = spawn("python3", ["-c", script, path]);
  const peer = inspectPeer(await accepted.promise);
  expect([peer.pid, peer.uid, peer.isAlive()]).toEqual([
    child.pid ?? 0,
    process.getuid?.() ?? -1,
    true,
  ]);
  const ended = Promise.withResolvers<void>();
  child.on("exit", () => ended.resolve());
  child.kill("SIGKILL");
  await ended.promise;
  expect(peer.isAlive()).toBe(false);
  peer.close();
  server.close();
});

test("a process by its pid is known to be gone when it is, and one that is gone is not found", async () => {
  const child = spawn("sleep", ["60"]);
  const pid = child.pid ?? 0;
  const found = openProcess(pid);
  expect([found?.pid, found?.uid, found?.gid, found?.isAlive()]).toEqual([
    pid,
    process.geteuid?.() ?? -1,
    process.getegid?.() ?? -1,
    true,
  ]);
  const ended = Promise.withResolvers<void>();
  child.on("exit", () => ended.resolve());
  child.kill("SIGKILL");
  await ended.promise;
  expect(found?.isAlive()).toBe(false);
  const instances = [found, openProcess(process.pid), openProcess(process.pid)].map(
    (one) => one?.instance,
  );
  expect(instances[0]).not.toBe(instances[1]);
  expect(instances[1]).toBe(instances[2] ?? "");
  found?.close();
  for (const nobody of [pid, -1, 2 ** 31 - 1]) expect(openProcess(nobody)).toBeUndefined();
});

import { expect, test } from "bun:test";
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync, realpathSync } from "node:fs";
import type { PeerProcess } from "#attestors/attestor.ts";
import { systemClock } from "#clock/clock.ts";
import { createUnixWorkloadAttestor } from "./workload.ts";

const self: PeerProcess = {
  pid: process.pid,
  uid: process.getuid?.() ?? 0,
  gid: process.getgid?.() ?? 0,
  isAlive: () => true,
};
const never = new AbortController().signal;
const create = (discoverWorkloadPath: boolean, workloadSizeLimit = 0) =>
  createUnixWorkloadAttestor(
    { discoverWorkloadPath, workloadSizeLimit, discoverContainerPath: false },
    systemClock,
  );
const values = async (
  peer: PeerProcess,
  discoverWorkloadPath: boolean,
  workloadSizeLimit = 0,
): Promise<string[]> => {
  const attestor = create(discoverWorkloadPath, workloadSizeLimit);
  const { selectors } = await attestor.attest(peer, never);
  expect(new Set(selectors.map(({ type }) => type))).toEqual(new Set(["unix"]));
  return selectors.map(({ value }) => value);
};

test("names uid, gid and their names; path and digest only when asked for", async () => {
  const found = await values(self, false);
  expect(found).toContain(`uid:${self.uid}`);
  expect(found).toContain(`gid:${self.gid}`);
  if (self.uid === 0) expect(found).toContain("user:root");
  expect(found.some((value) => value.startsWith("path:") || value.startsWith("sha256:"))).toBe(
    false,
  );
});

test("path and sha256 are those of the executable", async () => {
  const found = await values(self, true);
  const path = realpathSync(process.execPath);
  expect(found).toContain(`path:${path}`);
  expect(found).toContain(
    `sha256:${createHash("sha256").update(readFileSync(path)).digest("hex")}`,
  );
});

test("workload_size_limit: below 0 no digest, of a larger executable neither, and why", async () => {
  expect((await values(self, true, -1)).some((value) => value.startsWith("sha256:"))).toBe(false);
  const { selectors, omissions } = await create(true, 10).attest(self, never);
  const names = selectors.map(({ value }) => value.split(":")[0]);
  expect([names.includes("path"), names.includes("sha256")]).toEqual([true, false]);
  expect(omissions.map(({ selector }) => selector)).toEqual(["unix:sha256"]);
  expect(omissions[0]?.reason).toContain("larger than workload_size_limit");
});

test("a process that is gone, or is no longer the one that connected, gets nothing", async () => {
  const child = spawn("sleep", ["60"]);
  const pid = child.pid ?? 0;
  expect(await values({ ...self, pid }, false)).toContain(`uid:${self.uid}`);
  const replaced = await values({ ...self, pid, isAlive: () => false }, false).catch(
    (error: Error) => error.message,
  );
  expect(replaced).toContain("ended or changed");
  const ended = Promise.withResolvers<void>();
  child.on("exit", () => ended.resolve());
  child.kill("SIGKILL");
  await ended.promise;
  const dead = { ...self, pid, isAlive: () => false };
  const gone = await values(dead, false).catch((error: Error) => error.message);
  expect(gone).toContain("ended or changed");
});

test("a process that becomes another program meanwhile gets nothing", async () => {
  const child = spawn("sh", ["-c", "read line; exec sleep 60"]);
  const peer: PeerProcess = { ...self, pid: child.pid ?? 0, isAlive: () => true };
  const attestor = create(true);
  const outcomes = new Set<string>();
  const programs = (): string[] => [...outcomes].filter((outcome) => outcome !== "refused");
  const deadline = performance.now() + 30_000;
  // The change lies between two looks for one of these; each must see the old program, the new one, or refuse.
  for (let asked = 0; programs().length < 2 && performance.now() < deadline; asked++) {
    if (asked === 10) child.stdin.end("go\n");
    await attestor.attest(peer, never).then(
      ({ selectors }) =>
        outcomes.add(selectors.find(({ value }) => value.startsWith("path:"))?.value ?? ""),
      () => outcomes.add("refused"),
    );
    await Bun.sleep(1);
  }
  child.kill("SIGKILL");
  expect(programs()).toHaveLength(2);
});

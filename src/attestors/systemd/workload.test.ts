import { expect, test } from "bun:test";
import type { PeerProcess } from "#attestors/attestor.ts";
import { createSystemdWorkloadAttestor } from "./workload.ts";

const unit = { id: "a.service", fragmentPath: "/etc/a.service", invocationId: "" };
const peer = (isAlive: () => boolean): PeerProcess => ({ pid: 7, uid: 0, gid: 0, isAlive });

test("names the unit and its file", async () => {
  const attestor = createSystemdWorkloadAttestor({ unitOf: async () => unit });
  expect(await attestor.attest(peer(() => true))).toEqual([
    { type: "systemd", value: "id:a.service" },
    { type: "systemd", value: "fragment_path:/etc/a.service" },
  ]);
});

test("a process that ended while systemd looked its pid up gets nothing: the pid may be another's", async () => {
  let alive = true;
  const unitOf = async () => {
    alive = false;
    return unit;
  };
  const attested = createSystemdWorkloadAttestor({ unitOf }).attest(peer(() => alive));
  expect(await attested.catch(String)).toContain("the process ended");
});

test("what systemd says in place of a unit is told", async () => {
  const unitOf = () => Promise.reject(new Error("PID 7 does not belong to any loaded unit."));
  const attested = createSystemdWorkloadAttestor({ unitOf }).attest(peer(() => true));
  expect(await attested.catch(String)).toContain(
    "failed to get unit by pid 7: PID 7 does not belong to any loaded unit.",
  );
});

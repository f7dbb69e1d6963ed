import { expect, test } from "bun:test";
import type { PeerProcess } from "#attestors/attestor.ts";
import { DbusError } from "#dbus/connection.ts";
import { createSystemdWorkloadAttestor } from "./workload.ts";

const unit = { id: "a.service", fragmentPath: "/etc/a.service", invocationId: "" };
const never = new AbortController().signal;
const peer = (isAlive: () => boolean): PeerProcess => ({ pid: 7, uid: 0, gid: 0, isAlive });

test("names the unit and its file", async () => {
  const attestor = createSystemdWorkloadAttestor({ unitOf: async () => unit });
  expect(
    await attestor.attest(
      peer(() => true),
      never,
    ),
  ).toEqual({
    selectors: [
      { type: "systemd", value: "id:a.service" },
      { type: "systemd", value: "fragment_path:/etc/a.service" },
    ],
    omissions: [],
  });
});

test("a process that ended while systemd looked its pid up gets nothing: the pid may be another's", async () => {
  let alive = true;
  const unitOf = async () => {
    alive = false;
    return unit;
  };
  const attested = createSystemdWorkloadAttestor({ unitOf }).attest(
    peer(() => alive),
    never,
  );
  expect(await attested.catch(String)).toContain("the process ended");
});

test("systemd that gives no answer is an error; that there is no unit is an answer", async () => {
  const silent = () => Promise.reject(new Error("no answer in time"));
  const failed = createSystemdWorkloadAttestor({ unitOf: silent }).attest(
    peer(() => true),
    never,
  );
  expect(await failed.catch(String)).toContain("failed to get unit by pid 7: no answer in time");
  const text = "PID 7 does not belong to any loaded unit.";
  const none = () => Promise.reject(new DbusError("org.freedesktop.systemd1.NoUnitForPID", text));
  const attestor = createSystemdWorkloadAttestor({ unitOf: none });
  const { selectors, omissions } = await attestor.attest(
    peer(() => true),
    never,
  );
  expect(selectors).toEqual([]);
  expect(omissions).toEqual(
    ["systemd:id", "systemd:fragment_path"].map((selector) => ({
      selector,
      reason: text,
      isTemporary: false,
    })),
  );
});

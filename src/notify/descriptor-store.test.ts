import { expect, test } from "bun:test";
import { createLog } from "#log/log.ts";
import { openDescriptorStore } from "./descriptor-store.ts";
import type { ServiceEnvironment } from "./systemd.ts";

const log = createLog({ level: "debug", format: "text" }, () => 0, { write: () => {} });
const SOCKET = { NOTIFY_SOCKET: "/run/notify" };
const given = (environment: ServiceEnvironment) =>
  openDescriptorStore({ ...SOCKET, ...environment }, log)?.given;

test("without systemd there is no store", () => {
  expect(openDescriptorStore({}, log)).toBeUndefined();
  expect(openDescriptorStore({ NOTIFY_SOCKET: "" }, log)).toBeUndefined();
});

test("descriptors are taken by their names, from the third on, and only those that are open", () => {
  const environment = {
    LISTEN_PID: String(process.pid),
    LISTEN_FDS: "4000",
    LISTEN_FDNAMES: "first:second",
  };
  const found = given(environment) ?? [];
  expect(found.find(({ descriptor }) => descriptor === 3)?.name ?? "first").toBe("first");
  expect(found.filter(({ name }) => name !== "").length).toBeLessThanOrEqual(2);
  expect(found.length).toBeLessThan(4000);
});

test.each([
  ["nothing was given", {}],
  ["they were meant for another process", { LISTEN_PID: "1", LISTEN_FDS: "1" }],
  ["it says how many, but not for whom", { LISTEN_FDS: "1" }],
  ["the number is none", { LISTEN_PID: String(process.pid), LISTEN_FDS: "many" }],
  ["the number is below zero", { LISTEN_PID: String(process.pid), LISTEN_FDS: "-1" }],
  ["the number is beyond reason", { LISTEN_PID: String(process.pid), LISTEN_FDS: "1000000000" }],
])("none are taken when %s", (_what, environment) => {
  expect(given(environment)).toEqual([]);
});

test("what cannot be left with systemd is an error for whoever leaves it", () => {
  const store = openDescriptorStore({ NOTIFY_SOCKET: "/nowhere/notify" }, log);
  expect(() => store?.add("name", 0)).toThrow("errno 2");
  expect(() => store?.remove("name")).toThrow("errno 2");
});

/** A bus that does as each test says, on a socket of its own. */
import { afterAll, afterEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "#clock/clock.ts";
import { ManualClock } from "#clock/manual-clock.fixture.ts";
import { DbusConnection } from "./connection.ts";
import { marshal } from "./marshal.ts";
import type { DbusValue } from "./value.ts";

const directory = mkdtempSync(join(tmpdir(), "spire-edge-dbus-"));
const path = join(directory, "bus");
const servers: Server[] = [];

afterEach(() => {
  // Its socket goes with it.
  for (const server of servers.splice(0)) server.close();
});

afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** @param answer what it sends back for what it gets, once it has been greeted */
async function bus(greeting: string, answer: (socket: Socket) => void = () => {}): Promise<void> {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", () => {
      socket.write(greeting);
      socket.once("data", () => answer(socket));
    });
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(path, resolve));
}

function reply(type: number, sender: string, text: string): Buffer {
  const body = marshal("s", [text]);
  const fields: DbusValue[] = [
    [5, { signature: "u", value: 1 }],
    [7, { signature: "s", value: sender }],
    [8, { signature: "g", value: "s" }],
    ...(type === 3 ? [[4, { signature: "s", value: "e.Failed" }] as DbusValue] : []),
  ];
  const header = marshal("yyyyuua(yv)", [0x6c, type, 1, 1, body.length, 9, fields]);
  return Buffer.concat([header, Buffer.alloc(-header.length & 7), body]);
}

const CALL = { destination: ":1.0", path: "/", interface: "i.f", member: "Do" };

test("an answer of the one who was called is taken; one of somebody else is not", async () => {
  await bus("OK 12\r\n", (socket) => {
    socket.write(reply(2, ":1.66", "forged"));
    socket.write(reply(2, ":1.0", "true"));
  });
  const connection = await DbusConnection.open(path, systemClock);
  expect(await connection.call(CALL)).toEqual(["true"]);
  connection.close();
});

test("an error is told, with its name; the bus itself may answer with one", async () => {
  await bus("OK 12\r\n", (socket) =>
    socket.write(reply(3, "org.freedesktop.DBus", "no such name")),
  );
  const connection = await DbusConnection.open(path, systemClock);
  const error = await connection.call(CALL).catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ errorName: "e.Failed", message: "no such name" });
  expect(connection.isOpen).toBe(true);
  connection.close();
});

test("bytes that are no message end the connection and all calls", async () => {
  await bus("OK 12\r\n", (socket) => socket.write(Buffer.alloc(64, "x")));
  const connection = await DbusConnection.open(path, systemClock);
  const calls = [connection.call(CALL), connection.call(CALL)];
  for (const call of calls) expect(await call.catch(String)).toContain("DbusFormatError");
  expect(connection.isOpen).toBe(false);
  expect(await connection.call(CALL).catch(String)).toContain("DbusFormatError");
});

test("a bus that goes away ends the calls under way", async () => {
  await bus("OK 12\r\n", (socket) => socket.end());
  const connection = await DbusConnection.open(path, systemClock);
  expect(await connection.call(CALL).catch(String)).toContain("closed");
});

test("a bus that does not let us in, and none at all, are told", async () => {
  await bus("REJECTED EXTERNAL\r\n");
  const rejected = DbusConnection.open(path, systemClock);
  expect(await rejected.catch(String)).toContain("does not let us in");
  const missing = DbusConnection.open(join(directory, "nobody"), systemClock);
  expect(await missing.catch(String)).toContain("ENOENT");
});

test("a bus that keeps silent is not waited for without end", async () => {
  await bus("");
  const clock = new ManualClock();
  const silent = DbusConnection.open(path, clock).catch(String);
  clock.pass(await clock.untilNext());
  expect(await silent).toContain("no answer in time");
});

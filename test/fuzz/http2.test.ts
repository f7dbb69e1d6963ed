/**
 * Bytes that nobody's client sends, at every door: broken prefaces, frames that lie about their length, streams out of order, headers that are
 * no HPACK. Each door may hang up; behind it a well-behaved caller is served all the time.
 */

import { afterAll, beforeAll, expect, test } from "bun:test";
import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { credentials } from "@grpc/grpc-js";
import fc from "fast-check";
import { callUnary } from "#grpc/client.ts";
import { PREFACE } from "#grpc/http2-frame.fixture.ts";
import { HealthClient } from "#proto/grpc/health/v1/health.ts";
import { FUZZ_TIMEOUT_MS, fuzzTogether } from "../support/fuzzing.ts";
import { freePort } from "../support/process.ts";
import { Stage, TestAgent, TestServer } from "../support/spire.ts";

const stage = new Stage();
let server: TestServer;
let agent: TestAgent;
let bundlePort: number;

beforeAll(async () => {
  bundlePort = await freePort();
  server = await TestServer.start(stage, "ours", {
    settings: `federation {
    bundle_endpoint {
      address = "127.0.0.1"
      port = ${bundlePort}
      profile "https_spiffe" {}
    }
  }`,
  });
  agent = await TestAgent.start(stage, "ours", server);
}, 60_000);
afterAll(() => stage.close(), 60_000);

const literal = (name: string, value: string): Buffer =>
  Buffer.concat([
    Buffer.from([0, name.length]),
    Buffer.from(name),
    Buffer.from([value.length]),
    Buffer.from(value),
  ]);
/** What a gRPC client begins a call with. */
const GOOD_HEADERS = Buffer.concat([
  Buffer.from([0x83, 0x86]),
  literal(":path", "/grpc.health.v1.Health/Check"),
  literal(":authority", "localhost"),
  literal("content-type", "application/grpc"),
  literal("te", "trailers"),
]);

const payload = fc.oneof(
  fc.uint8Array({ maxLength: 80 }),
  fc.constantFrom(
    GOOD_HEADERS,
    Buffer.concat([GOOD_HEADERS, literal("grpc-timeout", "99999999999999999999S")]),
    Buffer.concat([GOOD_HEADERS, literal("x", "y".repeat(120)), GOOD_HEADERS]),
    // A message: not compressed, of no bytes, of four gigabytes, compressed.
    Buffer.from([0, 0, 0, 0, 0]),
    Buffer.from([0, 255, 255, 255, 255]),
    Buffer.from([1, 0, 0, 0, 1, 0]),
    // Settings: a window beyond the largest, frames of no size, a table of four gigabytes.
    Buffer.from([0, 4, 255, 255, 255, 255]),
    Buffer.from([0, 5, 0, 0, 0, 0, 0, 1, 255, 255, 255, 255]),
  ),
);

const frame = fc
  .record({
    type: fc.oneof({ weight: 8, arbitrary: fc.nat(9) }, fc.nat(255)),
    flags: fc.oneof(fc.constantFrom(0, 1, 4, 5, 8, 0x20), fc.nat(255)),
    stream: fc.oneof(fc.constantFrom(0, 1, 3, 2, 0x7fffffff), fc.nat(0xffffffff)),
    lie: fc.oneof({ weight: 8, arbitrary: fc.constant(0) }, fc.integer({ min: -20, max: 70_000 })),
    payload,
  })
  .map(({ type, flags, stream, lie, payload: bytes }) => {
    const head = Buffer.alloc(9);
    head.writeUIntBE(Math.max(0, bytes.length + lie), 0, 3);
    head[3] = type;
    head[4] = flags;
    head.writeUInt32BE(stream, 5);
    return Buffer.concat([head, bytes]);
  });

const beginning = fc.oneof(
  { weight: 6, arbitrary: fc.constant(PREFACE) },
  fc.nat(PREFACE.length).map((length) => PREFACE.subarray(0, length)),
  fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
  fc.constant(Buffer.from("GET / HTTP/1.1\r\nHost: a\r\n\r\n")),
);
const SETTINGS = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);
const conversation = fc
  .tuple(beginning, fc.boolean(), fc.array(frame, { maxLength: 6 }))
  .map(([start, settings, frames]) =>
    Buffer.concat([start, settings ? SETTINGS : Buffer.alloc(0), ...frames]),
  );

/** After that many milliseconds of silence a caller has said all it has to say. */
const TIMEOUT_MS = 40;

/** Says everything, listens for a moment, and leaves. */
function speak(
  open: () => Socket,
  ready: "connect" | "secureConnect",
  bytes: Buffer,
): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const socket = open();
  socket.on("error", () => {});
  socket.on("data", () => {});
  socket.once("close", () => resolve());
  socket.once(ready, () => {
    socket.write(bytes);
    setTimeout(() => socket.destroy(), TIMEOUT_MS);
  });
  return promise;
}

const doors = {
  "the server's admin socket": () => speakAt(() => connect({ path: server.socket }), "connect"),
  "the Workload API": () => speakAt(() => connect({ path: agent.socket }), "connect"),
  "the server's port, before TLS": () =>
    speakAt(() => connect({ host: "127.0.0.1", port: server.port }), "connect"),
  "the server's port, within TLS": () => speakAt(() => tls(server.port, "h2"), "secureConnect"),
  "the bundle endpoint, within TLS": () =>
    speakAt(() => tls(bundlePort, "http/1.1"), "secureConnect"),
};

const speakAt =
  (open: () => Socket, ready: "connect" | "secureConnect") =>
  (bytes: Buffer): Promise<void> =>
    speak(open, ready, bytes);

function tls(port: number, protocol: string): Socket {
  const trusting = { rejectUnauthorized: false, checkServerIdentity: () => undefined };
  return connectTls({ host: "127.0.0.1", port, ALPNProtocols: [protocol], ...trusting });
}

/** A caller that does as it should, over a connection that it keeps. @throws StatusError when it is not served */
async function expectServed(health: HealthClient): Promise<void> {
  await callUnary(health, "check", { service: "" }, { timeoutMs: 10_000 });
}

test.each(Object.entries(doors))(
  "%s",
  async (name, door) => {
    const throwAt = door();
    const calm = [server.socket, agent.socket].map(
      (path) => new HealthClient(`unix:${path}`, credentials.createInsecure()),
    );
    await fuzzTogether(`HTTP/2 at ${name}`, conversation, async (batch) => {
      const served = Promise.all(calm.map(expectServed));
      await Promise.all(batch.map(throwAt));
      await served;
    });
    for (const client of calm) client.close();
    expect(server.daemon.running && agent.daemon.running).toBe(true);
  },
  FUZZ_TIMEOUT_MS,
);

test("nothing of it was unexpected", () => {
  const lines = [...server.daemon.lines, ...agent.daemon.lines];
  expect(
    lines.filter((line) => /TypeError|RangeError|unexpectedly|undefined is not/.test(line)),
  ).toEqual([]);
});

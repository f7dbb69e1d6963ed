/**
 * Calls that are cancelled, at every door. A client that reads one message of a stream and cancels it is a workload; one that takes its
 * calls back before they are answered, as fast as it can, is an attacker, and loses its connection.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { type ClientHttp2Session, connect, constants } from "node:http2";
import { connect as connectSocket } from "node:net";
import type { Duplex } from "node:stream";
import { connect as connectTls } from "node:tls";
import { callUnary, unixChannel } from "#grpc/client.ts";
import { writeHeaders } from "#grpc/hpack.ts";
import { FRAME_HEADER_BYTES, frame, PREFACE } from "#grpc/http2-frame.fixture.ts";
import { HealthClient } from "#proto/grpc/health/v1/health.ts";
import {
  type ClientIdentity,
  type Clients,
  closeClients,
  type JoinedAgent,
  joinAgent,
  localClients,
  remoteClients,
} from "#server/server.fixture.ts";
import { eventually } from "../support/process.ts";
import { Stage, TestAgent, TestServer } from "../support/spire.ts";

/** Far more than an attacker is allowed, and what a load tool makes in some seconds. */
const CALLS = 3000;
const FLOOD = 20_000;

const stage = new Stage();
const opened: Clients[] = [];
let server: TestServer;
let agent: TestAgent;
let joined: JoinedAgent;

beforeAll(async () => {
  server = await TestServer.start(stage, "ours");
  agent = await TestAgent.start(stage, "ours", server, { settings: `log_level = "INFO"` });
  const uid = process.getuid?.() ?? 0;
  await server.entry("spiffe://example.org/self", agent.id, [`unix:uid:${uid}`]);
  await eventually("an SVID", async () => {
    const fetched = await agent.cli(["api", "fetch", "x509"]);
    return fetched.code === 0 ? true : undefined;
  });
  const keep = (clients: Clients): Clients => {
    opened.push(clients);
    return clients;
  };
  joined = await joinAgent({
    local: keep(localClients(server.socket)),
    remote: (identity) => keep(remoteClients(`127.0.0.1:${server.port}`, identity)),
  });
}, 60_000);
afterAll(async () => {
  for (const clients of opened) closeClients(clients);
  await stage.close();
}, 60_000);

type Headers = Readonly<Record<string, string>>;

const callHeaders = (path: string, more: Headers = {}): Headers => ({
  ":method": "POST",
  ":path": path,
  "content-type": "application/grpc",
  te: "trailers",
  ...more,
});

/** Sends a message and cancels when the first one comes back. @returns whether one did */
function oneMessage(session: ClientHttp2Session, headers: Headers): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const call = session.request(headers);
  call.on("error", () => {});
  call.once("data", () => {
    call.close(constants.NGHTTP2_CANCEL);
    resolve(true);
  });
  call.once("close", () => resolve(false));
  // Of no bytes, uncompressed.
  call.end(Buffer.alloc(5));
  return promise;
}

/** Some calls at a time, one after the other, on one connection. @returns how many were answered before it was closed */
async function churn(
  session: ClientHttp2Session,
  headers: Headers,
  atOnce: number,
): Promise<number> {
  let isOpen = true;
  session.on("goaway", () => {
    isOpen = false;
  });
  session.on("error", () => {});
  let answered = 0;
  const caller = async (): Promise<void> => {
    for (let n = 0; n < CALLS / atOnce && isOpen; n++) {
      if (await oneMessage(session, headers)) answered++;
    }
  };
  await Promise.all(Array.from({ length: atOnce }, caller));
  session.destroy();
  return answered;
}

const toAgent = (): ClientHttp2Session =>
  connect("http://localhost", { createConnection: () => connectSocket(agent.socket) });
const toServer = (identity: Partial<ClientIdentity> = {}): ClientHttp2Session =>
  connect(`https://127.0.0.1:${server.port}`, {
    rejectUnauthorized: false,
    key: identity.privateKeyPem,
    cert: identity.certificateChainPem,
  });

test("the Workload API answers every one of thousands of calls that are cancelled at their first message", async () => {
  const headers = callHeaders("/SpiffeWorkloadAPI/FetchX509SVID", { "workload.spiffe.io": "true" });
  expect(await churn(toAgent(), headers, 20)).toBe(CALLS);
}, 120_000);

test("so does the server, for an agent", async () => {
  const headers = callHeaders("/spire_edge.changes.v1.Changes/WatchChanges");
  expect(await churn(toServer(joined.identity), headers, 2)).toBe(CALLS);
}, 120_000);

const doors = {
  "the Workload API": {
    open: (): Duplex => connectSocket(agent.socket),
    path: "/SpiffeWorkloadAPI/FetchX509SVID",
    healthSocket: () => agent.socket,
  },
  "the server's port": {
    open: (): Duplex =>
      connectTls({ port: server.port, rejectUnauthorized: false, ALPNProtocols: ["h2"] }),
    path: "/spire.api.server.agent.v1.Agent/AttestAgent",
    healthSocket: () => server.socket,
  },
};

/** RFC 9113 §6 */
const [HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY] = [1, 3, 4, 6, 7];
const END_HEADERS = 4;

/** A client that says what it likes: libraries end a call properly before they take it back, and it is answered then. */
class RawClient {
  readonly #socket: Duplex;
  #rest = Buffer.alloc(0);
  #pong = Promise.withResolvers<void>();
  readonly #closed = Promise.withResolvers<number>();

  constructor(socket: Duplex) {
    this.#socket = socket;
    socket.on("data", (chunk: Buffer) => this.#read(chunk));
    socket.on("error", () => {});
    socket.on("close", () => this.#closed.resolve(constants.NGHTTP2_NO_ERROR));
    socket.write(Buffer.concat([PREFACE, frame(SETTINGS, 0, 0, Buffer.alloc(0))]));
  }

  /** Calls and takes back, until the connection is closed. @returns how it was closed, and after how many calls */
  async flood(path: string): Promise<readonly number[]> {
    const closed = this.#closed.promise;
    const block = writeHeaders(
      Object.entries({
        ...callHeaders(path, { "workload.spiffe.io": "true" }),
        ":scheme": "http",
        ":authority": "localhost",
      })
        .toSorted(([a], [b]) => Number(b.startsWith(":")) - Number(a.startsWith(":")))
        .map(([name, value]) => ({ name, value, index: 0, isSensitive: false })),
    );
    const cancelled = Buffer.from([0, 0, 0, constants.NGHTTP2_CANCEL]);
    let calls = 0;
    let isOpen = true;
    void closed.then(() => {
      isOpen = false;
    });
    while (calls < FLOOD && isOpen) {
      const frames = Array.from({ length: 50 }, () => {
        const stream = 2 * calls++ + 1;
        return [
          frame(HEADERS, END_HEADERS, stream, block),
          frame(RST_STREAM, 0, stream, cancelled),
        ];
      });
      this.#pong = Promise.withResolvers<void>();
      this.#socket.write(Buffer.concat([...frames.flat(), frame(PING, 0, 0, Buffer.alloc(8))]));
      // All that was sent is read: else it could all be sent before the other end has a chance to object.
      await Promise.race([this.#pong.promise, closed]);
    }
    const code = await closed;
    this.#socket.destroy();
    return [code, calls];
  }

  #read(chunk: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, chunk]);
    while (this.#rest.length >= FRAME_HEADER_BYTES) {
      const end = FRAME_HEADER_BYTES + this.#rest.readUIntBE(0, 3);
      if (this.#rest.length < end) return;
      const type = this.#rest[3];
      if (type === PING) this.#pong.resolve();
      if (type === GOAWAY) this.#closed.resolve(this.#rest.readUInt32BE(FRAME_HEADER_BYTES + 4));
      this.#rest = this.#rest.subarray(end);
    }
  }
}

test.each(Object.entries(doors))(
  "%s closes the connection of a client that takes its calls back unanswered, and serves others meanwhile",
  async (_name, { open, path, healthSocket }) => {
    const { address, credentials, options } = unixChannel(healthSocket());
    const health = new HealthClient(address, credentials, options);
    const flooded = new RawClient(open()).flood(path);
    await callUnary(health, "check", { service: "" }, { timeoutMs: 20_000 });
    const [code, calls] = await flooded;
    expect(code).toBe(constants.NGHTTP2_ENHANCE_YOUR_CALM);
    expect(calls).toBeLessThan(FLOOD);
    health.close();
  },
  60_000,
);

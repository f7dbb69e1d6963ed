/**
 * Calls that are cancelled, at every door. A client that reads one message of a stream and cancels it is a workload; one that takes its
 * calls back before they are answered, as fast as it can, is an attacker, and loses its connection.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { type ClientHttp2Session, connect, constants } from "node:http2";
import { connect as connectSocket } from "node:net";
import { callUnary, unixChannel } from "#grpc/client.ts";
import { HealthClient } from "#grpc/gen/grpc/health/v1/health.ts";
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
    open: toAgent,
    path: "/SpiffeWorkloadAPI/FetchX509SVID",
    healthSocket: () => agent.socket,
  },
  "the server's port": {
    open: toServer,
    path: "/spire.api.server.agent.v1.Agent/AttestAgent",
    healthSocket: () => server.socket,
  },
};

/** Calls and takes back, until the connection is closed. @returns how it was closed, and after how many calls */
async function flood(session: ClientHttp2Session, path: string): Promise<readonly number[]> {
  const closed = Promise.withResolvers<number>();
  session.on("goaway", (code: number) => closed.resolve(code));
  session.on("error", () => {});
  session.on("close", () => closed.resolve(constants.NGHTTP2_NO_ERROR));
  let calls = 0;
  while (calls < FLOOD && !session.closed && !session.destroyed) {
    takeBack(session, path);
    if (++calls % 50 === 0) await Promise.race([answersPing(session), closed.promise]);
  }
  const code = await closed.promise;
  session.destroy();
  return [code, calls];
}

/** That the other end has read all that was sent: without, it could be sent everything before it has a chance to object. */
async function answersPing(session: ClientHttp2Session): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  if (session.closed || session.destroyed || !session.ping(() => resolve())) return;
  await promise;
}

function takeBack(session: ClientHttp2Session, path: string): void {
  const call = session.request(callHeaders(path));
  call.on("error", () => {});
  call.close(constants.NGHTTP2_CANCEL);
}

test.each(Object.entries(doors))(
  "%s closes the connection of a client that takes its calls back unanswered, and serves others meanwhile",
  async (_name, { open, path, healthSocket }) => {
    const { address, credentials, options } = unixChannel(healthSocket());
    const health = new HealthClient(address, credentials, options);
    const flooded = flood(open(), path);
    await callUnary(health, "check", { service: "" }, { timeoutMs: 20_000 });
    const [code, calls] = await flooded;
    expect(code).toBe(constants.NGHTTP2_ENHANCE_YOUR_CALM);
    expect(calls).toBeLessThan(FLOOD);
    health.close();
  },
  60_000,
);

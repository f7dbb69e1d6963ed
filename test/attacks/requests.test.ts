/**
 * Requests that cost more than they are worth: large ones of callers that are not let in, small ones that inflate to large ones, and those
 * that are made of nothing but empty fields.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import type { ClientHttp2Session } from "node:http2";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { StatusCode } from "#spiffe/status-error.ts";
import { identityOnDisk } from "../support/agent-identity.ts";
import { framed, RawCallers, rawCall } from "../support/raw-calls.ts";
import { Stage, TestAgent, TestServer } from "../support/spire.ts";

const stage = new Stage();
const callers = new RawCallers();
let server: TestServer;
let agent: TestAgent;
let adminSocket: string;

beforeAll(async () => {
  server = await TestServer.start(stage, "ours", {
    settings: "ratelimit { attestation = false signing = false }",
  });
  adminSocket = join(stage.room("admin"), "admin.sock");
  agent = await TestAgent.start(stage, "ours", server, {
    settings: `admin_socket_path = "${adminSocket}"`,
  });
  await server.entry("spiffe://example.org/a", agent.id, ["unix:uid:0"]);
}, 60_000);

afterAll(async () => {
  callers.close();
  await stage.close();
}, 60_000);

/** So many empty fields with that number. */
const empties = (field: number, count: number): Buffer =>
  Buffer.alloc(2 * count, Buffer.from([field * 8 + 2, 0]));

/** The same, in a message that is a thousandth of its size. */
const bomb = (field: number, count: number): Buffer =>
  framed(gzipSync(empties(field, count)), true);

const AGENT = "/spire.api.server.agent.v1.Agent";
const ENTRY = "/spire.api.server.entry.v1.Entry";
const SVID = "/spire.api.server.svid.v1.SVID";

describe("a caller that is not let in is told upon its headers", () => {
  test.each([
    `${ENTRY}/BatchCreateEntry`,
    `${ENTRY}/SyncAuthorizedEntries`,
    `${SVID}/BatchNewX509SVID`,
    `${SVID}/MintX509SVID`,
    `${AGENT}/RenewAgent`,
    "/spire_edge.changes.v1.Changes/WatchChanges",
  ])("%s, of nobody", async (path) => {
    const nobody = await callers.tls(server.port);
    const denied = {
      code: StatusCode.PERMISSION_DENIED,
      message: `authorization denied for method ${path}`,
    };
    const halves = [
      Buffer.alloc(0),
      bomb(1, 2_000_000),
      framed(Buffer.alloc(100_000)).subarray(0, 60_000),
    ];
    for (const body of halves) {
      expect(await rawCall(nobody, path, body, { isEnd: false })).toEqual(denied);
    }
    // What was under way when the answer came harms nobody.
    expect(await rawCall(nobody, path, framed(Buffer.alloc(1_000_000)))).toEqual(denied);
    expect(nobody.closed || nobody.destroyed).toBe(false);
  });

  test("a workload without the security header", async () => {
    const session = callers.unix(agent.socket);
    const stream = session.request(
      {
        ":method": "POST",
        ":path": "/SpiffeWorkloadAPI/FetchJWTSVID",
        "content-type": "application/grpc",
      },
      { endStream: false },
    );
    const { promise, resolve } = Promise.withResolvers<unknown>();
    stream.on("response", (headers) => resolve(headers["grpc-status"]));
    expect(Number(await promise)).toBe(StatusCode.INVALID_ARGUMENT);
  });
});

interface Door {
  readonly name: string;
  readonly session: () => Promise<ClientHttp2Session>;
  readonly path: string;
  /** A field that repeats, or that the message does not know. */
  readonly field: number;
  /** More of them than are taken, in a message that is not too long. */
  readonly many?: number;
}

const asAgent = (): Promise<ClientHttp2Session> => callers.tls(server.port, identityOnDisk(agent));
const asWorkload = async (): Promise<ClientHttp2Session> => callers.unix(agent.socket);
const asDelegate = async (): Promise<ClientHttp2Session> => callers.unix(adminSocket);
const reflection = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
const DOORS: readonly Door[] = [
  { name: "an agent", session: asAgent, path: `${SVID}/BatchNewX509SVID`, field: 1 },
  { name: "an agent", session: asAgent, path: `${SVID}/NewJWTSVID`, field: 2 },
  {
    name: "an agent",
    session: asAgent,
    path: `${ENTRY}/SyncAuthorizedEntries`,
    field: 2,
    many: 140_000,
  },
  {
    name: "nobody",
    session: () => callers.tls(server.port),
    path: `${AGENT}/AttestAgent`,
    field: 1,
  },
  {
    name: "nobody",
    session: () => callers.tls(server.port),
    path: "/spire.api.server.bundle.v1.Bundle/GetBundle",
    field: 9,
  },
  {
    name: "a workload",
    session: asWorkload,
    path: "/envoy.service.secret.v3.SecretDiscoveryService/FetchSecrets",
    field: 3,
  },
  {
    name: "a workload",
    session: asWorkload,
    path: "/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets",
    field: 3,
  },
  { name: "a workload", session: asWorkload, path: "/SpiffeWorkloadAPI/FetchJWTSVID", field: 1 },
  { name: "a workload", session: asWorkload, path: "/SpiffeWorkloadAPI/FetchX509SVID", field: 1 },
  { name: "a workload", session: asWorkload, path: "/grpc.health.v1.Health/Check", field: 1 },
  { name: "a workload", session: asWorkload, path: reflection, field: 3 },
  {
    name: "a workload",
    session: asWorkload,
    path: "/spire_edge.explain.v1.Explain/ExplainWorkload",
    field: 2,
  },
  {
    name: "a local process",
    session: asDelegate,
    path: "/spire.agent.debug.v1.Debug/GetInfo",
    field: 1,
  },
  {
    name: "a local process",
    session: asDelegate,
    path: "/spire.api.agent.delegatedidentity.v1.DelegatedIdentity/FetchJWTSVIDs",
    field: 1,
  },
];

describe("what is more than any caller needs is refused before it is built", () => {
  const { RESOURCE_EXHAUSTED } = StatusCode;
  test.each(DOORS)("$path, by $name", async ({ session, path, field, many: count = 30_000 }) => {
    const open = await session();
    const inflated = await rawCall(open, path, bomb(field, 2_500_000), { isEnd: false });
    expect(inflated.code).toBe(RESOURCE_EXHAUSTED);
    expect(inflated.message).toMatch(/decompresses to more than \d+ bytes/);
    const long = await rawCall(open, path, framed(Buffer.alloc(5_000_000)).subarray(0, 9), {
      isEnd: false,
    });
    expect(long.code).toBe(RESOURCE_EXHAUSTED);
    expect(long.message).toMatch(/larger than max/);
    const many = await rawCall(open, path, framed(empties(field, count)));
    expect(many.code).toBe(RESOURCE_EXHAUSTED);
    expect(many.message).toMatch(/more than \d+ fields/);
  });
});

/** The most that a process ever had in memory, bytes. */
function peak(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "latin1");
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
}

test("messages that come together are inflated one after the other, each when the last was taken", async () => {
  const before = peak(agent.daemon.pid);
  const one = framed(gzipSync(Buffer.alloc(60_000)), true);
  const together = Buffer.concat(Array<Buffer>(150).fill(one));
  const session = callers.unix(agent.socket);
  const calls = Array.from({ length: 40 }, () => rawCall(session, reflection, together));
  // A message of zeros is none; that the first of them is refused ends the call.
  expect(new Set((await Promise.all(calls)).map(({ code }) => code))).toEqual(
    new Set([StatusCode.INVALID_ARGUMENT]),
  );
  expect(peak(agent.daemon.pid) - before).toBeLessThan(100 * 1024 * 1024);
});

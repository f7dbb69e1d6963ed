import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { ManualClock } from "#clock/manual-clock.fixture.ts";
import { tlsPolicy } from "#http/tls-policy.ts";
import { createLog } from "#log/log.ts";
import { HealthClient, HealthService } from "#proto/grpc/health/v1/health.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import { privateKeyToPkcs8Pem } from "#x509/keys.ts";
import { certificatesToPem } from "#x509/pem.ts";
import { type Made, make } from "#x509/pki.fixture.ts";
import { bindService } from "./bind.ts";
import { type Channel, callUnary, tlsChannel } from "./client.ts";
import { serverChannel } from "./server-channel.ts";
import { listenTls, type TlsListener } from "./tls-listener.ts";
import { isUnknownAuthority } from "./verifying-credentials.ts";

const policy = tlsPolicy(false);
const log = createLog({ level: "error", format: "text" }, () => 0, { write: () => {} });
const NOW = Math.floor(Date.now() / 1000);
const HOUR = 3600;
const valid = { notBefore: NOW - HOUR, notAfter: NOW + HOUR };
const SERVER = "spiffe://example.org/spire/server";
const listeners: TlsListener[] = [];
let ca: Made;
let other: Made;

beforeAll(async () => {
  ca = await make({ name: "ca", isCa: true, ...valid });
  other = await make({ name: "other", isCa: true, ...valid });
});

afterAll(async () => {
  for (const listener of listeners) await listener.close(0);
});

/** A server with a certificate of the CA, for a time. @returns its port */
async function serve(uri: string, time: { notBefore: number; notAfter: number }): Promise<number> {
  const { key, certificate } = await make({ name: "server", issuer: ca, uri, ...time });
  const listener = await listenTls({
    host: "127.0.0.1",
    port: 0,
    identity: {
      privateKeyPem: privateKeyToPkcs8Pem(key),
      certificateChainPem: certificatesToPem([certificate.der]),
    },
    policy,
    services: [bindService(HealthService, { check: async () => ({ status: 1 }) }, { log })],
    limits: { connections: 8, perSource: 8, strangersPerSource: 8 },
    log,
  });
  listeners.push(listener);
  return Number(listener.address.split(":").at(-1));
}

function channelTo(serverPort: number, roots: readonly Made[]): Channel {
  const address = {
    trustDomain: TrustDomain.parse("example.org"),
    serverAddress: "127.0.0.1",
    serverPort,
    tlsPolicy: policy,
  };
  const ders = roots.map(({ certificate }) => certificate.der);
  return serverChannel(address, ders, undefined, new ManualClock(NOW));
}

/** What a call over the channel comes to. */
async function call({ address, credentials, options }: Channel): Promise<unknown> {
  const client = new HealthClient(address, credentials, options);
  try {
    return await callUnary(client, "check", { service: "" });
  } catch (error) {
    return error;
  } finally {
    client.close();
  }
}

const unavailable = (words: string): object =>
  expect.objectContaining({
    code: StatusCode.UNAVAILABLE,
    message: expect.stringContaining(words),
  });

describe("a server", () => {
  test("with the ID of the trust domain's server is called", async () => {
    expect(await call(channelTo(await serve(SERVER, valid), [ca]))).toMatchObject({ status: 1 });
  });

  test.each([
    "spiffe://example.org/spire/agent/x509pop/a",
    "spiffe://example.org/db",
    "spiffe://example.com/spire/server",
  ])("with the ID %s is not", async (id) => {
    const answer = await call(channelTo(await serve(id, valid), [ca]));
    expect(answer).toEqual(unavailable(`unexpected server ID "${id}", expected "${SERVER}"`));
    expect(isUnknownAuthority(answer)).toBe(false);
  });

  test("of another authority is not", async () => {
    const answer = await call(channelTo(await serve(SERVER, valid), [other]));
    expect(answer).toEqual(unavailable("x509: certificate signed by unknown authority"));
    expect(isUnknownAuthority(answer)).toBe(true);
  });

  test.each([
    ["has expired", { notBefore: NOW - 2 * HOUR, notAfter: NOW - HOUR }],
    ["is not yet valid", { notBefore: NOW + HOUR, notAfter: NOW + 2 * HOUR }],
  ])("whose certificate %s is not", async (problem, time) => {
    const answer = await call(channelTo(await serve(SERVER, time), [ca]));
    expect(answer).toEqual(unavailable(`the server's certificate ${problem}`));
    expect(isUnknownAuthority(answer)).toBe(false);
  });
});

test("without a trust bundle, whoever calls judges the chain alone, and what they throw refuses it", async () => {
  const port = await serve(SERVER, valid);
  const asked: number[] = [];
  const channel = tlsChannel({
    host: "127.0.0.1",
    port,
    policy,
    verifyServer: (chain) => {
      asked.push(chain.length);
      throw new Error("not this one");
    },
  });
  expect(await call(channel)).toEqual(unavailable("not this one"));
  expect(asked.length).toBeGreaterThan(0);
});

test.each([
  [StatusCode.UNAVAILABLE, "certificate signed by unknown authority", true],
  [StatusCode.INTERNAL, "certificate signed by unknown authority", false],
  [StatusCode.UNAVAILABLE, "connection refused", false],
])("a status of %p that says %p: unknown authority %p", (code, message, expected) => {
  expect(isUnknownAuthority(new StatusError(code, message))).toBe(expected);
  expect(isUnknownAuthority(new Error(message))).toBe(false);
});

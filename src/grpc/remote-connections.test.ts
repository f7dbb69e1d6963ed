import { afterAll, beforeAll, expect, test } from "bun:test";
import { connect, type Socket } from "node:net";
import { ChannelCredentials } from "@grpc/grpc-js";
import { tlsPolicy } from "#http/tls-policy.ts";
import { createLog } from "#log/log.ts";
import { HealthClient, HealthService } from "#proto/grpc/health/v1/health.ts";
import { privateKeyToPkcs8Pem } from "#x509/keys.ts";
import { certificatesToPem } from "#x509/pem.ts";
import { type Made, make } from "#x509/pki.fixture.ts";
import { bindService } from "./bind.ts";
import { callUnary } from "./client.ts";
import { TrustedProxies } from "./proxied-connections.ts";
import { listenTls, type TlsListener } from "./tls-listener.ts";

const LIMITS = { connections: 8, perSource: 6, strangersPerSource: 3 };
const lines: string[] = [];
const log = createLog({ level: "info", format: "text" }, () => 0, {
  write: (line) => void lines.push(line),
});
let server: Made;
let listener: TlsListener;
const sockets: Socket[] = [];
const clients: HealthClient[] = [];

beforeAll(async () => {
  server = await make({ name: "server", uri: "spiffe://example.org/server" });
  const health = bindService(
    HealthService,
    { check: async () => ({ status: 1 }) },
    {
      guard: async ({ caller }) => {
        if (caller.kind === "tls" && caller.certificates.length > 0) caller.isKnown();
      },
      log,
    },
  );
  listener = await listenTls({
    host: "127.0.0.1",
    port: 0,
    identity: identity(),
    policy: tlsPolicy(false),
    trustedProxies: new TrustedProxies(["127.0.0.0/8"]),
    services: [health],
    limits: LIMITS,
    log,
  });
});

afterAll(async () => {
  for (const client of clients) client.close();
  for (const socket of sockets) socket.destroy();
  await listener.close(0);
});

const identity = () => ({
  privateKeyPem: privateKeyToPkcs8Pem(server.key),
  certificateChainPem: certificatesToPem([server.certificate.der]),
});
const portOf = (): number => Number(listener.address.split(":").at(-1));

interface Opened {
  readonly socket: Socket;
  readonly closed: Promise<void>;
}

/** Opens a connection, as a balancer does for a client at that address, and says nothing more. */
async function openFrom(address: string): Promise<Opened> {
  const opened = Promise.withResolvers<void>();
  const closed = Promise.withResolvers<void>();
  const family = address.includes(":") ? "TCP6" : "TCP4";
  const here = address.includes(":") ? "::1" : "127.0.0.1";
  const socket = connect(portOf(), "127.0.0.1", () => opened.resolve());
  sockets.push(socket);
  socket.on("error", () => {});
  socket.on("close", () => closed.resolve());
  socket.resume();
  await opened.promise;
  socket.write(`PROXY ${family} ${address} ${here} 1 2\r\n`);
  return { socket, closed: closed.promise };
}

const isOpen = ({ socket }: Opened): boolean => !socket.destroyed;
const close = (all: readonly Opened[]): void => {
  for (const { socket } of all) socket.destroy();
};

/** A caller that shows who it is, directly from 127.0.0.1. */
async function knownCaller(): Promise<() => Promise<unknown>> {
  const { privateKeyPem, certificateChainPem } = identity();
  const secure = ChannelCredentials.createSsl(
    null,
    Buffer.from(privateKeyPem),
    Buffer.from(certificateChainPem),
    { rejectUnauthorized: false, checkServerIdentity: () => undefined },
  );
  const client = new HealthClient(`127.0.0.1:${portOf()}`, secure, {
    "grpc.ssl_target_name_override": "server",
    "grpc.use_local_subchannel_pool": 1,
  });
  clients.push(client);
  const call = () => callUnary(client, "check", { service: "" }, { timeoutMs: 30_000 });
  await call();
  return call;
}

test.each([
  ["one IPv4 address", () => "192.0.2.7"],
  ["the addresses of one IPv6 network", (n: number) => `2001:db8:1:2::${n + 1}`],
])("of %s the oldest connection of a stranger goes", async (_, address) => {
  const first = await openFrom(address(0));
  const others = [await openFrom(address(1)), await openFrom(address(2))];
  const elsewhere = await openFrom("198.51.100.1");
  expect(isOpen(first)).toBe(true);
  const last = await openFrom(address(3));
  await first.closed;
  expect([...others, last, elsewhere].every(isOpen)).toBe(true);
  close([...others, last, elsewhere]);
});

test("a caller that has shown who it is stays, and strangers make room for another", async () => {
  const call = await knownCaller();
  const flood: Opened[] = [];
  for (let n = 0; n < 20; n += 1) flood.push(await openFrom("127.0.0.1"));
  await Promise.all(flood.slice(0, 17).map(({ closed }) => closed));
  expect(flood.slice(17).every(isOpen)).toBe(true);
  await call();
  const another = await knownCaller();
  await Promise.all([call(), another()]);
  close(flood);
});

test("when all together are too many, the source with the most strangers has one less", async () => {
  const heavy: Opened[] = [];
  for (let n = 0; n < 3; n += 1) heavy.push(await openFrom("203.0.113.1"));
  const light: Opened[] = [];
  // Two callers are there from before.
  for (const address of ["203.0.113.2", "203.0.113.3", "203.0.113.4", "203.0.113.5"]) {
    light.push(await openFrom(address));
  }
  await heavy[0]?.closed;
  expect([...heavy.slice(1), ...light].every(isOpen)).toBe(true);
});

test("the log says so once for each address", () => {
  const told = lines.filter((line) => line.includes("Connection closed"));
  expect(told.filter((line) => line.includes("address=127.0.0.1 "))).toHaveLength(1);
  expect(told.join("\n")).toContain("2001:db8:1:2::/64");
  expect(told.join("\n")).toContain("too many connections of one address");
});

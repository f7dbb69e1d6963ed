import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { connect } from "node:net";
import { ChannelCredentials } from "@grpc/grpc-js";
import { tlsPolicy } from "#http/tls-policy.ts";
import { createLog } from "#log/log.ts";
import { HealthClient, HealthService } from "#proto/grpc/health/v1/health.ts";
import { privateKeyToPkcs8Pem } from "#x509/keys.ts";
import { certificatesToPem } from "#x509/pem.ts";
import { make } from "#x509/pki.fixture.ts";
import { type Balancer, balance } from "./balancer.fixture.ts";
import { bindService } from "./bind.ts";
import { callUnary } from "./client.ts";
import { TrustedProxies } from "./proxied-connections.ts";
import { listenTls, type TlsListener } from "./tls-listener.ts";

/** How long `hasty` listeners wait for a client's first call; the others wait as long as they do in earnest. */
const HANDSHAKE_MS = 300;
/** Longer than anything takes here but a wait that is in vain. */
const SOON_MS = 5000;
const lines: string[] = [];
const log = createLog({ level: "debug", format: "text" }, () => 0, {
  write: (line) => void lines.push(line),
});
const listeners: Record<string, TlsListener> = {};
/** Where the callers of the health service were. */
const seen: string[] = [];

beforeAll(async () => {
  const { certificate, key } = await make({ name: "server", uri: "spiffe://example.org/server" });
  const health = bindService(
    HealthService,
    {
      check: async (_request, { caller }) => {
        seen.push(caller.kind === "tls" ? caller.remoteAddress : caller.kind);
        return { status: 1 };
      },
    },
    { log },
  );
  const cidrs = { trusting: "127.0.0.0/8", strict: "10.0.0.0/8" };
  for (const [name, cidr] of Object.entries({
    ...cidrs,
    hastyTrusting: cidrs.trusting,
    hastyStrict: cidrs.strict,
  })) {
    const limits = name.startsWith("hasty") ? { limits: { firstCallMs: HANDSHAKE_MS } } : {};
    listeners[name] = await listenTls({
      host: "127.0.0.1",
      port: 0,
      identity: {
        privateKeyPem: privateKeyToPkcs8Pem(key),
        certificateChainPem: certificatesToPem([certificate.der]),
      },
      policy: tlsPolicy(false),
      trustedProxies: new TrustedProxies([cidr]),
      services: [health],
      ...limits,
      log,
    });
  }
});

afterAll(async () => {
  for (const listener of Object.values(listeners)) await listener.close(0);
});

function portOf(name: string): number {
  return Number(listeners[name]?.address.split(":").at(-1));
}

const balancers: Balancer[] = [];
afterEach(async () => {
  for (const balancer of balancers.splice(0)) await balancer.close();
});

/** Where the listener sees the client that comes that way. @throws StatusError when it is turned away */
async function seenFrom(name: string, header: string | Buffer, piece?: number): Promise<unknown> {
  const balancer = await balance(portOf(name), header, piece);
  balancers.push(balancer);
  const unverified = ChannelCredentials.createSsl(null, null, null, {
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
  });
  const client = new HealthClient(`127.0.0.1:${balancer.port}`, unverified, {
    "grpc.ssl_target_name_override": "server",
    "grpc.use_local_subchannel_pool": 1,
  });
  try {
    await callUnary(client, "check", { service: "" }, { timeoutMs: 30_000 });
    return seen.pop();
  } finally {
    client.close();
  }
}

/** Milliseconds until the listener hangs up on a client that writes that and waits. */
async function hungUpAfterMs(name: string, bytes: string | Buffer): Promise<number> {
  const began = performance.now();
  const socket = connect(portOf(name), "127.0.0.1", () => void socket.write(bytes));
  await new Promise<void>((resolve) => {
    socket.on("error", () => {});
    socket.on("close", () => resolve());
    socket.resume();
  });
  return performance.now() - began;
}

const LINE = "PROXY TCP4 192.0.2.7 198.51.100.1 56324 8081\r\n";
const BINARY = Buffer.from("0d0a0d0a000d0a515549540a2111000cc0000207c6336401dc041f91", "hex");

describe.each([
  ["version 1", LINE],
  ["version 2", BINARY],
])("%s", (_, header) => {
  test("from a balancer that is trusted says where the client is", async () => {
    expect(await seenFrom("trusting", header)).toBe("192.0.2.7");
  });

  test("may come byte by byte, and the client's first bytes too", async () => {
    expect(await seenFrom("trusting", header, 1)).toBe("192.0.2.7");
  });

  test("from anybody else is refused", async () => {
    await expect(seenFrom("strict", header)).rejects.toThrow();
  });
});

test("connections one after the other have an address each", async () => {
  const addresses = ["192.0.2.1", "192.0.2.2", "192.0.2.3"];
  const headers = addresses.map((address) => LINE.replace("192.0.2.7", address));
  const found = [];
  for (const header of headers) found.push(await seenFrom("trusting", header));
  expect(found).toEqual(addresses);
});

test("without a header the client is where the connection comes from", async () => {
  expect(await seenFrom("trusting", "")).toBe("127.0.0.1");
  expect(await seenFrom("strict", "")).toBe("127.0.0.1");
  expect(await seenFrom("trusting", "PROXY UNKNOWN\r\n")).toBe("127.0.0.1");
});

test("what only looks like a header is refused at once", async () => {
  expect(await hungUpAfterMs("trusting", "PROXY TCP4 a b c d\r\n")).toBeLessThan(SOON_MS);
});

test.each([
  ["hastyTrusting", "", "nothing"],
  ["hastyTrusting", "PROXY TCP4 192.0", "a part of a header"],
  ["hastyTrusting", LINE, "a header alone"],
  ["hastyStrict", "", "nothing, and is not trusted"],
])("%s hangs up on who says %p: %s", async (name, bytes) => {
  const waited = await hungUpAfterMs(name, bytes);
  expect(waited).toBeGreaterThan(HANDSHAKE_MS - 50);
  expect(waited).toBeLessThan(SOON_MS);
});

test.each([
  ["strict", "no TLS at all, whatever it may be\r\n\r\n", "127.0.0.1"],
  ["trusting", `${LINE}no TLS at all, whatever it may be\r\n\r\n`, "192.0.2.7"],
])("%s tells the address of who does not speak TLS: %p", async (name, bytes, address) => {
  lines.length = 0;
  await hungUpAfterMs(name, bytes);
  const told = lines.filter((line) => line.includes("TLS handshake failed"));
  expect(told).toEqual([expect.stringContaining(`address=${address}`)]);
});

test.each([
  ["10.1.2.3", true],
  ["11.0.0.1", false],
  ["::ffff:10.0.0.1", true],
  ["2001:db8::5", true],
  ["2001:db9::5", false],
  ["", false],
])("%s is in a trusted network: %p", (address, expected) => {
  expect(new TrustedProxies(["10.0.0.0/8", "2001:db8::/32"]).trusts(address)).toBe(expected);
});

test.each(["10.0.0.0", "10.0.0.0/33", "x/8", "::/129", "10.0.0.0/8 "])(
  "%j is no network",
  (cidr) => {
    expect(() => new TrustedProxies([cidr])).toThrow(JSON.stringify(cidr));
  },
);

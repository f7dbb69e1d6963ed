import { afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { once } from "node:events";
import { connect as connectSocket, type Socket } from "node:net";
import { type ConnectionOptions, connect, type TLSSocket } from "node:tls";
import { ManualClock } from "#clock/manual-clock.fixture.ts";
import { tlsPolicy } from "#http/tls-policy.ts";
import { createLog } from "#log/log.ts";
import { Certificate } from "#x509/certificate.ts";
import { type BundleEndpoint, serveBundleEndpoint } from "./endpoint.ts";
import { identity, type TestIdentity } from "./endpoints.fixture.ts";

let first: TestIdentity;
let second: TestIdentity;
beforeAll(async () => {
  first = await identity({ name: "first" });
  second = await identity({ name: "second", keyType: "rsa-2048" });
});

let clock: ManualClock;
let logged: string[];
let document: () => Promise<Buffer>;
let endpoint: BundleEndpoint;
beforeEach(async () => {
  clock = new ManualClock();
  logged = [];
  document = async () => Buffer.from('{"keys":[]}');
  const log = createLog({ level: "info", format: "text" }, () => 0, {
    write: (line) => void logged.push(line),
  });
  endpoint = await serveBundleEndpoint({
    host: "127.0.0.1",
    port: 0,
    identity: first,
    policy: tlsPolicy(false),
    document: () => document(),
    clock,
    log,
  });
});
afterEach(() => endpoint.close());

async function connected(options: ConnectionOptions = {}): Promise<TLSSocket> {
  const port = Number(endpoint.address.split(":").at(-1));
  const socket = connect({ host: "127.0.0.1", port, rejectUnauthorized: false, ...options });
  await once(socket, "secureConnect");
  return socket;
}

/** Everything the endpoint says until it ends the connection, in whatever way. */
async function ending(socket: TLSSocket): Promise<string> {
  const chunks: Buffer[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  socket.on("data", (chunk: Buffer) => void chunks.push(chunk));
  socket.on("error", () => undefined);
  socket.once("close", () => resolve());
  if (!socket.destroyed) await promise;
  return Buffer.concat(chunks).toString();
}

async function exchange(request: string): Promise<string> {
  const socket = await connected();
  socket.write(request);
  return ending(socket);
}

const get = (target: string): string => `GET ${target} HTTP/1.1\r\nHost: x\r\n\r\n`;

test("§5.2.1.3: GET / gives the document as JSON, and the connection ends", async () => {
  const answer = await exchange(get("/"));
  expect(answer).toStartWith("HTTP/1.1 200 OK\r\n");
  expect(answer).toMatch(/^content-type: application\/json\r$/im);
  expect(answer).toMatch(/^connection: close\r$/im);
  expect(answer).toEndWith('\r\n\r\n{"keys":[]}');
});

test.each(["/?x=y", "https://example.org", "https://example.org/"])(
  "so does GET %s",
  async (target) => {
    expect(await exchange(get(target))).toEndWith('{"keys":[]}');
  },
);

test.each(["/bundle", "//", "/index.html?/", "https://example.org/x", "*"])(
  "GET %s is not found",
  async (target) => {
    const answer = await exchange(get(target));
    expect(answer).toStartWith("HTTP/1.1 404 ");
    expect(answer).toEndWith("404 page not found\n");
  },
);

test.each(["HEAD", "POST", "PUT", "DELETE", "OPTIONS"])(
  "%s is not allowed, whatever the path",
  async (method) => {
    const answer = await exchange(`${method} /x HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n`);
    expect(answer).toStartWith("HTTP/1.1 405 ");
    expect(answer).toMatch(/^allow: GET\r$/im);
  },
);

test("a request without a bundle to give is an error of the server's, and logged", async () => {
  document = async () => {
    throw new Error("trust domain bundle not found");
  };
  expect(await exchange(get("/"))).toStartWith("HTTP/1.1 500 ");
  expect(logged.join("")).toContain("trust domain bundle not found");
});

describe("a stranger gets little", () => {
  test("no more than 250 connections from one address: the oldest goes", async () => {
    const port = Number(endpoint.address.split(":").at(-1));
    const sockets: Socket[] = [];
    for (let n = 0; n < 251; n += 1) {
      const socket = connectSocket({ host: "127.0.0.1", port });
      socket.on("error", () => {});
      sockets.push(socket);
      await once(socket, "connect");
    }
    const [oldest, ...others] = sockets;
    if (oldest !== undefined && !oldest.destroyed) await once(oldest.resume(), "close");
    expect(new Set(others.map(({ readyState }) => readyState))).toEqual(new Set(["open"]));
    for (const socket of others) socket.destroy();
  });

  test("one answer a connection", async () => {
    let times = 0;
    document = async () => {
      times++;
      return Buffer.from("{}");
    };
    const answer = await exchange(get("/").repeat(50));
    expect(answer.match(/HTTP\/1\.1/g)).toHaveLength(1);
    expect(times).toBe(1);
  });

  test("no long headers, no many headers", async () => {
    const long = `GET / HTTP/1.1\r\nHost: x\r\nX: ${"x".repeat(10_000)}\r\n\r\n`;
    const many = `GET / HTTP/1.1\r\nHost: x\r\n${"a: b\r\n".repeat(5000)}\r\n`;
    for (const request of [long, many]) expect(await exchange(request)).not.toContain("200 OK");
  });

  test("no answer to what is not HTTP", async () => {
    expect(await exchange("\u0000\u0001\u0002 hello\r\n\r\n")).not.toContain("200 OK");
  });

  test("20 s, for a request that does not come and for one that does not end", async () => {
    for (const said of ["", "GET / HTTP/1.1\r\nHost: x\r\n", "POST / HTTP/1.1\r\nHost: "]) {
      const socket = await connected();
      socket.write(said);
      await clock.untilNext();
      clock.pass(19_999);
      expect(socket.readyState).toBe("open");
      clock.pass(1);
      expect(await ending(socket)).toBe("");
    }
  });
});

describe("TLS", () => {
  test.each([
    ["1.1", { maxVersion: "TLSv1.1", minVersion: "TLSv1" }],
    ["without forward secrecy", { maxVersion: "TLSv1.2", ciphers: "AES128-GCM-SHA256" }],
    ["with CBC", { maxVersion: "TLSv1.2", ciphers: "ECDHE-ECDSA-AES128-SHA" }],
  ] as const)("%s is refused (§5.2, Mozilla intermediate)", async (_, options) => {
    const outcome = await connected(options).then(
      () => "accepted",
      () => "refused",
    );
    expect(outcome).toBe("refused");
  });

  test("1.2 with forward secrecy is taken", async () => {
    const options = { maxVersion: "TLSv1.2", ciphers: "ECDHE-ECDSA-AES128-GCM-SHA256" } as const;
    const socket = await connected(options);
    expect(socket.getProtocol()).toBe("TLSv1.2");
    socket.destroy();
  });

  const shown = async (): Promise<string> => {
    const socket = await connected();
    const { subjectText } = Certificate.parse(socket.getPeerCertificate().raw);
    socket.destroy();
    return subjectText;
  };

  test("another certificate is shown from now on; one without its key is not, and the last stays", async () => {
    expect(await shown()).toBe("CN=first");
    endpoint.setIdentity(second);
    expect(await shown()).toBe("CN=second");
    expect(() => endpoint.setIdentity({ ...first, privateKeyPem: second.privateKeyPem })).toThrow();
    expect(await shown()).toBe("CN=second");
  });
});

test("closing ends connections that are open", async () => {
  const socket = await connected();
  await endpoint.close();
  expect(await ending(socket)).toBe("");
});

test("an address that is taken is named", async () => {
  const port = Number(endpoint.address.split(":").at(-1));
  const log = createLog({ level: "info", format: "text" }, () => 0, { write: () => undefined });
  const again = serveBundleEndpoint({
    host: "127.0.0.1",
    port,
    identity: first,
    policy: tlsPolicy(false),
    document,
    clock,
    log,
  });
  const problem = await again.then(
    () => "",
    (error: Error) => error.message,
  );
  expect(problem).toContain(`127.0.0.1:${port}: another process`);
});

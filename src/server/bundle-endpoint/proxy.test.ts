import { afterEach, beforeAll, describe, expect, test } from "bun:test";
import { createServer, type IncomingMessage } from "node:http";
import { type AddressInfo, connect } from "node:net";
import type { Duplex } from "node:stream";
import { ManualClock } from "#clock/manual-clock.fixture.ts";
import { type Environment, proxyFor } from "#http/proxy.ts";
import { tlsPolicy } from "#http/tls-policy.ts";
import { formatBundleDocument } from "#jwt/bundle-document.ts";
import { type Bundle, emptyBundle } from "#spiffe/bundle.ts";
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import { type Made, make } from "#x509/pki.fixture.ts";
import { endpoint, identity, type TestEndpoint } from "./endpoints.fixture.ts";
import { fetchBundle } from "./fetch-bundle.ts";

describe("which way to take", () => {
  const HTTPS_PROXY = "http://proxy:3128";
  const way = (host: string, env: Environment, port = 443): string =>
    proxyFor(host, port, env)?.host ?? "direct";

  test.each([
    [{}, "direct"],
    [{ HTTPS_PROXY }, "proxy:3128"],
    [{ https_proxy: "proxy:3128" }, "proxy:3128"],
    [{ HTTPS_PROXY, https_proxy: "http://other" }, "proxy:3128"],
    [{ HTTP_PROXY: "http://proxy" }, "direct"],
    [{ HTTPS_PROXY, NO_PROXY: "other.org, example.org" }, "direct"],
    [{ HTTPS_PROXY, no_proxy: "EXAMPLE.org" }, "direct"],
  ])("to example.org with %j: %s", (env, expected) => {
    expect(way("example.org", env)).toBe(expected);
  });

  test.each([
    ["localhost", ""],
    ["127.0.0.9", ""],
    ["::1", ""],
    ["example.org", "*"],
    ["a.example.org", "example.org"],
    ["a.example.org", ".example.org"],
    ["a.example.org", "*.example.org"],
    ["example.org", "example.org:443"],
    ["10.1.2.3", "10.0.0.0/8"],
    ["10.1.2.3", "10.1.2.3"],
    ["fd00::1", "fd00::/8"],
    ["fd00::1", "fd00::1"],
    ["fd00::1", "[fd00::1]:443"],
  ])("to %s, where NO_PROXY is %p, directly", (host, NO_PROXY) => {
    expect(way(host, { HTTPS_PROXY, NO_PROXY })).toBe("direct");
  });

  test.each([
    ["example.org", ".example.org"],
    ["notexample.org", "example.org"],
    ["example.org", "example.org:8443"],
    ["11.1.2.3", "10.0.0.0/8"],
    ["example.org", "10.0.0.0/8"],
    ["10.1.2.3", "fd00::/8"],
    ["10.1.2.3", "10.0.0.0/99"],
    ["10.1.2.3", "2.3"],
  ])("to %s, where NO_PROXY is %p, by the proxy", (host, NO_PROXY) => {
    expect(way(host, { HTTPS_PROXY, NO_PROXY })).toBe("proxy:3128");
  });

  test.each(["socks5://proxy", "https://proxy", "http://"])("%s is refused", (wrong) => {
    expect(() => way("example.org", { HTTPS_PROXY: wrong })).toThrow("HTTPS_PROXY");
  });

  test("what is wrong is said without the password", () => {
    expect(() => way("a.org", { HTTPS_PROXY: "socks5://me:secret@proxy" })).not.toThrow("secret");
  });
});

describe("a fetch by a proxy", () => {
  const trustDomain = TrustDomain.parse("f.org");
  const ID = "spiffe://f.org/endpoint";
  let root: Made;
  let bundle: Bundle;
  beforeAll(async () => {
    root = await make({ name: "root", isCa: true, uri: "spiffe://f.org" });
    const x509Authorities = [{ certificate: root.certificate.der, tainted: false }];
    bundle = { ...emptyBundle(trustDomain), x509Authorities };
  });

  const ends: (() => unknown)[] = [];
  afterEach(async () => {
    for (const end of ends.splice(0)) await end();
  });

  /** A proxy that knows all names as this machine. */
  async function proxy(
    answer: (socket: Duplex, to: () => void) => void,
  ): Promise<{ url: string; asked: IncomingMessage[] }> {
    const asked: IncomingMessage[] = [];
    const server = createServer((_, response) => response.end());
    server.on("connect", (request, socket) => {
      asked.push(request);
      socket.on("error", () => undefined);
      answer(socket, () => {
        const target = connect(Number(request.url?.split(":").at(-1)), "127.0.0.1");
        target.on("error", () => socket.destroy());
        socket.pipe(target).pipe(socket);
      });
    });
    const { promise, resolve } = Promise.withResolvers<void>();
    server.listen(0, "127.0.0.1", resolve);
    await promise;
    ends.push(
      () => server.closeAllConnections(),
      () => server.close(),
    );
    return { url: `127.0.0.1:${(server.address() as AddressInfo).port}`, asked };
  }

  async function served(): Promise<TestEndpoint> {
    const by = await identity({ name: "endpoint", issuer: root, uri: ID });
    const one = await endpoint(by, (_, response) => response.end(formatBundleDocument(bundle)));
    ends.push(() => one[Symbol.asyncDispose]());
    return one;
  }

  const fetched = (port: number, HTTPS_PROXY: string, id = ID): Promise<Bundle> =>
    fetchBundle({
      trustDomain,
      url: `https://far.example:${port}/`,
      proof: {
        kind: "https_spiffe",
        endpointSpiffeId: SpiffeId.parse(id),
        roots: [root.certificate],
      },
      policy: tlsPolicy(false),
      clock: new ManualClock(),
      env: { HTTPS_PROXY },
      signal: new AbortController().signal,
    });
  const problemOf = (fetching: Promise<Bundle>): Promise<string> =>
    fetching.then(
      () => "",
      (error: Error) => error.message,
    );
  const pass = (socket: Duplex, to: () => void): void => {
    socket.write("HTTP/1.1 200 Connection established\r\n\r\n");
    to();
  };

  test("reaches the endpoint, and shows the proxy its name and password", async () => {
    const { port } = await served();
    const { url, asked } = await proxy(pass);
    expect(await fetched(port, `http://me:p%40ss@${url}`)).toEqual(bundle);
    expect(asked.map((request) => request.url)).toEqual([`far.example:${port}`]);
    const basic = Buffer.from("me:p@ss").toString("base64");
    expect(asked[0]?.headers["proxy-authorization"]).toBe(`Basic ${basic}`);
  });

  test("believes the endpoint no more than without one", async () => {
    const { port } = await served();
    const { url } = await proxy(pass);
    expect(await problemOf(fetched(port, url, "spiffe://f.org/other"))).toContain("unexpected ID");
  });

  test.each([
    ["HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n", "it answered 407"],
    ["HTTP/1.1 200 OK\r\n\r\nhello, I am the endpoint", "it spoke for the far end"],
    [`HTTP/1.1 200 OK\r\nX: ${"x".repeat(20_000)}\r\n\r\n`, "its answer is too long"],
    ["what?\r\n\r\n", "it does not answer as a proxy does"],
    ["", "it closed the connection"],
  ])("%p is refused", async (answer, problem) => {
    const { url } = await proxy((socket) => void socket.end(answer));
    const shown = await problemOf(fetched(1, `http://me:secret@${url}`));
    expect(shown).toStartWith(`proxy ${url}: ${problem}`);
    expect(shown).not.toContain("secret");
  });

  test("says when there is no proxy", async () => {
    expect(await problemOf(fetched(1, "http://127.0.0.1:1"))).toMatch(
      /^proxy 127.0.0.1:1: .*ECONNREFUSED/,
    );
  });
});

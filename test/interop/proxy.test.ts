/** Where nobody gets out directly: agents, nested servers and whatever fetches a bundle go by the proxy that the environment names. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { createServer as createHttpsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { joins, wordOf } from "../support/joining-node.ts";
import { serverBelow } from "../support/nested.ts";
import { eventually } from "../support/process.ts";
import { Stage, TestAgent, TestServer, TRUST_DOMAIN } from "../support/spire.ts";
import { WebCa } from "../support/web-ca.ts";
import { type WebProxy, webProxy } from "../support/web-proxy.ts";

/** A name that only the proxy knows. */
const FAR = "spire.test";
const stage = new Stage();
let server: TestServer;
let proxy: WebProxy;

beforeAll(async () => {
  [server, proxy] = await Promise.all([TestServer.start(stage, "ours"), webProxy()]);
}, 60_000);

afterAll(async () => {
  await stage.close();
  await proxy[Symbol.asyncDispose]();
}, 60_000);

const byProxy = (more: Record<string, string> = {}): Record<string, string> => ({
  HTTPS_PROXY: `http://me:secret%21@127.0.0.1:${proxy.port}`,
  ...more,
});

describe("an agent", () => {
  test.each(["reference", "ours"] as const)(
    "joins by it: %s",
    async (implementation) => {
      const before = proxy.asked.length;
      const agent = await TestAgent.start(stage, implementation, server, {
        serverAddress: FAR,
        env: byProxy(),
      });
      expect(new Set(proxy.asked.slice(before))).toEqual(new Set([`${FAR}:${server.port}`]));
      const basic = `Basic ${Buffer.from("me:secret!").toString("base64")}`;
      expect(new Set(proxy.authorizations)).toEqual(new Set([basic]));
      expect(agent.daemon.lines.join("\n")).not.toContain("secret");
      await agent.daemon.stop();
    },
    60_000,
  );

  test("joins by a word, and comes back when the proxy does; its password is nowhere", async () => {
    const word = await wordOf(server, "-serverAddress", `${FAR}:${server.port}`);
    const { daemon } = await joins(stage, ["-join", word], byProxy());
    const from = daemon.lines.length;
    proxy.answer(503);
    proxy.cut();
    const problem = await daemon.line((line) => line.includes("answered 503"), 60_000, from);
    expect(problem).toContain(`proxy 127.0.0.1:${proxy.port}: it answered 503`);
    const back = daemon.lines.length;
    proxy.answer(200);
    await daemon.line((line) => line.includes("Connected again"), 60_000, back);
    expect(daemon.lines.join("\n")).not.toContain("secret");
    await daemon.stop();
  }, 150_000);

  test.each([
    [{ NO_PROXY: "other.test,127.0.0.0/8" }, "127.0.0.1"],
    [{ no_proxy: "localhost" }, "localhost"],
    [{}, "127.0.0.1"],
  ])(
    "goes directly where %j says so, and to this machine",
    async (more, serverAddress) => {
      const before = proxy.asked.length;
      const agent = await TestAgent.start(stage, "ours", server, {
        serverAddress,
        env: byProxy(more),
      });
      await agent.daemon.stop();
      expect(proxy.asked.slice(before)).toEqual([]);
    },
    60_000,
  );

  test("says which proxy cannot be had, and does not start", async () => {
    const env = { HTTPS_PROXY: "socks5://me:secret@127.0.0.1:1" };
    const options = { serverAddress: FAR, env };
    const { daemon } = await failing(options);
    expect(await daemon.exited).toBe(1);
    const said = daemon.lines.join("\n");
    expect(said).toContain("HTTPS_PROXY: a proxy of the kind socks5:// is not built in");
    expect(said).not.toContain("secret");
  }, 60_000);
});

async function failing(options: Parameters<typeof TestAgent.prepare>[3]) {
  const agent = await TestAgent.prepare(stage, "ours", server, options);
  return { agent, daemon: agent.launch() };
}

test("a server below another goes by it", async () => {
  const agent = await TestAgent.start(stage, "ours", server);
  const below = await serverBelow(stage, { server, agent }, "below", "ours", {
    upstreamAddress: FAR,
    env: byProxy(),
  });
  const before = proxy.asked.length;
  await below.start();
  expect(proxy.asked.slice(before)).toContain(`${FAR}:${server.port}`);
  await below.daemon.stop();
  await agent.daemon.stop();
}, 60_000);

describe("trust_bundle_url", () => {
  let ca: WebCa;
  let web: ReturnType<typeof createHttpsServer>;
  let port: number;
  /** Where each path leads; the bundle is at /bundle. */
  const redirects: Record<string, string> = {};

  beforeAll(async () => {
    const directory = stage.room("web");
    ca = await WebCa.make(directory);
    await ca.issue("web", ["localhost", FAR]);
    const bundle = readFileSync(await server.bundleFile());
    const key = readFileSync(join(directory, "web.key"));
    const cert = readFileSync(join(directory, "web.pem"));
    web = createHttpsServer({ key, cert }, ({ url = "" }, response) => {
      const location = redirects[url];
      if (location === undefined) response.end(bundle);
      else response.writeHead(302, { location }).end();
    });
    const { promise, resolve } = Promise.withResolvers<void>();
    web.listen(0, resolve);
    await promise;
    port = (web.address() as AddressInfo).port;
  }, 60_000);

  afterAll(() => void web.close());

  const agentOf = (url: string, env: Record<string, string> = {}): Promise<TestAgent> =>
    TestAgent.prepare(stage, "ours", server, {
      trustBundle: `trust_bundle_url = "${url}"`,
      env: { SSL_CERT_FILE: ca.file, ...env },
    });

  test("may answer that the bundle is at another https URL", async () => {
    redirects["/moved"] = `https://localhost:${port}/bundle`;
    const agent = await agentOf(`https://localhost:${port}/moved`);
    await agent.start();
    await agent.daemon.stop();
  }, 60_000);

  test("is fetched by the proxy", async () => {
    const agent = await agentOf(`https://${FAR}:${port}/bundle`, byProxy());
    await agent.start();
    expect(proxy.asked).toContain(`${FAR}:${port}`);
    await agent.daemon.stop();
  }, 60_000);

  test("may not lead to http, and nobody who cannot prove the name is believed", async () => {
    redirects["/down"] = `http://localhost:${port}/bundle`;
    const down = (await agentOf(`https://localhost:${port}/down`)).launch();
    await down.line((line) => line.includes("must be https"));
    const stranger = (await agentOf(`https://127.0.0.1:${port}/bundle`)).launch();
    await stranger.line((line) => line.includes(`unable to fetch trust bundle URL`));
    expect(stranger.lines.join("\n")).toContain("127.0.0.1");
    for (const daemon of [down, stranger]) await daemon.kill();
  }, 60_000);

  test("that hangs holds up no agent that is to stop", async () => {
    const silent = await eventually("a listener that says nothing", async () => {
      const { createServer } = await import("node:net");
      const listener = createServer();
      const { promise, resolve } = Promise.withResolvers<void>();
      listener.listen(0, "127.0.0.1", resolve);
      await promise;
      return listener;
    });
    const { port: at } = silent.address() as AddressInfo;
    const daemon = (await agentOf(`https://localhost:${at}/bundle`)).launch();
    await daemon.line((line) => line.includes("Asking for the trust bundle"));
    const since = performance.now();
    await daemon.stop();
    expect(performance.now() - since).toBeLessThan(8_000);
    silent.close();
  }, 60_000);
});

test(`the trust domain is ${TRUST_DOMAIN} by the proxy as well: nobody in between is believed`, async () => {
  const other = await TestServer.start(stage, "ours");
  const agent = await TestAgent.prepare(stage, "ours", server, {
    serverAddress: FAR,
    serverPort: other.port,
    env: byProxy(),
  });
  const daemon = agent.launch();
  await daemon.line((line) => line.includes("certificate signed by unknown authority"));
  await daemon.kill();
}, 60_000);

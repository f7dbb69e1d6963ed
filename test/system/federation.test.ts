/** Two of our servers federate; and what an endpoint that is not believed, or changes its certificate, means to the others. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createServer } from "node:net";
import { federatedWorkloadTests } from "../support/federated-workloads.ts";
import {
  bundleOf,
  create,
  endpointBlock,
  endpointIdOf,
  introduce,
  type Offer,
  offer,
  REFRESH_HINT,
  spiffeFlags,
  startServer,
  urlOf,
  webFlags,
} from "../support/federation.ts";
import { eventually, type Finished, run } from "../support/process.ts";
import { Stage, type TestServer } from "../support/spire.ts";
import { WebCa } from "../support/web-ca.ts";

describe("two trust domains federate by https_spiffe", () =>
  federatedWorkloadTests(["ours", "ours"]));

const refresh = (server: TestServer, trustDomain: string): Promise<Finished> =>
  server.cli("federation", "refresh", "-id", trustDomain);

describe("https_web, with a certificate from files", () => {
  const stage = new Stage();
  let ca: WebCa;
  let offered: Offer;
  let serving: TestServer;
  let asking: TestServer;

  const shownName = async (): Promise<string> => {
    const shown = await run(["openssl", "s_client", "-connect", `127.0.0.1:${offered.port}`]);
    return /subject=CN ?= ?(\w+)/.exec(shown.stdout)?.[1] ?? "";
  };

  beforeAll(async () => {
    ca = await WebCa.make(stage.room("web"));
    await ca.issue("first");
    await ca.issue("second");
    ca.install("first");
    offered = await offer("web.test");
    [serving, asking] = await Promise.all([
      startServer(stage, "ours", "web.test", [endpointBlock(offered, ca.profile)]),
      startServer(stage, "ours", "asking.test", [], { env: { SSL_CERT_FILE: ca.file } }),
    ]);
  }, 60_000);
  afterAll(() => stage.close(), 60_000);

  test("the bundle comes without one to begin with, from an endpoint the machine trusts", async () => {
    await create(asking, ...webFlags("web.test", urlOf(offered, "localhost")));
    await eventually("the bundle is there", () => bundleOf(asking, "web.test"));
    expect(await bundleOf(asking, "web.test")).toEqual({ hint: REFRESH_HINT, x509: 1, jwt: 1 });
  });

  test("a certificate for another host is refused", async () => {
    await create(asking, ...webFlags("host.test", urlOf(offered)));
    const refused = await refresh(asking, "host.test");
    expect(refused.stderr).toContain("failed to fetch federated bundle from endpoint: ");
    expect(refused.stderr).toContain("does not match certificate's altnames");
    expect(await bundleOf(asking, "host.test")).toBeUndefined();
  });

  test("a machine that does not trust the CA refuses", async () => {
    await create(serving, ...webFlags("self.test", urlOf(offered, "localhost")));
    const refused = await refresh(serving, "self.test");
    expect(refused.stderr).toContain("certificate signed by unknown authority");
    expect(await bundleOf(serving, "self.test")).toBeUndefined();
  });

  test("an endpoint that shows an SVID is refused, with a word on what to do", async () => {
    const spiffe = await offer("spiffe.test");
    await startServer(stage, "ours", "spiffe.test", [endpointBlock(spiffe)]);
    await create(asking, ...webFlags("spiffe.test", urlOf(spiffe)));
    const refused = await refresh(asking, "spiffe.test");
    expect(refused.stderr).toContain(
      `the server certificate contains SPIFFE ID "${endpointIdOf(spiffe)}": maybe use https_spiffe instead of https_web`,
    );
  }, 60_000);

  test("a renewed certificate is shown without a restart; half a renewal is not", async () => {
    expect(await shownName()).toBe("first");
    ca.install("second", ["key"]);
    await serving.daemon.line((line) => line.includes("Could not reload the certificate"));
    expect(await shownName()).toBe("first");
    ca.install("second");
    await serving.daemon.line((line) => line.includes("Loaded provided certificate with success"));
    expect(await shownName()).toBe("second");
    expect((await refresh(asking, "web.test")).stdout).toBe("Bundle refreshed\n");
  });
});

describe("https_spiffe fails closed", () => {
  const stage = new Stage();
  let offered: Offer;
  let serving: TestServer;
  let asking: TestServer;

  beforeAll(async () => {
    offered = await offer("serving.test");
    // Keys in memory: a restart makes a new CA that nobody was told of.
    const options = { keyManager: 'KeyManager "memory" {\n    plugin_data {}\n  }' };
    [serving, asking] = await Promise.all([
      startServer(stage, "ours", "serving.test", [endpointBlock(offered)], options),
      startServer(stage, "ours", "asking.test", []),
    ]);
    await create(asking, ...spiffeFlags(offered));
  }, 60_000);
  afterAll(() => stage.close(), 60_000);

  test("without a bundle to begin with; with one the endpoint is believed at once", async () => {
    const refused = await refresh(asking, "serving.test");
    expect(refused.stderr).toContain("local copy of bundle not found");
    await introduce(asking, serving);
    await eventually("the endpoint's bundle", async () =>
      (await bundleOf(asking, "serving.test"))?.hint === REFRESH_HINT ? true : undefined,
    );
  });

  test("an endpoint whose CA is not in the bundle is not believed, and the bundle stays, until an operator gives the new one", async () => {
    const before = await bundleOf(asking, "serving.test");
    await serving.daemon.stop();
    await serving.start();
    const refused = await refresh(asking, "serving.test");
    expect(refused.stderr).toContain("certificate signed by unknown authority");
    expect(await bundleOf(asking, "serving.test")).toEqual(before);
    await introduce(asking, serving);
    expect((await refresh(asking, "serving.test")).stdout).toBe("Bundle refreshed\n");
    expect(await bundleOf(asking, "serving.test")).toMatchObject({ x509: 2 });
  }, 60_000);

  test("of fifty relationships, one whose endpoint hangs holds up neither the others nor the end of the server", async () => {
    const hanging = createServer();
    const { promise: connected, resolve } = Promise.withResolvers<void>();
    hanging.on("connection", () => resolve());
    const silent = await offer("hanging.test");
    hanging.listen(silent.port, "127.0.0.1");
    const names = Array.from({ length: 49 }, (_, index) => `n${index}.test`);
    const relationship = (trustDomain: string, url: string): object => ({
      trustDomain,
      bundleEndpointURL: url,
      bundleEndpointProfile: "https_spiffe",
      endpointSPIFFEID: endpointIdOf(offered),
    });
    const federationRelationships = [
      relationship(silent.trustDomain, urlOf(silent)),
      ...names.map((name) => relationship(name, urlOf(offered))),
    ];
    const made = await asking.cliOf("ours", ["federation", "create", "-data", "-"], {
      input: JSON.stringify({ federationRelationships }),
    });
    expect(made.code).toBe(0);
    await connected;
    await eventually("all other bundles", async () => {
      const { bundles } = (await asking.json("bundle", "list")) as { bundles: unknown[] };
      return bundles.length === 50 ? true : undefined;
    });
    expect((await refresh(asking, "n7.test")).stdout).toBe("Bundle refreshed\n");
    expect(await asking.daemon.stop()).toBe(0);
    hanging.close();
    await asking.start();
  }, 60_000);

  test("a relationship outlives a restart", async () => {
    await asking.daemon.stop();
    await asking.start();
    const shown = await asking.cli("federation", "show", "-trustDomain", "serving.test");
    expect(shown.stdout).toContain(endpointIdOf(offered));
    await asking.daemon.line((line) => line.includes("Trust domain is now managed"));
  }, 60_000);
});

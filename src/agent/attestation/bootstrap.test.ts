import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Clock, systemClock } from "#clock/clock.ts";
import { tlsPolicy } from "#http/tls-policy.ts";
import { createLog } from "#log/log.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import { certificatesToPem } from "#x509/pem.ts";
import { make } from "#x509/pki.fixture.ts";
import { Bootstrap } from "./bootstrap.ts";
import { StoredState } from "./stored-state.ts";
import type { BundleSource } from "./trust-bundle.ts";

const START = 1_700_000_000;
const root = (await make({ name: "root", isCa: true })).certificate.der;
const other = (await make({ name: "other", isCa: true })).certificate.der;
let directory: string;
let now: number;
let lines: string[];
let server: ReturnType<typeof Bun.serve> | undefined;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "bootstrap-"));
  now = START;
  lines = [];
  writeFileSync(join(directory, "bundle.pem"), certificatesToPem([root]));
});

afterEach(async () => {
  await server?.stop(true);
  server = undefined;
  rmSync(directory, { recursive: true, force: true });
});

const source = (more: Partial<BundleSource>): BundleSource => ({
  trustDomain: TrustDomain.parse("example.org"),
  serverAddress: "server.example",
  serverPort: 8081,
  tlsPolicy: tlsPolicy(false),
  trustBundleFormat: "pem",
  insecureBootstrap: false,
  trustOnFirstUse: false,
  rebootstrapMode: "auto",
  rebootstrapDelaySeconds: 600,
  ...more,
});

const file = (): Partial<BundleSource> => ({ trustBundlePath: join(directory, "bundle.pem") });

/** As the agent has it after a start: what is on disk counts. */
async function started(more: Partial<BundleSource> = file()) {
  const state = await StoredState.open(join(directory, "agent-data.json"));
  const clock: Clock = Object.assign(Object.create(systemClock), { nowSeconds: () => now });
  const { signal } = new AbortController();
  const log = createLog({ level: "debug", format: "text" }, () => 0, {
    write: (line) => void lines.push(line),
  });
  return { state, bootstrap: new Bootstrap({ config: source(more), state, clock, log, signal }) };
}

const same = (found: readonly Uint8Array[], ...wanted: Uint8Array[]): boolean =>
  found.length === wanted.length &&
  found.every((one, index) => Buffer.compare(one, wanted[index] ?? new Uint8Array()) === 0);

describe("getting to know the server", () => {
  test("takes the bundle from its source until one is stored, and counts how often", async () => {
    const { state, bootstrap } = await started();
    expect(same(await bootstrap.bundle(), root)).toBe(true);
    now += 5;
    await bootstrap.bundle();
    expect(state.current).toMatchObject({
      bootstrapMode: "bootstrap",
      bootstrapStart: START,
      connectionAttempts: 2,
    });
    await state.update({ bundle: [other] });
    await bootstrap.agreed();
    expect(same(await bootstrap.bundle(), other)).toBe(true);
    expect(state.current).toMatchObject({
      bootstrapMode: "rebootstrap",
      bootstrapStart: 0,
      connectionAttempts: 0,
    });
  });

  test("gives a bundle up only after the delay, which a restart does not begin anew", async () => {
    const first = await started();
    await first.state.update({ bundle: [other] });
    expect(await first.bootstrap.disagreed()).toBe(false);
    expect(same(await first.bootstrap.bundle(), other)).toBe(true);
    now += 400;
    const { state, bootstrap } = await started();
    expect(await bootstrap.disagreed()).toBe(false);
    expect(lines.at(-1)).toContain('"Trust Bundle and Server don\'t agree, ignoring for now"');
    expect(lines.at(-1)).toContain("time_left=3m20s");
    now += 200;
    expect(await bootstrap.disagreed()).toBe(true);
    // The old one is not lost before the new one has proved good.
    expect(same(await bootstrap.bundle(), root)).toBe(true);
    expect(same(state.current.bundle, other)).toBe(true);
    await bootstrap.agreed();
    expect(same(await bootstrap.bundle(), other)).toBe(true);
  });

  test("begins the delay anew when the two agreed in between", async () => {
    const { state, bootstrap } = await started();
    await state.update({ bundle: [other] });
    await bootstrap.disagreed();
    now += 599;
    await bootstrap.agreed();
    now += 1;
    expect(await bootstrap.disagreed()).toBe(false);
    now += 600;
    expect(await bootstrap.disagreed()).toBe(true);
  });

  test("never gives the bundle up where that is not asked for, or the node could not attest again", async () => {
    for (const mode of ["never", "auto"] as const) {
      const { state, bootstrap } = await started({ ...file(), rebootstrapMode: mode });
      await state.update({ bundle: [other] });
      bootstrap.setReattestable(false);
      now += 10_000;
      expect(await bootstrap.disagreed()).toBe(false);
      now += 10_000;
      expect(await bootstrap.disagreed()).toBe(false);
    }
    expect(lines.filter((line) => line.includes("Disabling"))).toHaveLength(1);
    const { bootstrap } = await started({ rebootstrapMode: "always" });
    bootstrap.setReattestable(true);
    expect(() => bootstrap.setReattestable(false)).toThrow("is not allowing it");
  });
});

describe("a local service that hands out the bundle", () => {
  /** Serves on the socket and gives the URLs it was asked for. */
  function serve(answer: () => Response): URL[] {
    const asked: URL[] = [];
    server = Bun.serve({
      unix: join(directory, "bundle.sock"),
      fetch: (request) => {
        asked.push(new URL(request.url));
        return answer();
      },
    });
    return asked;
  }

  async function bundleOf(): Promise<readonly Uint8Array[]> {
    const { bootstrap } = await started({
      trustBundleUrl: "http://bundle.test/one?site=7",
      trustBundleUnixSocket: join(directory, "bundle.sock"),
    });
    return bootstrap.bundle();
  }

  test("is told who asks, and what for", async () => {
    const asked = serve(() => new Response(certificatesToPem([root])));
    expect(same(await bundleOf(), root)).toBe(true);
    now += 60;
    await bundleOf();
    expect(asked.map(({ pathname }) => pathname)).toEqual(["/one", "/one"]);
    expect(asked[0]?.search).toBe(
      "?site=7&spiffe-trust-domain=example.org&spire-attest-mode=bootstrap&spire-attest-start-time=2023-11-14T22%3A13%3A20Z&spire-connection-attempts=1&spire-server-address=server.example&spire-server-port=8081",
    );
    expect(asked[1]?.searchParams.get("spire-connection-attempts")).toBe("2");
    expect(asked[1]?.searchParams.get("spire-attest-start-time")).toBe("2023-11-14T22:13:20Z");
  });

  test.each([
    ["that refuses", () => new Response("no", { status: 403 }), "unexpected status 403"],
    ["that has no certificates", () => new Response(""), "no pem blocks"],
    ["that never ends", () => new Response(new Uint8Array(5 * 1024 * 1024)), "longer than"],
    ["that sends elsewhere", () => Response.redirect("https://evil.test/"), "redirect"],
  ])("%s is an error that names it", async (_what, answer, why) => {
    serve(answer);
    const failure = await bundleOf().catch(String);
    expect(failure).toContain("unable to fetch trust bundle URL http://bundle.test/one?site=7");
    expect(failure).toContain(join(directory, "bundle.sock"));
    expect(String(failure).toLowerCase()).toContain(why);
  });
});

/** What servers below servers are for, whoever made the executables: one trust domain, whichever server a workload belongs to. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { EnduringPair } from "../endurance/enduring-pair.ts";
import { order } from "./authorities.ts";
import { goClient } from "./go-client.ts";
import { rootTier, type Tier, tierBelow } from "./nested.ts";
import { eventually, type Finished } from "./process.ts";
import { type Implementation, Stage, type TestServer, TRUST_DOMAIN } from "./spire.ts";

const UID = 1;
const SVID_TTL_SECONDS = 20;

/** A server and its agent. */
type Kinds = readonly [Implementation, Implementation];

const go = (...words: string[]): Promise<Record<string, unknown>> => goClient(UID, ...words);

const LATE_HANDSHAKES = 3;

interface ShownBundle {
  readonly x509_authorities: readonly { readonly tainted: boolean }[];
  readonly jwt_authorities: readonly { readonly key_id: string }[];
}

async function bundleOf(server: TestServer): Promise<ShownBundle> {
  return (await server.json("bundle", "show")) as unknown as ShownBundle;
}

const tainted = (bundle: ShownBundle): number =>
  bundle.x509_authorities.filter((authority) => authority.tainted).length;

/**
 * Registers the tests: a root with two servers below it, and a third below the first of these.
 *
 * @param root who made the root, and so on: the servers left and right below it, and the one below the left one
 */
export function nestedServerTests(root: Kinds, left: Kinds, right: Kinds, leaf: Kinds): void {
  const stage = new Stage();
  const isOurs = [root, left, right, leaf].flat().every((kind) => kind === "ours");
  let tiers: Readonly<Record<"root" | "left" | "right" | "leaf", Tier>>;

  beforeAll(async () => {
    const top = await rootTier(stage, root);
    const below = await tierBelow(stage, top, "left", left);
    tiers = {
      root: top,
      left: below,
      right: await tierBelow(stage, top, "right", right),
      leaf: await tierBelow(stage, below, "leaf", leaf),
    };
    for (const [name, { server, agent }] of Object.entries(tiers)) {
      await server.entry(`spiffe://${TRUST_DOMAIN}/at/${name}`, agent.id, [`unix:uid:${UID}`]);
      await eventually(`${name} has a workload`, () => go("x509", agent.socket));
    }
  }, 180_000);
  afterAll(() => stage.close(), 60_000);

  test("an X509-SVID from the bottom leads to the root", async () => {
    expect(await go("x509", tiers.leaf.agent.socket)).toMatchObject({
      id: `spiffe://${TRUST_DOMAIN}/at/leaf`,
      chain: 3,
    });
    expect((await bundleOf(tiers.leaf.server)).x509_authorities).toHaveLength(1);
  });

  test("JWT keys of all are known to all", async () => {
    const servers = Object.values(tiers).map(({ server }) => server);
    await eventually("four keys everywhere", async () => {
      const bundles = await Promise.all(servers.map(bundleOf));
      return bundles.every(({ jwt_authorities }) => jwt_authorities.length === 4) || undefined;
    });
  });

  test.each(["root", "right", "left"] as const)(
    "a JWT-SVID from the bottom is valid at the %s",
    async (at) => {
      const { token } = await go("jwt", tiers.leaf.agent.socket, "audience");
      const words = ["api", "validate", "jwt", "-audience", "audience", "-svid", String(token)];
      const valid = await eventually("it is valid", async (): Promise<Finished | undefined> => {
        const checked = await tiers[at].agent.cli(words, { uid: UID });
        return checked.code === 0 ? checked : undefined;
      });
      expect(valid.stdout).toContain(`SPIFFE ID : spiffe://${TRUST_DOMAIN}/at/leaf`);
    },
    60_000,
  );

  test("the root's authority is replaced, tainted and revoked: everybody follows, and no handshake fails", async () => {
    const { server } = tiers.root;
    const { leaf, right } = tiers;
    const ttl = { x509: SVID_TTL_SECONDS, jwt: SVID_TTL_SECONDS };
    const pair = await EnduringPair.start(stage, leaf.server, leaf.agent, ttl, right);
    const old = await order(server, "show");
    const next = await order(server, "prepare");
    await pair.until("both workloads know the next authority", ({ bundle }) =>
      bundle.includes(next),
    );
    await order(server, "activate", "-authorityID", next);
    const before = Object.values(pair.ledgers).map(({ issuer }) => issuer);
    await order(server, "taint", "-authorityID", old);
    await pair.until("other CAs have signed both SVIDs", ({ issuer }) => !before.includes(issuer));
    for (const { server: below } of [tiers.left, right, leaf]) {
      await eventually("the taint is known", async () =>
        tainted(await bundleOf(below)) === 1 ? true : undefined,
      );
    }
    await order(server, "revoke", "-authorityID", old);
    await pair.until("the old authority is gone", ({ bundle }) => !bundle.includes(old));
    const done = pair.ledgers.caller.handshakes;
    await pair.until("handshakes without it", ({ handshakes }) => handshakes > done + 5);
    // Servers and agents of the reference ask every five seconds, each by its own clock: one of them may come just too late.
    const allowed = isOurs ? 0 : LATE_HANDSHAKES;
    for (const ledger of Object.values(await pair.stop())) {
      expect(ledger.kept.slice(allowed)).toEqual([]);
      expect(ledger.expired).toBe(0);
      expect(ledger.failures).toBeLessThanOrEqual(allowed);
    }
  }, 120_000);
}

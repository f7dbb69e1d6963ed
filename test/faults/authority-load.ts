/** Authorities of both kinds, prepared and activated one after the other by hand; what they sign has to verify across the kill. */
import { callUnary } from "#grpc/client.ts";
import { jwtKeysOf } from "#jwt/bundle-document.ts";
import { verifyJwtSvid } from "#jwt/verify.ts";
import type { AuthorityState } from "#proto/spire/api/server/localauthority/v1/localauthority.ts";
import type { Bundle as BundleMessage } from "#proto/spire/api/types/bundle.ts";
import { bundleFrom } from "#server/api/bundle/convert-bundle.ts";
import { type Clients, type NewKey, newKey } from "#server/server.fixture.ts";
import { Certificate } from "#x509/certificate.ts";
import { verifyX509Svid } from "#x509/svid.ts";
import { TRUST_DOMAIN } from "../support/spire.ts";
import type { Chance } from "./chance.ts";
import type { Lifetime, Load } from "./lifetime.ts";

/** Both steps of a rotation, as the calls are named. */
export const ROTATION: RegExp = /^(prepare|activate) authority$/;

const AUDIENCE = "audience";
/** The bundle grows with each authority, and so does all that works with it. */
const ROTATIONS_A_LIFE = 3;
const LONGEST_PAUSE_MS = 60;

type Kind = "x509" | "jwt";

interface State {
  readonly active: AuthorityState | undefined;
  readonly prepared: AuthorityState | undefined;
}

interface Minted {
  readonly chain: readonly Uint8Array[];
  readonly token: string;
}

/** Of one kind, the authority IDs that were acknowledged, and what was asked for without an answer. */
class KindLedger {
  active = "";
  prepared = "";
  isPreparing = false;
  isActivating = false;

  /** @returns what is not as it was acknowledged; from then on, what is there counts as acknowledged */
  compare(kind: Kind, { active, prepared }: State): string[] {
    const now = { active: active?.authorityId ?? "", prepared: prepared?.authorityId ?? "" };
    const before = { active: this.active, prepared: this.prepared };
    const isActivated = this.isActivating && now.active === before.prepared;
    const isAsBefore =
      now.active === before.active && (this.isPreparing || now.prepared === before.prepared);
    const problem = `${kind} authorities are ${JSON.stringify(now)}, acknowledged were ${JSON.stringify(before)}`;
    const isFirst = before.active === "";
    Object.assign(this, { ...now, isPreparing: false, isActivating: false });
    return isFirst || isActivated || isAsBefore ? [] : [problem];
  }
}

export class AuthorityLoad implements Load {
  readonly #chance: Chance;
  readonly #key: Promise<NewKey>;
  readonly #ledgers: Readonly<Record<Kind, KindLedger>> = {
    x509: new KindLedger(),
    jwt: new KindLedger(),
  };
  /** The bundle that agents had before the kill. */
  #handedOut: BundleMessage | undefined;
  /** What workloads had before the kill. */
  #minted: Minted | undefined;
  #count = 0;

  constructor(chance: Chance) {
    this.#chance = chance;
    this.#key = newKey(`spiffe://${TRUST_DOMAIN}/minted`);
  }

  get counts(): Readonly<Record<string, number>> {
    return { rotations: this.#count };
  }

  async work(life: Lifetime): Promise<void> {
    const clients = life.local();
    for (let count = 0; count < ROTATIONS_A_LIFE && !life.isOver; count += 1) {
      await life.pause(this.#chance.between(0, LONGEST_PAUSE_MS));
      await this.#rotate(life, clients, this.#chance.fraction() < 0.5 ? "x509" : "jwt");
    }
  }

  async check(life: Lifetime): Promise<readonly string[]> {
    const clients = life.local();
    const problems: string[] = [];
    for (const kind of ["x509", "jwt"] as const) {
      const state = await life.ask("show authorities", () => show(clients, kind));
      if (state !== undefined) problems.push(...this.#ledgers[kind].compare(kind, state));
    }
    const before = { bundle: this.#handedOut, minted: this.#minted };
    await this.#fetchBundle(life, clients);
    await this.#mint(life, clients);
    const after = { bundle: this.#handedOut, minted: this.#minted };
    problems.push(...missingIn(after.bundle, before.bundle));
    problems.push(...(await problemsOf("new SVID, bundle of before", after.minted, before.bundle)));
    problems.push(...(await problemsOf("SVID of before, new bundle", before.minted, after.bundle)));
    return problems;
  }

  async #rotate(life: Lifetime, clients: Clients, kind: Kind): Promise<void> {
    const ledger = this.#ledgers[kind];
    ledger.isPreparing = true;
    const prepared = await life.ask("prepare authority", () => prepare(clients, kind));
    if (prepared === undefined) return;
    ledger.isPreparing = false;
    ledger.prepared = prepared.authorityId;
    // An authority is activated when everybody has it in the bundle, and not before.
    await life.pause(this.#chance.between(0, LONGEST_PAUSE_MS / 2));
    if (!(await this.#fetchBundle(life, clients))) return;
    ledger.isActivating = true;
    const activated = await life.ask("activate authority", () =>
      activate(clients, kind, prepared.authorityId),
    );
    if (activated === undefined) return;
    Object.assign(ledger, { active: activated.authorityId, prepared: "", isActivating: false });
    this.#count += 1;
    await this.#mint(life, clients);
  }

  async #fetchBundle(life: Lifetime, { bundle }: Clients): Promise<boolean> {
    const answer = await life.ask("bundle", () =>
      callUnary(bundle, "getBundle", { outputMask: undefined }),
    );
    if (answer !== undefined) this.#handedOut = answer;
    return answer !== undefined;
  }

  async #mint(life: Lifetime, { svid: client }: Clients): Promise<void> {
    const { csr } = await this.#key;
    const id = { trustDomain: TRUST_DOMAIN, path: "/minted" };
    const answers = await life.ask("mint", () =>
      Promise.all([
        callUnary(client, "mintX509Svid", { csr, ttl: 3600 }),
        callUnary(client, "mintJwtsvid", { id, audience: [AUDIENCE], ttl: 3600 }),
      ]),
    );
    if (answers === undefined) return;
    const [x509, jwt] = answers;
    this.#minted = { chain: x509.svid?.certChain ?? [], token: jwt.svid?.token ?? "" };
  }
}

/** Authorities that a bundle had and has no more, or a sequence number that went back. */
function missingIn(now: BundleMessage | undefined, before: BundleMessage | undefined): string[] {
  if (before === undefined) return [];
  const ids = (bundle: BundleMessage | undefined): Set<string> =>
    new Set([
      ...(bundle?.x509Authorities ?? []).map(({ asn1 }) => Buffer.from(asn1).toString("base64")),
      ...(bundle?.jwtAuthorities ?? []).map(({ keyId }) => keyId),
    ]);
  const left = ids(now);
  const missing = [...ids(before)].filter((id) => !left.has(id));
  const problems = missing.map((id) => `authority ${id} is lost from the bundle`);
  const [last, current] = [before.sequenceNumber, now?.sequenceNumber ?? 0];
  if (current < last) problems.push(`the bundle went back from number ${last} to ${current}`);
  return problems;
}

async function problemsOf(
  what: string,
  minted: Minted | undefined,
  message: BundleMessage | undefined,
): Promise<string[]> {
  if (minted === undefined || message === undefined) return [];
  const bundle = bundleFrom(message);
  const roots = bundle.x509Authorities.map(({ certificate }) => Certificate.parse(certificate));
  const now = Math.floor(Date.now() / 1000);
  try {
    verifyX509Svid(minted.chain, () => roots, now);
    await verifyJwtSvid(minted.token, AUDIENCE, () => jwtKeysOf(bundle), now);
    return [];
  } catch (error) {
    return [`${what}: ${error}`];
  }
}

function show({ localAuthority: client }: Clients, kind: Kind): Promise<State> {
  return kind === "x509"
    ? callUnary(client, "getX509AuthorityState", {})
    : callUnary(client, "getJwtAuthorityState", {});
}

async function prepare(
  { localAuthority: client }: Clients,
  kind: Kind,
): Promise<AuthorityState | undefined> {
  const { preparedAuthority } =
    kind === "x509"
      ? await callUnary(client, "prepareX509Authority", {})
      : await callUnary(client, "prepareJwtAuthority", {});
  return preparedAuthority;
}

async function activate(
  { localAuthority: client }: Clients,
  kind: Kind,
  authorityId: string,
): Promise<AuthorityState | undefined> {
  const { activatedAuthority } =
    kind === "x509"
      ? await callUnary(client, "activateX509Authority", { authorityId })
      : await callUnary(client, "activateJwtAuthority", { authorityId });
  return activatedAuthority;
}

/** Bundles of other trust domains set and deleted, and authorities appended to our own. */
import { generateKeyPairSync } from "node:crypto";
import { callUnary } from "#grpc/client.ts";
import { BatchDeleteFederatedBundleRequest_Mode } from "#proto/spire/api/server/bundle/v1/bundle.ts";
import type { Bundle } from "#proto/spire/api/types/bundle.ts";
import type { Clients } from "#server/server.fixture.ts";
import type { Chance } from "./chance.ts";
import type { Lifetime, Load } from "./lifetime.ts";

const TRUST_DOMAINS = ["one.test", "two.test", "three.test"];
const LONGEST_PAUSE_MS = 10;
/** Of a JWT authority. */
const LIFE_SECONDS = 3600;

interface Register {
  /** The sequence number stored last; 0 for a bundle that is not there. */
  acknowledged: number;
  /** Asked for without an answer yet. */
  open: number | undefined;
}

export class BundleLoad implements Load {
  readonly #chance: Chance;
  readonly #publicKey: Uint8Array = generateKeyPairSync("ec", {
    namedCurve: "P-256",
  }).publicKey.export({ type: "spki", format: "der" });
  readonly #registers: ReadonlyMap<string, Register> = new Map(
    TRUST_DOMAINS.map((name) => [name, { acknowledged: 0, open: undefined }]),
  );
  readonly #appended: Set<string> = new Set();
  #next = 0;
  #count = 0;

  constructor(chance: Chance) {
    this.#chance = chance;
  }

  get counts(): Readonly<Record<string, number>> {
    return { bundles: this.#count, appended: this.#appended.size };
  }

  async work(life: Lifetime): Promise<void> {
    const clients = life.local();
    await this.#append(life, clients);
    while (!life.isOver) {
      await life.pause(this.#chance.between(0, LONGEST_PAUSE_MS));
      const [name, register] = this.#chance.pick([...this.#registers])!;
      const isDeletion = register.acknowledged > 0 && this.#chance.fraction() < 0.3;
      register.open = isDeletion ? 0 : ++this.#next;
      const answer = await life.ask("change a federated bundle", () =>
        isDeletion ? remove(clients, name) : this.#set(clients, name, register.open ?? 0),
      );
      if (answer === undefined) return;
      if (answer.status?.code !== 0) life.faults.push(`bundle: ${answer.status?.message}`);
      register.acknowledged = register.open;
      register.open = undefined;
      this.#count += 1;
    }
  }

  async check(life: Lifetime): Promise<readonly string[]> {
    const { bundle } = life.local();
    const own = await life.ask("bundle", () =>
      callUnary(bundle, "getBundle", { outputMask: undefined }),
    );
    const present = new Set(own?.jwtAuthorities.map(({ keyId }) => keyId));
    const lost = [...this.#appended].filter((keyId) => !present.has(keyId));
    const listed = await life.ask("list federated bundles", () =>
      callUnary(bundle, "listFederatedBundles", {
        outputMask: undefined,
        pageSize: 0,
        pageToken: "",
      }),
    );
    const stored = new Map(
      (listed?.bundles ?? []).map((one) => [one.trustDomain, one.sequenceNumber]),
    );
    return [
      ...lost.map((keyId) => `appended authority ${keyId} is lost`),
      ...[...this.#registers].flatMap(([name, register]) =>
        compare(name, register, stored.get(name) ?? 0),
      ),
    ];
  }

  async #append(life: Lifetime, { bundle }: Clients): Promise<void> {
    const keyId = `appended-${this.#next++}`;
    const answer = await life.ask("append to the bundle", () =>
      callUnary(bundle, "appendBundle", {
        x509Authorities: [],
        jwtAuthorities: [this.#authority(keyId)],
        witAuthorities: [],
        outputMask: undefined,
      }),
    );
    if (answer !== undefined) this.#appended.add(keyId);
  }

  async #set({ bundle }: Clients, trustDomain: string, sequenceNumber: number): Promise<Answer> {
    const set: Bundle = {
      trustDomain,
      x509Authorities: [],
      jwtAuthorities: [this.#authority(`key-${sequenceNumber}`)],
      witAuthorities: [],
      refreshHint: 0,
      sequenceNumber,
    };
    const request = { bundle: [set], outputMask: undefined };
    return (await callUnary(bundle, "batchSetFederatedBundle", request)).results[0] ?? {};
  }

  #authority(keyId: string): Bundle["jwtAuthorities"][number] {
    const expiresAt = Math.floor(Date.now() / 1000) + LIFE_SECONDS;
    return { keyId, publicKey: this.#publicKey, expiresAt, tainted: false };
  }
}

interface Answer {
  readonly status?: { readonly code: number; readonly message: string } | undefined;
}

async function remove({ bundle }: Clients, trustDomain: string): Promise<Answer> {
  const request = {
    trustDomains: [trustDomain],
    mode: BatchDeleteFederatedBundleRequest_Mode.RESTRICT,
  };
  return (await callUnary(bundle, "batchDeleteFederatedBundle", request)).results[0] ?? {};
}

/** From then on, what is stored counts as acknowledged. */
function compare(name: string, register: Register, stored: number): string[] {
  const { acknowledged, open } = register;
  Object.assign(register, { acknowledged: stored, open: undefined });
  if (stored === acknowledged || stored === open) return [];
  return [`bundle of ${name} has number ${stored}, acknowledged was ${acknowledged}`];
}

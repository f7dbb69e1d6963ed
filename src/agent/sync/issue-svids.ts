/** Has the server sign X509-SVIDs for entries, many in a call. Each gets a key of its own, made off the event loop's thread. */
import type { WorkloadEntry } from "#agent/cache/workload-entry.ts";
import type { WorkloadX509Svid } from "#agent/cache/x509-svids.ts";
import { missesTarget, type RotationRule, rotateAt } from "#agent/own-svid/rotation.ts";
import {
  signatoryOf,
  TAINTED_LIFE_SECONDS,
  type TaintedAuthorities,
} from "#agent/own-svid/taint.ts";
import type { Clock } from "#clock/clock.ts";
import { callUnary } from "#grpc/client.ts";
import type { Log } from "#log/log.ts";
import type { SVIDClient } from "#proto/spire/api/server/svid/v1/svid.ts";
import type { Status } from "#proto/spire/api/types/status.ts";
import { StatusCode } from "#spiffe/status-error.ts";
import { Certificate } from "#x509/certificate.ts";
import { createCsr } from "#x509/csr.ts";
import { generatePrivateKey, privateKeyToPkcs8Der, signerFromPrivateKey } from "#x509/keys.ts";
import type { KeyType } from "#x509/signer.ts";

const TIMEOUT_MS = 30_000;

export interface IssueTools {
  readonly client: SVIDClient;
  readonly keyType: KeyType;
  readonly rotation: RotationRule;
  readonly tainted: TaintedAuthorities;
  readonly clock: Clock;
  readonly log: Log;
}

export interface IssuedSvid extends WorkloadX509Svid {
  /** Unix seconds. */
  readonly notBefore: number;
}

/** What a call brought, by entry ID. */
export interface Issued {
  readonly svids: ReadonlyMap<string, IssuedSvid>;
  /** Entries that the server gave none for, and why. */
  readonly refused: readonly RefusedSvid[];
}

export interface RefusedSvid {
  readonly entry: WorkloadEntry;
  readonly error: unknown;
  /** Whether that is because the entry is not, or no longer, the one that the server knows. */
  readonly isChanging: boolean;
}

/** The entry is not, or no longer, the one that the server knows: one of the two is about to hear of a change. */
class ChangingEntryError extends Error {}

interface Pending {
  readonly entry: WorkloadEntry;
  readonly privateKey: Uint8Array;
  readonly publicKeySpki: Uint8Array;
  readonly csr: Uint8Array;
}

/** Gets X509-SVIDs in one call. @throws StatusError when the whole call fails */
export async function issueSvids(
  tools: IssueTools,
  entries: readonly WorkloadEntry[],
): Promise<Issued> {
  const pending = await Promise.all(entries.map((entry) => prepare(tools.keyType, entry)));
  const params = pending.map(({ entry, csr }) => ({ entryId: entry.id, csr }));
  const { results } = await callUnary(
    tools.client,
    "batchNewX509Svid",
    { params },
    { timeoutMs: TIMEOUT_MS },
  );
  const svids = new Map<string, IssuedSvid>();
  const refused: RefusedSvid[] = [];
  for (const [index, one] of pending.entries()) {
    const result = results[index];
    try {
      if (result?.svid === undefined) throw refusalOf(result?.status);
      svids.set(one.entry.id, received(tools, one, result.svid.certChain));
    } catch (error) {
      refused.push({ entry: one.entry, error, isChanging: error instanceof ChangingEntryError });
    }
  }
  return { svids, refused };
}

function refusalOf(status: Status | undefined): Error {
  const message = status?.message ?? "no answer";
  return status?.code === StatusCode.NOT_FOUND
    ? new ChangingEntryError(message)
    : new Error(message);
}

async function prepare(keyType: KeyType, entry: WorkloadEntry): Promise<Pending> {
  const key = await generatePrivateKey(keyType);
  const signer = signerFromPrivateKey(key);
  const csr = await createCsr({
    signer,
    uriSan: entry.spiffeId.toString(),
    dnsSans: entry.dnsNames,
  });
  return { entry, csr, privateKey: privateKeyToPkcs8Der(key), publicKeySpki: signer.publicKeySpki };
}

/** A chain for another key or name is never handed to a workload. */
function received(
  { clock, rotation, tainted, log }: IssueTools,
  { entry, privateKey, publicKeySpki }: Pending,
  chain: readonly Uint8Array[],
): IssuedSvid {
  const [der] = chain;
  if (der === undefined) throw new Error("the server sent an empty chain");
  const leaf = Certificate.parse(der);
  if (Buffer.compare(leaf.publicKeySpki, publicKeySpki) !== 0) {
    throw new Error("the server sent a certificate for another key");
  }
  if (leaf.uriSans.join() !== entry.spiffeId.toString()) {
    throw new ChangingEntryError("the server sent a certificate for another name");
  }
  if (missesTarget(leaf, rotation)) {
    log.warn(
      "X509 SVID lifetime isn't long enough to guarantee the availability_target; replacing it at half of its life",
      { entry_id: entry.id, spiffe_id: entry.spiffeId.toString() },
    );
  }
  const now = clock.nowSeconds();
  const signatory = signatoryOf(chain);
  const dueAt = rotateAt(leaf, rotation);
  const renewAt = Math.max(
    now + 1,
    tainted.signed(signatory) ? Math.min(dueAt, now + TAINTED_LIFE_SECONDS) : dueAt,
  );
  const { svidKey } = entry;
  const { notBefore, notAfter } = leaf;
  return { chain, privateKey, notBefore, notAfter, renewAt, svidKey, signatory };
}

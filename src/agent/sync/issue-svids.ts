/** Has the server sign X509-SVIDs for entries, many in a call. Each gets a key of its own, made off the event loop's thread. */
import type { Clock } from "#clock/clock.ts";
import type { Random } from "#clock/random.ts";
import { callUnary } from "#grpc/client.ts";
import type { SVIDClient } from "#grpc/gen/spire/api/server/svid/v1/svid.ts";
import type { Log } from "#log/log.ts";
import { Certificate } from "#x509/certificate.ts";
import { createCsr } from "#x509/csr.ts";
import { generatePrivateKey, privateKeyToPkcs8Der, signerFromPrivateKey } from "#x509/keys.ts";
import type { KeyType } from "#x509/signer.ts";
import type { WorkloadX509Svid } from "./workload-cache.ts";
import type { WorkloadEntry } from "./workload-entry.ts";

/** The server's burst: more in one call is refused. */
const BATCH_SIZE = 500;
const TIMEOUT_MS = 30_000;
/** SVIDs issued together are not all due together. */
const JITTER = 0.1;

export interface IssueTools {
  readonly client: SVIDClient;
  readonly keyType: KeyType;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/**
 * @param onIssued called with each batch's SVIDs by entry ID, as they come
 * @throws StatusError when a whole call fails; single refusals are logged
 */
export async function issueSvids(
  tools: IssueTools,
  entries: readonly WorkloadEntry[],
  onIssued: (svids: ReadonlyMap<string, WorkloadX509Svid>) => void,
): Promise<void> {
  for (let at = 0; at < entries.length; at += BATCH_SIZE) {
    onIssued(await issueBatch(tools, entries.slice(at, at + BATCH_SIZE)));
  }
}

interface Pending {
  readonly entry: WorkloadEntry;
  readonly privateKey: Uint8Array;
  readonly publicKeySpki: Uint8Array;
  readonly csr: Uint8Array;
}

async function issueBatch(
  tools: IssueTools,
  entries: readonly WorkloadEntry[],
): Promise<ReadonlyMap<string, WorkloadX509Svid>> {
  const pending = await Promise.all(entries.map((entry) => prepare(tools.keyType, entry)));
  const params = pending.map(({ entry, csr }) => ({ entryId: entry.id, csr }));
  const { results } = await callUnary(
    tools.client,
    "batchNewX509Svid",
    { params },
    { timeoutMs: TIMEOUT_MS },
  );
  const issued = new Map<string, WorkloadX509Svid>();
  pending.forEach((one, index) => {
    const result = results[index];
    try {
      if (result?.svid === undefined) throw new Error(result?.status?.message ?? "no answer");
      issued.set(one.entry.id, received(tools, one, result.svid.certChain));
    } catch (error) {
      tools.log.error("Could not get an X509-SVID", {
        entry_id: one.entry.id,
        spiffe_id: one.entry.spiffeId.toString(),
        error,
      });
    }
  });
  return issued;
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
  { clock, random }: IssueTools,
  { entry, privateKey, publicKeySpki }: Pending,
  chain: readonly Uint8Array[],
): WorkloadX509Svid {
  const [der] = chain;
  if (der === undefined) throw new Error("the server sent an empty chain");
  const leaf = Certificate.parse(der);
  const sameKey = Buffer.compare(leaf.publicKeySpki, publicKeySpki) === 0;
  if (!sameKey || leaf.uriSans.join() !== entry.spiffeId.toString()) {
    throw new Error("the server sent a certificate for another key or name");
  }
  const lifetime = leaf.notAfter - leaf.notBefore;
  const spread = 0.5 + JITTER * (random.fraction() - 0.5);
  const renewAt = Math.max(clock.nowSeconds() + 1, Math.floor(leaf.notBefore + lifetime * spread));
  return { chain, privateKey, notAfter: leaf.notAfter, renewAt, svidKey: entry.svidKey };
}

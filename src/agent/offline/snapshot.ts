/**
 * A workload cache as one piece of bytes: a mark, length-delimited records (proto/spire_edge/snapshot), and a SHA-256 over all of it. Whoever
 * holds these bytes holds the workloads' private keys.
 */
import { createHash } from "node:crypto";
import type { CacheContent } from "#agent/cache/workload-cache.ts";
import type { WorkloadEntry } from "#agent/cache/workload-entry.ts";
import type { WorkloadX509Svid } from "#agent/cache/x509-svids.ts";
import { bundleOf } from "#agent/sync/fetch-bundles.ts";
import type { Bundle as BundleMessage } from "#proto/spire/api/types/bundle.ts";
import {
  type Entry,
  type Header,
  Record,
  type X509Svid,
} from "#proto/spire_edge/snapshot/v1/snapshot.ts";
import type { Bundle } from "#spiffe/bundle.ts";
import { SpiffeId } from "#spiffe/spiffe-id.ts";

/** Its last character is the version: a layout that older agents would misread gets another. New fields of a record need none. */
const MARK = Buffer.from("SPIRE-EDGE-CACHE-1", "latin1");
const CHECKSUM_BYTES = 32;
/** Records between two pauses: some milliseconds of work. */
const RECORDS_AT_A_TIME = 50;

export interface Snapshot {
  readonly header: Header;
  readonly content: CacheContent;
}

/**
 * Writes a snapshot down, in small steps.
 *
 * @param pause lets others run; awaited between steps
 */
export async function encodeSnapshot(
  { header, content }: Snapshot,
  pause: () => Promise<void>,
): Promise<Uint8Array> {
  const hash = createHash("sha256");
  const steps: Uint8Array[] = [];
  const records = recordsOf(header, content);
  for (let step: readonly Uint8Array[] = [MARK]; step.length > 0; step = encodeSome(records)) {
    const bytes = Buffer.concat(step);
    hash.update(bytes);
    steps.push(bytes);
    await pause();
  }
  return Buffer.concat([...steps, hash.digest()]);
}

/** The next records, each after its length. */
function encodeSome(records: Iterator<Content>): Uint8Array[] {
  const parts: Uint8Array[] = [];
  while (parts.length < 2 * RECORDS_AT_A_TIME) {
    const { done, value } = records.next();
    if (done) break;
    const bytes = Record.encode({ content: value }).finish();
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.length);
    parts.push(length, bytes);
  }
  return parts;
}

/** @throws Error saying what is wrong, never what the bytes hold */
export function decodeSnapshot(bytes: Uint8Array): Snapshot {
  const end = bytes.length - CHECKSUM_BYTES;
  if (end < MARK.length || Buffer.compare(bytes.subarray(0, MARK.length), MARK) !== 0) {
    throw new Error("it is no snapshot, or one of another version");
  }
  const checksum = createHash("sha256").update(bytes.subarray(0, end)).digest();
  if (Buffer.compare(checksum, bytes.subarray(end)) !== 0) {
    throw new Error("its checksum is wrong");
  }
  const read: Reading = { entries: new Map(), svids: new Map(), bundles: new Map() };
  const view = new DataView(bytes.buffer, bytes.byteOffset, end);
  for (let at = MARK.length; at < end; ) {
    const start = at + 4;
    at = start + view.getUint32(at);
    // A copy: a slice would keep the whole snapshot alive as long as one SVID of it is.
    take(Record.decode(new Uint8Array(bytes.subarray(start, at))), read);
  }
  const { header, ...content } = read;
  if (header === undefined) throw new Error("it does not say whose it is");
  return { header, content };
}

type Content = NonNullable<Record["content"]>;

function* recordsOf(header: Header, { entries, svids, bundles }: CacheContent): Generator<Content> {
  yield { $case: "header", value: header };
  for (const entry of entries.values()) yield { $case: "entry", value: entryMessage(entry) };
  for (const [id, svid] of svids) yield { $case: "x509Svid", value: svidMessage(id, svid) };
  for (const bundle of bundles.values()) yield { $case: "bundle", value: bundleMessage(bundle) };
}

interface Reading {
  header?: Header;
  readonly entries: Map<string, WorkloadEntry>;
  readonly svids: Map<string, WorkloadX509Svid>;
  readonly bundles: Map<string, Bundle>;
}

function take({ content }: Record, into: Reading): void {
  switch (content?.$case) {
    case "header":
      into.header = content.value;
      break;
    case "entry":
      into.entries.set(content.value.id, {
        ...content.value,
        spiffeId: SpiffeId.parse(content.value.spiffeId),
      });
      break;
    case "x509Svid": {
      const { entryId, signatory, ...svid } = content.value;
      if (signatory === undefined) throw new Error("an SVID lacks the authority that signed it");
      into.svids.set(entryId, { ...svid, signatory });
      break;
    }
    case "bundle": {
      const bundle = bundleOf(content.value);
      into.bundles.set(bundle.trustDomain.name, bundle);
      break;
    }
    case undefined:
      // A kind of record that a later version added: what is known is still good.
      break;
  }
}

function entryMessage(entry: WorkloadEntry): Entry {
  return {
    ...entry,
    spiffeId: entry.spiffeId.toString(),
    selectors: [...entry.selectors],
    dnsNames: [...entry.dnsNames],
    federatesWith: [...entry.federatesWith],
  };
}

function svidMessage(entryId: string, svid: WorkloadX509Svid): X509Svid {
  return { ...svid, entryId, chain: [...svid.chain] };
}

function bundleMessage(bundle: Bundle): BundleMessage {
  return {
    trustDomain: bundle.trustDomain.name,
    x509Authorities: bundle.x509Authorities.map(({ certificate, tainted }) => ({
      asn1: certificate,
      tainted,
    })),
    jwtAuthorities: bundle.jwtAuthorities.map((authority) => ({ ...authority })),
    refreshHint: bundle.refreshHint,
    sequenceNumber: bundle.sequenceNumber,
    witAuthorities: [],
  };
}

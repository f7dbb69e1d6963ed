/** The credentials that there are, by their IDs: `tls.key`, or `tls.key@HINT` for the SVID with that hint. */
import type { WorkloadEntry } from "#agent/cache/workload-entry.ts";
import type { WorkloadX509Svid } from "#agent/cache/x509-svids.ts";
import { certificatesToPem, encodePem } from "#x509/pem.ts";

/** An SVID with the authorities that its peers are verified by. */
export interface Pair {
  readonly entry: WorkloadEntry;
  readonly svid: WorkloadX509Svid;
  /** DER. */
  readonly authorities: readonly Uint8Array[];
}

type Write = (pair: Pair) => string;

const key: Write = ({ svid }) => encodePem("PRIVATE KEY", svid.privateKey);
const chain: Write = ({ svid }) => certificatesToPem(svid.chain);

const CREDENTIALS: ReadonlyMap<string, Write> = new Map([
  ["tls.key", key],
  ["tls.crt", chain],
  ["ca.crt", ({ authorities }) => certificatesToPem(authorities)],
  ["svid.pem", (pair) => chain(pair) + key(pair)],
]);

/** The IDs, for messages. */
export const CREDENTIAL_NAMES: string = [...CREDENTIALS.keys()].join(", ");

export interface Credential {
  /** Undefined for the first SVID. */
  readonly hint: string | undefined;
  readonly write: Write;
}

/** Undefined when there is no such credential. */
export function parseCredential(id: string): Credential | undefined {
  const at = id.indexOf("@");
  const write = CREDENTIALS.get(at < 0 ? id : id.slice(0, at));
  if (write === undefined || at === id.length - 1) return undefined;
  return { hint: at < 0 ? undefined : id.slice(at + 1), write };
}

/** How much of a request the server takes, by whom it let in, as what. */
import type { Allowance, CallContext } from "#grpc/bind.ts";
import type { MessageLimits } from "#grpc/message-limits.ts";
import { sourceOf } from "#grpc/remote-source.ts";
import { apiCall } from "./api-call.ts";
import type { CallerRole } from "./authorization.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

/**
 * An attestation carries what a node proves itself by: a certificate chain or a document, a few kilobytes. The largest request of an agent is
 * for 500 X509-SVIDs at once, as many as are signed in a second, each an entry ID and a CSR: 0.15 MB with keys on P-256, 0.6 MB with RSA of
 * 4096 bits, 1,500 fields. An operator may create thousands of entries at once, in as many bytes as the reference takes.
 */
const LIMITS: Readonly<Record<CallerRole, MessageLimits>> = {
  any: { bytes: 128 * KIB, fields: 1024 },
  agent: { bytes: MIB, fields: 4096 },
  downstream: { bytes: MIB, fields: 4096 },
  admin: { bytes: 4 * MIB, fields: 512 * KIB },
  local: { bytes: 4 * MIB, fields: 512 * KIB },
};

/** In place of those, by method: an agent may name all its entries in one message. */
const OF_METHODS: Readonly<Record<string, MessageLimits>> = {
  "/spire.api.server.entry.v1.Entry/SyncAuthorizedEntries": { bytes: 4 * MIB, fields: 128 * KIB },
};

/** @throws Error when no guard ran */
export function allowanceOf(context: CallContext): Allowance {
  const { identity, admittedAs } = apiCall(context);
  const limits = OF_METHODS[context.method] ?? LIMITS[admittedAs];
  if (identity.kind === "spiffe") {
    return { ...limits, source: identity.id.toString(), isKnown: true };
  }
  const source =
    identity.kind === "anonymous" ? sourceOf(identity.address) : `uid ${identity.peer.uid}`;
  return { ...limits, source, isKnown: identity.kind === "local" };
}

/** Records for tests of a store, and what such tests need besides. */
import type { RegistrationEntry } from "#spiffe/registration-entry.ts";
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import type { AttestedNode, Page } from "./datastore.ts";

export const ALL: Page = { size: 0, token: "" };

/** An entry called `id`; what is not given is the simplest there is. */
export function makeEntry(id: string, given: Partial<RegistrationEntry> = {}): RegistrationEntry {
  return {
    id,
    spiffeId: SpiffeId.parse(`spiffe://example.org/${id}`),
    parentId: SpiffeId.parse("spiffe://example.org/node"),
    selectors: [{ type: "unix", value: "uid:1000" }],
    x509SvidTtl: 0,
    jwtSvidTtl: 0,
    federatesWith: [],
    admin: false,
    downstream: false,
    storeSvid: false,
    expiresAt: 0,
    dnsNames: [],
    hint: "",
    createdAt: 1_700_000_000,
    revisionNumber: 0,
    disableX509SvidPrefetch: false,
    jwtSvidIncludeJti: false,
    ...given,
  };
}

export function makeNode(name: string, given: Partial<AttestedNode> = {}): AttestedNode {
  return {
    spiffeId: `spiffe://example.org/spire/agent/${name}`,
    attestationType: "join_token",
    serialNumber: "1234",
    notAfter: 2_000,
    newSerialNumber: "",
    newNotAfter: 0,
    canReattest: false,
    agentVersion: "",
    selectors: [{ type: "node", value: name }],
    ...given,
  };
}

/**
 * What a promise is rejected with. Not `expect(promise).rejects`: that one keeps the thread waiting, and messages of a
 * store's own threads with it.
 */
export function rejection(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => undefined,
    (error: unknown) => error,
  );
}

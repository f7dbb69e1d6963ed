import { expect, test } from "bun:test";
import type { CacheContent } from "#agent/cache/workload-cache.ts";
import type { WorkloadEntry } from "#agent/cache/workload-entry.ts";
import type { WorkloadX509Svid } from "#agent/cache/x509-svids.ts";
import type { Bundle } from "#spiffe/bundle.ts";
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import { decodeSnapshot, encodeSnapshot, type Snapshot } from "./snapshot.ts";

const HEADER = {
  trustDomain: "example.org",
  agentId: "spiffe://example.org/spire/agent/join_token/a",
  sequence: 7,
  writtenAt: 1_700_000_000,
};
const bundle: Bundle = {
  trustDomain: TrustDomain.parse("example.org"),
  x509Authorities: [
    { certificate: Uint8Array.of(0x30, 0x03, 0x02, 0x01, 0x01), tainted: true },
    { certificate: Uint8Array.of(0x30, 0x03, 0x02, 0x01, 0x02), tainted: false },
  ],
  jwtAuthorities: [
    { keyId: "k", publicKey: Uint8Array.of(4), expiresAt: 1_800_000_000, tainted: true },
  ],
  witAuthorities: [],
  refreshHint: 60,
  sequenceNumber: 3,
};

function content(count: number): CacheContent {
  const entries = new Map<string, WorkloadEntry>();
  const svids = new Map<string, WorkloadX509Svid>();
  for (let index = 0; index < count; index++) {
    const id = `entry-${index}`;
    entries.set(id, {
      id,
      spiffeId: SpiffeId.parse(`spiffe://example.org/${id}`),
      selectors: ["unix:gid:1", `unix:uid:${index}`],
      dnsNames: ["db.example.org"],
      federatesWith: ["other.example"],
      hint: "größe",
      createdAt: 1_600_000_000,
      revisionNumber: index,
      svidKey: `["${id}"]`,
      prefetched: index % 2 === 0,
      jwtSvidsOnce: index % 2 === 1,
      delegable: index % 2 === 0,
      x509SvidTtl: 600,
    });
    svids.set(id, {
      chain: [Uint8Array.of(1, 2, index), new Uint8Array(700)],
      privateKey: Uint8Array.of(9, index),
      notAfter: 1_700_003_600,
      renewAt: 1_700_001_800,
      svidKey: `["${id}"]`,
      signatory: { name: `authority-${index}`, keyId: "" },
    });
  }
  return { entries, svids, bundles: new Map([["example.org", bundle]]) };
}

async function encoded(snapshot: Snapshot): Promise<{ bytes: Uint8Array; pauses: number }> {
  let pauses = 0;
  const bytes = await encodeSnapshot(snapshot, async () => {
    pauses++;
  });
  return { bytes, pauses };
}

/** As plain text: byte arrays of any class are the same. */
const plain = (value: unknown): string =>
  JSON.stringify(value, (_key, one: unknown) => {
    if (one instanceof Map) return [...one];
    return one instanceof Uint8Array ? Buffer.from(one).toString("hex") : one;
  });

test("a snapshot comes back as it was written, an empty one too", async () => {
  for (const snapshot of [content(3), content(0)].map((one) => ({
    header: HEADER,
    content: one,
  }))) {
    const read = decodeSnapshot((await encoded(snapshot)).bytes);
    expect(plain(read.content.entries)).toBe(plain(snapshot.content.entries));
    expect(plain(read.content.svids)).toBe(plain(snapshot.content.svids));
    expect(plain(read.content.bundles)).toBe(plain(snapshot.content.bundles));
    expect(read.header).toEqual(HEADER);
  }
});

test("what is read holds on to nothing of the bytes, which are wiped afterwards", async () => {
  const { bytes } = await encoded({ header: HEADER, content: content(1) });
  const read = decodeSnapshot(bytes);
  bytes.fill(0);
  expect([...(read.content.svids.get("entry-0")?.privateKey ?? [])]).toEqual([9, 0]);
});

test("any byte that is not as it was written is found, and so is an end that is missing", async () => {
  const { bytes } = await encoded({ header: HEADER, content: content(1) });
  for (let at = 0; at < bytes.length; at++) {
    const torn = Uint8Array.from(bytes);
    torn[at] = (torn[at] ?? 0) ^ 1;
    expect(() => decodeSnapshot(torn)).toThrow();
    expect(() => decodeSnapshot(bytes.subarray(0, at))).toThrow();
  }
  expect(() => decodeSnapshot(Buffer.concat([bytes, Buffer.alloc(1)]))).toThrow("checksum");
  expect(() => decodeSnapshot(new Uint8Array())).toThrow("no snapshot");
});

test("a large cache is written in small steps", async () => {
  const { pauses } = await encoded({ header: HEADER, content: content(1000) });
  expect(pauses).toBeGreaterThanOrEqual(20);
});

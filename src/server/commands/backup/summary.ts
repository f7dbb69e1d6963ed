/** What a backup holds, for people and for scripts. */
import { rfc3339, utcTime } from "#cli/go-time.ts";
import type { Contents, HeldAuthority } from "#server/backup/contents.ts";
import type { Manifest } from "#server/backup/manifest.ts";

export interface Summarized {
  readonly manifest: Manifest;
  readonly contents: Contents;
  readonly isEncrypted: boolean;
}

/** @param now Unix seconds, to tell what has expired */
export function summaryText({ manifest, contents, isEncrypted }: Summarized, now: number): string {
  const { counts } = contents;
  const rows: readonly (readonly [string, string | number])[] = [
    ["Trust domain", manifest.trustDomain],
    ["Made at", utcTime(manifest.createdAt)],
    ["Made by", `spire-server ${manifest.programVersion}`],
    ["Encrypted", isEncrypted ? "yes" : "no"],
    ["Parts", manifest.parts.map(({ name }) => name).join(", ")],
    ["Schema version", contents.schemaVersion],
    ["Registration entries", counts.entries],
    ["Agents", counts.agents],
    ["Unused join tokens", counts.joinTokens],
    ["Bundles", counts.bundles],
    ["Federations", counts.federationRelationships],
    ...contents.authorities.map((authority) => authorityRow(authority, now)),
    ...requestRows(contents),
  ];
  return rows.map(([name, value]) => `${name.padEnd(20)} : ${value}\n`).join("");
}

export function summaryJson({ manifest, contents, isEncrypted }: Summarized): object {
  const { counts } = contents;
  return {
    trust_domain: manifest.trustDomain,
    created_at: rfc3339(manifest.createdAt),
    program_version: manifest.programVersion,
    encrypted: isEncrypted,
    key_manager: manifest.keyManager,
    schema_version: contents.schemaVersion,
    entries: counts.entries,
    agents: counts.agents,
    unused_join_tokens: counts.joinTokens,
    bundles: counts.bundles,
    federation_relationships: counts.federationRelationships,
    authorities: contents.authorities.map(({ kind, status, authorityId, notAfter, key }) => ({
      kind,
      status,
      authority_id: authorityId,
      expires_at: rfc3339(notAfter),
      key,
    })),
    ...(contents.request === undefined
      ? {}
      : {
          pending_request: {
            requested_at: rfc3339(contents.request.requestedAt),
            key: contents.request.key,
          },
        }),
    parts: manifest.parts,
  };
}

/** What is to be known of a backup beyond its content. */
export function remarks({ manifest, contents }: Pick<Summarized, "manifest" | "contents">): string {
  const lost = contents.authorities.filter(({ key }) => key === "missing");
  return [
    ...(manifest.keyManager === "memory"
      ? ["The server keeps its keys in memory: a restored one makes new authorities."]
      : []),
    ...(contents.request?.key === "missing"
      ? ["The request for an X.509 authority has no key any more: the server makes another one."]
      : []),
    ...lost.map(
      ({ title, keyId }) =>
        `The prepared ${title} authority has no key (${keyId}) any more: the server makes another one.`,
    ),
  ]
    .map((line) => `${line}\n`)
    .join("");
}

function authorityRow(authority: HeldAuthority, now: number): readonly [string, string] {
  const { title, status, authorityId, notAfter, key } = authority;
  const end = notAfter > now ? "until" : "EXPIRED at";
  return [`${title} ${status}`, `${authorityId}, ${end} ${utcTime(notAfter)}, key ${where(key)}`];
}

function requestRows({ request }: Contents): readonly (readonly [string, string])[] {
  if (request === undefined) return [];
  return [["X.509 request", `since ${utcTime(request.requestedAt)}, key ${where(request.key)}`]];
}

function where(key: HeldAuthority["key"]): string {
  return key === "memory" ? "in the server's memory" : key;
}

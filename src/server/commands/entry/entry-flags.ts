import {
  type Flag,
  type FlagValues,
  intFlag,
  repeatedFlag,
  secondsFlag,
  stringFlag,
  switchFlag,
} from "#cli/flags.ts";
import { parseGoInt } from "#cli/go-text.ts";
import { systemClock } from "#clock/clock.ts";
import { parseDuration } from "#config/duration.ts";
import type { Entry } from "#proto/spire/api/types/entry.ts";
import type { SPIFFEID } from "#proto/spire/api/types/spiffeid.ts";
import { int32 } from "#server/commands/int32.ts";
import { parseSelector } from "#spiffe/selector.ts";

export interface EntryFlags extends Record<string, Flag<unknown>> {
  readonly entryID: Flag<string>;
  readonly parentID: Flag<string>;
  readonly spiffeID: Flag<string>;
  readonly x509SVIDTTL: Flag<number>;
  readonly jwtSVIDTTL: Flag<number>;
  readonly data: Flag<string>;
  readonly selector: Flag<readonly string[]>;
  readonly federatesWith: Flag<readonly string[]>;
  readonly admin: Flag<boolean>;
  readonly storeSVID: Flag<boolean>;
  readonly downstream: Flag<boolean>;
  readonly entryExpiry: Flag<number>;
  readonly dns: Flag<readonly string[]>;
  readonly hint: Flag<string>;
  readonly disableX509SVIDPrefetch: Flag<boolean>;
  readonly jwtSVIDIncludeJTI: Flag<boolean>;
}

/**
 * The flags that `entry create` and `entry update` share.
 *
 * @param entryIdHelp what -entryID means to the command
 */
export function entryFlags(entryIdHelp: string): EntryFlags {
  return {
    entryID: stringFlag(entryIdHelp),
    parentID: stringFlag(
      "The SPIFFE ID of the parent, the agent (or its alias) that may issue for this entry",
    ),
    spiffeID: stringFlag("The SPIFFE ID that workloads get by this entry"),
    x509SVIDTTL: secondsFlag(
      "How long X509-SVIDs of this entry live, in seconds or as 1h30m; 0 for the server's default",
      0,
      ["ttl"],
    ),
    jwtSVIDTTL: secondsFlag(
      "How long JWT-SVIDs of this entry live, in seconds or as 1h30m; 0 for the server's default",
    ),
    data: stringFlag(
      "A JSON file with entries to take instead of the other flags; '-' is standard input",
    ),
    selector: repeatedFlag(
      "A type:value selector that the workload must have. Can be given several times",
    ),
    federatesWith: repeatedFlag(
      "A trust domain whose bundle the workload also gets. Can be given several times",
    ),
    admin: switchFlag("Let holders of the SPIFFE ID use the server's administration API"),
    storeSVID: switchFlag("Have the SVID put into a secret store by an SVIDStore plugin"),
    downstream: switchFlag("The entry is for a SPIRE server below this one"),
    entryExpiry: {
      ...intFlag(
        "When the entry ends and is removed, in Unix seconds, as 2027-01-31T12:00:00Z, or as 72h from now; 0 for never",
      ),
      read: readMoment,
    },
    dns: repeatedFlag("A DNS name that goes into X509-SVIDs. Can be given several times"),
    hint: stringFlag("Tells entries with the same SPIFFE ID apart for the workload"),
    disableX509SVIDPrefetch: switchFlag(
      "Do not make X509-SVIDs of this entry before a workload asks for one",
    ),
    jwtSVIDIncludeJTI: switchFlag(
      "Put a unique 'jti' claim into each JWT-SVID, which then is never cached",
    ),
  };
}

const RFC_3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/;

/** @returns Unix seconds. @throws Error `parse error` or `value out of range` */
function readMoment(text: string): number {
  if (RFC_3339.test(text)) {
    const ms = Date.parse(text);
    if (Number.isNaN(ms)) throw new Error("parse error");
    return Math.ceil(ms / 1000);
  }
  if (!/[hms]$/.test(text)) return Number(parseGoInt(text));
  return Math.ceil(systemClock.nowMs() / 1000 + parseDuration(text));
}

/**
 * The checks that both commands make in the same order, after their own.
 *
 * @throws Error
 */
export function checkCommon(flags: FlagValues<EntryFlags>): void {
  if (flags.spiffeID === "") throw new Error("a SPIFFE ID is required");
  if (flags.x509SVIDTTL < 0) throw new Error("a positive x509-SVID TTL is required");
  if (flags.jwtSVIDTTL < 0) throw new Error("a positive JWT-SVID TTL is required");
}

/** Builds the entry that the flags describe. @throws Error */
export function entryFromFlags(
  flags: FlagValues<EntryFlags>,
  ids: { readonly spiffeId: SPIFFEID | undefined; readonly parentId: SPIFFEID | undefined },
): Entry {
  const x509SvidTtl = int32(flags.x509SVIDTTL, "X509 SVID TTL");
  const jwtSvidTtl = int32(flags.jwtSVIDTTL, "JWT SVID TTL");
  const { disableX509SVIDPrefetch, jwtSVIDIncludeJTI } = flags;
  return {
    id: flags.entryID,
    ...ids,
    selectors: flags.selector.map(parseSelector),
    x509SvidTtl,
    jwtSvidTtl,
    federatesWith: [...flags.federatesWith],
    admin: flags.admin,
    downstream: flags.downstream,
    expiresAt: flags.entryExpiry,
    dnsNames: [...flags.dns],
    revisionNumber: 0,
    storeSvid: flags.storeSVID,
    hint: flags.hint,
    createdAt: 0,
    additionalAttributes:
      disableX509SVIDPrefetch || jwtSVIDIncludeJTI
        ? {
            disableX509SvidPrefetch: disableX509SVIDPrefetch,
            jwtSvidIncludeJti: jwtSVIDIncludeJTI,
          }
        : undefined,
  };
}

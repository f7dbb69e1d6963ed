/** Checks of what signs, and of what is trusted for it. Pure: they are given what the server answered. */
import { type Finding, fail, ok, warn } from "#cli/doctor/finding.ts";
import { CLOCK_TOLERANCE_SECONDS, whenText } from "#cli/doctor/times.ts";
import type { GetX509AuthorityStateResponse } from "#proto/spire/api/server/localauthority/v1/localauthority.ts";
import type { Bundle } from "#proto/spire/api/types/bundle.ts";
import { activateAt, prepareAt } from "#server/ca/rotation/rotation.ts";
import { Certificate } from "#x509/certificate.ts";

/** How late the rotation may be before something must have gone wrong. */
const LATE_SECONDS = 120;
/** Expired authorities leave the bundle within that time. */
const PRUNED_AFTER_SECONDS = 2 * 24 * 3600;

export interface AuthoritiesAsked {
  readonly kind: "X.509" | "JWT";
  readonly state: GetX509AuthorityStateResponse;
  /** When the one that signs was made, Unix seconds; undefined when that is not known. */
  readonly issuedAt: number | undefined;
  /** Unix seconds. */
  readonly now: number;
}

/** Whether there is one that signs, and whether the next one comes in time. */
export function checkAuthorities({ kind, state, issuedAt, now }: AuthoritiesAsked): Finding[] {
  const check = kind === "JWT" ? "jwt_authority" : "x509_authority";
  const word = kind === "JWT" ? "jwt" : "x509";
  const log = `look for errors of ca_manager in the server's log; spire-server localauthority ${word} prepare tries it at once, and says why it fails`;
  const { active, prepared } = state;
  if (active === undefined) return [fail(check, `no ${kind} authority signs`, log)];
  const { authorityId, expiresAt } = active;
  if (expiresAt <= now) {
    return [fail(check, `${authorityId} expired ${whenText(expiresAt, now)}`, log)];
  }
  const signs = `${authorityId} signs, and expires ${whenText(expiresAt, now)}`;
  if (issuedAt === undefined) return [ok(check, signs)];
  const life = { issuedAt, notAfter: expiresAt };
  const [nextAt, takesOverAt] = [prepareAt(life), activateAt(life)];
  if (prepared === undefined) {
    const due = `${signs}; the next one is to be prepared ${whenText(nextAt, now)}`;
    if (now > takesOverAt + LATE_SECONDS) return [fail(check, due, log)];
    return [now > nextAt + LATE_SECONDS ? warn(check, due, log) : ok(check, due)];
  }
  const takes = `${signs}; ${prepared.authorityId} takes over ${whenText(takesOverAt, now)}`;
  return [now > takesOverAt + LATE_SECONDS ? warn(check, takes, log) : ok(check, takes)];
}

/** The trust bundle of this server's own domain. */
export function checkBundle(bundle: Bundle, now: number): Finding[] {
  const authorities = bundle.x509Authorities.map(({ asn1, tainted }) => {
    const { notBefore, notAfter } = Certificate.parse(asn1);
    return { notBefore, notAfter, tainted };
  });
  const keys = [...bundle.jwtAuthorities, ...bundle.witAuthorities].map(
    ({ expiresAt, tainted }) => ({
      notBefore: 0,
      notAfter: expiresAt,
      tainted,
    }),
  );
  const all = [...authorities, ...keys];
  const good = authorities.filter(({ notAfter }) => notAfter > now);
  const check = "trust_bundle";
  if (good.length === 0) {
    const advice =
      "without one no X509-SVID can be verified: look for errors of ca_manager in the server's log";
    return [fail(check, "it has no X.509 authority that is good", advice)];
  }
  const shown = `${good.length} X.509 authorities and ${keys.length} keys for tokens, sequence number ${bundle.sequenceNumber}`;
  const problems = [...expiredOnes(all, now), ...taintedOnes(all), ...aheadOnes(authorities, now)];
  return problems.length === 0 ? [ok(check, shown)] : problems;
}

interface Trusted {
  readonly notBefore: number;
  readonly notAfter: number;
  readonly tainted: boolean;
}

function expiredOnes(all: readonly Trusted[], now: number): Finding[] {
  const expired = all.filter(({ notAfter }) => notAfter !== 0 && notAfter <= now);
  const overdue = expired.filter(({ notAfter }) => notAfter <= now - PRUNED_AFTER_SECONDS);
  if (overdue.length === 0) return [];
  const message = `${overdue.length} authorities expired more than two days ago and are still in it`;
  return [warn("trust_bundle", message, "look for errors of ca_manager in the server's log")];
}

function taintedOnes(all: readonly Trusted[]): Finding[] {
  const tainted = all.filter((one) => one.tainted);
  if (tainted.length === 0) return [];
  const advice =
    "when all workloads have SVIDs of another authority, revoke them: spire-server localauthority x509|jwt revoke, or upstreamauthority revoke";
  return [warn("trust_bundle", `${tainted.length} authorities in it are tainted`, advice)];
}

function aheadOnes(all: readonly Trusted[], now: number): Finding[] {
  const ahead = all.filter(({ notBefore }) => notBefore > now + CLOCK_TOLERANCE_SECONDS);
  if (ahead.length === 0) return [];
  const message = `${ahead.length} X.509 authorities begin later than this machine's clock says`;
  return [
    fail(
      "trust_bundle",
      message,
      "set the clock of the machine that is wrong; see docs/TROUBLESHOOTING.md",
    ),
  ];
}

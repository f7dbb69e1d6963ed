/** Checks of other trust domains: whether their bundles are still good, and whether they can be fetched. */
import { type Finding, fail, ok, warn } from "#cli/doctor/finding.ts";
import { whenText } from "#cli/doctor/times.ts";
import type { Bundle } from "#proto/spire/api/types/bundle.ts";
import { Certificate } from "#x509/certificate.ts";

const DAY_SECONDS = 24 * 3600;

/** Another trust domain as this server knows it. */
export interface Foreign {
  readonly name: string;
  readonly bundle: Bundle | undefined;
  /** Whether there is a relationship, by which the bundle is fetched. */
  readonly isFetched: boolean;
  /** Why fetching it failed just now; undefined when that went well or was not tried. */
  readonly problem: string | undefined;
}

/** @param now Unix seconds */
export function checkForeign({ name, bundle, isFetched, problem }: Foreign, now: number): Finding {
  const check = "federation";
  const refresh = `look at the endpoint and at the relationship: spire-server federation show -trustDomain ${name}`;
  const set = `set it anew: spire-server bundle set -id spiffe://${name}`;
  const advice = isFetched ? refresh : set;
  if (bundle === undefined) {
    const why = problem === undefined ? "" : `: ${problem}`;
    return fail(check, `${name} has no bundle, so nobody of it is believed${why}`, advice);
  }
  const ends = bundle.x509Authorities.map(({ asn1 }) => Certificate.parse(asn1).notAfter);
  const last = Math.max(0, ...ends);
  if (last <= now) {
    const message =
      ends.length === 0
        ? `the bundle of ${name} has no X.509 authorities`
        : `all X.509 authorities of ${name} have expired, the last one ${whenText(last, now)}`;
    return fail(check, message, advice);
  }
  if (problem !== undefined) {
    const message = `the bundle of ${name} cannot be fetched, the one here is good until ${whenText(last, now)}: ${problem}`;
    return warn(check, message, refresh);
  }
  if (!isFetched && last < now + DAY_SECONDS) {
    const message = `the bundle of ${name} is good until ${whenText(last, now)}, and nothing fetches it`;
    return warn(check, message, `${set}, or have it fetched: spire-server federation create`);
  }
  return ok(check, `the bundle of ${name} is good until ${whenText(last, now)}`);
}

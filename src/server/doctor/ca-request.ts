/** The check of a CA that is signed by hand: whether somebody has to have a request signed. */
import { type Finding, fail, warn } from "#cli/doctor/finding.ts";
import { whenText } from "#cli/doctor/times.ts";
import type { State } from "#proto/spire_edge/ca/v1/ca.ts";

/** Nothing is found where nothing waits. @param now Unix seconds */
export function checkCaRequest({ active, prepared, pending }: State, now: number): Finding[] {
  if (pending === undefined) return [];
  const check = "ca_request";
  const advice =
    "have it signed (`spire-server ca csr` tells how), and give the certificate to `spire-server ca import`";
  const request = `the request at ${pending.csrPath} waits since ${whenText(pending.requestedAt, now)}`;
  const endsAt = Math.max(active?.notAfter ?? 0, prepared?.notAfter ?? 0);
  if (endsAt <= now) return [fail(check, `no X.509 CA signs: ${request}`, advice)];
  return [warn(check, `${request}; it must be signed by ${whenText(endsAt, now)}`, advice)];
}

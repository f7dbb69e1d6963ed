/** Checks of the agent's own identity, as it lies in the data directory. */
import type { AgentState } from "#agent/attestation/stored-state.ts";
import { type IdentityFiles, IdentityReader } from "#attestors/x509pop/node-identity.ts";
import { type Finding, fail, ok, warn } from "#cli/doctor/finding.ts";
import { CLOCK_TOLERANCE_SECONDS, whenText } from "#cli/doctor/times.ts";
import { Certificate } from "#x509/certificate.ts";
import { parseX509SvidChain } from "#x509/svid.ts";

const DAY_SECONDS = 24 * 3600;

/** The certificate by which a node proves itself (x509pop). @param now Unix seconds @throws Error naming the file */
export async function checkNodeCertificate(files: IdentityFiles, now: number): Promise<Finding> {
  const check = "node_certificate";
  const { certificates } = await new IdentityReader(files).read();
  const chain = certificates.map((der) => Certificate.parse(der));
  const ends = Math.min(...chain.map(({ notAfter }) => notAfter));
  const shown = `it and those above it are good until ${whenText(ends, now)}`;
  const advice = "renew it: without it the agent cannot join again; it is read anew each time";
  if (ends <= now) return fail(check, shown, advice);
  return ends < now + DAY_SECONDS ? warn(check, shown, advice) : ok(check, shown);
}

const CHECK = "agent_svid";
const JOIN =
  "give the agent a new join token (spire-server token generate, or agent rejoin for the ID that it has)";

/**
 * @param publicKeys of the KeyManager, SubjectPublicKeyInfo; undefined when they cannot be looked at
 * @param now Unix seconds
 */
export function checkIdentity(
  { svid, bundle, reattestable }: AgentState,
  publicKeys: readonly Uint8Array[] | undefined,
  now: number,
): Finding {
  if (svid.length === 0) {
    return warn(CHECK, "the agent has not joined its server yet, or was turned away", JOIN);
  }
  const { id, leaf } = parseX509SvidChain(svid);
  const has = (one: Uint8Array): boolean => Buffer.compare(one, leaf.publicKeySpki) === 0;
  if (bundle.length === 0 || publicKeys?.some(has) === false) {
    const lost = bundle.length === 0 ? "its trust bundle" : "its key";
    return fail(CHECK, `${id} is stored without ${lost}`, JOIN);
  }
  const { notBefore, notAfter } = leaf;
  const until = `${id}, good until ${whenText(notAfter, now)}`;
  if (notAfter <= now) {
    const advice = reattestable ? "see whether the agent runs, and reaches its server" : JOIN;
    return fail(CHECK, `${id} has expired ${whenText(notAfter, now)}`, advice);
  }
  if (notBefore > now + CLOCK_TOLERANCE_SECONDS) {
    const message = `${id} begins ${whenText(notBefore, now)}: this machine's clock is behind`;
    return fail(CHECK, message, "set the clock, and run NTP; see docs/TROUBLESHOOTING.md");
  }
  // Three quarters of its life: it is replaced at half of it.
  if (now > notAfter - (notAfter - notBefore) / 4) {
    const advice = "see whether the agent runs, and reaches its server; its log says why it cannot";
    return warn(CHECK, `${until}, should have been renewed by now`, advice);
  }
  return ok(CHECK, until);
}

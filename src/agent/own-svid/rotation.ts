/** When an X509-SVID is replaced. */
import type { Random } from "#clock/random.ts";

/** Of half a lifetime: SVIDs issued together are not all due together. */
const JITTER = 0.1;
const AVAILABILITY_JITTER_SECONDS = 600;
/** An SVID must live so much longer than it is to be available, or it would be replaced all the time. */
const MIN_GRACE_SECONDS = 12 * 3600;

export interface RotationRule {
  /** Seconds that an SVID at hand is always to be valid for, in case the server is away for long. */
  readonly availabilityTargetSeconds?: number;
  readonly random: Random;
}

/** @param settings `availability_target` */
export function rotationRule(
  { availabilityTargetSeconds }: Pick<RotationRule, "availabilityTargetSeconds">,
  random: Random,
): RotationRule {
  return {
    random,
    ...(availabilityTargetSeconds === undefined ? {} : { availabilityTargetSeconds }),
  };
}

/** Unix seconds. */
interface Validity {
  readonly notBefore: number;
  readonly notAfter: number;
}

/** Unix seconds: about half of its life, or earlier where an availability target asks for it. */
export function rotateAt(validity: Validity, rule: RotationRule): number {
  const { notBefore, notAfter } = validity;
  const half = (notAfter - notBefore) / 2;
  const jittered = half * (1 + JITTER * (2 * rule.random.fraction() - 1));
  const target = rule.availabilityTargetSeconds;
  if (target === undefined || missesTarget(validity, rule)) return Math.floor(notAfter - jittered);
  const available = target + AVAILABILITY_JITTER_SECONDS * rule.random.fraction();
  return Math.floor(notAfter - Math.max(jittered, available));
}

/** Whether there is an availability target, and SVIDs do not live long enough for it. */
export function missesTarget(
  { notBefore, notAfter }: Validity,
  { availabilityTargetSeconds: target }: RotationRule,
): boolean {
  return target !== undefined && notAfter - notBefore - target <= MIN_GRACE_SECONDS;
}

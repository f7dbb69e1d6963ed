/** Times in findings: when, and how long that is from now. */
import { utcTime } from "#cli/go-time.ts";
import { formatDuration } from "#config/duration.ts";

/** `2026-11-25 04:00:00 +0000 UTC (in 34m12s)`, or `(34m12s ago)`. @param at Unix seconds, as is `now` */
export function whenText(at: number, now: number): string {
  const distance = formatDuration(Math.abs(Math.round(at - now)));
  return `${utcTime(at)} (${at >= now ? `in ${distance}` : `${distance} ago`})`;
}

/** How much two clocks may differ before anybody notices: SVIDs begin that many seconds before they are issued. */
export const CLOCK_TOLERANCE_SECONDS = 10;

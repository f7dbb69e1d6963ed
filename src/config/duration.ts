/** Durations as Go writes them: `1h30m`, `250ms`, `-1.5h`. In the program they are seconds. */

const UNIT_SECONDS: Readonly<Record<string, number>> = {
  ns: 1e-9,
  us: 1e-6,
  µs: 1e-6,
  μs: 1e-6,
  ms: 1e-3,
  s: 1,
  m: 60,
  h: 3600,
};

const WHOLE = /^([+-]?)((?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+$/;
const PART = /(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)/g;

/**
 * @returns seconds, with fractions
 * @throws Error in Go's words
 */
export function parseDuration(text: string): number {
  if (/^[+-]?0$/.test(text)) return 0;
  if (!WHOLE.test(text)) {
    const missing = /^[+-]?(\d+\.?\d*|\.\d+)$/.test(text);
    throw new Error(
      `time: ${missing ? "missing unit in" : "invalid"} duration ${JSON.stringify(text)}`,
    );
  }
  let seconds = 0;
  for (const [, amount, unit] of text.matchAll(PART)) {
    seconds += Number(amount) * (UNIT_SECONDS[unit ?? ""] ?? 0);
  }
  return text.startsWith("-") ? -seconds : seconds;
}

/** The shortest text that Go prints for that many seconds: `1h0m0s`, `5s`, `2.67ms`. */
export function formatDuration(seconds: number): string {
  if (seconds === 0) return "0s";
  const sign = seconds < 0 ? "-" : "";
  const nanoseconds = Math.round(Math.abs(seconds) * 1e9);
  if (nanoseconds < 1e3) return `${sign}${nanoseconds}ns`;
  if (nanoseconds < 1e6) return `${sign}${nanoseconds / 1e3}µs`;
  if (nanoseconds < 1e9) return `${sign}${nanoseconds / 1e6}ms`;
  const whole = Math.floor(nanoseconds / 1e9);
  const rest = `${Number(((nanoseconds / 1e9) % 60).toFixed(9))}s`;
  if (whole < 60) return `${sign}${rest}`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${sign}${minutes}m${rest}`;
  return `${sign}${Math.floor(minutes / 60)}h${minutes % 60}m${rest}`;
}

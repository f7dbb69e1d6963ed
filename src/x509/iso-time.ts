/** A moment as logs and operators read it (RFC 3339), in UTC. @param seconds Unix seconds, whole ones */
export function isoTime(seconds: number): string {
  return new Date(seconds * 1000).toISOString().replace(".000Z", "Z");
}

/** The same of a number that others sent: whatever it is, and 0 for none. @param seconds Unix seconds */
export function momentField(seconds: number): string {
  if (seconds === 0) return "none";
  return Number.isNaN(new Date(seconds * 1000).getTime()) ? String(seconds) : isoTime(seconds);
}

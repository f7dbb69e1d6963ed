/** A moment as logs and operators read it (RFC 3339), in UTC. @param seconds Unix seconds, whole ones */
export function isoTime(seconds: number): string {
  return new Date(seconds * 1000).toISOString().replace(".000Z", "Z");
}

/** What this machine knows of the address in a join word, before a node finds out that it leads nowhere. */
import { lookup, lookupService } from "node:dns/promises";
import { isIP } from "node:net";
import { systemClock } from "#clock/clock.ts";

/** A name server that keeps silent holds up no command for longer. */
const TIMEOUT_MS = 3_000;

/** The full name of this machine, with its domain, where it has one; else the name as it is. */
export async function fullName(name: string): Promise<string> {
  if (name.includes(".") || isIP(name) !== 0) return name;
  const asked = async (): Promise<string> => {
    const { address } = await lookup(name);
    return (await lookupService(address, 0)).hostname;
  };
  const found = await inTime(asked);
  return found?.toLowerCase().startsWith(`${name.toLowerCase()}.`) ? found : name;
}

/** Why nodes may not reach that host; undefined when nothing speaks against it. */
export async function addressDoubt(host: string): Promise<string | undefined> {
  if (isLoopback(host)) {
    return `the join word names ${host}, which on each node is that node itself: the word is of use on this machine alone`;
  }
  if (isIP(host) !== 0 || (await inTime(() => lookup(host))) !== undefined) return undefined;
  return `the join word names ${host}, and this machine finds no address for that name: nodes may find none either`;
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}

/** Undefined when it fails, or takes too long. */
async function inTime<T>(ask: () => Promise<T>): Promise<T | undefined> {
  try {
    return await Promise.race([ask(), systemClock.sleep(TIMEOUT_MS).then(() => undefined)]);
  } catch {
    return undefined;
  }
}

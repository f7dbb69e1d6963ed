import { isIPv6 } from "node:net";

/** Of four hexadecimal digits; a network that is given to one customer has at least the other four (RFC 6177). */
const GROUPS = 8;
const NETWORK_GROUPS = 4;
const MAPPED = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i;

/**
 * Who is to answer for what comes from an address, in limits and in the log. Whoever has one IPv6 address has the other 2^64 of its network,
 * so the network counts: `2001:db8:1:2::/64`. An IPv4 address stands for itself, also in the form that a socket for both families gives it.
 *
 * @param address without a port
 */
export function sourceOf(address: string): string {
  const mapped = MAPPED.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  const [plain = ""] = address.split("%");
  if (!isIPv6(plain)) return address;
  const groups = groupsOf(plain).slice(0, NETWORK_GROUPS);
  return `${groups.map((group) => Number.parseInt(group, 16).toString(16)).join(":")}::/64`;
}

/** The eight groups, or seven and an IPv4 address at the end. */
function groupsOf(address: string): string[] {
  const [head = "", tail] = address.split("::");
  const left = head === "" ? [] : head.split(":");
  if (tail === undefined) return left;
  const right = tail === "" ? [] : tail.split(":");
  const zeros = Math.max(0, GROUPS - left.length - right.length);
  return [...left, ...Array<string>(zeros).fill("0"), ...right];
}

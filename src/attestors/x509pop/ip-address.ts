/** IP addresses in their one spelling, so that they compare as text; an IPv4 address in IPv6 clothes is an IPv4 address. */
import { isIPv4, isIPv6 } from "node:net";

/** @param bytes 4 or 16, in network order */
export function ipText(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join(".");
  const groups = Array.from({ length: 8 }, (_, at) =>
    (((bytes[2 * at] ?? 0) << 8) | (bytes[2 * at + 1] ?? 0)).toString(16),
  );
  return canonicalIp(groups.join(":")) ?? groups.join(":");
}

/** @returns undefined for what is no address */
export function canonicalIp(text: string): string | undefined {
  if (isIPv4(text)) return text;
  const [plain = ""] = text.split("%");
  if (!isIPv6(plain)) return undefined;
  const spelled = new URL(`http://[${plain}]/`).hostname.slice(1, -1);
  const [, high, low] = /^::ffff:([0-9a-f]+):([0-9a-f]+)$/.exec(spelled) ?? [];
  if (high === undefined || low === undefined) return spelled;
  return [high, low]
    .map((group) => Number.parseInt(group, 16))
    .flatMap((group) => [group >> 8, group & 0xff])
    .join(".");
}

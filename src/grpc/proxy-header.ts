/**
 * The PROXY protocol, versions 1 and 2 (haproxy.org, proxy-protocol.txt): what a load balancer says ahead of a connection, so that the server
 * knows whom it carries.
 */
import { isIP } from "node:net";

/** A line of version 1 is never longer (§2.1). */
const MAX_LINE_BYTES = 107;
const LINE_START = Buffer.from("PROXY ");
const SIGNATURE = Buffer.from("\r\n\r\n\0\r\nQUIT\n", "latin1");
const FIXED_BYTES = 16;
/** Addresses, and more than anybody adds to them in earnest. */
const MAX_REST_BYTES = 2048;
const FAMILIES: ReadonlyMap<number, number> = new Map([
  // TCP over IPv4 and IPv6: how many bytes an address has.
  [0x11, 4],
  [0x21, 16],
]);

export type ProxyHeader =
  | { readonly kind: "incomplete" }
  /** The client speaks for itself. */
  | { readonly kind: "absent" }
  | {
      readonly kind: "present";
      /** Of the header; what the client says begins behind it. */
      readonly bytes: number;
      /** Where the client is; undefined when the balancer speaks for itself, or does not know. */
      readonly address: string | undefined;
    };

/**
 * Looks at the first bytes of a connection.
 *
 * @throws Error when they begin like a header and are none
 */
export function readProxyHeader(bytes: Buffer): ProxyHeader {
  if (startsAlike(bytes, LINE_START)) return readLine(bytes);
  if (startsAlike(bytes, SIGNATURE)) return readBinary(bytes);
  return { kind: "absent" };
}

/** Whether all bytes that both have are the same. */
function startsAlike(bytes: Buffer, start: Buffer): boolean {
  const length = Math.min(bytes.length, start.length);
  return bytes.subarray(0, length).equals(start.subarray(0, length));
}

/** §2.1: `PROXY TCP4 192.0.2.1 198.51.100.1 56324 8081\r\n` */
function readLine(bytes: Buffer): ProxyHeader {
  const end = bytes.subarray(0, MAX_LINE_BYTES).indexOf("\r\n");
  if (end === -1) {
    if (bytes.length < MAX_LINE_BYTES) return { kind: "incomplete" };
    throw new Error("the PROXY line does not end");
  }
  const [, family, source = "", ...more] = bytes.toString("latin1", 0, end).split(" ");
  const header = { kind: "present", bytes: end + 2 } as const;
  if (family === "UNKNOWN") return { ...header, address: undefined };
  const version = { TCP4: 4, TCP6: 6 }[family ?? ""];
  if (version === undefined || isIP(source) !== version || more.length !== 3) {
    throw new Error("malformed PROXY line");
  }
  return { ...header, address: source };
}

/** §2.2 */
function readBinary(bytes: Buffer): ProxyHeader {
  if (bytes.length < FIXED_BYTES) return { kind: "incomplete" };
  const rest = bytes.readUInt16BE(14);
  if (rest > MAX_REST_BYTES) throw new Error("the PROXY header is too long");
  if (bytes.length < FIXED_BYTES + rest) return { kind: "incomplete" };
  const header = { kind: "present", bytes: FIXED_BYTES + rest } as const;
  const command = bytes[12];
  // LOCAL: the balancer itself, to see whether the server lives.
  if (command === 0x20) return { ...header, address: undefined };
  if (command !== 0x21) throw new Error("unknown version or command in the PROXY header");
  const family = bytes[13] ?? 0;
  if (family === 0) return { ...header, address: undefined };
  const length = FAMILIES.get(family);
  // Two addresses and two ports.
  if (length === undefined || rest < 2 * length + 4) throw new Error("malformed PROXY header");
  const source = bytes.subarray(FIXED_BYTES, FIXED_BYTES + length);
  return { ...header, address: length === 4 ? source.join(".") : ipv6Text(source) };
}

function ipv6Text(bytes: Buffer): string {
  const groups = Array.from({ length: 8 }, (_, at) => bytes.readUInt16BE(at * 2).toString(16));
  // In the one form that has a single spelling (RFC 5952).
  return new URL(`http://[${groups.join(":")}]/`).hostname.slice(1, -1);
}

import { describe, expect, test } from "bun:test";
import { type ProxyHeader, readProxyHeader } from "./proxy-header.ts";

const HELLO = Buffer.from([0x16, 3, 1]);
const SIGNATURE = "0d0a0d0a000d0a515549540a";
const binary = (rest: string): Buffer => Buffer.from(SIGNATURE + rest, "hex");
const V4 = "c0000201c6336401dc041f91";
const V6 = `20010db8${"0".repeat(22)}01${"0".repeat(30)}01dc041f91`.slice(0, 72);

const carried: readonly [string, Buffer, string | undefined][] = [
  ["version 1, IPv4", Buffer.from("PROXY TCP4 192.0.2.1 198.51.100.1 56324 8081\r\n"), "192.0.2.1"],
  ["version 1, IPv6", Buffer.from("PROXY TCP6 2001:db8::1 ::1 56324 8081\r\n"), "2001:db8::1"],
  ["version 1, unknown", Buffer.from("PROXY UNKNOWN ffff::1 whatever\r\n"), undefined],
  ["version 2, IPv4", binary(`2111000c${V4}`), "192.0.2.1"],
  ["version 2, IPv4 and more", binary(`21110010${V4}00000000`), "192.0.2.1"],
  ["version 2, IPv6", binary(`21210024${V6}`), "2001:db8::1"],
  ["version 2, the balancer itself", binary("20000000"), undefined],
  ["version 2, unspecified", binary("21000000"), undefined],
];

describe.each(carried)("%s", (_, header, address) => {
  const whole = Buffer.concat([header, HELLO]);

  test("is read, and ends where the client begins", () => {
    expect(readProxyHeader(whole)).toEqual({ kind: "present", bytes: header.length, address });
  });

  test("may come in pieces of any size", () => {
    const kinds = Array.from(header, (_byte, at) => readProxyHeader(whole.subarray(0, at)).kind);
    expect(new Set(kinds)).toEqual(new Set(["incomplete"]));
  });
});

test("a client that speaks for itself is let alone", () => {
  const absent: ProxyHeader = { kind: "absent" };
  expect(readProxyHeader(HELLO)).toEqual(absent);
  expect(readProxyHeader(Buffer.from("PRI * HTTP/2.0\r\n"))).toEqual(absent);
  expect(readProxyHeader(Buffer.from("\r\nPROXY"))).toEqual(absent);
});

test.each([
  ["a line without end", Buffer.from(`PROXY TCP4 ${"1".repeat(100)}`)],
  ["an address of the other family", Buffer.from("PROXY TCP4 ::1 ::1 1 2\r\n")],
  ["no address", Buffer.from("PROXY TCP4 a b 1 2\r\n")],
  ["too few words", Buffer.from("PROXY TCP4 192.0.2.1\r\n")],
  ["no family", Buffer.from("PROXY \r\n")],
  ["another version", binary("3111000c".concat(V4))],
  ["another command", binary("2211000c".concat(V4))],
  ["a Unix socket", binary(`213100d8${"00".repeat(216)}`)],
  ["too few bytes", binary("21110004c0000201")],
  ["gigantic", binary("2111ffff")],
])("%s is refused", (_, bytes) => expect(() => readProxyHeader(bytes)).toThrow(/PROXY/));

import type { Random } from "#clock/random.ts";

const SERIAL_BYTES = 16;

/** A random serial number in [1, 2^128 − 1], big-endian (RFC 5280 §4.1.2.2: positive, at most 20 octets). */
export function newSerial(random: Random): Uint8Array {
  for (;;) {
    const serial = random.bytes(SERIAL_BYTES);
    if (serial.some((octet) => octet !== 0)) return serial;
  }
}

export function serialText(serial: Uint8Array): string {
  return BigInt(`0x${Buffer.from(serial).toString("hex")}`).toString();
}

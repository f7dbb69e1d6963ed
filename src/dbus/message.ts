/** Messages (D-Bus Specification, "Message Format"): calls as we send them, and whatever comes in, cut out of the stream of bytes. */
import { DbusFormatError } from "./format-error.ts";
import { marshal } from "./marshal.ts";
import { Reader, unmarshal } from "./unmarshal.ts";
import type { DbusValue } from "./value.ts";

/** The specification allows 128 MiB; no answer that we ask for comes near this. */
export const LARGEST_MESSAGE_BYTES: number = 1024 * 1024;

const LITTLE_ENDIAN = 0x6c;
const VERSION = 1;
const METHOD_CALL = 1;
/** Of a call that needs neither the name's service started nor a person asked for a password. */
const NO_AUTO_START = 2;
/** Endianness, type, flags, version, length of the body, serial, length of the fields. */
const FIXED_BYTES = 16;

const FIELD = {
  path: 1,
  interface: 2,
  member: 3,
  errorName: 4,
  replySerial: 5,
  destination: 6,
  sender: 7,
  signature: 8,
} as const;

export interface DbusCall {
  /** Absent on a connection without a bus. */
  readonly destination?: string;
  readonly path: string;
  readonly interface: string;
  readonly member: string;
  readonly signature?: string;
  readonly body?: readonly DbusValue[];
}

export interface DbusMessage {
  readonly kind: "return" | "error" | "other";
  /** Of the call that it answers. */
  readonly replySerial: number | undefined;
  readonly errorName: string | undefined;
  readonly sender: string | undefined;
  readonly body: readonly DbusValue[];
}

/** @param serial not 0, and of no other call that is under way */
export function encodeCall(call: DbusCall, serial: number): Buffer {
  const { signature = "", body: values = [] } = call;
  const body = marshal(signature, values);
  const text = (code: number, type: string, value: string | undefined): DbusValue[] =>
    value === undefined ? [] : [[code, { signature: type, value }]];
  const fields = [
    ...text(FIELD.path, "o", call.path),
    ...text(FIELD.interface, "s", call.interface),
    ...text(FIELD.member, "s", call.member),
    ...text(FIELD.destination, "s", call.destination),
    ...text(FIELD.signature, "g", signature === "" ? undefined : signature),
  ];
  const start = [LITTLE_ENDIAN, METHOD_CALL, NO_AUTO_START, VERSION, body.length, serial, fields];
  const header = marshal("yyyyuua(yv)", start);
  return Buffer.concat([header, Buffer.alloc(-header.length & 7), body]);
}

/**
 * The length of the message that begins with these bytes; undefined while too few of them are there to say.
 *
 * @throws DbusFormatError when it is none, or too long
 */
export function messageBytes(start: Buffer): number | undefined {
  if (start.length < FIXED_BYTES) return undefined;
  // Both ends run on this machine, so the other order has no use.
  if (start[0] !== LITTLE_ENDIAN) throw new DbusFormatError("a message has another byte order");
  if (start[3] !== VERSION) throw new DbusFormatError("a message has another version");
  const fields = FIXED_BYTES + start.readUInt32LE(12);
  const length = fields + (-fields & 7) + start.readUInt32LE(4);
  if (length > LARGEST_MESSAGE_BYTES) throw new DbusFormatError("a message is too long");
  return length;
}

/** @param bytes exactly one message @throws DbusFormatError */
export function decodeMessage(bytes: Buffer): DbusMessage {
  const reader = new Reader(bytes);
  const [, type] = [..."yyyyuu"].map((code) => reader.read(code));
  const fields = readFields(reader.read("a(yv)"));
  reader.align(8);
  const signature = fields.get(FIELD.signature) ?? "";
  const replySerial = fields.get(FIELD.replySerial);
  const text = (code: number): string | undefined => {
    const value = fields.get(code);
    return typeof value === "string" ? value : undefined;
  };
  return {
    kind: type === 2 ? "return" : type === 3 ? "error" : "other",
    replySerial: typeof replySerial === "number" ? replySerial : undefined,
    errorName: text(FIELD.errorName),
    sender: text(FIELD.sender),
    body: unmarshal(typeof signature === "string" ? signature : "", bytes.subarray(reader.at)),
  };
}

/** Fields of unknown codes are to be left alone. */
function readFields(list: DbusValue): ReadonlyMap<number, DbusValue> {
  const fields = new Map<number, DbusValue>();
  for (const field of list as readonly (readonly [number, { readonly value: DbusValue }])[]) {
    fields.set(field[0], field[1].value);
  }
  return fields;
}

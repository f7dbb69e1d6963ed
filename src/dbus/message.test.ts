import { expect, test } from "bun:test";
import fc from "fast-check";
import { DbusFormatError } from "./format-error.ts";
import { marshal } from "./marshal.ts";
import { decodeMessage, encodeCall, messageBytes } from "./message.ts";
import { MessageStream } from "./message-stream.ts";
import { completeTypes } from "./signature.ts";
import { unmarshal } from "./unmarshal.ts";
import type { DbusValue } from "./value.ts";

/** What busctl and dbus-daemon send: written down byte by byte from the specification. */
const hex = (text: string): Buffer => Buffer.from(text.replace(/\s/g, ""), "hex");

/** An answer with one body of the signature. */
function reply(signature: string, body: Buffer, replySerial = 7): Buffer {
  const fields = [
    [5, { signature: "u", value: replySerial }],
    [7, { signature: "s", value: ":1.0" }],
    [8, { signature: "g", value: signature }],
  ];
  const header = marshal("yyyyuua(yv)", [0x6c, 2, 1, 1, body.length, 3, fields]);
  return Buffer.concat([header, Buffer.alloc(-header.length & 7), body]);
}

test("a call is the bytes that the specification asks for", () => {
  const call = encodeCall(
    { destination: "a.b", path: "/x", interface: "i.f", member: "M", signature: "u", body: [5] },
    1,
  );
  expect(call.toString("hex")).toBe(
    hex(`6c 01 02 01 04000000 01000000 47000000
      01 01 6f 00 02000000 2f7800 0000000000
      02 01 73 00 03000000 692e6600 00000000
      03 01 73 00 01000000 4d00 000000000000
      06 01 73 00 03000000 612e6200 00000000
      08 01 67 00 01 75 00 00
      05000000`).toString("hex"),
  );
});

test("an answer tells whom it answers, who sent it, and its values", () => {
  const variant: DbusValue = { signature: "ay", value: [1, 2] };
  const bytes = reply("sv", marshal("sv", ["caché", variant]));
  expect(messageBytes(bytes)).toBe(bytes.length);
  expect(decodeMessage(bytes)).toEqual({
    kind: "return",
    replySerial: 7,
    errorName: undefined,
    sender: ":1.0",
    body: ["caché", { signature: "ay", value: Uint8Array.of(1, 2) }],
  });
});

test.each([
  ["", []],
  ["u", ["u"]],
  ["sa{sv}(ii)aay", ["s", "a{sv}", "(ii)", "aay"]],
  ["a(y(oa{s(gv)}))v", ["a(y(oa{s(gv)}))", "v"]],
])("the signature %p has the types %j", (signature, types) => {
  expect(completeTypes(signature)).toEqual(types);
});

test.each([
  "a",
  "(",
  "()",
  "(s",
  "z",
  "{sv}",
  "a{sv",
  "a{vs}",
  "a{s}",
  "a{}",
  ")",
  "a".repeat(40),
  "s".repeat(256),
])("the signature %p is refused", (signature) => {
  expect(() => completeTypes(signature)).toThrow(DbusFormatError);
});

test.each([
  ["a text longer than the message", "s", "ff000000 6100"],
  ["a text without its end", "s", "01000000 6161"],
  ["a nul inside a text", "s", "02000000 6100 00"],
  ["a text that is not UTF-8", "s", "01000000 ff00"],
  ["a boolean of 2", "b", "02000000"],
  ["padding that is not zero", "yu", "01 010000 05000000"],
  ["an object path with an empty part", "o", "02000000 2f2f00"],
  ["an array whose last element goes beyond its end", "au", "06000000 01000000 02000000"],
  ["an array longer than the message", "au", "ffffffff"],
  ["a variant of two types", "v", "02 737300 01000000 6100"],
  ["a variant of a wrong signature", "v", "01 7a00"],
  ["bytes that are left over", "y", "0102"],
])("%s is refused", (_what, signature, bytes) => {
  expect(() => unmarshal(signature, hex(bytes))).toThrow(DbusFormatError);
});

test("variants in variants without end are refused", () => {
  const deep = hex(`${"017600".repeat(100)}017900 05`);
  expect(() => unmarshal("v", deep)).toThrow("nested too deeply");
});

test.each([
  ["another byte order", "42010001 00000000 00000001 00000000"],
  ["another version", "6c010002 00000000 01000000 00000000"],
  ["a body beyond what we take", "6c010001 00001000 01000000 00000000"],
  ["fields beyond what we take", "6c010001 00000000 01000000 f0ffffff"],
])("a message with %s is refused by its first bytes", (_what, bytes) => {
  expect(() => messageBytes(hex(bytes))).toThrow(DbusFormatError);
});

test("whatever is done to an answer, it is understood or refused, and costs no memory", () => {
  const bytes = reply("sa{sv}", marshal("sa{sv}", ["unit", []]));
  const damages = fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.nat(255)), { minLength: 1 });
  fc.assert(
    fc.property(damages, (changes) => {
      const damaged = Buffer.from(bytes);
      for (const [at, value] of changes) damaged[at] = value;
      try {
        decodeMessage(damaged);
      } catch (error) {
        expect(error).toBeInstanceOf(DbusFormatError);
      }
    }),
    { numRuns: 2000 },
  );
});

test("values survive being written and read", () => {
  const body = fc.tuple(fc.string(), fc.nat(2 ** 32 - 1), fc.boolean(), fc.array(fc.string()));
  fc.assert(
    fc.property(body, ([text, number, truth, list]) => {
      fc.pre(![text, ...list].some((one) => one.includes("\0")));
      const values = [text, number, truth, list];
      expect(unmarshal("subas", marshal("subas", values))).toEqual(values);
    }),
  );
});

test("a stream cut anywhere gives the same messages; the line before them comes once", () => {
  const answer = reply("s", marshal("s", ["text"]));
  const whole = Buffer.concat([Buffer.from("OK 1234\r\n"), answer, answer]);
  for (let cut = 1; cut < whole.length; cut++) {
    const stream = new MessageStream();
    const lines: string[] = [];
    const messages: string[] = [];
    for (const part of [whole.subarray(0, cut), whole.subarray(cut)]) {
      stream.push(part);
      const line = stream.line();
      if (line !== undefined) lines.push(line);
      for (const message of stream.messages()) messages.push(message.toString("hex"));
    }
    expect(lines).toEqual(["OK 1234"]);
    expect(messages).toEqual([answer.toString("hex"), answer.toString("hex")]);
  }
});

test("a line without end is refused", () => {
  const stream = new MessageStream();
  stream.push(Buffer.alloc(2000, "a"));
  expect(() => stream.line()).toThrow(DbusFormatError);
});

import { describe, expect, test } from "bun:test";
import { connect } from "node:http2";
import { createServer, type Socket } from "node:net";
import fc from "fast-check";
import { type Field, HeaderReader, writeHeaders } from "./hpack.ts";

const fieldsOf = (fields: readonly Field[]): string[] =>
  fields.map(({ name, value, index }) => `${name}=${value ?? index}`);

/** RFC 7541 Appendix C.4: three requests on one connection, with Huffman codes; then C.6.1, whose Huffman strings are longer. */
const EXAMPLES: readonly (readonly [hex: string, fields: readonly string[]])[] = [
  [
    "828684418cf1e3c2e5f23a6ba0ab90f4ff",
    [":method=2", ":scheme=6", ":path=4", ":authority=www.example.com"],
  ],
  [
    "828684be5886a8eb10649cbf",
    [":method=2", ":scheme=6", ":path=4", ":authority=www.example.com", "cache-control=no-cache"],
  ],
  [
    "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
    [":method=2", ":scheme=7", ":path=5", ":authority=www.example.com", "custom-key=custom-value"],
  ],
];

test("the standard's examples are read, each with what the one before left in the table", () => {
  const reader = new HeaderReader();
  for (const [hex, fields] of EXAMPLES) {
    expect(fieldsOf(reader.read(Buffer.from(hex, "hex")))).toEqual([...fields]);
  }
});

describe("malformed blocks are refused:", () => {
  const refused = {
    "an entry that nobody made": "be",
    "the entry 0": "80",
    "a string longer than the block": "00016105",
    "a number without an end": "ffffffffffffffffffff",
    "a number that does not end in the block": "7f80",
    "a table larger than announced": "3fe21f",
    "a Huffman code with a byte of padding": "000161821fff",
    "a Huffman code filled up with zeros": "0001618118",
    "the Huffman code for the end of all strings": "00016184ffffffff",
    "more fields than fit": "40016110".concat("61".repeat(16), "be".repeat(1400)),
  };
  test.each(Object.entries(refused))("%s", (_name, hex) => {
    expect(() => new HeaderReader().read(Buffer.from(hex, "hex"))).toThrow();
  });
});

test("a table that is made smaller forgets its oldest entries first", () => {
  const reader = new HeaderReader();
  reader.read(Buffer.from("4001610131" + "4001620132", "hex"));
  // 34 bytes: room for one entry.
  expect(fieldsOf(reader.read(Buffer.from("3f03be", "hex")))).toEqual(["b=2"]);
  expect(() => reader.read(Buffer.from("bf", "hex"))).toThrow();
});

const value = fc
  .string({ unit: fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code)) })
  .filter((text) => text !== "");
const headers = fc.dictionary(fc.stringMatching(/^x-[a-z]{1,4}$/), value, { maxKeys: 6 });

test("what another's encoder writes is read as it was meant, and written anew it reads the same", async () => {
  const accepted = Promise.withResolvers<Socket>();
  const server = createServer((socket) => accepted.resolve(socket));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = address !== null && typeof address === "object" ? address.port : 0;
  const client = connect(`http://127.0.0.1:${port}`);
  client.on("error", () => {});
  const blocks = blocksOf(await accepted.promise);
  const reader = new HeaderReader();
  await fc.assert(
    fc.asyncProperty(headers, async (sent) => {
      client.request({ ":path": "/", ...sent }).on("error", () => {});
      const block = (await blocks.next()).value ?? Buffer.alloc(0);
      const fields = reader.read(block);
      const wanted = Object.entries(sent).map(([name, text]) => `${name}=${text}`);
      const own = fieldsOf(fields).filter((field) => field.startsWith("x-"));
      expect(own.sort()).toEqual(wanted.sort());
      expect(new HeaderReader().read(writeHeaders(fields))).toEqual(fields);
    }),
    { numRuns: 200 },
  );
  client.destroy();
  server.close();
});

/** The header blocks that a client sends, each in one frame. */
async function* blocksOf(socket: Socket): AsyncGenerator<Buffer> {
  let read = Buffer.alloc(0);
  let at = 24;
  for await (const chunk of socket) {
    read = Buffer.concat([read, chunk]);
    while (read.length >= at + 9 && read.length >= at + 9 + read.readUIntBE(at, 3)) {
      const end = at + 9 + read.readUIntBE(at, 3);
      // A priority may stand before the block.
      const start = at + 9 + (((read[at + 4] ?? 0) & 0x20) === 0 ? 0 : 5);
      if (read[at + 3] === 1) yield read.subarray(start, end);
      at = end;
    }
  }
}

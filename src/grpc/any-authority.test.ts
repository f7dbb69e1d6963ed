import { expect, test } from "bun:test";
import {
  connect,
  createServer as createHttp2Server,
  type Http2Session,
  type ServerHttp2Stream,
} from "node:http2";
import { connect as connectSocket, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { CallerFrames, injectWithAnyAuthority } from "./any-authority.ts";
import { HeaderReader } from "./hpack.ts";
import { frame, PREFACE } from "./http2-frame.fixture.ts";

const POST_HTTP = Buffer.from([0x83, 0x86]);

/** A field with a name of the static table, kept in the client's table. */
const kept = (index: number, value: string): Buffer =>
  Buffer.concat([Buffer.from([0x40 | index, value.length]), Buffer.from(value)]);
const AUTHORITY = 1;
const PATH = 4;
const HOST = 38;
const USER_AGENT = 58;

const call = (stream: number, ...fields: readonly Buffer[]): Buffer =>
  frame(1, 4, stream, Buffer.concat([POST_HTTP, kept(PATH, "/a.B/C"), ...fields]));

/** The stack's view: the fields of each block, the payload of each other frame. */
function seen(bytes: Buffer): string[] {
  const reader = new HeaderReader();
  const found: string[] = [];
  for (let at = PREFACE.length; at < bytes.length; ) {
    const end = at + 9 + bytes.readUIntBE(at, 3);
    const payload = bytes.subarray(at + 9, end);
    const fields = (): string =>
      reader
        .read(payload)
        .map(({ name, value, index }) => `${name}=${value ?? index}`)
        .join(" ");
    found.push(bytes[at + 3] === 1 ? fields() : payload.toString("hex"));
    at = end;
  }
  return found;
}

function passed(frames: CallerFrames, ...chunks: readonly Buffer[]): Buffer {
  return Buffer.concat(chunks.flatMap((chunk) => frames.pass(chunk)));
}

const SETTINGS = frame(4, 0, 0, Buffer.alloc(0));
const MESSAGE = frame(0, 1, 1, Buffer.from([0, 0, 0, 0, 0]));
/** Its second call takes path and authority from the table. */
const conversation = (authority: string): Buffer =>
  Buffer.concat([
    PREFACE,
    SETTINGS,
    call(1, kept(AUTHORITY, authority)),
    MESSAGE,
    frame(1, 4, 3, Buffer.concat([POST_HTTP, Buffer.from([0xbf, 0xbe])])),
    MESSAGE,
  ]);

test.each(["localhost", "127.0.0.1:80", "[::1]", "%2Ftmp%2Fapi.sock", "_a~b-c"])(
  "a host stays, and every byte of the call: %s",
  (authority) => {
    const bytes = conversation(authority);
    expect(passed(new CallerFrames(), bytes)).toEqual(bytes);
  },
);

test.each(["/tmp/spire-agent/public/api.sock", "a@b", "a b", "", "\u0001", "a,b"])(
  "what is none becomes localhost, in each call that refers to it: %j",
  (authority) => {
    const request = ":method=3 :scheme=6 :path=/a.B/C :authority=localhost";
    expect(seen(passed(new CallerFrames(), conversation(authority)))).toEqual([
      "",
      request,
      "0000000000",
      request,
      "0000000000",
    ]);
  },
);

test("a call without an authority gets one, a call with a host of another kind a good one; trailers get none", () => {
  const trailer = frame(1, 5, 1, kept(USER_AGENT, "u"));
  const bytes = Buffer.concat([PREFACE, call(1), trailer, call(3, kept(HOST, "/run/api.sock"))]);
  expect(seen(passed(new CallerFrames(), bytes))).toEqual([
    ":authority=localhost :method=3 :scheme=6 :path=/a.B/C",
    "user-agent=u",
    ":method=3 :scheme=6 :path=/a.B/C host=localhost",
  ]);
});

test("padding and priority are no part of a block, and a block may go on in other frames", () => {
  const block = Buffer.concat([POST_HTTP, kept(PATH, "/a.B/C"), kept(AUTHORITY, "/s")]);
  const first = Buffer.concat([Buffer.from([3, 0, 0, 0, 0, 9]), block.subarray(0, 4)]);
  const bytes = Buffer.concat([
    PREFACE,
    frame(1, 0x28 | 1, 1, Buffer.concat([first, Buffer.alloc(3)])),
    // A flag that means padding elsewhere means nothing here.
    frame(9, 8, 1, block.subarray(4, 7)),
    frame(9, 4, 1, block.subarray(7)),
  ]);
  const out = passed(new CallerFrames(), bytes);
  expect(seen(out)).toEqual([":method=3 :scheme=6 :path=/a.B/C :authority=localhost"]);
  // END_STREAM and END_HEADERS, and nothing else.
  expect(out[PREFACE.length + 4]).toBe(5);
});

test("a block of many frames comes out in frames that the stack takes", () => {
  const fields = Array.from({ length: 250 }, (_, n) => kept(USER_AGENT, `${n}`.padStart(100, "u")));
  const head = [POST_HTTP, kept(PATH, "/a.B/C"), kept(AUTHORITY, "/run/api.sock")];
  const block = Buffer.concat([...head, ...fields]);
  const sent = [frame(1, 1, 1, block.subarray(0, 16_384)), frame(9, 4, 1, block.subarray(16_384))];
  const out = passed(new CallerFrames(), Buffer.concat([PREFACE, ...sent, MESSAGE]));
  const parts: Buffer[] = [];
  let at = PREFACE.length;
  for (let end = false; !end; at += 9 + out.readUIntBE(at, 3)) {
    expect(out.readUIntBE(at, 3)).toBeLessThanOrEqual(16_384);
    expect(out[at + 3]).toBe(parts.length === 0 ? 1 : 9);
    end = ((out[at + 4] ?? 0) & 4) !== 0;
    parts.push(out.subarray(at + 9, at + 9 + out.readUIntBE(at, 3)));
  }
  expect(out.subarray(at)).toEqual(MESSAGE);
  const names = new HeaderReader().read(Buffer.concat(parts)).map(({ name }) => name);
  expect(names).toEqual([
    ...[":method", ":scheme", ":path", ":authority"],
    ...fields.map(() => "user-agent"),
  ]);
});

test("a block that grows beyond all bounds is not kept until it ends", () => {
  const endless = [
    frame(1, 0, 5, POST_HTTP),
    ...Array.from({ length: 16 }, () => frame(9, 0, 5, Buffer.alloc(0))),
  ];
  const large = frame(1, 4, 5, Buffer.alloc(16_385)).subarray(0, 9);
  for (const bad of [Buffer.concat(endless), large]) {
    const bytes = Buffer.concat([conversation("localhost"), bad]);
    expect(passed(new CallerFrames(), bytes)).toEqual(bytes);
    const changed = Buffer.concat([conversation("/s"), bad]);
    expect(() => passed(new CallerFrames(), changed)).toThrow("a header block is too long");
  }
});

test("however the bytes come in pieces, the stack gets the same, and a message is not kept waiting", () => {
  const bytes = conversation("/tmp/api.sock");
  const whole = passed(new CallerFrames(), bytes);
  const cuts = fc.array(fc.nat(bytes.length), { maxLength: 12 });
  fc.assert(
    fc.property(cuts, (at) => {
      const places = [0, ...at.sort((a, b) => a - b), bytes.length];
      const chunks = places.slice(1).map((end, n) => bytes.subarray(places[n], end));
      expect(passed(new CallerFrames(), ...chunks)).toEqual(whole);
    }),
  );
  const frames = new CallerFrames();
  passed(frames, bytes.subarray(0, -2));
  expect(passed(frames, bytes.subarray(-2))).toEqual(bytes.subarray(-2));
});

const MALFORMED = {
  "an entry that nobody made": frame(1, 4, 5, Buffer.from([0xff, 0x00])),
  "a block that is all padding": frame(1, 4 | 8, 5, Buffer.from([9, 0x83])),
  "a block that something interrupts": Buffer.concat([frame(1, 0, 5, POST_HTTP), MESSAGE]),
  "a block without an end": Buffer.concat([
    frame(1, 0, 5, POST_HTTP),
    ...Array.from({ length: 20 }, () => frame(9, 0, 5, Buffer.alloc(0))),
  ]),
  "a frame larger than announced": frame(1, 4, 5, Buffer.alloc(16_385)),
  "fields that grow beyond all bounds": frame(
    1,
    4,
    5,
    Buffer.concat([POST_HTTP, kept(PATH, "p".repeat(120)), Buffer.alloc(2000, 0xbe)]),
  ),
};
test.each(Object.entries(MALFORMED))(
  "the stack is to judge %s, where it saw all that came before",
  (_name, bad) => {
    const bytes = Buffer.concat([conversation("localhost"), bad, MESSAGE]);
    const frames = new CallerFrames();
    expect(passed(frames, bytes)).toEqual(bytes);
    // What refers to a table that is not known any more is not changed by it.
    const later = Buffer.concat([MESSAGE, call(7, kept(AUTHORITY, "/s"))]);
    expect(passed(frames, later)).toEqual(later);
    expect(() =>
      passed(new CallerFrames(), Buffer.concat([conversation("/s"), bad, MESSAGE])),
    ).toThrow();
  },
);

/** @returns what the stack says the authority was, call by call, and whether it still got to see our bytes at the end */
async function served(authority: string): Promise<readonly [readonly string[], boolean]> {
  const path = join(tmpdir(), `any-authority-${process.pid}.sock`);
  const http2 = createHttp2Server();
  const sessions: Http2Session[] = [];
  const authorities: string[] = [];
  http2.on("session", (session) => sessions.push(session));
  http2.on("stream", (stream: ServerHttp2Stream, headers) => {
    authorities.push(String(headers[":authority"]));
    stream.respond({ ":status": 200 });
    stream.end("answer");
  });
  const accepted = Promise.withResolvers<Socket>();
  const server = createServer((socket) => {
    injectWithAnyAuthority(socket, () => {
      http2.emit("connection", socket);
      return sessions[0];
    });
    accepted.resolve(socket);
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  const client = connect("http://localhost", { createConnection: () => connectSocket({ path }) });
  let chunks = 0;
  for (let n = 0; n < 3; n++) {
    chunks = 0;
    expect(await answerOf(client, authority)).toBe("answer");
    (await accepted.promise).on("data", () => chunks++);
  }
  client.destroy();
  server.close();
  return [authorities, chunks > 0];
}

function answerOf(
  client: ReturnType<typeof connect>,
  authority: string,
): Promise<string | undefined> {
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  const call = client.request({ ":path": "/", ":authority": authority });
  let text = "";
  call.setEncoding("utf8");
  call.on("data", (part: string) => {
    text += part;
  });
  call.on("error", () => {});
  call.on("close", () => resolve(text));
  call.end();
  return promise;
}

test("a client whose authority is a host is left to the stack after its first call, others are not", async () => {
  const local = ["localhost", "localhost", "localhost"];
  expect(await served("localhost")).toEqual([local, false]);
  expect(await served("/run/api.sock")).toEqual([local, true]);
});

/**
 * On a Unix socket the authority of a call means nothing: there is one server, and the kernel says who calls. Clients put there the socket's
 * path, an empty word, or nothing at all, and the HTTP/2 stack refuses a call whose authority is no host (RFC 9113 §8.3.1). So what arrives
 * passes through here first, and such an authority becomes `localhost`.
 */
import type { Http2Session } from "node:http2";
import type { Socket } from "node:net";
import { type Field, HeaderReader, writeHeaders } from "./hpack.ts";

const PREFACE_BYTES = 24;
const FRAME_HEADER_BYTES = 9;
const TYPE_AT = 3;
/** The stack announces no larger ones (RFC 9113 §4.2). */
const MAX_FRAME_BYTES = 16_384;
/** Of one block; the stack takes 64 KiB of headers, which are four frames. */
const MAX_FRAMES = 16;
const HEADERS = 1;
const CONTINUATION = 9;
const END_STREAM = 0x01;
const END_HEADERS = 0x04;
const PADDED = 0x08;
const PRIORITY = 0x20;
const PRIORITY_BYTES = 5;

/** What the stack takes, or less: letters, digits, and what addresses and escapes are written with. */
const HOST = /^[\w.:%[\]~-]+$/;
const LOCALHOST: Field = {
  name: ":authority",
  value: "localhost",
  index: 0,
  isSensitive: false,
};

/**
 * Serves a socket whose calls may have any authority. The stack reads an accepted socket by its descriptor, past everybody, so at
 * first it does not get to see that. A client whose first call needs no change never will: from then on the stack has the
 * descriptor, which costs it far less.
 *
 * @param inject hands the socket to the stack and returns the session that the stack made for it
 * @returns that session
 */
export function injectWithAnyAuthority(
  socket: Socket,
  inject: () => Http2Session | undefined,
): Http2Session | undefined {
  const internals = socket as unknown as SocketInternals;
  const handle = internals._handle;
  internals._handle = undefined;
  let session: Http2Session | undefined;
  try {
    session = inject();
  } finally {
    internals._handle = handle;
  }
  const [onData] = socket.listeners("data") as OnData[];
  if (session === undefined || onData === undefined) return session;
  socket.off("data", onData);
  socket.on("data", readerFor(socket, session, onData));
  return session;
}

type OnData = (chunk: Buffer) => void;

/** What Bun keeps to itself of a socket. */
interface SocketInternals {
  _handle: object | null | undefined;
}

function readerFor(socket: Socket, session: Http2Session, onData: OnData): OnData {
  let frames: CallerFrames | undefined = new CallerFrames();
  const passed = (chunk: Buffer): readonly Buffer[] => {
    if (frames === undefined) return [chunk];
    const parts = frames.pass(chunk);
    // What is still to be written through the socket would be overtaken.
    const isFree = frames.isPlain && socket.writableLength === 0;
    if (isFree && giveDescriptor(session, socket)) frames = undefined;
    return parts;
  };
  return (chunk) => {
    let parts: readonly Buffer[];
    try {
      parts = passed(chunk);
    } catch {
      socket.destroy();
      return;
    }
    for (const part of parts) onData(part);
  };
}

/** Of a session, the parser that it feeds, and what it calls when a write is done. */
const PARSER: symbol = Symbol.for("::bunhttp2native::");
let whenWritten: symbol | undefined;

/** @returns false where the stack is not built as it was: then it goes on without */
function giveDescriptor(session: Http2Session, socket: Socket): boolean {
  const { _handle: handle } = socket as unknown as SocketInternals;
  const parser: unknown = Reflect.get(session, PARSER);
  if (!handle || !isParser(parser)) return false;
  parser.setNativeSocket(handle);
  // Without the descriptor the stack waits a turn of the event loop after each write, as the socket may have kept it.
  whenWritten ??= Object.getOwnPropertySymbols(session).find(
    ({ description }) => description === "deferWriteCallback",
  );
  if (whenWritten !== undefined) Reflect.set(session, whenWritten, process.nextTick);
  return true;
}

function isParser(value: unknown): value is { setNativeSocket(handle: object): void } {
  return typeof value === "object" && value !== null && "setNativeSocket" in value;
}

/** The frames that a client sends. They pass as they came until a block has to be changed; from then on every block is written anew. */
export class CallerFrames {
  readonly #reader = new HeaderReader();
  /** Bytes that pass without a look. */
  #unseen = PREFACE_BYTES;
  #held: Buffer[] = [];
  #heldBytes = 0;
  /** What is held says nothing before there are so many. */
  #neededBytes = 0;
  #isRewriting = false;
  /** The client's blocks are malformed: the stack is to tell it so. */
  #isGivenUp = false;
  #hasCall = false;
  /** The first block, when it is one that is known to be plain: read when another comes. */
  #unread: Buffer | undefined;

  /** A call came whose block can stay, as could all blocks before it, and nothing is held: what follows can pass unseen. */
  get isPlain(): boolean {
    return this.#hasCall && !this.#isRewriting && !this.#isGivenUp && this.#heldBytes === 0;
  }

  /**
   * @returns what the stack is to get now
   * @throws Error when the blocks are malformed and the stack, which has not seen all of them, could not tell
   */
  pass(chunk: Buffer): readonly Buffer[] {
    if (this.#isGivenUp) return [chunk];
    this.#held.push(chunk);
    this.#heldBytes += chunk.length;
    if (this.#heldBytes < this.#neededBytes) return [];
    const data = this.#held.length === 1 ? chunk : Buffer.concat(this.#held);
    this.#held = [];
    this.#heldBytes = 0;
    try {
      return this.#passed(data);
    } catch (error) {
      if (this.#isRewriting) throw error;
      this.#isGivenUp = true;
      return [data];
    }
  }

  #passed(data: Buffer): readonly Buffer[] {
    const parts: Buffer[] = [];
    let from = 0;
    let at = 0;
    for (;;) {
      const unseen = Math.min(this.#unseen, data.length - at);
      this.#unseen -= unseen;
      at += unseen;
      if (data.length - at >= FRAME_HEADER_BYTES && data[at + TYPE_AT] !== HEADERS) {
        this.#unseen = FRAME_HEADER_BYTES + data.readUIntBE(at, 3);
        continue;
      }
      const block = blockAt(data, at);
      if (block.frames === undefined) {
        this.#hold(data.subarray(at), block.neededBytes);
        break;
      }
      const changed = this.#changed(block.frames);
      if (changed !== undefined) {
        parts.push(data.subarray(from, at), changed);
        from = block.end;
      }
      at = block.end;
    }
    parts.push(data.subarray(from, at));
    return parts.filter(({ length }) => length > 0);
  }

  #hold(rest: Buffer, neededBytes: number): void {
    this.#held = rest.length === 0 ? [] : [rest];
    this.#heldBytes = rest.length;
    this.#neededBytes = this.#unseen > 0 ? 0 : neededBytes;
  }

  /** @returns the block in frames of ours; undefined when it can stay */
  #changed(frames: readonly Frame[]): Buffer | undefined {
    const block = blockOf(frames);
    if (!this.#hasCall && plainBlocks.has(block)) {
      this.#hasCall = true;
      this.#unread = block;
      return undefined;
    }
    if (this.#unread !== undefined) this.#reader.read(this.#unread);
    this.#unread = undefined;
    const fields = this.#reader.read(block);
    const repaired = withHost(fields);
    if (repaired !== undefined) this.#isRewriting = true;
    else if (!this.#hasCall) plainBlocks.add(block);
    this.#hasCall = true;
    const [first] = frames;
    if (!this.#isRewriting || first === undefined) return undefined;
    return framesOf(first, writeHeaders(repaired ?? fields));
  }
}

/**
 * First blocks of connections that can stay as they are. What they mean depends on nothing before them, and a workload that connects
 * for each fetch sends the same each time. As many are kept as there may be kinds of clients, but no long ones.
 */
class PlainBlocks {
  readonly #known = new Set<string>();

  has(block: Buffer): boolean {
    return block.length <= MAX_KNOWN_BYTES && this.#known.has(block.toString("latin1"));
  }

  add(block: Buffer): void {
    if (block.length > MAX_KNOWN_BYTES) return;
    if (this.#known.size >= MAX_KNOWN) this.#known.clear();
    this.#known.add(block.toString("latin1"));
  }
}

const MAX_KNOWN = 256;
const MAX_KNOWN_BYTES = 512;
const plainBlocks = new PlainBlocks();

interface Frame {
  readonly type: number;
  readonly length: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

/** @returns undefined when its header is not there yet; of its payload there may be less than its length */
function frameAt(data: Buffer, at: number): Frame | undefined {
  if (data.length - at < FRAME_HEADER_BYTES) return undefined;
  const length = data.readUIntBE(at, 3);
  const start = at + FRAME_HEADER_BYTES;
  return {
    type: data.readUInt8(at + TYPE_AT),
    length,
    flags: data.readUInt8(at + 4),
    stream: data.readUInt32BE(at + 5),
    payload: data.subarray(start, start + length),
  };
}

/**
 * A HEADERS frame and what continues it, which nothing may interrupt (RFC 9113 §6.10).
 *
 * @throws Error when something does, or when it is too long
 */
function blockAt(
  data: Buffer,
  start: number,
):
  | { readonly frames: readonly Frame[]; readonly end: number }
  | { readonly frames?: undefined; readonly neededBytes: number } {
  const frames: Frame[] = [];
  for (let at = start; ; ) {
    const frame = frameAt(data, at);
    if (frame === undefined) return { neededBytes: at - start + FRAME_HEADER_BYTES };
    const { type, length, flags, payload } = frame;
    if (length > MAX_FRAME_BYTES || frames.length === MAX_FRAMES) {
      throw new Error("a header block is too long");
    }
    if (type !== (frames.length === 0 ? HEADERS : CONTINUATION)) {
      throw new Error("a header block is interrupted");
    }
    at += FRAME_HEADER_BYTES + length;
    if (payload.length < length) return { neededBytes: at - start };
    frames.push(frame);
    if ((flags & END_HEADERS) !== 0) return { frames, end: at };
  }
}

function blockOf(frames: readonly Frame[]): Buffer {
  const [first] = frames;
  return frames.length === 1 && first !== undefined
    ? fragmentOf(first)
    : Buffer.concat(frames.map(fragmentOf));
}

/** What a frame has of the block. @throws Error when its padding is longer than itself */
function fragmentOf({ type, flags, payload }: Frame): Buffer {
  if (type !== HEADERS) return payload;
  const isPadded = (flags & PADDED) !== 0;
  const padding = isPadded ? (payload[0] ?? 0) : 0;
  const start = (isPadded ? 1 : 0) + ((flags & PRIORITY) === 0 ? 0 : PRIORITY_BYTES);
  if (start + padding > payload.length) throw new Error("a header block is all padding");
  return payload.subarray(start, payload.length - padding);
}

/** @returns undefined when the fields are no request's, or its host is good as it is */
function withHost(fields: readonly Field[]): Field[] | undefined {
  if (!fields.some(({ name }) => name === ":method")) return undefined;
  const hosts = fields.filter(({ name }) => name === ":authority" || name === "host");
  if (hosts.length === 0) return [LOCALHOST, ...fields];
  if (hosts.every(({ value }) => value !== undefined && HOST.test(value))) return undefined;
  return fields.map((field) =>
    hosts.includes(field) ? { ...LOCALHOST, name: field.name } : field,
  );
}

/** The same HEADERS frame with another block, and what continues it. */
function framesOf({ flags, stream }: Frame, block: Buffer): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; at === 0 || at < block.length; at += MAX_FRAME_BYTES) {
    const fragment = block.subarray(at, at + MAX_FRAME_BYTES);
    const isLast = at + MAX_FRAME_BYTES >= block.length;
    const header = Buffer.alloc(FRAME_HEADER_BYTES);
    header.writeUIntBE(fragment.length, 0, 3);
    header.writeUInt8(at === 0 ? HEADERS : CONTINUATION, TYPE_AT);
    header.writeUInt8((at === 0 ? flags & END_STREAM : 0) | (isLast ? END_HEADERS : 0), 4);
    header.writeUInt32BE(stream, 5);
    parts.push(header, fragment);
  }
  return Buffer.concat(parts);
}

/**
 * On a Unix socket the authority of a call means nothing: there is one server, and the kernel says who calls. Clients put there the socket's
 * path, an empty word, or nothing at all, and the HTTP/2 stack refuses a call whose authority is no host (RFC 9113 §8.3.1). So what arrives
 * passes through here first, and such an authority becomes `localhost`.
 */
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
 * A socket for the HTTP/2 stack in place of the accepted one, whose calls may have any authority. The stack would read an accepted socket
 * by its descriptor, past everybody; this one has none.
 */
export function withAnyAuthority(socket: Socket): Socket {
  const frames = new CallerFrames();
  const pass = (chunk: Buffer, onData: (chunk: Buffer) => void): void => {
    let passed: readonly Buffer[];
    try {
      passed = frames.pass(chunk);
    } catch {
      socket.destroy();
      return;
    }
    for (const part of passed) onData(part);
  };
  const through = <K extends keyof Socket>(name: K): PropertyDescriptor => {
    const value: unknown = socket[name];
    return typeof value === "function"
      ? { value: value.bind(socket), writable: true, configurable: true }
      : { get: () => socket[name], configurable: true };
  };
  const on = (event: string, listener: (...values: unknown[]) => void): Socket =>
    socket.on(event, event === "data" ? (chunk: Buffer) => pass(chunk, listener) : listener);
  return Object.create(socket, {
    _handle: { value: undefined, writable: true },
    on: { value: on },
    ...Object.fromEntries(PASSED_ON.map((name) => [name, through(name)])),
  }) as Socket;
}

/** Whatever works on the descriptor, or changes with it. */
const PASSED_ON = [
  "once",
  "off",
  "removeListener",
  "write",
  "end",
  "destroy",
  "pause",
  "resume",
  "setTimeout",
  "ref",
  "unref",
  "connecting",
  "destroyed",
  "writableEnded",
  "bytesWritten",
] as const satisfies readonly (keyof Socket)[];

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
    const fields = this.#reader.read(Buffer.concat(frames.map(fragmentOf)));
    const repaired = withHost(fields);
    if (repaired !== undefined) this.#isRewriting = true;
    const [first] = frames;
    if (!this.#isRewriting || first === undefined) return undefined;
    return framesOf(first, writeHeaders(repaired ?? fields));
  }
}

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

/**
 * What one call may send. grpc-js has one limit for all calls of a server, inflates whatever came in one go side by side, and waits for the
 * rest of a message without end; here each call has its own limit, one message at a time is inflated, and the rest must come in time.
 */
import { constants, type ServerHttp2Stream } from "node:http2";
import { Duplex } from "node:stream";
import { promisify } from "node:util";
import { gunzip, type InputType, inflate, type ZlibOptions } from "node:zlib";
import type { ServerInterceptingCallInterface } from "@grpc/grpc-js";
import { StreamDecoder } from "@grpc/grpc-js/build/src/stream-decoder";
import { systemClock, type Timer } from "#clock/clock.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import type { ReceiveBudget } from "./receive-budget.ts";

/** Flag and length, ahead of each message. */
const PREFIX_BYTES = 5;

type Inflate = (bytes: InputType, options: ZlibOptions) => Promise<Buffer>;
const INFLATERS: Readonly<Record<string, Inflate>> = {
  gzip: promisify<InputType, ZlibOptions, Buffer>(gunzip),
  deflate: promisify<InputType, ZlibOptions, Buffer>(inflate),
};

/** What zlib says of more bytes than it may make. */
const TOO_LARGE = "ERR_BUFFER_TOO_LARGE";

export interface ReceivingOptions {
  readonly allowance: {
    /** Bytes of one message. */
    readonly bytes: number;
    /** Who sends it, for the budget. */
    readonly source: string;
  };
  readonly budget: ReceiveBudget;
  /** Whether the call is one message and its end, which have to come in time together; else each message has its time. */
  readonly isSingle: boolean;
  /** Milliseconds that a message may take from its first byte to its last. */
  readonly timeoutMs: number;
  /** Called when it takes longer. */
  readonly late: () => void;
}

/** The parts of a call of grpc-js that are replaced. They are private there, so that they are in place is looked at. */
interface DecoderInternals {
  maxReadMessageLength: number;
  write(data: Buffer): Buffer[];
}

interface CallInternals {
  readonly decoder: DecoderInternals;
  maxReceiveMessageSize: unknown;
  decompressMessage: unknown;
  readonly stream: unknown;
}
const REPLACED = ["maxReceiveMessageSize", "decompressMessage"] as const;
/** All calls of grpc-js are made alike: looking at one is enough. */
let isLookedAt = false;

/** @throws Error when grpc-js is not built as it was */
function internalsOf(call: ServerInterceptingCallInterface): CallInternals {
  if (isLookedAt) return call as unknown as CallInternals;
  const decoder: unknown = Reflect.get(call, "decoder");
  if (!(decoder instanceof StreamDecoder && "maxReadMessageLength" in decoder)) {
    throw new Error("a call of grpc-js has no decoder");
  }
  const missing = REPLACED.filter((name) => !Reflect.has(call, name));
  if (missing.length > 0) throw new Error(`a call of grpc-js has no ${missing.join()}`);
  if (!(Reflect.get(call, "stream") instanceof Duplex)) {
    throw new Error("a call of grpc-js has no stream");
  }
  isLookedAt = true;
  return call as unknown as CallInternals;
}

/**
 * Has a call end when it is answered, also when the caller has not ended its side: it need not send the rest of a request that nobody reads
 * (RFC 9113 §8.1), and no stream stays open for a call that is over.
 *
 * @returns the stream of the call
 * @throws Error when grpc-js is not built as it was
 */
export function endWhenAnswered(call: ServerInterceptingCallInterface): ServerHttp2Stream {
  const http2 = internalsOf(call).stream as ServerHttp2Stream;
  http2.once("finish", () => {
    if (!http2.closed) http2.close(constants.NGHTTP2_NO_ERROR);
  });
  return http2;
}

export class Receiving {
  readonly #options: ReceivingOptions;
  #held = 0;
  #timer: Timer | undefined;
  #isOver = false;
  /** Resolves when the message inflated last was taken. */
  #turn: Promise<void> = Promise.resolve();
  readonly #taken: (() => void)[] = [];

  /** @throws Error when grpc-js is not built as it was */
  constructor(call: ServerInterceptingCallInterface, options: ReceivingOptions) {
    this.#options = options;
    const { bytes } = options.allowance;
    const internals = internalsOf(call);
    watch(internals.decoder, bytes, this);
    internals.maxReceiveMessageSize = bytes;
    internals.decompressMessage = (message: Buffer, encoding: string) =>
      this.#inflated(message.subarray(PREFIX_BYTES), encoding);
  }

  /** Waits for the rest of a message from now on. */
  expect(): void {
    const { timeoutMs, late } = this.#options;
    if (!this.#isOver) this.#timer ??= systemClock.after(timeoutMs, late);
  }

  /** Bytes came. @throws Error when all unfinished requests together hold too much */
  hold(bytes: number): void {
    const { budget, allowance } = this.#options;
    budget.take(allowance.source, bytes);
    this.#held += bytes;
  }

  /** All messages that began are there. */
  whole(): void {
    if (!this.#options.isSingle) this.#stopWaiting();
    if (this.#held === 0) return;
    this.#options.budget.give(this.#options.allowance.source, this.#held);
    this.#held = 0;
  }

  /** The handler has a message. */
  taken(): void {
    this.#taken.shift()?.();
  }

  /** Nothing more is read of the call. */
  over(): void {
    this.#isOver = true;
    this.#stopWaiting();
    this.whole();
    for (const go of this.#taken.splice(0)) go();
  }

  #stopWaiting(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #inflated(contents: Buffer, encoding: string): Buffer | Promise<Buffer> {
    if (encoding === "identity") return contents;
    const before = this.#turn;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#turn = promise;
    this.#taken.push(resolve);
    return before.then(() => this.#inflate(contents, encoding));
  }

  /** @throws StatusError, whose code and details grpc-js answers */
  async #inflate(contents: Buffer, encoding: string): Promise<Buffer> {
    if (this.#isOver) throw failed(StatusCode.CANCELLED, "the call is over");
    const run = INFLATERS[encoding];
    if (run === undefined) {
      const why = `received message compressed with unsupported encoding ${JSON.stringify(encoding)}`;
      throw failed(StatusCode.UNIMPLEMENTED, why);
    }
    const { bytes } = this.#options.allowance;
    try {
      return await run(contents, { maxOutputLength: bytes });
    } catch (error) {
      const isTooLarge = error instanceof Error && Reflect.get(error, "code") === TOO_LARGE;
      throw isTooLarge
        ? failed(
            StatusCode.RESOURCE_EXHAUSTED,
            `received message decompresses to more than ${bytes} bytes`,
          )
        : failed(StatusCode.INTERNAL, "failed to decompress the received message");
    }
  }
}

function failed(code: StatusCode, details: string): StatusError & { readonly details: string } {
  return Object.assign(new StatusError(code, details), { details });
}

/** Has a decoder tell of bytes that came, and when they are whole messages. @param limit bytes of a message */
function watch(decoder: DecoderInternals, limit: number, receiving: Receiving): void {
  const write = decoder.write.bind(decoder);
  /** Bytes of the message that is not whole yet. */
  let partial = 0;
  decoder.maxReadMessageLength = limit;
  decoder.write = (data) => {
    receiving.hold(data.length);
    const messages = write(data);
    partial += data.length;
    if (messages.length > 0) {
      for (const { length } of messages) partial -= length;
      receiving.whole();
      receiving.hold(partial);
    }
    if (partial > 0) receiving.expect();
    return messages;
  };
}

/** A proxy between two Unix sockets that looks at the HTTP/2 frames on their way to the client. */
import { connect, createServer, type Server } from "node:net";

/** RFC 9113 §4.1. */
const FRAME_HEADER_BYTES = 9;
const DATA = 0;
const END_STREAM = 1;

export interface FrameCounts {
  frames: number;
  /** DATA frames without a byte that do not even end their stream; strict peers drop a connection for a few of them. */
  emptyData: number;
}

export interface FrameCounter {
  readonly path: string;
  readonly counts: Readonly<FrameCounts>;
  close(): void;
}

/** @param target the socket behind the proxy */
export async function countFrames(path: string, target: string): Promise<FrameCounter> {
  const counts: FrameCounts = { frames: 0, emptyData: 0 };
  const server: Server = createServer((client) => {
    const upstream = connect(target);
    const count = frameReader(counts);
    upstream.on("data", (bytes: Buffer) => {
      count(bytes);
      client.write(bytes);
    });
    client.on("data", (bytes: Buffer) => upstream.write(bytes));
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      one.on("error", () => other.destroy());
      one.on("close", () => other.destroy());
    }
  });
  const { promise, resolve } = Promise.withResolvers<void>();
  server.listen(path, resolve);
  await promise;
  return { path, counts, close: () => void server.close() };
}

/** Takes the bytes of one connection as they come, cut anywhere. */
function frameReader(counts: FrameCounts): (bytes: Buffer) => void {
  let header = Buffer.alloc(0);
  let payloadLeft = 0;
  return (bytes) => {
    let at = 0;
    while (at < bytes.length) {
      const skipped = Math.min(payloadLeft, bytes.length - at);
      payloadLeft -= skipped;
      at += skipped;
      if (payloadLeft > 0) return;
      const taken = bytes.subarray(at, at + FRAME_HEADER_BYTES - header.length);
      header = Buffer.concat([header, taken]);
      at += taken.length;
      if (header.length < FRAME_HEADER_BYTES) return;
      payloadLeft = header.readUIntBE(0, 3);
      counts.frames++;
      const isEmptyData = payloadLeft === 0 && header[3] === DATA;
      if (isEmptyData && ((header[4] ?? 0) & END_STREAM) === 0) counts.emptyData++;
      header = Buffer.alloc(0);
    }
  };
}

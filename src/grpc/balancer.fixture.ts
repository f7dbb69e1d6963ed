/** A load balancer for tests: it says whom it carries. */
import { connect, createServer, type Socket } from "node:net";
import { listenTcp } from "./listen-tcp.ts";

const SMALL_PIECES = 64;

export interface Balancer {
  readonly port: number;
  close(): Promise<void>;
}

/** @param header what comes before the bytes of each client; @param piece how many bytes the first packets have */
export async function balance(
  target: number,
  header: string | Uint8Array,
  piece?: number,
): Promise<Balancer> {
  const open = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(target, "127.0.0.1");
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      open.add(from);
      from.on("error", () => to.destroy());
      from.on("close", () => {
        open.delete(from);
        to.destroy();
      });
    }
    client.once("data", async (hello: Buffer) => {
      client.pause();
      await writePieces(upstream, Buffer.concat([Buffer.from(header), hello]), piece);
      client.pipe(upstream);
    });
    upstream.pipe(client);
  });
  const address = await listenTcp(server, { host: "127.0.0.1", port: 0 });
  return {
    port: Number(address.split(":").at(-1)),
    close: async () => {
      for (const socket of open) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** The first ones are so small; the others, as large as they come. */
async function writePieces(socket: Socket, bytes: Buffer, piece = bytes.length): Promise<void> {
  socket.setNoDelay(true);
  const end = Math.min(bytes.length, SMALL_PIECES * piece);
  for (let at = 0; at < end; at += piece) {
    socket.write(bytes.subarray(at, at + piece));
    await Bun.sleep(1);
  }
  socket.write(bytes.subarray(end));
}

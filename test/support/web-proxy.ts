/** A proxy as companies have them: it carries connections that are asked for by CONNECT, and knows names that this machine does not. */
import { createServer } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";

export interface WebProxy extends AsyncDisposable {
  readonly port: number;
  /** `host:port` of each connection that was asked for. */
  readonly asked: readonly string[];
  /** The Proxy-Authorization headers that came with them. */
  readonly authorizations: readonly (string | undefined)[];
  /** Makes it refuse whatever is asked for with that status; 200 lets everything through again. */
  answer(status: number): void;
  /** Ends the connections that it carries. */
  cut(): void;
}

/** Whatever name it is asked for, it connects to loopback. */
export async function webProxy(): Promise<WebProxy> {
  const asked: string[] = [];
  const authorizations: (string | undefined)[] = [];
  const sockets = new Set<Socket>();
  let status = 200;
  const server = createServer((_, response) => response.writeHead(405).end());
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.once("close", () => sockets.delete(socket));
  });
  server.on("connect", ({ url = "", headers }, socket) => {
    asked.push(url);
    authorizations.push(headers["proxy-authorization"]);
    if (status !== 200) return void socket.end(`HTTP/1.1 ${status} No\r\n\r\n`);
    const target = connect(Number(url.split(":").at(-1)), "127.0.0.1", () => {
      socket.write("HTTP/1.1 200 Connection established\r\n\r\n");
      socket.pipe(target).pipe(socket);
    });
    target.on("error", () => socket.destroy());
    socket.on("close", () => target.destroy());
  });
  const { promise, resolve } = Promise.withResolvers<void>();
  server.listen(0, "127.0.0.1", resolve);
  await promise;
  const cut = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    port: (server.address() as AddressInfo).port,
    asked,
    authorizations,
    answer: (next) => {
      status = next;
    },
    cut,
    [Symbol.asyncDispose]: async () => {
      const closed = Promise.withResolvers<void>();
      server.close(() => closed.resolve());
      cut();
      await closed.promise;
    },
  };
}

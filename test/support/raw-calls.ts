/** Calls that no gRPC library would make: bytes of any kind, half a request, a connection that anybody could open. */
import { type ClientHttp2Session, connect } from "node:http2";
import { connect as connectSocket, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import type { ClientIdentity } from "#server/server.fixture.ts";

/** Connections for raw calls; all end with `close`. */
export class RawCallers {
  readonly #sessions: ClientHttp2Session[] = [];

  unix(path: string): ClientHttp2Session {
    return this.#open(connectSocket({ path }));
  }

  /** To a port of this machine; without an identity, as nobody. @param header what a balancer says ahead of TLS */
  async tls(port: number, identity?: ClientIdentity, header = ""): Promise<ClientHttp2Session> {
    const { promise, resolve, reject } = Promise.withResolvers<ClientHttp2Session>();
    const shown =
      identity === undefined
        ? {}
        : { key: identity.privateKeyPem, cert: identity.certificateChainPem };
    const below = connectSocket({ host: "127.0.0.1", port });
    if (header !== "") below.write(header);
    const socket = connectTls({
      socket: below,
      ALPNProtocols: ["h2"],
      rejectUnauthorized: false,
      ...shown,
    });
    socket.once("secureConnect", () => resolve(this.#open(socket)));
    socket.once("error", reject);
    return promise;
  }

  close(): void {
    for (const session of this.#sessions) session.destroy();
  }

  #open(socket: Socket): ClientHttp2Session {
    const session = connect("http://localhost", { createConnection: () => socket });
    session.on("error", () => {});
    this.#sessions.push(session);
    return session;
  }
}

/** How a call ended. */
export interface Ending {
  readonly code: number;
  readonly message: string;
}

/**
 * Begins a call, sends what there is, and waits for its answer.
 *
 * @param isEnd whether the caller then says that this was all
 * @throws Error when the call ends without an answer
 */
export function rawCall(
  session: ClientHttp2Session,
  path: string,
  body: Buffer,
  {
    isEnd = true,
    encoding = "gzip",
  }: { readonly isEnd?: boolean; readonly encoding?: string } = {},
): Promise<Ending> {
  const { promise, resolve, reject } = Promise.withResolvers<Ending>();
  const stream = session.request(
    {
      ":method": "POST",
      ":path": path,
      "content-type": "application/grpc",
      te: "trailers",
      "grpc-encoding": encoding,
      "workload.spiffe.io": "true",
    },
    { endStream: false },
  );
  let ending: Ending | undefined;
  const hear = (headers: Record<string, unknown>): void => {
    const code = headers["grpc-status"];
    if (code === undefined) return;
    const message = decodeURIComponent(String(headers["grpc-message"] ?? ""));
    ending = { code: Number(code), message };
  };
  stream.on("response", hear);
  stream.on("trailers", hear);
  stream.on("data", () => {});
  stream.on("error", reject);
  stream.on("close", () => {
    if (ending === undefined) reject(new Error(`no answer from ${path}`));
    else resolve(ending);
  });
  if (body.length > 0) stream.write(body);
  if (isEnd) stream.end();
  return promise;
}

/** A message as gRPC frames it. */
export function framed(message: Buffer, isCompressed = false): Buffer {
  const prefix = Buffer.alloc(5);
  prefix[0] = isCompressed ? 1 : 0;
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

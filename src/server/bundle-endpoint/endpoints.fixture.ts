/** Bundle endpoints for tests, that do whatever a test asks of them. */
import { createServer, type RequestListener } from "node:http";
import { type AddressInfo, createServer as createTcpServer, type Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import { privateKeyToPkcs8Pem } from "#x509/keys.ts";
import { certificatesToPem } from "#x509/pem.ts";
import { type Made, make, type Wish } from "#x509/pki.fixture.ts";

export interface TestIdentity {
  readonly privateKeyPem: string;
  readonly certificateChainPem: string;
}

export interface TestEndpoint extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
}

/** A certificate with its key, as PEM. @param chain the certificates between it and the root */
export async function identity(wish: Wish, chain: readonly Made[] = []): Promise<TestIdentity> {
  const made = await make(wish);
  const certificates = [made, ...chain].map(({ certificate }) => certificate.der);
  return {
    privateKeyPem: privateKeyToPkcs8Pem(made.key),
    certificateChainPem: certificatesToPem(certificates),
  };
}

/** Serves HTTPS with the identity. */
export async function endpoint(
  { privateKeyPem, certificateChainPem }: TestIdentity,
  answer: RequestListener,
): Promise<TestEndpoint> {
  const http = createServer(answer);
  const options = { key: privateKeyPem, cert: certificateChainPem, ALPNProtocols: ["http/1.1"] };
  const server = createTlsServer(options, (socket) => void http.emit("connection", socket));
  return listening(server);
}

/** Takes connections and says nothing. */
export function silence(): Promise<TestEndpoint> {
  return listening(createTcpServer());
}

async function listening(server: ReturnType<typeof createTcpServer>): Promise<TestEndpoint> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
  });
  server.on("tlsClientError", () => undefined);
  const { promise, resolve } = Promise.withResolvers<void>();
  server.listen(0, "127.0.0.1", resolve);
  await promise;
  const { port } = server.address() as AddressInfo;
  return {
    url: `https://127.0.0.1:${port}/`,
    port,
    [Symbol.asyncDispose]: async () => {
      const closed = Promise.withResolvers<void>();
      server.close(() => closed.resolve());
      for (const socket of sockets) socket.destroy();
      await closed.promise;
    },
  };
}

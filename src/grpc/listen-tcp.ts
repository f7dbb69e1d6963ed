import { isIPv6, type Server } from "node:net";
import { errorText } from "#spiffe/status-error.ts";

/**
 * Has a server listen on an address.
 *
 * @param at port 0 takes a free one
 * @returns the address as `host:port`
 * @throws Error with a message for the operator when the address is taken or not ours
 */
export function listenTcp(
  server: Server,
  { host, port }: { readonly host: string; readonly port: number },
): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const shown = isIPv6(host) ? `[${host}]` : host;
  const failed = (error: NodeJS.ErrnoException): void => {
    const why =
      error.code === "EADDRINUSE" ? "another process is using the address" : errorText(error);
    reject(new Error(`cannot listen on ${shown}:${port}: ${why}`));
  };
  server.once("error", failed);
  server.listen({ host, port }, () => {
    server.off("error", failed);
    const address = server.address();
    resolve(typeof address === "object" && address !== null ? `${shown}:${address.port}` : shown);
  });
  return promise;
}

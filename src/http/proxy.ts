/**
 * The way out of a network that lets nobody out directly: a proxy, named as Go's programs and curl know it, by HTTPS_PROXY and NO_PROXY. It
 * carries a connection (RFC 9110 §9.3.6) and learns nothing of what is said on it: TLS is spoken with the far end. It also resolves the
 * name of the far end, which this machine need not know. Callers: channels to servers, and whatever is fetched by https.
 */
import { BlockList, connect, isIP, type Socket } from "node:net";
import { unbracketed } from "#spiffe/host-port.ts";

/** As much as an answer to CONNECT may say about itself. */
const MAX_HEADER_BYTES = 8 * 1024;
const DEFAULT_PROXY_PORT = 80;

export type Environment = Readonly<Record<string, string | undefined>>;

/** A connection that a proxy is to make. */
export interface Tunnel {
  /** May hold a user and a password; nothing but `host` of it is ever shown. */
  readonly proxy: URL;
  /** `host:port` of the far end. */
  readonly authority: string;
}

/**
 * The proxy that leads to a host; undefined for the direct way.
 *
 * @param port of the host
 * @throws Error when the proxy is of a kind that is not built in; never with the password in its URL
 */
export function proxyFor(host: string, port: number, env: Environment): URL | undefined {
  const text = env["HTTPS_PROXY"] || env["https_proxy"] || "";
  const wanted = host.toLowerCase();
  if (text === "" || isLocal(wanted)) return undefined;
  const exceptions = env["NO_PROXY"] || env["no_proxy"] || "";
  if (exceptions.split(",").some((one) => isException(one.trim(), wanted, port))) return undefined;
  const url = text.includes("://") ? text : `http://${text}`;
  if (!URL.canParse(url)) throw new Error("HTTPS_PROXY is not a URL");
  const proxy = new URL(url);
  if (proxy.protocol !== "http:") {
    throw new Error(
      `HTTPS_PROXY: a proxy of the kind ${proxy.protocol}// is not built in; use http://`,
    );
  }
  return proxy;
}

/** Where the proxy listens. */
export function proxyAddress(proxy: URL): { readonly host: string; readonly port: number } {
  const port = proxy.port === "" ? DEFAULT_PROXY_PORT : Number(proxy.port);
  return { host: unbracketed(proxy.hostname), port };
}

/**
 * Connects to the proxy, and has it connect to the far end.
 *
 * @throws Error that names the proxy, with what it answered
 */
export async function openTunnel(tunnel: Tunnel, signal: AbortSignal): Promise<Socket> {
  signal.throwIfAborted();
  const socket = connect(proxyAddress(tunnel.proxy));
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const failed = (error: Error): void => reject(refusal(tunnel, error.message));
  const abort = (): void => void socket.destroy();
  socket.once("connect", resolve);
  socket.on("error", failed);
  socket.once("close", () => reject(signal.reason));
  signal.addEventListener("abort", abort, { once: true });
  await promise;
  await askForTunnel(socket, tunnel);
  return socket;
}

/**
 * Has the proxy at the other end of a connection connect to the far end. Whoever gave the socket ends it when that takes too long.
 *
 * @throws Error that names the proxy, with what it answered; the socket is destroyed then
 */
export async function askForTunnel(socket: Socket, tunnel: Tunnel): Promise<void> {
  const { proxy, authority } = tunnel;
  const lines = [`CONNECT ${authority} HTTP/1.1`, `Host: ${authority}`, ...credentials(proxy)];
  const answer = headOf(socket);
  socket.write(`${lines.join("\r\n")}\r\n\r\n`);
  try {
    const { head, isMore } = await answer;
    const [, status = ""] = /^HTTP\/1\.[01] (\d{3})(?: |\r|$)/.exec(head) ?? [];
    if (status === "") throw new Error("it does not answer as a proxy does");
    if (!status.startsWith("2")) throw new Error(`it answered ${status}`);
    if (isMore) throw new Error("it spoke for the far end");
  } catch (error) {
    socket.destroy();
    throw refusal(tunnel, error instanceof Error ? error.message : String(error));
  }
}

function refusal({ proxy }: Tunnel, why: string): Error {
  return new Error(`proxy ${proxy.host}: ${why}`);
}

interface Head {
  /** Up to the empty line. */
  readonly head: string;
  /** Whether something came behind it. */
  readonly isMore: boolean;
}

/** Reads the head of an HTTP answer and leaves the socket as it was, paused. */
function headOf(socket: Socket): Promise<Head> {
  const { promise, resolve, reject } = Promise.withResolvers<Head>();
  let read = "";
  const onData = (chunk: Buffer): void => {
    read += chunk.toString("latin1");
    const end = read.indexOf("\r\n\r\n");
    if ((end === -1 ? read.length : end) > MAX_HEADER_BYTES) {
      reject(new Error("its answer is too long"));
    } else if (end !== -1) {
      resolve({ head: read.slice(0, end), isMore: read.length > end + 4 });
    }
  };
  const onError = (error: Error): void => reject(error);
  const onClose = (): void => reject(new Error("it closed the connection"));
  socket.on("data", onData).once("error", onError).once("close", onClose).once("end", onClose);
  return promise.finally(() => {
    socket.pause();
    socket.off("data", onData).off("error", onError).off("close", onClose).off("end", onClose);
  });
}

function credentials({ username, password }: URL): string[] {
  if (username === "") return [];
  const pair = `${decoded(username)}:${decoded(password)}`;
  return [`Proxy-Authorization: Basic ${Buffer.from(pair).toString("base64")}`];
}

/** A per cent sign that begins no escape stands for itself. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Never by a proxy, as in Go. */
function isLocal(host: string): boolean {
  if (host === "localhost") return true;
  const loopback = new BlockList();
  loopback.addSubnet("127.0.0.0", 8, "ipv4");
  loopback.addAddress("::1", "ipv6");
  return isIP(host) !== 0 && loopback.check(host, isIP(host) === 6 ? "ipv6" : "ipv4");
}

/** One part of NO_PROXY: `*`, an address, a network, or a domain that stands for its subdomains too; the last with a port, perhaps. */
function isException(exception: string, host: string, port: number): boolean {
  if (exception === "") return false;
  if (exception === "*") return true;
  const [network = "", bits] = exception.split("/");
  if (bits !== undefined) return isInNetwork(host, network, bits);
  const [, name = "", only] =
    /^(.*?)(?::(\d+))?$/.exec(isIP(exception) === 6 ? `[${exception}]` : exception) ?? [];
  if (only !== undefined && Number(only) !== port) return false;
  const domain = unbracketed(name.toLowerCase()).replace(/^\*\./, ".");
  if (domain.startsWith(".")) return host.endsWith(domain);
  return host === domain || (isIP(host) === 0 && host.endsWith(`.${domain}`));
}

function isInNetwork(host: string, network: string, bits: string): boolean {
  const family = isIP(network);
  if (family === 0 || isIP(host) !== family || !/^\d{1,3}$/.test(bits)) return false;
  if (Number(bits) > (family === 6 ? 128 : 32)) return false;
  const kind = family === 6 ? "ipv6" : "ipv4";
  const list = new BlockList();
  list.addSubnet(network, Number(bits), kind);
  return list.check(host, kind);
}

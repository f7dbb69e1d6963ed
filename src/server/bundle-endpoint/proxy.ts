/**
 * The way out of a network that lets nobody out by himself: a proxy, named as Go's programs and curl know it, by HTTPS_PROXY and NO_PROXY. It
 * carries a connection (RFC 9110 §9.3.6) and learns nothing of what is said on it: TLS is spoken with the endpoint.
 */
import { request } from "node:http";
import { BlockList, isIP, type Socket } from "node:net";

/** As much as an answer to CONNECT may say about itself. */
const MAX_HEADER_BYTES = 8 * 1024;

export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * The proxy that leads to a host; undefined for the direct way.
 *
 * @param port of the host
 * @throws Error when the proxy is of a kind that is not built in; never with the password in its URL
 */
export function proxyFor(host: string, port: number, env: Environment): URL | undefined {
  const text = env["HTTPS_PROXY"] || env["https_proxy"] || "";
  if (text === "" || isLocal(host)) return undefined;
  const exceptions = env["NO_PROXY"] || env["no_proxy"] || "";
  if (exceptions.split(",").some((one) => isException(one.trim(), host, port))) return undefined;
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

/**
 * Has the proxy connect to a host.
 *
 * @param authority `host:port`
 * @throws Error saying what the proxy answered
 */
export function openTunnel(proxy: URL, authority: string, signal: AbortSignal): Promise<Socket> {
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const asked = request({
    host: unbracketed(proxy.hostname),
    port: proxy.port === "" ? 80 : Number(proxy.port),
    method: "CONNECT",
    path: authority,
    headers: { host: authority, ...credentials(proxy) },
    maxHeaderSize: MAX_HEADER_BYTES,
    agent: false,
    signal,
  });
  const refuse = (why: string): void => reject(new Error(`proxy ${proxy.host}: ${why}`));
  asked.on("connect", ({ statusCode = 0 }, socket, early) => {
    if (statusCode >= 200 && statusCode < 300 && early.length === 0) return resolve(socket);
    socket.destroy();
    refuse(early.length > 0 ? "it spoke for the endpoint" : `it answered ${statusCode}`);
  });
  asked.on("response", (response) => {
    response.destroy();
    refuse(`it answered ${response.statusCode}`);
  });
  asked.on("error", (error) => refuse(error.message));
  asked.end();
  return promise;
}

function credentials({ username, password }: URL): { "proxy-authorization"?: string } {
  if (username === "") return {};
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return { "proxy-authorization": `Basic ${Buffer.from(pair).toString("base64")}` };
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

function unbracketed(host: string): string {
  return host.replace(/^\[|\]$/g, "");
}

import { looksLikeJoinWord, withoutJoinWords } from "./secret-text.ts";

/** Where a server is reached. */
export interface HostPort {
  /** A DNS name or an IP address, an IPv6 one without brackets. */
  readonly host: string;
  readonly port: number;
}

const DNS_NAME = /^[A-Za-z0-9_]([A-Za-z0-9._-]{0,251}[A-Za-z0-9_.])?$/;
const IPV6 = /^(?=[0-9a-f]*:[0-9a-f.]*:)[0-9a-f:.]{2,45}$/i;
/** It means something on one machine alone: not to be handed to others. */
const ZONE = /%[\w.-]{1,32}$/;

type ParsedHostPort = { readonly host: string } & Partial<Pick<HostPort, "port">>;

/**
 * Reads `HOST`, `HOST:PORT`, `[IPv6]`, `[IPv6]:PORT` or an IPv6 address by itself.
 *
 * @throws Error that quotes the text
 */
export function parseHostPort(text: string): ParsedHostPort {
  return parse(text, isIpv6);
}

/**
 * Reads where a server is from two settings, `server_address` and `server_port`: the address may have the port behind it, and an IPv6
 * address the name of an interface (`fe80::1%eth0`).
 *
 * @param port undefined when it is not set
 * @throws Error that quotes the text, also when both name a port and not the same
 */
export function parseServerAddress(text: string, port: number | undefined): ParsedHostPort {
  const parsed = parse(text, (host) => isIpv6(host.replace(ZONE, "")));
  if (port === undefined) return parsed;
  if (!isPort(port)) throw new Error(`${port} is no port number, which is 1 to 65535`);
  if (parsed.port !== undefined && parsed.port !== port) {
    throw new Error(
      `the address ${JSON.stringify(text)} has port ${parsed.port} in it, but the port is set to ${port}: leave one out`,
    );
  }
  return { host: parsed.host, port };
}

function parse(text: string, isIpv6Host: (host: string) => boolean): ParsedHostPort {
  const [, bracketed, plain, port] =
    /^(?:\[([^\]]*)\]|([^:]*))(?::(\d{1,5}))?$/.exec(text) ?? ([] as (string | undefined)[]);
  const host = bracketed ?? plain ?? text;
  const isAddress = plain === undefined ? isIpv6Host(host) : DNS_NAME.test(host);
  if (isAddress && !looksLikeJoinWord(host) && (port === undefined || isPort(Number(port)))) {
    return port === undefined ? { host } : { host, port: Number(port) };
  }
  const shown = withoutJoinWords(JSON.stringify(text));
  throw new Error(`${shown} is no address of a server: give HOST, HOST:PORT or [IPv6]:PORT`);
}

/** `host:port`, with brackets around an IPv6 address. */
export function formatHostPort({ host, port }: HostPort): string {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}

/** Whether there can be a server at that address, for whoever looks for it. */
export function isHostPort({ host, port }: HostPort): boolean {
  return (DNS_NAME.test(host) || isIpv6(host)) && isPort(port);
}

function isIpv6(text: string): boolean {
  return IPV6.test(text);
}

/** Whether a server can listen there. */
export function isPort(port: number): boolean {
  return Number.isInteger(port) && port >= 1 && port <= 65_535;
}

/** The address without the brackets that an IPv6 address has in URLs. */
export function unbracketed(host: string): string {
  return host.replace(/^\[(.*)\]$/, "$1");
}

/** Whether that can be listened on: an IP address, or a name that stands for one. */
export function isHost(text: string): boolean {
  return DNS_NAME.test(text) || isIpv6(text.replace(ZONE, ""));
}

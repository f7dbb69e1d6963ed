import { looksLikeJoinWord, withoutJoinWords } from "./secret-text.ts";

/** Where a server is reached. */
export interface HostPort {
  /** A DNS name or an IP address, an IPv6 one without brackets. */
  readonly host: string;
  readonly port: number;
}

const DNS_NAME = /^[A-Za-z0-9_]([A-Za-z0-9._-]{0,251}[A-Za-z0-9_.])?$/;
/** A zone (`%eth0`) means something on one machine alone. */
const IPV6 = /^(?=[0-9a-f]*:[0-9a-f.]*:)[0-9a-f:.]{2,45}$/i;

/**
 * Reads `HOST`, `HOST:PORT`, `[IPv6]`, `[IPv6]:PORT` or an IPv6 address by itself.
 *
 * @throws Error that quotes the text
 */
export function parseHostPort(
  text: string,
): { readonly host: string } & Partial<Pick<HostPort, "port">> {
  const [, bracketed, plain, port] =
    /^(?:\[([^\]]*)\]|([^:]*))(?::(\d{1,5}))?$/.exec(text) ?? ([] as (string | undefined)[]);
  const host = bracketed ?? plain ?? text;
  const isAddress = plain === undefined ? isIpv6(host) : DNS_NAME.test(host);
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

/** Whether there can be a server at that address. */
export function isHostPort({ host, port }: HostPort): boolean {
  return (DNS_NAME.test(host) || isIpv6(host)) && isPort(port);
}

function isIpv6(text: string): boolean {
  return IPV6.test(text);
}

function isPort(port: number): boolean {
  return Number.isInteger(port) && port >= 1 && port <= 65_535;
}

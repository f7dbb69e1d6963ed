/**
 * What an agent says of its machine in the header `user-agent` of each call, where a server of the reference takes no notice of it:
 * `spire-edge-agent (host=NAME; attestors=unix,systemd)`. It comes from whoever calls, so it is for an operator to read and for nothing else.
 */

export interface NodeAbout {
  /** Empty when it is not told. */
  readonly hostName: string;
  readonly attestors: readonly string[];
}

/** A name that cannot stand in the header is left out. */
export function nodeAgent({ hostName, attestors }: NodeAbout): string {
  const host = HOST.test(hostName) ? hostName : "";
  return `spire-edge-agent (host=${host}; attestors=${attestors.join(",")})`;
}

export function parseNodeAgent(userAgent: string): NodeAbout {
  const [, hostName = "", attestors = ""] = HEADER.exec(userAgent.slice(0, MAX_LENGTH)) ?? [];
  return { hostName, attestors: attestors === "" ? [] : attestors.split(",") };
}

const MAX_LENGTH = 512;
const HOST = /^[A-Za-z0-9._-]{1,253}$/;
const HEADER = /^spire-edge-agent \(host=([A-Za-z0-9._-]{0,253}); attestors=([a-z0-9_,]{0,200})\)/;

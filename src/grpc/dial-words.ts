/**
 * Why a server cannot be reached, in words of the thing. The client library tells it in words of its own parts (resolvers, pickers,
 * subchannels), and with the time of day, by which the same failure would look like another one each time.
 */

/** The last error of the library's "pick first" policy, which is the one that we use. */
const NO_CONNECTION = /^No connection established\. Last error: (.*)\. Resolution note: /s;
const NO_NAME = /^Name resolution failed for target dns:(?:\[?(.+?)\]?):\d+$/;
const TOO_LATE = /^Deadline exceeded after ([\d.]+)s/;
const BROKEN_OFF = ["Connection dropped", "Socket closed"];
/** ` (2026-11-30T23:46:28.123Z)`, which the library puts behind some errors. */
const TIME_OF_DAY = / \(\d{4}-\d\d-\d\dT[\d:.]+Z\)$/;

/** What the system says of an address, `connect ECONNREFUSED 192.0.2.1:8081`. */
const CONNECT = /^connect (E[A-Z]+) (.+?)(?: - Local .*)?$/;
const CONNECT_WORDS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "refuses connections: no server listens there",
  ETIMEDOUT: "does not answer",
  EHOSTUNREACH: "cannot be reached: no route leads there",
  ENETUNREACH: "cannot be reached: no route leads there",
  EADDRNOTAVAIL: "cannot be reached: this machine has no address of that kind",
};

/** What comes of a TLS handshake with something that is no SPIRE server. */
const TLS_WORDS: readonly (readonly [RegExp, string])[] = [
  [/wrong.version.number|packet.length.too.long|http.request/i, "what answers does not speak TLS"],
  [
    /ECONNRESET|socket (hang up|disconnected)|Socket closed|Failed to connect|EPIPE/i,
    "the server closed the connection before it was secure",
  ],
];

/**
 * @param details of a status that the client library made up itself, or that came from a server
 * @returns the same where it is none of the library's own
 */
export function dialWords(details: string): string {
  const [, late] = TOO_LATE.exec(details) ?? [];
  if (late !== undefined) return `no answer within ${Math.round(Number(late))} s`;
  const [, name] = NO_NAME.exec(details) ?? [];
  if (name !== undefined) return `the name ${name} does not resolve`;
  if (BROKEN_OFF.includes(details)) return "the connection to the server broke off";
  const [, last] = NO_CONNECTION.exec(details) ?? [];
  return last === undefined ? details : connectWords(last);
}

function connectWords(text: string): string {
  const error = text.replace(/^(\w*Error: )+/, "").replace(TIME_OF_DAY, "");
  const [, code = "", where] = CONNECT.exec(error) ?? [];
  if (where !== undefined)
    return `${bracketed(where)} ${CONNECT_WORDS[code] ?? `cannot be reached: ${code}`}`;
  return TLS_WORDS.find(([pattern]) => pattern.test(error))?.[1] ?? error;
}

/** The system writes `::1:8081`. */
function bracketed(address: string): string {
  return address.replace(/^(.*:.*):(\d+)$/, "[$1]:$2");
}

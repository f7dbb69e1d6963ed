import { connect } from "node:tls";
import { type Finding, fail, ok } from "#cli/doctor/finding.ts";
import { whenText } from "#cli/doctor/times.ts";
import { systemClock } from "#clock/clock.ts";
import { formatHostPort } from "#spiffe/host-port.ts";
import { errorText } from "#spiffe/status-error.ts";
import { Certificate } from "#x509/certificate.ts";

const TIMEOUT_MS = 5_000;

/** A port that the server listens on with TLS. */
export interface TlsPort {
  /** How findings call the check. */
  readonly check: string;
  /** As configured; an address that means all of them is asked on loopback. */
  readonly address: string;
  readonly port: number;
  /** What to do when nobody answers, and when the certificate has expired. */
  readonly unanswered: string;
  readonly expired: string;
}

/** Connects, and looks at the certificate; it is not verified: the server is known by its socket. @param now Unix seconds */
export async function checkTlsPort(asked: TlsPort, now: number): Promise<readonly Finding[]> {
  const { check, port, unanswered, expired } = asked;
  const host = reachable(asked.address);
  const where = formatHostPort({ host, port });
  try {
    const { notAfter } = Certificate.parse(await shownBy(host, port));
    const until = `the server answers on ${where} with a certificate good until ${whenText(notAfter, now)}`;
    return [notAfter > now ? ok(check, until) : fail(check, until, expired)];
  } catch (error) {
    return [fail(check, `nobody answers on ${where} by TLS: ${errorText(error)}`, unanswered)];
  }
}

function reachable(bindAddress: string): string {
  if (bindAddress === "0.0.0.0") return "127.0.0.1";
  return bindAddress === "::" ? "::1" : bindAddress;
}

/** The certificate of whoever listens there, DER. */
function shownBy(host: string, port: number): Promise<Uint8Array> {
  const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
  // The server is looked at, not believed: nothing is sent or taken over this connection.
  const socket = connect({
    host,
    port,
    ALPNProtocols: ["h2", "http/1.1"],
    rejectUnauthorized: false,
  });
  const timer = systemClock.after(TIMEOUT_MS, () => socket.destroy(new Error("it takes too long")));
  socket.once("error", reject);
  socket.once("secureConnect", () => {
    resolve(socket.getPeerCertificate(true).raw);
    socket.destroy();
  });
  return promise.finally(() => timer.cancel());
}

import { connect } from "node:tls";
import { type Finding, fail, ok } from "#cli/doctor/finding.ts";
import { whenText } from "#cli/doctor/times.ts";
import { systemClock } from "#clock/clock.ts";
import { Certificate } from "#x509/certificate.ts";

const CHECK = "agents_port";
const TIMEOUT_MS = 5_000;

/** Connects as an agent would. What the server shows is looked at, not verified: it is known by its socket. */
export async function checkListener(
  bindAddress: string,
  port: number,
  now: number,
): Promise<readonly Finding[]> {
  const host = reachable(bindAddress);
  const where = `${host}:${port}`;
  try {
    const { notAfter } = Certificate.parse(await shownBy(host, port));
    const until = `the server answers on ${where} with a certificate good until ${whenText(notAfter, now)}`;
    if (notAfter > now) return [ok(CHECK, until)];
    return [fail(CHECK, until, "look for errors of svid_rotator in the server's log")];
  } catch (error) {
    const message = `nobody answers on ${where} by TLS: ${error instanceof Error ? error.message : error}`;
    const advice =
      "start the server; see bind_address and bind_port, and what listens there: ss -tlnp";
    return [fail(CHECK, message, advice)];
  }
}

/** An address that means all of them is asked on loopback. */
function reachable(bindAddress: string): string {
  if (bindAddress === "0.0.0.0") return "127.0.0.1";
  return bindAddress === "::" ? "::1" : bindAddress;
}

/** The certificate of whoever listens there, DER. */
function shownBy(host: string, port: number): Promise<Uint8Array> {
  const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
  // The server is looked at, not believed: nothing is sent or taken over this connection.
  const socket = connect({ host, port, ALPNProtocols: ["h2"], rejectUnauthorized: false });
  const timer = systemClock.after(TIMEOUT_MS, () => socket.destroy(new Error("it takes too long")));
  socket.once("error", reject);
  socket.once("secureConnect", () => {
    resolve(socket.getPeerCertificate(true).raw);
    socket.destroy();
  });
  return promise.finally(() => timer.cancel());
}

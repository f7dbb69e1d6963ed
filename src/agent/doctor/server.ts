/** Checks of the way to the server: whether it answers, is the one that is trusted, and has the same time. */

import { type ClockDifference, clockDifference } from "#agent/attestation/server-clock.ts";
import { connectServer } from "#agent/attestation/server-connection.ts";
import { type Finding, fail, ok, warn } from "#cli/doctor/finding.ts";
import { CLOCK_TOLERANCE_SECONDS } from "#cli/doctor/times.ts";
import { failureText } from "#cli/rpc-error.ts";
import type { Clock } from "#clock/clock.ts";
import type { ServerAddress } from "#grpc/server-channel.ts";
import { formatHostPort } from "#spiffe/host-port.ts";

const SOME_SECONDS = 2;

/** @param roots the X.509 authorities that the agent trusts, DER */
export async function checkServer(
  address: ServerAddress,
  roots: readonly Uint8Array[],
  clock: Clock,
): Promise<readonly Finding[]> {
  const where = formatHostPort({ host: address.serverAddress, port: address.serverPort });
  const check = "server";
  if (roots.length === 0) {
    return [
      warn(
        check,
        `${where} was not asked: the agent trusts nobody yet`,
        "let the agent join first",
      ),
    ];
  }
  const clients = connectServer(address, roots, undefined, clock);
  try {
    const difference = await clockDifference(clients.bundle, clock);
    return [ok(check, `${where} answers, and is trusted`), checkSkew(difference)];
  } catch (error) {
    const message = `${where} cannot be asked: ${failureText(error)}`;
    const advice =
      "look whether it runs and can be reached (server_address, server_port); a certificate that is not trusted means another server, or a trust bundle that is out of date (rebootstrap_mode)";
    return [fail(check, message, advice)];
  } finally {
    clients.close();
  }
}

/** @param difference undefined when the server does not tell its time */
export function checkSkew(difference: ClockDifference | undefined): Finding {
  const check = "clock";
  if (difference === undefined) {
    return ok(check, "not compared: the server does not tell its time");
  }
  const { atLeast, atMost } = difference;
  if (atLeast <= 0 && atMost >= 0) {
    const shown = Math.max(-atLeast, atMost).toFixed(1);
    return ok(check, `the server's clock is this machine's, as far as can be told: to ${shown} s`);
  }
  // What is sure: the server tells whole seconds, and its answer takes a while.
  const seconds = atLeast > 0 ? atLeast : -atMost;
  const shown = `the server's clock is ${seconds.toFixed(1)} s ${atLeast > 0 ? "ahead of" : "behind"} this machine's`;
  const advice = "run NTP on both machines; see docs/TROUBLESHOOTING.md on clocks";
  if (seconds > CLOCK_TOLERANCE_SECONDS) return fail(check, shown, advice);
  return seconds > SOME_SECONDS ? warn(check, shown, advice) : ok(check, shown);
}

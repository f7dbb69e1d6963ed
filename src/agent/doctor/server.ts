/** Checks of the way to the server: whether it answers, is the one that is trusted, and has the same time. */

import { Metadata } from "@grpc/grpc-js";
import { connectServer, type ServerClients } from "#agent/sync/server-connection.ts";
import { type Finding, fail, ok, warn } from "#cli/doctor/finding.ts";
import { CLOCK_TOLERANCE_SECONDS } from "#cli/doctor/times.ts";
import { failureText } from "#cli/rpc-error.ts";
import type { Clock } from "#clock/clock.ts";
import type { ServerAddress } from "#grpc/server-channel.ts";
import { formatHostPort } from "#spiffe/host-port.ts";

const TIMEOUT_MS = 10_000;
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
    const aheadSeconds = await askTime(clients, clock);
    return [ok(check, `${where} answers, and is trusted`), checkSkew(aheadSeconds)];
  } catch (error) {
    const message = `${where} cannot be asked: ${failureText(error)}`;
    const advice =
      "look whether it runs and can be reached (server_address, server_port); a certificate that is not trusted means another server, or a trust bundle that is out of date (rebootstrap_mode)";
    return [fail(check, message, advice)];
  } finally {
    clients.close();
  }
}

/** @param aheadSeconds undefined when the server does not tell its time, as SPIRE's does not */
export function checkSkew(aheadSeconds: number | undefined): Finding {
  const check = "clock";
  if (aheadSeconds === undefined) {
    return ok(check, "not compared: the server does not tell its time");
  }
  const distance = Math.abs(aheadSeconds).toFixed(1);
  const shown = `the server's clock is ${distance} s ${aheadSeconds < 0 ? "behind" : "ahead of"} this machine's`;
  const advice = "run NTP on both machines; see docs/TROUBLESHOOTING.md on clocks";
  if (Math.abs(aheadSeconds) > CLOCK_TOLERANCE_SECONDS) return fail(check, shown, advice);
  // It tells whole seconds, so that less than two are none.
  return Math.abs(aheadSeconds) > SOME_SECONDS ? warn(check, shown, advice) : ok(check, shown);
}

/**
 * How far the server's clock is ahead, in seconds, by the date of an answer that anybody gets: that is in whole seconds, and was written at some
 * time between question and answer.
 *
 * @throws StatusError or Error when there is no answer
 */
function askTime({ bundle }: ServerClients, clock: Clock): Promise<number | undefined> {
  const { promise, resolve, reject } = Promise.withResolvers<number | undefined>();
  const before = clock.nowMs();
  let ahead: number | undefined;
  const deadline = new Date(before + TIMEOUT_MS);
  const call = bundle.getBundle({ outputMask: undefined }, new Metadata(), { deadline }, (error) =>
    error === null ? resolve(ahead) : reject(error),
  );
  call.on("metadata", (headers: Metadata) => {
    const [date] = headers.get("date");
    const told = Date.parse(String(date));
    const middle = (before + clock.nowMs()) / 2;
    if (!Number.isNaN(told)) ahead = (told + 500 - middle) / 1000;
  });
  return promise;
}

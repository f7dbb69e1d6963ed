/** How far the server's clock and this machine's are apart, by the date of an answer that anybody gets. */
import { type Client, Metadata } from "@grpc/grpc-js";
import type { Clock } from "#clock/clock.ts";
import { tlsChannel } from "#grpc/client.ts";
import type { ServerAddress } from "#grpc/server-channel.ts";
import { BundleClient } from "#proto/spire/api/server/bundle/v1/bundle.ts";
import { errorText, StatusCode, StatusError } from "#spiffe/status-error.ts";

const TIMEOUT_MS = 10_000;
/** The date is in whole seconds. */
const DATE_STEP_MS = 1000;
/** The first question opens the connection; what counts is the time that the later ones take. */
const QUESTIONS = 3;
/** Less than that explains no certificate. */
const NOTABLE_SECONDS = 5;

/** The server's clock is ahead of this machine's by so many seconds, at least and at most; behind where that is negative. */
export interface ClockDifference {
  readonly atLeast: number;
  readonly atMost: number;
}

/**
 * Each answer says that at some moment between question and answer it was that second there; what all of them say together is true.
 *
 * @returns undefined when the server does not tell its time, as SPIRE's does not
 * @throws StatusError or Error when there is no answer
 */
export async function clockDifference(
  bundle: BundleClient,
  clock: Clock,
): Promise<ClockDifference | undefined> {
  let atLeast = Number.NEGATIVE_INFINITY;
  let atMost = Number.POSITIVE_INFINITY;
  for (let question = 0; question < QUESTIONS; question++) {
    const answer = await askTime(bundle, clock);
    if (answer === undefined) return undefined;
    atLeast = Math.max(atLeast, (answer.toldMs - answer.afterMs) / 1000);
    atMost = Math.min(atMost, (answer.toldMs + DATE_STEP_MS - answer.beforeMs) / 1000);
  }
  // A clock that was set meanwhile leaves nothing that is true of all answers.
  return { atLeast: Math.min(atLeast, atMost), atMost: Math.max(atLeast, atMost) };
}

interface TimedAnswer {
  readonly beforeMs: number;
  readonly toldMs: number;
  readonly afterMs: number;
}

function askTime(bundle: BundleClient, clock: Clock): Promise<TimedAnswer | undefined> {
  const { promise, resolve, reject } = Promise.withResolvers<TimedAnswer | undefined>();
  const beforeMs = clock.nowMs();
  let answer: TimedAnswer | undefined;
  const deadline = new Date(beforeMs + TIMEOUT_MS);
  const call = bundle.getBundle({ outputMask: undefined }, new Metadata(), { deadline }, (error) =>
    error === null ? resolve(answer) : reject(error),
  );
  call.on("metadata", (headers: Metadata) => {
    const [date] = headers.get("date");
    const toldMs = Date.parse(String(date));
    if (!Number.isNaN(toldMs)) answer = { beforeMs, toldMs, afterMs: clock.nowMs() };
  });
  return promise;
}

/** `this machine's clock is 10 minutes behind the server's`; undefined when the difference explains nothing. */
export function clockWords({ atLeast, atMost }: ClockDifference): string | undefined {
  const isBehind = atLeast > NOTABLE_SECONDS;
  if (!isBehind && atMost > -NOTABLE_SECONDS) return undefined;
  const seconds = Math.abs((atLeast + atMost) / 2);
  return `this machine's clock is ${spanText(seconds)} ${isBehind ? "behind" : "ahead of"} the server's`;
}

const UNITS = [
  [24 * 3600, "day"],
  [3600, "hour"],
  [60, "minute"],
  [1, "second"],
] as const;

/** The largest unit that leaves two or more, in whole numbers. */
function spanText(seconds: number): string {
  const [length, name] = UNITS.find(([unit]) => seconds >= 1.5 * unit) ?? [1, "second"];
  const count = Math.round(seconds / length);
  return `${count} ${name}${count === 1 ? "" : "s"}`;
}

const TIME_TROUBLE = /is not yet valid|has expired/;

/**
 * Looks into a server whose certificate is not valid at this time: most often one of the two clocks is wrong. It is asked for its time over
 * a connection that verifies nothing, and what it says goes into a message and nowhere else.
 *
 * @returns a clearer error, or the same
 */
export async function explainClocks(
  error: unknown,
  server: ServerAddress,
  clock: Clock,
): Promise<unknown> {
  if (!(error instanceof StatusError) || error.code !== StatusCode.UNAVAILABLE) return error;
  if (!TIME_TROUBLE.test(error.message)) return error;
  const { address, credentials, options } = tlsChannel({
    host: server.serverAddress,
    port: server.serverPort,
    policy: server.tlsPolicy,
    verifyServer: () => {},
  });
  const client: Client & BundleClient = new BundleClient(address, credentials, options);
  try {
    const difference = await clockDifference(client, clock);
    const words = difference === undefined ? undefined : clockWords(difference);
    if (words === undefined) return error;
    return new StatusError(error.code, `${words}: ${errorText(error)}`, { cause: error });
  } catch {
    return error;
  } finally {
    client.close();
  }
}

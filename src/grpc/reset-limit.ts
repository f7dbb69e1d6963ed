/**
 * Calls that a client takes back before they are answered cost work for nothing, which is an attack when there are very many of them
 * (CVE-2023-44487). A call that was answered and is then cancelled is how a client reads one message of a stream: it is not counted.
 */
import { constants, type Http2Session, type ServerHttp2Stream } from "node:http2";
import { systemClock } from "#clock/clock.ts";

/** What nghttp2 allows by default, of every reset. */
const BURST = 1000;
const PER_SECOND = 33;

/** Holds each connection of an HTTP/2 server to the limit. One that goes beyond is told so, and closed. */
export class ResetLimit {
  readonly #budgets: WeakMap<Http2Session, Budget> = new WeakMap();

  /** To be told of every stream as it begins. */
  watch(stream: ServerHttp2Stream): void {
    const { session } = stream;
    stream.once("close", () => {
      const isTakenBack = stream.rstCode !== constants.NGHTTP2_NO_ERROR && !stream.headersSent;
      if (!isTakenBack || session === undefined || session.destroyed) return;
      if (!this.#budgetOf(session).take()) hangUp(session);
    });
  }

  #budgetOf(session: Http2Session): Budget {
    let budget = this.#budgets.get(session);
    if (budget === undefined) {
      budget = new Budget();
      this.#budgets.set(session, budget);
    }
    return budget;
  }
}

/** Destroyed at once, the session would leave unsaid why. */
function hangUp(session: Http2Session): void {
  session.goaway(constants.NGHTTP2_ENHANCE_YOUR_CALM);
  systemClock.after(0, () => session.destroy());
}

class Budget {
  #left = BURST;
  #countedMs = systemClock.monotonicMs();

  /** @returns false once, when nothing is left */
  take(): boolean {
    if (this.#left < 0) return true;
    const nowMs = systemClock.monotonicMs();
    this.#left = Math.min(BURST, this.#left + ((nowMs - this.#countedMs) / 1000) * PER_SECOND);
    this.#countedMs = nowMs;
    this.#left--;
    return this.#left >= 0;
  }
}

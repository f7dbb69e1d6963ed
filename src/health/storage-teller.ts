import type { Log } from "#log/log.ts";

/** What is wrong with where a daemon keeps its state. */
interface Problem {
  readonly kind: "lost" | "read-only" | "full";
  readonly text: string;
}

interface Storage {
  problem(): Problem | undefined;
}

/** What the log says of a daemon's storage: once when there is a problem, and once that it is over. */
export class StorageTeller {
  readonly #storage: Storage;
  readonly #log: Log;
  readonly #lost: { readonly message: string; readonly next: string };
  #last: Problem | undefined;

  /** @param lost what is said when the state is lost, and what to do about it */
  constructor(
    storage: Storage,
    log: Log,
    lost: { readonly message: string; readonly next: string },
  ) {
    this.#storage = storage;
    this.#log = log;
    this.#lost = lost;
  }

  look(): void {
    const problem = this.#storage.problem();
    const last = this.#last;
    if (problem?.text === last?.text) return;
    this.#last = problem;
    if (problem?.kind === "lost") {
      const { message, next } = this.#lost;
      this.#log.error(message, { problem: problem.text, next });
    } else if (problem !== undefined) {
      this.#log.error("Changes cannot be stored", { problem: problem.text });
    } else if (last?.kind === "lost") {
      this.#log.info("The data is there again");
    } else {
      this.#log.info("Changes can be stored again");
    }
  }
}

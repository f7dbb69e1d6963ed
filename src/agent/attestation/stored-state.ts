/** agent-data.json: what an agent keeps between runs besides its keys, in the reference's layout, so that either agent can go on. */

import { readFile } from "node:fs/promises";
import { removeDrafts, writeFileAtomically } from "#files/atomic-write.ts";
import { writeError } from "#files/write-error.ts";
import { errorText } from "#spiffe/status-error.ts";
import { isoTime } from "#x509/iso-time.ts";
import { certificatesFromPem, encodePem } from "#x509/pem.ts";

export interface AgentState {
  /** DER, leaf first; empty when the agent is not attested. */
  readonly svid: readonly Uint8Array[];
  /** The X.509 authorities, DER. */
  readonly bundle: readonly Uint8Array[];
  readonly reattestable: boolean;
  /** What the agent gets to know its server for; undefined in a file that older agents wrote. */
  readonly bootstrapMode: BootstrapMode | undefined;
  /** Unix seconds: since when agent and server do not agree; 0 when they do. */
  readonly bootstrapStart: number;
  /** Bundles asked for since then. */
  readonly connectionAttempts: number;
}

/** For the first time, or because the server is not known any more. */
export type BootstrapMode = "bootstrap" | "rebootstrap";

const EMPTY_STATE: AgentState = {
  svid: [],
  bundle: [],
  reattestable: false,
  bootstrapMode: undefined,
  bootstrapStart: 0,
  connectionAttempts: 0,
};

/** The reference's numbers of the modes, and its time that is none. */
const MODE_NUMBERS: Readonly<Record<BootstrapMode, number>> = { bootstrap: 1, rebootstrap: 2 };
const NO_TIME = "0001-01-01T00:00:00Z";

export class StoredState {
  readonly #path: string;
  #current: AgentState;
  /** Writes follow one another, so that the last change is the one that stays. */
  #writing: Promise<void> = Promise.resolve();

  private constructor(path: string, current: AgentState) {
    this.#path = path;
    this.#current = current;
  }

  /** @throws Error naming the file when it is there and cannot be used; it is then left as it is */
  static async open(path: string): Promise<StoredState> {
    await removeDrafts(path);
    return new StoredState(path, await readStoredState(path));
  }

  get current(): AgentState {
    return this.#current;
  }

  /** Changes what is given and keeps the rest. @throws Error naming the file when it cannot be written; it then holds what it held */
  async update(change: Partial<AgentState>): Promise<void> {
    const write = this.#writing.then(async () => {
      const next = { ...this.#current, ...change };
      await save(this.#path, next);
      this.#current = next;
    });
    this.#writing = write.catch(() => undefined);
    await write;
  }
}

/** The state as it lies there, touching nothing. @throws Error naming the file when it is there and cannot be used */
export async function readStoredState(path: string): Promise<AgentState> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return EMPTY_STATE;
    throw new Error(`cannot read ${path}: ${errorText(error)}`);
  }
  try {
    const stored = JSON.parse(text) as Record<string, unknown>;
    return {
      svid: certificates(stored["svid"]),
      bundle: certificates(stored["bundle"]),
      reattestable: stored["reattestable"] === true,
      bootstrapMode: modeOf(stored["bootstrap_use"]),
      bootstrapStart: secondsOf(stored["bootstrap_start_time"]),
      connectionAttempts: Number(stored["connection_attempts"] ?? 0),
    };
  } catch {
    throw new Error(
      `${path} is corrupt; restore it, or move it away to let the agent join anew with a new token`,
    );
  }
}

async function save(path: string, state: AgentState): Promise<void> {
  const stored = {
    svid: state.svid.length === 0 ? null : state.svid.map(stored64),
    bundle: state.bundle.map(stored64),
    reattestable: state.reattestable,
    bootstrap_use: state.bootstrapMode === undefined ? 0 : MODE_NUMBERS[state.bootstrapMode],
    bootstrap_start_time: state.bootstrapStart === 0 ? NO_TIME : isoTime(state.bootstrapStart),
    connection_attempts: state.connectionAttempts,
  };
  try {
    await writeFileAtomically(path, `${JSON.stringify(stored)}\n`, 0o600);
  } catch (error) {
    throw writeError(path, error);
  }
}

/** The reference keeps each certificate as base64 of its PEM form. */
function stored64(der: Uint8Array): string {
  return Buffer.from(encodePem("CERTIFICATE", der)).toString("base64");
}

function certificates(list: unknown): Uint8Array[] {
  if (list === null || list === undefined) return [];
  if (!Array.isArray(list)) throw new Error("not a list");
  return list.flatMap((item) =>
    certificatesFromPem(Buffer.from(String(item), "base64").toString("latin1")),
  );
}

function modeOf(use: unknown): BootstrapMode | undefined {
  if (use === MODE_NUMBERS.bootstrap) return "bootstrap";
  return use === MODE_NUMBERS.rebootstrap ? "rebootstrap" : undefined;
}

function secondsOf(time: unknown): number {
  const milliseconds = Date.parse(String(time ?? NO_TIME));
  return Math.max(0, Math.floor(milliseconds / 1000)) || 0;
}

/** agent-data.json: what an agent keeps between runs besides its keys, in the reference's layout, so that either agent can go on. */
import { readFile } from "node:fs/promises";
import { writeFileAtomically } from "#files/atomic-write.ts";
import { errorText } from "#spiffe/status-error.ts";
import { certificatesFromPem, encodePem } from "#x509/pem.ts";

export interface AgentState {
  /** DER, leaf first; empty when the agent is not attested. */
  readonly svid: readonly Uint8Array[];
  /** The X.509 authorities, DER. */
  readonly bundle: readonly Uint8Array[];
  readonly reattestable: boolean;
}

const EMPTY_STATE: AgentState = { svid: [], bundle: [], reattestable: false };

/** @throws Error naming the file when it is there and cannot be used; it is then left as it is */
export async function loadState(path: string): Promise<AgentState> {
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
    };
  } catch {
    throw new Error(
      `${path} is corrupt; restore it, or move it away to let the agent join anew with a new token`,
    );
  }
}

export async function saveState(path: string, state: AgentState): Promise<void> {
  const stored = {
    svid: state.svid.length === 0 ? null : state.svid.map(stored64),
    bundle: state.bundle.map(stored64),
    reattestable: state.reattestable,
  };
  await writeFileAtomically(path, `${JSON.stringify(stored)}\n`, 0o600);
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

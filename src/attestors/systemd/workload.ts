/**
 * WorkloadAttestor `systemd`: names a process by the unit it belongs to, as process 1 says. A process that ended while systemd was asked
 * gets nothing. Called by the agent's workload attestation.
 */
import type { WorkloadAttestation, WorkloadAttestor } from "#attestors/attestor.ts";
import { DbusError } from "#dbus/connection.ts";
import { NO_UNIT, type Systemd, type SystemdUnit } from "#dbus/systemd.ts";
import type { Selector } from "#spiffe/selector.ts";
import { errorText, StatusCode, StatusError } from "#spiffe/status-error.ts";

export function createSystemdWorkloadAttestor(systemd: Pick<Systemd, "unitOf">): WorkloadAttestor {
  return {
    type: "systemd",
    attest: async (peer, signal) => {
      const found = await systemd.unitOf(peer, signal).catch((error: unknown) => {
        signal.throwIfAborted();
        if (error instanceof DbusError && error.errorName === NO_UNIT) return errorText(error);
        const why = `failed to get unit by pid ${peer.pid}: ${errorText(error)}`;
        throw new StatusError(StatusCode.INTERNAL, why, { cause: error });
      });
      // Alive now means that the number was this very process's when systemd looked it up.
      if (peer.isAlive()) return attestation(found);
      throw new StatusError(StatusCode.UNAVAILABLE, "the process ended while it was attested");
    },
  };
}

/** @param found or systemd's words for that the process belongs to none: an answer as good as any */
function attestation(found: SystemdUnit | string): WorkloadAttestation {
  if (typeof found !== "string") return { selectors: unitSelectors(found), omissions: [] };
  const omissions = ["systemd:id", "systemd:fragment_path"].map((selector) => ({
    selector,
    reason: found,
    isTemporary: false,
  }));
  return { selectors: [], omissions };
}

/** The selectors of whoever belongs to the unit. */
export function unitSelectors({ id, fragmentPath }: SystemdUnit): Selector[] {
  return [
    { type: "systemd", value: `id:${id}` },
    { type: "systemd", value: `fragment_path:${fragmentPath}` },
  ];
}

/**
 * WorkloadAttestor `systemd`: names a process by the unit it belongs to, as process 1 says. A process that ended while systemd was asked
 * gets nothing. Called by the agent's workload attestation.
 */
import type { WorkloadAttestor } from "#attestors/attestor.ts";
import type { Systemd, SystemdUnit } from "#dbus/systemd.ts";
import type { Selector } from "#spiffe/selector.ts";
import { errorText, StatusCode, StatusError } from "#spiffe/status-error.ts";

export function createSystemdWorkloadAttestor(systemd: Pick<Systemd, "unitOf">): WorkloadAttestor {
  return {
    type: "systemd",
    attest: async (peer) => {
      const { pid } = peer;
      const unit = await systemd.unitOf(pid).catch((error: unknown) => {
        throw new StatusError(
          StatusCode.INTERNAL,
          `failed to get unit by pid ${pid}: ${errorText(error)}`,
          { cause: error },
        );
      });
      // Alive now means that the number was this very process's when systemd looked it up.
      if (peer.isAlive()) return unitSelectors(unit);
      throw new StatusError(StatusCode.UNAVAILABLE, "the process ended while it was attested");
    },
  };
}

/** The selectors of whoever belongs to the unit. */
export function unitSelectors({ id, fragmentPath }: SystemdUnit): Selector[] {
  return [
    { type: "systemd", value: `id:${id}` },
    { type: "systemd", value: `fragment_path:${fragmentPath}` },
  ];
}

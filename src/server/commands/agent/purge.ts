import type { Command } from "#cli/command.ts";
import { durationFlag, switchFlag } from "#cli/flags.ts";
import { counted } from "#cli/go-text.ts";
import type { Io } from "#cli/io.ts";
import { outputFlag, printStruct } from "#cli/printer.ts";
import { explained, failureText } from "#cli/rpc-error.ts";
import { systemClock } from "#clock/clock.ts";
import type { Agent } from "#proto/spire/api/types/agent.ts";
import type { ServerConnection } from "#server/client/connection.ts";
import { idText } from "#server/commands/id-message.ts";
import { serverCommand } from "#server/commands/server-command.ts";

/** A month. */
const DEFAULT_EXPIRED_FOR_SECONDS = 30 * 24 * 3600;

/** An expired agent and what became of it; the names are those of the JSON output. */
interface Purged {
  readonly agent_id: string;
  readonly deleted: boolean;
  readonly error?: string;
}

/** Only agents that can attest again are purged: the others (trust on first use) could never come back. */
export const agentPurge: Command = serverCommand({
  synopsis: "Evicts agents whose SVID ended long ago and that could attest again",
  flags: {
    expiredFor: durationFlag(
      "How long ago the agent's SVID ended, at least",
      DEFAULT_EXPIRED_FOR_SECONDS,
    ),
    dryRun: switchFlag("Only print which agents would be evicted"),
    output: outputFlag(),
  },
  run: async ({ flags, io, server }) => {
    const connection = await server();
    const { agents } = await explained("failed to list agents", () => listReattestable(connection));
    const now = systemClock.nowMs() / 1000;
    const purged: Purged[] = [];
    for (const agent of agents) {
      if (now - agent.x509svidExpiresAt <= flags.expiredFor) continue;
      purged.push(flags.dryRun ? untouched(agent) : await purge(connection, agent));
    }
    printStruct(io, flags.output, { expired_agents: purged }, () => {
      printPurged(io, purged, flags.dryRun);
    });
  },
});

function listReattestable({ agent }: ServerConnection): Promise<{ agents: Agent[] }> {
  return agent("listAgents", {
    filter: {
      byCanReattest: true,
      bySelectorMatch: undefined,
      byBanned: undefined,
      byAttestationType: "",
      byExpiresBefore: "",
    },
    outputMask: {
      x509svidExpiresAt: true,
      attestationType: false,
      x509svidSerialNumber: false,
      selectors: false,
      banned: false,
      canReattest: false,
      agentVersion: false,
    },
    pageSize: 0,
    pageToken: "",
  });
}

function untouched(agent: Agent): Purged {
  return { agent_id: idText(agent.id), deleted: false };
}

async function purge({ agent }: ServerConnection, expired: Agent): Promise<Purged> {
  try {
    await agent("deleteAgent", { id: expired.id });
    return { agent_id: idText(expired.id), deleted: true };
  } catch (error) {
    return { ...untouched(expired), error: failureText(error) };
  }
}

function printPurged(io: Io, purged: readonly Purged[], dryRun: boolean): void {
  if (purged.length === 0) {
    io.out("No agents to purge.\n");
    return;
  }
  io.out(`Found ${counted(purged.length, "expired agent", "expired agents")}\n\n`);
  const list = (title: string, agents: readonly Purged[]): void => {
    if (agents.length === 0) return;
    io.out(title);
    for (const { agent_id, error } of agents) {
      io.out(`SPIFFE ID         : ${agent_id}\n`);
      if (error !== undefined) io.out(`Error             : ${error}\n`);
    }
  };
  if (dryRun) {
    list("\nAgents that can be purged:\n", purged);
    return;
  }
  list(
    "Agents purged:\n",
    purged.filter(({ deleted }) => deleted),
  );
  list(
    "Agents not purged:\n",
    purged.filter(({ deleted }) => !deleted),
  );
}

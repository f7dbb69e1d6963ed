import { localTime } from "#cli/go-time.ts";
import { printable } from "#cli/printable.ts";
import type { Agent } from "#proto/spire/api/types/agent.ts";
import { idText } from "#server/commands/id-message.ts";

/** An attested agent as the commands print it, with an empty line behind. Its expiry is in this machine's time zone. */
export function agentBlock(agent: Agent): string {
  const lines: string[] = [];
  const line = (label: string, value: string): void => {
    lines.push(`${label.padEnd(18)}: ${printable(value)}`);
  };
  line("SPIFFE ID", idText(agent.id));
  line("Attestation type", agent.attestationType);
  line("Expiration time", localTime(agent.x509svidExpiresAt));
  // A banned agent has no serial number any more.
  if (agent.banned) line("Banned", "true");
  else line("Serial number", agent.x509svidSerialNumber);
  line("Can re-attest", String(agent.canReattest));
  if (agent.agentVersion !== "") line("Agent version", agent.agentVersion);
  return `${lines.join("\n")}\n\n`;
}

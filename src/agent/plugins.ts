/** What is built into the agent: kind → configuration name → constructor. */

import { readFile } from "node:fs/promises";
import type { AgentConfig } from "#agent/config/config.ts";
import { rereadJoinFile } from "#agent/config/join.ts";
import {
  CannotAttestError,
  type NodeAttestorAgent,
  type WorkloadAttestor,
} from "#attestors/attestor.ts";
import { createJoinTokenAgent } from "#attestors/join_token/agent.ts";
import { createSystemdWorkloadAttestor } from "#attestors/systemd/workload.ts";
import { createUnixWorkloadAttestor } from "#attestors/unix/workload.ts";
import {
  readX509popAgentConfig,
  type X509popAgentConfig,
} from "#attestors/x509pop/agent-config.ts";
import type { IdentityFiles, IdentityReader } from "#attestors/x509pop/node-identity.ts";
import type { Clock } from "#clock/clock.ts";
import type { Random } from "#clock/random.ts";
import type { Sourced } from "#config/plugins.ts";
import { type Reconfigurer, readNothing } from "#config/reconfigurer.ts";
import type { Systemd } from "#dbus/systemd.ts";
import { obeyed } from "#files/obeyed.ts";
import { DiskKeyManager } from "#keymanager/disk/disk.ts";
import type { KeyManager } from "#keymanager/key-manager.ts";
import { MemoryKeyManager } from "#keymanager/memory/memory.ts";
import type { Log } from "#log/log.ts";
import type { JoinWord } from "#spiffe/join-word.ts";
import { errorText } from "#spiffe/status-error.ts";
import { readKeyManagerDiskConfig, readUnixConfig } from "./config-plugins.ts";

/** What the constructors may use. */
interface PluginParts {
  readonly random: Random;
  readonly reconfigurer: Reconfigurer;
  readonly log: Log;
}

export async function openKeyManager(
  { plugins: { keyManager } }: AgentConfig,
  { reconfigurer, log }: PluginParts,
): Promise<KeyManager> {
  if (keyManager.name === "memory") {
    reconfigurer.add("KeyManager", keyManager, readNothing);
    return new MemoryKeyManager();
  }
  const keys = await DiskKeyManager.open(keyManager.keysPath, log);
  reconfigurer.add("KeyManager", keyManager, readKeyManagerDiskConfig, ({ keysPath }) =>
    keys.moveTo(keysPath),
  );
  return keys;
}

/** Opens the node attestor for one attestation. @throws CannotAttestError or Error when the attestor lacks what it needs */
export type OpenNodeAttestor = () => Promise<NodeAttestorAgent>;

export function nodeAttestorOpener(config: AgentConfig, parts: PluginParts): OpenNodeAttestor {
  const { joinToken: token, joinTokenFile, joinWord, plugins } = config;
  const { nodeAttestor } = plugins;
  const isTokenGiven = [token, joinTokenFile, joinWord].some((given) => given !== undefined);
  const open =
    nodeAttestor.name === "x509pop"
      ? x509popOpener(nodeAttestor, parts)
      : joinTokenOpener(config, parts);
  // A token that is given is used whatever the file says, as in the reference.
  return isTokenGiven ? async () => createJoinTokenAgent(await joinToken(config)) : open;
}

function joinTokenOpener(config: AgentConfig, { reconfigurer }: PluginParts): OpenNodeAttestor {
  reconfigurer.add("NodeAttestor", config.plugins.nodeAttestor, readNothing);
  return async () => createJoinTokenAgent(await joinToken(config));
}

function x509popOpener(config: Sourced & X509popAgentConfig, parts: PluginParts): OpenNodeAttestor {
  let open = openerFrom(config, parts.random);
  parts.reconfigurer.add("NodeAttestor", config, readX509popAgentConfig, async (next) => {
    const opener = openerFrom(next, parts.random);
    await opener();
    open = opener;
  });
  return () => open();
}

function openerFrom(config: X509popAgentConfig, random: Random): OpenNodeAttestor {
  return "spiffeSocketPath" in config
    ? x509popBySocket(config.spiffeSocketPath, random)
    : x509popByFiles(config.files, random);
}

// Both load x509pop when it is used: an agent that joins by a token starts sooner and needs less memory.

function x509popBySocket(path: string, random: Random): OpenNodeAttestor {
  return async () => {
    const [{ fetchNodeIdentity }, { createX509popAgent }] = await Promise.all([
      import("#agent/attestation/other-agent.ts"),
      import("#attestors/x509pop/agent.ts"),
    ]);
    return createX509popAgent({ identity: () => fetchNodeIdentity(path), random });
  };
}

function x509popByFiles(files: IdentityFiles, random: Random): OpenNodeAttestor {
  let reader: IdentityReader | undefined;
  return async () => {
    const [{ IdentityReader }, { createX509popAgent }] = await Promise.all([
      import("#attestors/x509pop/node-identity.ts"),
      import("#attestors/x509pop/agent.ts"),
    ]);
    reader ??= new IdentityReader(files);
    // Files that do not fit show before the server is asked.
    const identity = await reader.read();
    return createX509popAgent({ identity: async () => identity, random });
  };
}

/** From a file it is read anew each time: an operator may have put another one there. @throws CannotAttestError */
async function joinToken(config: AgentConfig): Promise<string> {
  const { joinToken: given, joinTokenFile, joinWord } = config;
  if (joinWord !== undefined) return presentWord(config, joinWord).token;
  const token = joinTokenFile === undefined ? given : await readToken(joinTokenFile);
  if (token !== undefined && token !== "") return token;
  throw new CannotAttestError(
    `the agent has no SVID that is good and no join token: give ${joinTokenFile ?? "-joinToken"} a new one (spire-server token generate prints one)`,
  );
}

/** The word that is in its file now; one that was taken away since the start is still good. @throws CannotAttestError */
function presentWord({ joinFile, trustDomain }: AgentConfig, atStart: JoinWord): JoinWord {
  if (joinFile === undefined) return atStart;
  let word: JoinWord;
  try {
    word = rereadJoinFile(joinFile) ?? atStart;
  } catch (error) {
    throw new CannotAttestError(errorText(error));
  }
  if (word.trustDomain.equals(trustDomain)) return word;
  throw new CannotAttestError(
    `the join word in ${joinFile} is for another trust domain than this agent was started in; start the agent again`,
  );
}

async function readToken(path: string): Promise<string> {
  try {
    return (await readFile(obeyed(path), "utf8")).trim();
  } catch (error) {
    throw new CannotAttestError(`unable to read join token file ${path}: ${errorText(error)}`);
  }
}

interface WorkloadAttestorParts extends PluginParts {
  readonly systemd: Systemd;
  readonly clock: Clock;
}

/** Streams that are open when an attestor is configured anew stay with the selectors that it found before. */
export function openWorkloadAttestors(
  { plugins }: AgentConfig,
  { reconfigurer, systemd, clock }: WorkloadAttestorParts,
): readonly WorkloadAttestor[] {
  return plugins.workloadAttestors.map((config) => {
    if (config.name === "systemd") {
      reconfigurer.add("WorkloadAttestor", config, readNothing);
      return createSystemdWorkloadAttestor(systemd);
    }
    let current = createUnixWorkloadAttestor(config, clock);
    reconfigurer.add("WorkloadAttestor", config, readUnixConfig, (next) => {
      current = createUnixWorkloadAttestor(next, clock);
    });
    return { type: current.type, attest: (peer, signal) => current.attest(peer, signal) };
  });
}

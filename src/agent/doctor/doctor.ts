/** `spire-agent doctor`: what can be looked at on a node without changing it. Works beside an agent that runs, and without one. */
import { join } from "node:path";
import { readStoredState } from "#agent/attestation/stored-state.ts";
import {
  type AgentConfig,
  type AgentRunFlags,
  DEFAULT_SOCKET,
  loadAgentConfig,
  storedStatePath,
} from "#agent/config/config.ts";
import { AGENT_PLUGINS } from "#agent/plugins.ts";
import { connectAgent } from "#agent/workload-client/connection.ts";
import { examineConfiguration } from "#cli/doctor/configuration.ts";
import {
  checkDataDirectory,
  checkDiskSpace,
  checkPrivateFile,
  checkSocketFile,
  ownerOf,
} from "#cli/doctor/files.ts";
import { type Finding, fail, ok, tried } from "#cli/doctor/finding.ts";
import { checkExecutable, holderOf, programOf } from "#cli/doctor/process.ts";
import { failureText } from "#cli/rpc-error.ts";
import type { Clock } from "#clock/clock.ts";
import { isCredential } from "#config/credential.ts";
import { AGENT_SOCKET, ownerOfUnnamed } from "#config/packaged.ts";
import { privateFiles } from "#config/plugin.ts";
import { readKeyFile } from "#keymanager/disk/key-file.ts";
import { signerFromPrivateKey } from "#x509/keys.ts";
import { checkIdentity, checkNodeCertificate } from "./identity.ts";
import { checkSight, statusOf } from "./process.ts";
import { checkServer } from "./server.ts";

const PUBLIC_SOCKET_MODE = 0o777;
const ADMIN_SOCKET_MODE = 0o770;
const TIMEOUT_MS = 5_000;
const READABLE = "run this command as a user that may read it: that of the agent, or root";

/** @param socketPath used where the configuration cannot be read */
export async function examineAgent(
  flags: AgentRunFlags,
  socketPath: string,
  clock: Clock,
): Promise<readonly Finding[]> {
  const { config, findings } = await examineConfiguration("spire-agent", () =>
    loadAgentConfig(flags, true),
  );
  const node = config === undefined ? [] : await checkNode(config, clock);
  return [...findings, ...node, ...(await checkHealth(config?.socketPath ?? socketPath))];
}

async function checkNode(config: AgentConfig, clock: Clock): Promise<readonly Finding[]> {
  const { dataDir, socketPath, adminSocketPath, disableWorkloadApi, disableSdsApi } = config;
  const process = holderOf(join(dataDir, "agent.lock"));
  const hasSocket = !(disableWorkloadApi && disableSdsApi);
  const parts = await Promise.all([
    tried("data_directory", READABLE, () => checkDataDirectory(dataDir, "agent.lock")),
    tried("private_keys", READABLE, () =>
      secretFiles(config).flatMap((path) =>
        checkPrivateFile("private_keys", path, ownerOf(dataDir)),
      ),
    ),
    tried("disk_space", READABLE, () => checkDiskSpace(dataDir)),
    tried("executable", READABLE, () => checkExecutable("spire-agent", programOf(process))),
    tried("processes", READABLE, () => sight(config, process)),
    tried("node_certificate", READABLE, () => nodeCertificate(config, clock)),
    tried("agent_svid", READABLE, () => identityAndServer(config, clock)),
    tried("socket", READABLE, () => [
      ...(hasSocket ? checkSocketFile("socket", socketPath, PUBLIC_SOCKET_MODE) : []),
      ...(adminSocketPath === undefined
        ? []
        : checkSocketFile("admin_socket", adminSocketPath, ADMIN_SOCKET_MODE)),
    ]),
  ]);
  return parts.flat();
}

function sight({ plugins }: AgentConfig, process: number | undefined): readonly Finding[] {
  const status = statusOf(process);
  const needsPaths = plugins.workloadAttestors.some(
    (one) => one.name === "unix" && one.discoverWorkloadPath,
  );
  return status === undefined ? [] : [checkSight(status, needsPaths)];
}

async function nodeCertificate(
  { plugins: { nodeAttestor } }: AgentConfig,
  clock: Clock,
): Promise<readonly Finding[]> {
  if (!("files" in nodeAttestor)) return [];
  if (Object.values(nodeAttestor.files).some(isCredential)) {
    return [ok("node_certificate", "not looked at: its files are credentials of the agent's unit")];
  }
  return [await checkNodeCertificate(nodeAttestor.files, clock.nowSeconds())];
}

async function identityAndServer(config: AgentConfig, clock: Clock): Promise<readonly Finding[]> {
  const state = await readStoredState(storedStatePath(config.dataDir));
  const identity = checkIdentity(state, await publicKeys(config), clock.nowSeconds());
  return [identity, ...(await checkServer(config, state.bundle, clock))];
}

async function publicKeys({ plugins }: AgentConfig): Promise<readonly Uint8Array[] | undefined> {
  if (plugins.keyManager.name === "memory") return undefined;
  const keys = await readKeyFile(plugins.keyManager.keysPath);
  return [...keys.values()].map((key) => signerFromPrivateKey(key).publicKeySpki);
}

/** Files with keys and passwords. */
function secretFiles({ dataDir, plugins }: AgentConfig): readonly string[] {
  const files = [...privateFiles(AGENT_PLUGINS, plugins), storedStatePath(dataDir)];
  return files.filter((path) => !isCredential(path));
}

async function checkHealth(socketPath: string): Promise<readonly Finding[]> {
  const check = "health";
  const owner = ownerOfUnnamed(socketPath, DEFAULT_SOCKET, AGENT_SOCKET);
  const connection = connectAgent(socketPath, TIMEOUT_MS, owner);
  try {
    const { isServing, why } = await connection.health();
    if (isServing) return [ok(check, "the agent answers, and is healthy")];
    const message = `the agent answers, and says that it is not healthy${why}`;
    return [fail(check, message, "look into the agent's log")];
  } catch (error) {
    const advice = "start the agent, or give the path of its socket (-socketPath)";
    return [fail(check, `the agent does not answer: ${failureText(error)}`, advice)];
  } finally {
    connection.close();
  }
}

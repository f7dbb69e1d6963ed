/**
 * `spire-server doctor`: everything that can be looked at without changing it, in the order in which a fault leads to the next. Called by the
 * command; works beside a server that runs, and without one.
 */
import { join } from "node:path";
import { examineConfiguration } from "#cli/doctor/configuration.ts";
import {
  checkDataDirectory,
  checkDiskSpace,
  checkPrivateFile,
  checkSocketFile,
  ownerOf,
} from "#cli/doctor/files.ts";
import { type Finding, fail, ok, tried, warn } from "#cli/doctor/finding.ts";
import { checkExecutable, holderOf, programOf } from "#cli/doctor/process.ts";
import { isCredential } from "#config/credential.ts";
import { ownerOfUnnamed, SERVER_SOCKET } from "#config/packaged.ts";
import { privateFiles } from "#config/plugin.ts";
import { connectServer } from "#server/client/connection.ts";
import {
  DEFAULT_SOCKET,
  loadServerConfig,
  type ServerConfig,
  type ServerRunFlags,
} from "#server/config/config.ts";
import { readDirectory } from "#server/declared/read-directory.ts";
import { SERVER_PLUGINS } from "#server/plugins.ts";
import { errorText } from "#spiffe/status-error.ts";
import { authorityTimes, checkDatabase } from "./database.ts";
import { checkPorts } from "./ports.ts";
import { checkRunning } from "./running.ts";
import { checkUpstream } from "./upstream.ts";

const SOCKET_MODE = 0o770;
/** For one answer: fetching a bundle from an endpoint that hangs takes long. */
const TIMEOUT_MS = 30_000;
const READABLE = "run this command as a user that may read it: that of the server, or root";

/**
 * @param socketPath used where the configuration cannot be read
 * @param now Unix seconds
 */
export async function examineServer(
  flags: ServerRunFlags,
  socketPath: string,
  now: number,
): Promise<readonly Finding[]> {
  const { config, findings } = await examineConfiguration("spire-server", () =>
    loadServerConfig(flags, true),
  );
  const offline = config === undefined ? [] : await checkOffline(config, now);
  const path = config?.socketPath ?? socketPath;
  const socket = await tried("socket", READABLE, () =>
    checkSocketFile("socket", path, SOCKET_MODE),
  );
  const owner = ownerOfUnnamed(path, DEFAULT_SOCKET, SERVER_SOCKET);
  const connection = connectServer(path, TIMEOUT_MS, owner);
  try {
    const madeAt =
      config === undefined ? new Map() : authorityTimes(config.plugins.dataStore.connectionString);
    const running = await checkRunning(connection, { config, madeAt }, now);
    const ports = config === undefined ? [] : await checkPorts(config, now);
    return [...findings, ...offline, ...socket, ...running, ...ports];
  } finally {
    connection.close();
  }
}

async function checkOffline(config: ServerConfig, now: number): Promise<readonly Finding[]> {
  const { dataDir, plugins } = config;
  const database = plugins.dataStore.connectionString;
  const parts = await Promise.all([
    tried("data_directory", READABLE, () => checkDataDirectory(dataDir, "server.lock")),
    tried("private_keys", READABLE, () =>
      secretFiles(config).flatMap((path) =>
        checkPrivateFile("private_keys", path, ownerOf(dataDir)),
      ),
    ),
    tried("upstream_authority", READABLE, () => checkUpstream(config, now)),
    tried("declared_entries", READABLE, () => checkDeclared(config)),
    tried("disk_space", READABLE, () => checkDiskSpace(dataDir)),
    tried("database", READABLE, () => [
      ...checkPrivateFile("database", database, ownerOf(dataDir)),
      ...checkDatabase(database, now),
    ]),
    tried("executable", READABLE, () =>
      checkExecutable("spire-server", programOf(holderOf(join(dataDir, "server.lock")))),
    ),
  ]);
  const memory =
    plugins.keyManager.name === "memory"
      ? [
          warn(
            "private_keys",
            "they are in memory: a restart makes a new CA",
            'use KeyManager "disk"',
          ),
        ]
      : [];
  return [...parts.flat(), ...memory];
}

/** Files of declared entries, as the server would read them. */
async function checkDeclared({
  entriesDir: directory,
  dataDir,
}: ServerConfig): Promise<readonly Finding[]> {
  if (directory === undefined) return [];
  const owner = ownerOf(dataDir);
  const rules = owner === undefined ? {} : { alsoOwners: [owner] };
  const check = "declared_entries";
  try {
    const { declared } = await readDirectory(directory, rules);
    return [ok(check, `${declared.length} in ${directory}`)];
  } catch (error) {
    const advice = "correct it: until then the server keeps to what was declared before";
    return errorText(error)
      .split("\n")
      .map((problem) => fail(check, problem, advice));
  }
}

/** Files with keys and passwords. */
function secretFiles({ plugins }: ServerConfig): readonly string[] {
  return privateFiles(SERVER_PLUGINS, plugins).filter((path) => !isCredential(path));
}

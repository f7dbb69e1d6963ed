/**
 * A socket for `LoadCredential=` of any unit: systemd connects to it when it starts a process of the unit, and gets that unit's key,
 * certificate or authorities. Who asks is told by the kernel and by systemd: a process of root that belongs to the very unit it asks for.
 * The name it gives only chooses among what that unit may have.
 */
import { createServer, type Socket } from "node:net";
import type { HandedOut } from "#agent/audit/handed-out.ts";
import type { WorkloadCache } from "#agent/cache/workload-cache.ts";
import type { RefusalLog } from "#agent/workload-api/refusal-log.ts";
import { unitSelectors } from "#attestors/systemd/workload.ts";
import type { Clock } from "#clock/clock.ts";
import { DbusError } from "#dbus/connection.ts";
import type { Systemd, SystemdUnit } from "#dbus/systemd.ts";
import { inspectPeer, type UnixPeer } from "#grpc/peer.ts";
import { closing, listenAt } from "#grpc/unix-socket.ts";
import type { Log } from "#log/log.ts";
import { selectorKey } from "#spiffe/selector.ts";
import { errorText } from "#spiffe/status-error.ts";
import { CREDENTIAL_NAMES, type Credential, parseCredential } from "./credential.ts";
import { claimedOrigin, type Origin } from "./origin.ts";
import { UnitSvids } from "./unit-svids.ts";

/** Units that start at the same time, each with one connection. */
const MAX_CONNECTIONS = 1000;
/** Longer than systemd gives a unit to start by default: it then fails there, which is better than a service with an empty key. */
const LONGEST_WAIT_MS = 300_000;
/** Whoever waits may be gone; the kernel tells of that only when asked. */
const LOOK_MS = 1000;
/** So begin the names of errors that are systemd's own answer. */
const OF_SYSTEMD = "org.freedesktop.systemd1.";

export interface CredentialsParts {
  readonly path: string;
  readonly systemd: Pick<Systemd, "unitOf">;
  readonly cache: WorkloadCache;
  readonly refusals: RefusalLog;
  readonly handedOut: HandedOut;
  readonly clock: Clock;
  readonly log: Log;
}

/** @throws Error with a message for the operator when the socket cannot be had */
export async function serveCredentials(
  parts: CredentialsParts,
): Promise<{ close(): Promise<void> }> {
  const { path, cache, clock, log } = parts;
  const svids = new UnitSvids(cache, clock);
  const open = new Set<Socket>();
  // systemd ends its half of the connection at once; ours stays for the answer.
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    open.add(socket);
    socket.on("close", () => open.delete(socket));
    socket.on("error", () => {});
    answer(socket, parts, svids).catch((error: unknown) => {
      log.error("Credential refused", { error: errorText(error) });
      socket.destroy();
    });
  });
  server.maxConnections = MAX_CONNECTIONS;
  await listenAt(server, { path, socketMode: 0o600, directoryMode: 0o755 });
  log.info("Serving credentials", { address: path, network: "unix" });
  return {
    close: async () => {
      const closed = closing(server);
      for (const socket of open) socket.destroy();
      await closed;
    },
  };
}

/** @throws Error saying why it is refused; the connection then ends without a byte */
async function answer(socket: Socket, parts: CredentialsParts, svids: UnitSvids): Promise<void> {
  const peer = inspectPeer(socket);
  socket.once("close", () => peer.close());
  const origin = claimedOrigin(socket);
  if (peer.uid !== 0) throw new Error(`user ${peer.uid} is not the service manager`);
  if (origin === undefined) {
    throw new Error(`process ${peer.pid} does not say for which unit it asks`);
  }
  const { unit, credential: id } = origin;
  const text = await whileThere(socket, peer, parts.clock, (signal) =>
    credentialFor(origin, peer, parts, svids, signal),
  );
  if (text === undefined) throw new Error(`${unit} has no X509-SVID for ${id}`);
  parts.log.info("Credential served", { unit, credential: id });
  socket.end(text);
}

/** @returns undefined when there is none before the signal aborts @throws Error */
async function credentialFor(
  origin: Origin,
  peer: UnixPeer,
  parts: CredentialsParts,
  svids: UnitSvids,
  signal: AbortSignal,
): Promise<string | undefined> {
  const unit = await unitOf(peer, parts, signal);
  if (unit === undefined) return undefined;
  const credential = checked(origin, unit, peer);
  const waiting = (selectors: ReadonlySet<string>, isNobody: boolean): void => {
    const fields = { unit: unit.id, credential: origin.credential };
    parts.log.info("Credential request is waiting for its SVID", fields);
    if (isNobody) parts.refusals.noIdentity(peer, selectors);
  };
  const pair = await svids.of(unit, credential.hint, waiting, signal);
  if (pair === undefined) return undefined;
  const selectors = new Set(unitSelectors(unit).map(selectorKey));
  parts.handedOut.x509({ peer, selectors, silent: [] }, [pair], "/Credentials/LoadCredential");
  return credential.write(pair);
}

/**
 * The pid is looked up while its process lives, so it is the one that connected. A systemd that cannot be asked, while the machine starts
 * for instance, is asked again: a refusal would start the unit with an empty credential.
 */
async function unitOf(
  peer: UnixPeer,
  { systemd, clock, log }: CredentialsParts,
  signal: AbortSignal,
): Promise<SystemdUnit | undefined> {
  let told = false;
  while (!signal.aborted) {
    try {
      return await systemd.unitOf(peer, signal);
    } catch (error) {
      if (signal.aborted) return undefined;
      if (error instanceof DbusError && error.errorName.startsWith(OF_SYSTEMD)) throw error;
      if (!told) log.warn("Unable to query systemd for a unit", { error: errorText(error) });
      told = true;
      await clock.sleep(LOOK_MS, signal);
    }
  }
  return undefined;
}

/** @throws Error */
function checked(origin: Origin, unit: SystemdUnit, peer: UnixPeer): Credential {
  if (!peer.isAlive()) throw new Error("the process that asked has ended");
  if (unit.id !== origin.unit) {
    throw new Error(`process ${peer.pid} of ${unit.id} asks for a credential of ${origin.unit}`);
  }
  const credential = parseCredential(origin.credential);
  if (credential !== undefined) return credential;
  throw new Error(
    `${unit.id} asks for the credential ${JSON.stringify(origin.credential)}; there are ${CREDENTIAL_NAMES}, and each with @ and a hint`,
  );
}

/** Does the work while the other end is there to take the answer, and not for ever. */
async function whileThere<T>(
  socket: Socket,
  peer: UnixPeer,
  clock: Clock,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const over = new AbortController();
  const end = (): void => over.abort();
  const look = (): void => {
    if (!peer.isAlive()) end();
    looking = clock.after(LOOK_MS, look);
  };
  const limit = clock.after(LONGEST_WAIT_MS, end);
  let looking = clock.after(LOOK_MS, look);
  socket.once("close", end);
  try {
    return await work(over.signal);
  } finally {
    limit.cancel();
    looking.cancel();
  }
}

/** A server's services in this process, on a Unix socket, for tests to say what they answer. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ServerClients } from "#agent/attestation/server-connection.ts";
import { type BoundService, bindService, type Handlers } from "#grpc/bind.ts";
import { unixChannel } from "#grpc/client.ts";
import { listenUnix } from "#grpc/unix-listener.ts";
import { createLog, type Log } from "#log/log.ts";
import { AgentClient, AgentService } from "#proto/spire/api/server/agent/v1/agent.ts";
import { BundleClient, BundleService } from "#proto/spire/api/server/bundle/v1/bundle.ts";
import { EntryClient, EntryService } from "#proto/spire/api/server/entry/v1/entry.ts";
import { SVIDClient, SVIDService } from "#proto/spire/api/server/svid/v1/svid.ts";
import { ChangesClient, ChangesService } from "#proto/spire_edge/changes/v1/changes.ts";

export const quiet: Log = createLog({ level: "panic", format: "text" }, () => 0, {
  write: () => {},
});

export interface Answers {
  readonly agent?: Handlers<typeof AgentService>;
  readonly bundle?: Handlers<typeof BundleService>;
  readonly entry?: Handlers<typeof EntryService>;
  readonly svid?: Handlers<typeof SVIDService>;
  readonly changes?: Handlers<typeof ChangesService>;
}

export interface FixtureServer extends AsyncDisposable {
  readonly clients: ServerClients;
}

/** Starts a server that has just the services named. */
export async function serve(answers: Answers): Promise<FixtureServer> {
  const directory = mkdtempSync(join(tmpdir(), "spire-sync-"));
  // As much as a server takes from its agents.
  const allowance = () => ({ bytes: 1024 * 1024, fields: 4096, source: "", isKnown: true });
  const options = { log: quiet, allowance };
  const services: BoundService[] = [];
  if (answers.agent) services.push(bindService(AgentService, answers.agent, options));
  if (answers.bundle) services.push(bindService(BundleService, answers.bundle, options));
  if (answers.entry) services.push(bindService(EntryService, answers.entry, options));
  if (answers.svid) services.push(bindService(SVIDService, answers.svid, options));
  if (answers.changes) services.push(bindService(ChangesService, answers.changes, options));
  const path = join(directory, "api.sock");
  const listener = await listenUnix({
    path,
    socketMode: 0o600,
    directoryMode: 0o700,
    services,
    log: quiet,
  });
  const channel = unixChannel(path);
  const { address, credentials } = channel;
  const agent = new AgentClient(address, credentials, channel.options);
  const shared = { ...channel.options, channelOverride: agent.getChannel() };
  const clients: ServerClients = {
    agent,
    changes: new ChangesClient(address, credentials, shared),
    bundle: new BundleClient(address, credentials, shared),
    entry: new EntryClient(address, credentials, shared),
    svid: new SVIDClient(address, credentials, shared),
    close: () => agent.close(),
  };
  return {
    clients,
    [Symbol.asyncDispose]: async () => {
      clients.close();
      await listener.close(0);
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** Resolves when the test function is true; tests what happens on its own, without a fixed wait. */
export async function until(accepts: () => boolean): Promise<void> {
  while (!accepts()) await new Promise((resolve) => setImmediate(resolve));
}

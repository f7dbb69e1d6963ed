import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLog } from "#log/log.ts";
import { bindService } from "./bind.ts";
import { readStream, unixChannel } from "./client.ts";
import {
  SpiffeWorkloadAPIClient,
  SpiffeWorkloadAPIService,
} from "./gen/spiffe/workload/workload.ts";
import { listenUnix } from "./unix-listener.ts";

const FIRST_CALL_MS = 200;
const directory = mkdtempSync(join(tmpdir(), "listener-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

test("a connection that never calls is closed, one with a stream is not", async () => {
  const log = createLog({ level: "error", format: "text" }, Date.now, { write: () => undefined });
  const path = join(directory, "api.sock");
  const release = Promise.withResolvers<void>();
  const service = bindService(
    SpiffeWorkloadAPIService,
    {
      fetchX509Bundles: async (_request, _context, send) => {
        await send({ crl: [], bundles: {} });
        await release.promise;
        await send({ crl: [], bundles: {} });
      },
    },
    { log },
  );
  const listener = await listenUnix({
    path,
    socketMode: 0o700,
    directoryMode: 0o700,
    services: [service],
    log,
    limits: { firstCallMs: FIRST_CALL_MS },
  });
  const { address, credentials, options } = unixChannel(path);
  const client = new SpiffeWorkloadAPIClient(address, credentials, options);
  const updates = readStream(client.fetchX509Bundles({}));
  expect((await updates.next()).done).toBe(false);

  const silent = connect(path);
  const closed = Promise.withResolvers<void>();
  silent.on("close", () => closed.resolve());
  silent.resume();
  await closed.promise;
  // The silent one came later, so the time of the stream's connection is over as well.
  release.resolve();
  expect((await updates.next()).done).toBe(false);
  expect((await updates.next()).done).toBe(true);
  client.close();
  await listener.close(1000);
});

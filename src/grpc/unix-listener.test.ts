import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLog } from "#log/log.ts";
import {
  SpiffeWorkloadAPIClient,
  SpiffeWorkloadAPIService,
} from "#proto/spiffe/workload/workload.ts";
import { bindService, type Handlers } from "./bind.ts";
import type { Caller } from "./caller.ts";
import { callUnary, readStream, unixChannel } from "./client.ts";
import type { ConnectionLimits, GrpcListener } from "./listener.ts";
import { listenUnix, type UnixListenerOptions } from "./unix-listener.ts";
import { UserShares } from "./user-shares.ts";

const FIRST_CALL_MS = 200;
const CONNECTIONS = 8;
const CALLERS = 20;

const log = createLog({ level: "error", format: "text" }, Date.now, { write: () => undefined });
const directory = mkdtempSync(join(tmpdir(), "listener-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function listen(
  path: string,
  handlers: Handlers<typeof SpiffeWorkloadAPIService>,
  limits: Partial<ConnectionLimits>,
  more: Partial<Pick<UnixListenerOptions, "shares" | "isForKnown" | "log">> = {},
): Promise<GrpcListener> {
  const services = [bindService(SpiffeWorkloadAPIService, handlers, { log })];
  const modes = { socketMode: 0o700, directoryMode: 0o700 };
  return listenUnix({ path, ...modes, services, log, limits, ...more });
}

function clientOf(path: string): SpiffeWorkloadAPIClient {
  const { address, credentials, options } = unixChannel(path);
  return new SpiffeWorkloadAPIClient(address, credentials, options);
}

/** Streams one answer, and a second one when `release` resolves. */
function serveBundles(path: string, release: Promise<void>): Promise<GrpcListener> {
  return listen(
    path,
    {
      fetchX509Bundles: async (_request, _context, send) => {
        await send({ crl: [], bundles: {} });
        await release;
        await send({ crl: [], bundles: {} });
      },
    },
    { firstCallMs: FIRST_CALL_MS },
  );
}

test("a connection that never calls is closed, one with a stream is not", async () => {
  const path = join(directory, "api.sock");
  const release = Promise.withResolvers<void>();
  const listener = await serveBundles(path, release.promise);
  const client = clientOf(path);
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

test("a connection without calls does not hold up closing, and a call under way comes to its end", async () => {
  const path = join(directory, "grace.sock");
  const release = Promise.withResolvers<void>();
  const listener = await serveBundles(path, release.promise);
  const idle = clientOf(path);
  const none = readStream(idle.fetchX509Svid({}));
  await none.next().catch(() => undefined);
  const client = clientOf(path);
  const updates = readStream(client.fetchX509Bundles({}));
  expect((await updates.next()).done).toBe(false);
  const closed = listener.close(60_000);
  release.resolve();
  expect((await updates.next()).done).toBe(false);
  expect((await updates.next()).done).toBe(true);
  await closed;
  for (const one of [idle, client]) one.close();
});

test("a stream that does not end holds up closing no longer than the grace", async () => {
  const path = join(directory, "held.sock");
  const listener = await serveBundles(path, new Promise(() => undefined));
  const client = clientOf(path);
  const updates = readStream(client.fetchX509Bundles({}));
  expect((await updates.next()).done).toBe(false);
  const ended = updates.next().catch((error: unknown) => error);
  await listener.close(50);
  expect(await ended).toBeInstanceOf(Error);
  client.close();
});

test("a call that meets a connection too old for it goes over the next one", async () => {
  const path = join(directory, "aging.sock");
  const seen = new Set<Caller>();
  const listener = await listen(
    path,
    {
      validateJwtsvid: async ({ svid }, { caller }) => {
        seen.add(caller);
        return { spiffeId: svid, claims: undefined };
      },
    },
    { ageMs: 200 },
  );
  const client = clientOf(path);
  const call = async (n: number): Promise<void> => {
    while (seen.size < CONNECTIONS) {
      const request = { audience: "", svid: String(n) };
      expect((await callUnary(client, "validateJwtsvid", request)).spiffeId).toBe(String(n));
    }
  };
  await Promise.all(Array.from({ length: CALLERS }, (_, n) => call(n)));
  client.close();
  await listener.close(1000);
});

test("a connection above what a user may have is refused, and the log says whose it was", async () => {
  const path = join(directory, "capped.sock");
  const lines: string[] = [];
  const listener = await listen(
    path,
    {},
    {},
    {
      shares: new UserShares({
        connections: 100,
        connectionsPerUid: 2,
        calls: 100,
        callsPerUid: 100,
      }),
      // Nobody makes room for another.
      isForKnown: true,
      log: createLog({ level: "warning", format: "text" }, Date.now, {
        write: (line) => void lines.push(line),
      }),
    },
  );
  const open = (): { socket: Socket; closed: Promise<void> } => {
    const socket = connect(path);
    socket.on("error", () => {});
    socket.resume();
    return { socket, closed: new Promise((resolve) => socket.once("close", () => resolve())) };
  };
  const first = [open(), open()];
  const refused = open();
  await refused.closed;
  expect(first.map(({ socket }) => socket.destroyed)).toEqual([false, false]);
  const uid = process.getuid?.();
  expect(lines.join("")).toContain(`user ${uid} has 2 connections already`);
  for (const { socket } of first) socket.destroy();
  await listener.close(1000);
});

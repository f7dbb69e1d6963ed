import { expect, test } from "bun:test";
import type { Connection } from "#agent/own-svid/server-link.ts";
import { ManualClock } from "#clock/manual-clock.fixture.ts";
import { Change } from "#proto/spire_edge/changes/v1/changes.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import { quiet, serve, until } from "./server.fixture.ts";
import { ChangeWatch, type ChangeWatchParts } from "./watch-changes.ts";

const random = { bytes: () => new Uint8Array(), uuid: () => "", fraction: () => 0.5 };

interface Watched {
  readonly watch: ChangeWatch;
  readonly clock: ManualClock;
  readonly seen: string[];
  readonly stop: AbortController;
}

function follow(connection: () => Connection, more: Partial<ChangeWatchParts> = {}): Watched {
  const clock = new ManualClock();
  const seen: string[] = [];
  const stop = new AbortController();
  const watch = new ChangeWatch({
    connection,
    onChange: ({ everything, removedEntryIds }) =>
      void seen.push(everything ? "everything" : removedEntryIds.join()),
    onLost: () => void seen.push("lost"),
    onFailure: async () => false,
    firstPauseMs: 1000,
    maxPauseMs: 4000,
    clock,
    random,
    log: quiet,
    ...more,
  });
  return { watch, clock, seen, stop };
}

const everything = Change.fromPartial({ everything: true });

test("a stream that ended in peace is opened again at once", async () => {
  let opened = 0;
  let clock: ManualClock | undefined;
  await using server = await serve({
    changes: {
      watchChanges: async (_request, { signal }, send) => {
        opened++;
        await send(everything);
        await send(Change.fromPartial({ removedEntryIds: [`after-${opened}`] }));
        clock?.pass(2000);
        if (opened === 2) await new Promise((end) => signal.addEventListener("abort", end));
      },
    },
  });
  const connection = { clients: server.clients, replaced: new AbortController().signal };
  const watched = follow(() => connection);
  clock = watched.clock;
  const running = watched.watch.run(watched.stop.signal);
  await until(() => watched.seen.length === 4);
  expect(watched.seen).toEqual(["everything", "after-1", "everything", "after-2"]);
  expect(watched.watch.isLive).toBe(true);
  watched.stop.abort();
  await running;
});

test("streams that end as soon as they began are not opened again and again", async () => {
  let opened = 0;
  await using server = await serve({
    changes: {
      watchChanges: async (_request, _context, send) => {
        opened++;
        await send(everything);
      },
    },
  });
  const connection = { clients: server.clients, replaced: new AbortController().signal };
  const { watch, clock, stop } = follow(() => connection);
  const running = watch.run(stop.signal);
  expect(await clock.untilNext()).toBe(1000);
  expect(opened).toBe(2);
  stop.abort();
  await running;
});

test("after a failure the pauses grow, and the loss is told once", async () => {
  let opened = 0;
  await using server = await serve({
    changes: {
      watchChanges: async (_request, _context, send) => {
        if (opened++ === 0) await send(everything);
        throw new StatusError(StatusCode.UNAVAILABLE, "not now");
      },
    },
  });
  const connection = { clients: server.clients, replaced: new AbortController().signal };
  const { watch, clock, seen, stop } = follow(() => connection);
  const running = watch.run(stop.signal);
  for (const pause of [1000, 1500, 2250]) {
    expect(await clock.untilNext()).toBe(pause);
    clock.pass(pause);
  }
  await until(() => opened === 4);
  await clock.untilNext();
  watch.reopen();
  await until(() => opened === 5);
  expect(seen).toEqual(["everything", "lost"]);
  expect(watch.isLive).toBe(false);
  stop.abort();
  await running;
});

test("a stream that comes about makes the next failure the first again", async () => {
  let opened = 0;
  await using server = await serve({
    changes: {
      watchChanges: async (_request, _context, send) => {
        if (++opened === 3) await send(everything);
        throw new StatusError(StatusCode.UNAVAILABLE, "not now");
      },
    },
  });
  const connection = { clients: server.clients, replaced: new AbortController().signal };
  const { watch, clock, stop } = follow(() => connection);
  const running = watch.run(stop.signal);
  for (const pause of [1000, 1500, 1000]) {
    expect(await clock.untilNext()).toBe(pause);
    clock.pass(pause);
  }
  stop.abort();
  await running;
});

test("a server without the service is not asked again until the connection is another, or may be", async () => {
  await using old = await serve({ bundle: {} });
  let opened = 0;
  await using server = await serve({
    changes: {
      watchChanges: async (_request, { signal }, send) => {
        opened++;
        await send(everything);
        await new Promise((end) => signal.addEventListener("abort", end));
      },
    },
  });
  const replaced = new AbortController();
  let connection: Connection = { clients: old.clients, replaced: replaced.signal };
  let asked = 0;
  const { watch, clock, stop } = follow(() => {
    asked++;
    return connection;
  });
  const running = watch.run(stop.signal);
  expect(await clock.untilNext()).toBe(Number.POSITIVE_INFINITY);
  expect(asked).toBe(1);
  watch.reopen();
  await Bun.sleep(0);
  expect(asked).toBe(1);
  watch.retry();
  await until(() => asked === 2);
  expect(await clock.untilNext()).toBe(Number.POSITIVE_INFINITY);
  connection = { clients: server.clients, replaced: new AbortController().signal };
  replaced.abort();
  await until(() => watch.isLive);
  expect(opened).toBe(1);
  stop.abort();
  await running;
});

test("a stream moves to the connection that replaces its own", async () => {
  const ends: AbortSignal[] = [];
  await using server = await serve({
    changes: {
      watchChanges: async (_request, { signal }, send) => {
        ends.push(signal);
        await send(everything);
        await new Promise((end) => signal.addEventListener("abort", end));
      },
    },
  });
  const first = new AbortController();
  const connections = [first, new AbortController()].map(({ signal }) => ({
    clients: server.clients,
    replaced: signal,
  }));
  let at = 0;
  const { watch, seen, stop } = follow(() => connections[at] as Connection);
  const running = watch.run(stop.signal);
  await until(() => seen.length === 1);
  at = 1;
  first.abort();
  await until(() => seen.length === 2 && ends[0]?.aborted === true);
  expect(ends).toHaveLength(2);
  expect(seen).not.toContain("lost");
  stop.abort();
  await running;
});

test("a refusal that is the end ends the watch", async () => {
  await using server = await serve({
    changes: {
      watchChanges: async () => {
        throw new StatusError(StatusCode.PERMISSION_DENIED, "no", { reason: "AGENT_BANNED" });
      },
    },
  });
  const connection = { clients: server.clients, replaced: new AbortController().signal };
  const { watch, stop } = follow(() => connection, {
    onFailure: async (error) => {
      throw error;
    },
  });
  const ended = await watch.run(stop.signal).catch((error: unknown) => error);
  expect(ended).toMatchObject({ reason: "AGENT_BANNED" });
});

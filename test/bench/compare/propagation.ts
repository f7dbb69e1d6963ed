/**
 * How long after an entry was created or removed a workload that waits has heard of it. The entries come at a steady pace, so that they
 * meet an implementation that polls at every moment between two polls.
 */
import { join } from "node:path";
import { unixChannel } from "#grpc/client.ts";
import { EntryClient } from "#proto/spire/api/server/entry/v1/entry.ts";
import { Entry } from "#proto/spire/api/types/entry.ts";
import { unary } from "#server/server.fixture.ts";
import { type Daemon, eventually } from "../../support/process.ts";
import {
  GO_CLIENT,
  type Implementation,
  Stage,
  TestAgent,
  TestServer,
  TRUST_DOMAIN,
} from "../../support/spire.ts";

const PACE_MS = 150;

export interface Times {
  /** Milliseconds, in order of size. */
  readonly stored: readonly number[];
  readonly removed: readonly number[];
}

/** The SPIFFE IDs a `go-client watch` has now, and when each of them came and went. */
class Waiting {
  readonly cameAt: Map<string, number> = new Map();
  readonly wentAt: Map<string, number> = new Map();
  #ids: ReadonlySet<string> = new Set();
  #read = 0;
  readonly #daemon: Daemon;

  constructor(daemon: Daemon) {
    this.#daemon = daemon;
  }

  /** Called often, so that a line is read within a millisecond of its coming. */
  look(): void {
    const now = performance.now();
    for (; this.#read < this.#daemon.lines.length; this.#read++) {
      const { svids = [] } = JSON.parse(this.#daemon.lines[this.#read] ?? "{}") as {
        svids?: { id: string }[];
      };
      const ids = new Set(svids.map(({ id }) => id));
      for (const id of ids.difference(this.#ids)) this.cameAt.set(id, now);
      for (const id of this.#ids.difference(ids)) this.wentAt.set(id, now);
      this.#ids = ids;
    }
  }

  has(id: string): boolean {
    return this.#ids.has(id);
  }
}

/** A server, an agent, and a client whose stream is open. */
async function setUp(stage: Stage, implementation: Implementation) {
  const server = await TestServer.start(stage, implementation);
  const agent = await TestAgent.start(stage, implementation, server);
  const admin = unixChannel(server.socket);
  const client = new EntryClient(admin.address, admin.credentials, admin.options);
  const create = async (name: string): Promise<string> => {
    const entry = Entry.fromPartial({
      spiffeId: { trustDomain: TRUST_DOMAIN, path: `/${name}` },
      parentId: { trustDomain: TRUST_DOMAIN, path: new URL(agent.id).pathname },
      selectors: [{ type: "unix", value: `uid:${process.getuid?.()}` }],
    });
    const { results } = await unary<{ results: { entry?: Entry | undefined }[] }>((done) =>
      client.batchCreateEntry({ entries: [entry], outputMask: undefined }, done),
    );
    return results[0]?.entry?.id ?? "";
  };
  const remove = (id: string): Promise<unknown> =>
    unary((done) => client.batchDeleteEntry({ ids: [id] }, done));
  await create("always");
  const command = [GO_CLIENT, "watch", agent.socket];
  const waiting = new Waiting(stage.daemon(command, join(agent.directory, "client.log")));
  return { create, remove, waiting };
}

const idOf = (name: string): string => `spiffe://${TRUST_DOMAIN}/${name}`;

/** Does the work for each name at a steady pace, and tells when it began with each. */
async function paced(names: readonly string[], work: (name: string) => Promise<void>) {
  const beganAt = new Map<string, number>();
  const running = names.map(async (name, n) => {
    await Bun.sleep(n * PACE_MS);
    beganAt.set(idOf(name), performance.now());
    await work(name);
  });
  await Promise.all(running);
  return beganAt;
}

/** One implementation, with a go-spiffe client that waits on an open stream. */
export async function measurePropagation(
  implementation: Implementation,
  count: number,
): Promise<Times> {
  const stage = new Stage();
  const names = Array.from({ length: count }, (_, n) => `w${n}`);
  const entryIds = new Map<string, string>();
  try {
    const { create, remove, waiting } = await setUp(stage, implementation);
    const looking = setInterval(() => waiting.look(), 1);
    const until = (what: string, holds: () => boolean) =>
      eventually(what, async () => holds() || undefined);
    await until("the first SVID", () => waiting.has(idOf("always")));
    const createdAt = await paced(names, async (name) => {
      entryIds.set(name, await create(name));
    });
    await until("all SVIDs", () => waiting.cameAt.size > count);
    const deletedAt = await paced(names, async (name) => {
      await remove(entryIds.get(name) ?? "");
    });
    await until("no SVIDs", () => waiting.wentAt.size === count);
    clearInterval(looking);
    return {
      stored: differences(createdAt, waiting.cameAt),
      removed: differences(deletedAt, waiting.wentAt),
    };
  } finally {
    await stage.close();
  }
}

function differences(from: ReadonlyMap<string, number>, to: ReadonlyMap<string, number>) {
  return [...from].map(([id, start]) => (to.get(id) ?? Infinity) - start).sort((a, b) => a - b);
}

/**
 * A long day in a few minutes: calls without end on channels that stay, and connections that come and go, while memory and descriptors
 * of both daemons are watched. Used by test/bench/soak.ts and, in small, by soak.test.ts.
 */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Client, Metadata } from "@grpc/grpc-js";
import { statusValues } from "#ffi/process-status.ts";
import { type Channel, callUnary, readStream, tlsChannel, unixChannel } from "#grpc/client.ts";
import { tlsPolicy } from "#http/tls-policy.ts";
import { SpiffeWorkloadAPIClient } from "#proto/spiffe/workload/workload.ts";
import { BundleClient } from "#proto/spire/api/server/bundle/v1/bundle.ts";
import { EntryClient } from "#proto/spire/api/server/entry/v1/entry.ts";
import { eventually } from "../support/process.ts";
import { type Stage, TestAgent, TestServer, TRUST_DOMAIN } from "../support/spire.ts";
import { countFrames, type FrameCounts } from "./frame-counter.ts";

const SAMPLE_MS = 1_000;
const CALLERS = 24;
const ENTRIES = 40;
/** Of so many tokens one is new to the agent, and so a call of the agent's own to the server. */
const NEW_TOKEN_EACH = 5;
const AUDIENCE = "soak";

export interface SoakSize {
  /** Calls on channels that stay open. */
  readonly calls: number;
  /** Connections to the Workload API that fetch an X.509-SVID and close. */
  readonly connections: number;
}

export interface Sample {
  /** Of the whole work. */
  readonly done: number;
  readonly residentMb: number;
  readonly descriptors: number;
}

export interface SoakResult {
  readonly server: readonly Sample[];
  readonly agent: readonly Sample[];
  readonly frames: Readonly<FrameCounts>;
  readonly seconds: number;
}

type Work = () => Promise<unknown>;

/** @throws Error when a call fails, or a daemon ends */
export async function soak(stage: Stage, size: SoakSize): Promise<SoakResult> {
  const server = await TestServer.start(stage, "ours", {
    settings: `log_level = "INFO"\n  ratelimit { signing = false }`,
  });
  const agent = await TestAgent.start(stage, "ours", server, {
    settings: `experimental { sync_interval = "1s" }`,
  });
  const uid = process.getuid?.() ?? 0;
  await server.entry(`spiffe://${TRUST_DOMAIN}/soak`, agent.id, [`unix:uid:${uid}`]);
  for (let n = 0; n < ENTRIES; n++) {
    await server.entry(`spiffe://${TRUST_DOMAIN}/other-${n}`, agent.id, [`unix:uid:${9000 + n}`]);
  }
  await eventually("an identity", async () => {
    const fetched = await agent.cli(["api", "fetch", "x509"]);
    return fetched.code === 0 ? true : undefined;
  });
  const counter = await countFrames(join(stage.directory, "counted.sock"), agent.socket);
  const clients: Client[] = [];
  const works = await longLived(server, agent, clients, counter.path);
  const started = performance.now();
  const meter = new Meter(server.daemon.pid, agent.daemon.pid);
  let [calls, connections] = [0, 0];
  const total = size.calls + size.connections;
  const caller = async (): Promise<void> => {
    for (;;) {
      const done = calls + connections;
      if (done >= total) return;
      // Both kinds go at their share of the way, so that they end together.
      const isCall = calls * size.connections <= connections * size.calls;
      if (isCall) await works[calls++ % works.length]?.();
      else if (connections++ % 10 === 0) await fetchOnce(counter.path);
      else await fetchOnce(agent.socket);
      meter.progress((calls + connections) / total);
    }
  };
  await Promise.all(Array.from({ length: CALLERS }, caller));
  const result = { ...meter.stop(), frames: counter.counts };
  for (const client of clients) client.close();
  counter.close();
  return { ...result, seconds: Math.round((performance.now() - started) / 1000) };
}

const workloadHeader = (): Metadata => {
  const metadata = new Metadata();
  metadata.set("workload.spiffe.io", "true");
  return metadata;
};

/** Calls on connections that stay: to both endpoints of the server, to the agent, and through the agent to the server. */
async function longLived(
  server: TestServer,
  agent: TestAgent,
  clients: Client[],
  countedSocket: string,
): Promise<Work[]> {
  const open = <C extends Client>(
    Kind: new (address: string, ...rest: [Channel["credentials"], Channel["options"]]) => C,
    { address, credentials, options }: Channel,
  ): C => {
    const client = new Kind(address, credentials, options);
    clients.push(client);
    return client;
  };
  const overTls = tlsChannel({
    host: "127.0.0.1",
    port: server.port,
    policy: tlsPolicy(false),
    verifyServer: () => {},
  });
  const entries = open(EntryClient, unixChannel(server.socket));
  const bundles = open(BundleClient, overTls);
  const workload = open(SpiffeWorkloadAPIClient, unixChannel(agent.socket));
  const counted = open(SpiffeWorkloadAPIClient, unixChannel(countedSocket));
  let tokens = 0;
  let svid = "";
  const token = async (): Promise<void> => {
    const isNew = tokens++ % NEW_TOKEN_EACH === 0;
    const audience = isNew ? [AUDIENCE, String(tokens)] : [AUDIENCE];
    const request = { audience, spiffeId: "" };
    const answer = await callUnary(workload, "fetchJwtsvid", request, {
      metadata: workloadHeader(),
    });
    svid = answer.svids[0]?.svid ?? "";
  };
  await token();
  return [
    () =>
      callUnary(entries, "listEntries", {
        filter: undefined,
        outputMask: undefined,
        pageSize: 50,
        pageToken: "",
      }),
    () => callUnary(bundles, "getBundle", { outputMask: undefined }),
    token,
    () =>
      callUnary(
        counted,
        "validateJwtsvid",
        { audience: AUDIENCE, svid },
        { metadata: workloadHeader() },
      ),
  ];
}

/** What a short program does: connect, take the first answer of a stream, go. */
async function fetchOnce(socket: string): Promise<void> {
  const { address, credentials, options } = unixChannel(socket);
  const client = new SpiffeWorkloadAPIClient(address, credentials, options);
  try {
    for await (const update of readStream(client.fetchX509Svid({}, workloadHeader()))) {
      if (update.svids.length === 1) return;
    }
    throw new Error("the stream ended without an SVID");
  } finally {
    client.close();
  }
}

class Meter {
  readonly #pids: { readonly server: number; readonly agent: number };
  readonly #server: Sample[] = [];
  readonly #agent: Sample[] = [];
  readonly #timer: ReturnType<typeof setInterval>;
  #done = 0;

  constructor(server: number, agent: number) {
    this.#pids = { server, agent };
    this.#timer = setInterval(() => this.#sample(), SAMPLE_MS);
  }

  progress(done: number): void {
    this.#done = done;
  }

  stop(): { readonly server: readonly Sample[]; readonly agent: readonly Sample[] } {
    clearInterval(this.#timer);
    this.#sample();
    return { server: this.#server, agent: this.#agent };
  }

  #sample(): void {
    this.#server.push(sampleOf(this.#pids.server, this.#done));
    this.#agent.push(sampleOf(this.#pids.agent, this.#done));
  }
}

function sampleOf(pid: number, done: number): Sample {
  const kilobytes = statusValues(readFileSync(`/proc/${pid}/status`, "latin1"), "VmRSS")[0];
  return {
    done,
    residentMb: Number(kilobytes) / 1024,
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
  };
}

/** The middle value between two points of the way. */
export function median(
  samples: readonly Sample[],
  what: "residentMb" | "descriptors",
  from: number,
  to: number,
): number {
  const values = samples
    .filter(({ done }) => done >= from && done <= to)
    .map((sample) => sample[what])
    .sort((a, b) => a - b);
  return values[Math.floor(values.length / 2)] ?? Number.NaN;
}

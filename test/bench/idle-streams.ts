/**
 * What agents that wait for changes cost the server: as many as the limit on descriptors allows, each with its own identity on its
 * own TLS connection, against the compiled server. Prints memory and descriptors; asserts nothing.
 *
 *   scripts/build-binary && bun test/bench/idle-streams.ts [STREAMS]      default 10000
 */
import { type ChildProcess, spawn } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:http2";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { statusValues } from "#ffi/process-status.ts";
import { tlsChannel, unixChannel } from "#grpc/client.ts";
import { tlsPolicy } from "#http/tls-policy.ts";
import { AgentClient } from "#proto/spire/api/server/agent/v1/agent.ts";
import { BundleClient } from "#proto/spire/api/server/bundle/v1/bundle.ts";
import { Bundle } from "#proto/spire/api/types/bundle.ts";
import type { JoinToken } from "#proto/spire/api/types/jointoken.ts";
import { ChangesService } from "#proto/spire_edge/changes/v1/changes.ts";
import { attest, type ClientIdentity, identityOf, newKey, unary } from "#server/server.fixture.ts";
import { Stage, TestServer } from "../support/spire.ts";

/** How many connections one client process holds; a client needs more memory for one than the server does. */
const STREAMS_PER_CLIENT = 2500;
/** Joins, or new connections, under way at the same time. */
const AT_ONCE = 32;
/** Descriptors that a process needs for other things. */
const SPARE_DESCRIPTORS = 200;

/** Does the work for each item, a few at a time. */
async function eachOf<Item>(items: readonly Item[], work: (item: Item) => Promise<void>) {
  const rest = items.values();
  const worker = async (): Promise<void> => {
    for (const item of rest) await work(item);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

// --- The client process: opens a stream for each identity, and says `open` and `heard` for all of them together.

const REQUEST_HEADERS = {
  ":method": "POST",
  ":path": ChangesService.watchChanges.path,
  "content-type": "application/grpc",
  te: "trailers",
};

/** Resolves when the first message has come. */
function openStream(port: number, identity: ClientIdentity, onMessage: () => void): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const session = connect(`https://localhost:${port}`, {
    key: identity.privateKeyPem,
    cert: identity.certificateChainPem,
    rejectUnauthorized: false,
  });
  session.on("error", reject);
  const stream = session.request(REQUEST_HEADERS);
  // An empty message: not compressed, no bytes.
  stream.end(Buffer.alloc(5));
  stream.on("error", reject);
  stream.on("close", () => reject(new Error("a stream ended")));
  stream.once("data", () => {
    resolve();
    stream.on("data", onMessage);
  });
  return promise;
}

async function runClient(port: number, file: string): Promise<void> {
  const identities = JSON.parse(readFileSync(file, "utf8")) as ClientIdentity[];
  let heard = 0;
  const onMessage = (): void => {
    if (++heard === identities.length) console.log("heard");
  };
  await eachOf(identities, (identity) => openStream(port, identity, onMessage));
  console.log("open");
}

// --- The measurement.

interface Usage {
  readonly residentBytes: number;
  readonly descriptors: number;
}

function usageOf(pid: number): Usage {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const kilobytes = Number(statusValues(status, "VmRSS")[0]);
  return {
    residentBytes: kilobytes * 1024,
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
  };
}

function descriptorLimit(pid: number): number {
  const limits = readFileSync(`/proc/${pid}/limits`, "utf8");
  return Number(/Max open files\s+(\d+)/.exec(limits)?.[1]);
}

async function joinMany(server: TestServer, count: number): Promise<ClientIdentity[]> {
  const admin = unixChannel(server.socket);
  const local = new AgentClient(admin.address, admin.credentials, admin.options);
  const tls = tlsChannel({
    host: "127.0.0.1",
    port: server.port,
    policy: tlsPolicy(false),
    verifyServer: () => undefined,
  });
  const remote = new AgentClient(tls.address, tls.credentials, tls.options);
  const identities: ClientIdentity[] = [];
  await eachOf(Array.from({ length: count }), async () => {
    const { value } = await unary<JoinToken>((done) =>
      local.createJoinToken({ ttl: 600, token: "", agentId: undefined }, done),
    );
    const key = await newKey();
    const { step } = await attest(remote, { payload: value, csr: key.csr });
    if (step?.$case !== "result") throw new Error("the attestation did not end with a result");
    identities.push(identityOf(key, step.value.svid));
  });
  local.close();
  remote.close();
  return identities;
}

interface Client {
  readonly process: ChildProcess;
  /** Resolves when the client has said the word. */
  said(word: string): Promise<void>;
}

function startClient(port: number, file: string): Client {
  const process_ = spawn(process.execPath, [import.meta.path, "--client", String(port), file], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const said = new Map<string, PromiseWithResolvers<void>>();
  const wordOf = (word: string): PromiseWithResolvers<void> => {
    const found = said.get(word) ?? Promise.withResolvers<void>();
    said.set(word, found);
    return found;
  };
  createInterface({ input: process_.stdout }).on("line", (line) => wordOf(line).resolve());
  process_.on("exit", (code) => {
    if (code) throw new Error(`a client ended with ${code}`);
  });
  return { process: process_, said: (word) => wordOf(word).promise };
}

async function changeBundle(server: TestServer): Promise<void> {
  const admin = unixChannel(server.socket);
  const client = new BundleClient(admin.address, admin.credentials, admin.options);
  const bundle = [Bundle.fromPartial({ trustDomain: "other.org", refreshHint: 60 })];
  await unary((done) => client.batchSetFederatedBundle({ bundle, outputMask: undefined }, done));
  client.close();
}

function report(what: string, value: number | string): void {
  console.log(`${what.padEnd(56)} ${typeof value === "number" ? Math.round(value) : value}`);
}

async function measure(wanted: number): Promise<void> {
  const stage = new Stage();
  const clients: Client[] = [];
  try {
    const settings = "ratelimit {\n    attestation = false\n    signing = false\n  }";
    const server = await TestServer.start(stage, "ours", { settings });
    const { pid } = server.daemon;
    const streams = Math.min(wanted, descriptorLimit(pid) - SPARE_DESCRIPTORS);
    if (streams < wanted)
      report(`only ${streams} streams: descriptors are limited to`, descriptorLimit(pid));
    const identities = await joinMany(server, streams);
    const before = usageOf(pid);
    const start = performance.now();
    for (let from = 0; from < streams; from += STREAMS_PER_CLIENT) {
      const file = join(stage.directory, `identities-${from}.json`);
      writeFileSync(file, JSON.stringify(identities.slice(from, from + STREAMS_PER_CLIENT)));
      const client = startClient(server.port, file);
      clients.push(client);
      await client.said("open");
    }
    const opening = performance.now() - start;
    await Bun.sleep(5_000);
    const after = usageOf(pid);
    const changed = performance.now();
    await changeBundle(server);
    await Promise.all(clients.map((client) => client.said("heard")));
    report("all have heard of a changed bundle after, ms", performance.now() - changed);
    report("idle streams, each on its own TLS connection", streams);
    report("opened, a second", (streams / opening) * 1000);
    report("server before: resident, MB", before.residentBytes / 2 ** 20);
    report("server with them: resident, MB", after.residentBytes / 2 ** 20);
    report("resident, KB a stream", (after.residentBytes - before.residentBytes) / 1024 / streams);
    report("descriptors a stream", ((after.descriptors - before.descriptors) / streams).toFixed(3));
    const stopping = performance.now();
    const code = await server.daemon.stop();
    report(`stopped with code ${code} after, ms`, performance.now() - stopping);
  } finally {
    for (const client of clients) client.process.kill();
    await stage.close();
  }
}

const [first, ...rest] = process.argv.slice(2);
if (first === "--client") await runClient(Number(rest[0]), rest[1] ?? "");
else await measure(Number(first ?? 10_000));

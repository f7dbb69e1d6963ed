/** Workloads in six languages, each with its own gRPC and its own idea of what the authority of a Unix socket is. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import { eventually, run } from "../support/process.ts";
import {
  GO_CLIENT,
  PEERS,
  PYTHON,
  PYTHON_CLIENT,
  Stage,
  TestAgent,
  TestServer,
} from "../support/spire.ts";

const UID = 7100;
const ID = "spiffe://example.org/workload";

const stage = new Stage();
let agent: TestAgent;

beforeAll(async () => {
  const server = await TestServer.start(stage, "ours");
  agent = await TestAgent.start(stage, "ours", server);
  await server.entry(ID, agent.id, [`unix:uid:${UID}`]);
  await eventually("an SVID", async () => {
    const fetched = await agent.cli(["api", "fetch", "x509"], { uid: UID });
    return fetched.code === 0 ? true : undefined;
  });
}, 60_000);
afterAll(() => stage.close(), 60_000);

const java = [
  "java",
  "-cp",
  `${join(PEERS, "java/classes")}:${join(PEERS, "java/jars/*")}`,
  "Client",
];
const cpp = [join(PEERS, "cpp/client")];
const node = ["node", join(import.meta.dir, "node-client/client.mjs")];

/** The command, and what follows the socket's path. */
const clients: Readonly<Record<string, readonly [command: readonly string[], more?: string]>> = {
  "go-spiffe": [[GO_CLIENT, "x509"]],
  "the Python package spiffe": [[PYTHON, PYTHON_CLIENT, "x509"]],
  "java-spiffe": [java],
  "the Rust crate spiffe": [[join(PEERS, "rust/rust-client")]],
  "gRPC for C++": [cpp],
  "gRPC for C++, calling somebody at a place": [cpp, "agent@[::1]:8081"],
  "gRPC for Node.js": [node],
  "gRPC for Node.js, with a path for an authority": [node, "/run/spire agent/api.sock"],
};

test.each(Object.entries(clients))(
  "%s gets its X509-SVID",
  async (_name, [command, more]) => {
    const words = more === undefined ? [] : [more];
    const answer = await run([...command, agent.socket, ...words], { uid: UID });
    expect(answer.stderr.includes("PROTOCOL_ERROR")).toBe(false);
    expect(JSON.parse(answer.stdout)).toMatchObject({ id: ID });
  },
  60_000,
);

/** The answer to a join gets lost between the server and the agent: the token is used, and the node gets in all the same. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { REFUSED } from "../support/joining-node.ts";
import { eventually } from "../support/process.ts";
import { Stage, TestAgent, TestServer } from "../support/spire.ts";

const stage = new Stage();
const opened: Server[] = [];
let server: TestServer;

beforeAll(async () => {
  server = await TestServer.start(stage, "ours");
}, 60_000);

afterAll(async () => {
  for (const one of opened) one.close();
  await stage.close();
}, 60_000);

const isAttested = async ({ id }: TestAgent): Promise<boolean> =>
  (await server.cli("agent", "show", "-spiffeID", id)).code === 0;

/**
 * Stands between the agent and the server. As soon as the server has the agent on its list, what it sends is held back: the
 * answer comes after the entry in the list.
 */
class Line {
  readonly port: number;
  readonly lost: Promise<void>;
  #up = false;
  #loose: () => void = () => {};
  readonly #sockets = new Set<Socket>();
  readonly #agent: TestAgent;

  private constructor(agent: TestAgent, listening: Server) {
    this.#agent = agent;
    const address = listening.address();
    this.port = typeof address === "object" && address !== null ? address.port : 0;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.lost = promise;
    this.#loose = resolve;
    listening.on("connection", (near) => this.#carry(near));
  }

  static async before(agent: TestAgent): Promise<Line> {
    const listening = createServer();
    opened.push(listening);
    const { promise, resolve } = Promise.withResolvers<void>();
    listening.listen(0, "127.0.0.1", resolve);
    await promise;
    const line = new Line(agent, listening);
    const text = readFileSync(agent.configuration, "utf8");
    const port = `server_port = ${line.port}`;
    writeFileSync(agent.configuration, text.replace(/server_port = \d+/, port));
    return line;
  }

  /** Cuts what is open. What comes afterwards goes through. */
  repair(): void {
    this.#up = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  #carry(near: Socket): void {
    const far = connect(server.port, "127.0.0.1");
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#sockets.add(one);
      one.on("error", () => other.destroy());
      one.on("close", () => other.destroy());
    }
    near.pipe(far);
    far.on("data", async (chunk) => {
      far.pause();
      if (!this.#up && (await isAttested(this.#agent))) return this.#loose();
      near.write(chunk);
      far.resume();
    });
  }
}

test("an agent that hears nothing asks again with the same key, and is let in", async () => {
  const agent = await TestAgent.prepare(stage, "ours", server);
  const line = await Line.before(agent);
  const daemon = agent.launch();
  await line.lost;
  const before = await server.json("agent", "show", "-spiffeID", agent.id);
  line.repair();
  await daemon.line((text) => text.includes("Failed to attest, will retry"));
  await eventually("the agent is healthy", async () =>
    (await agent.cli(["healthcheck"])).code === 0 ? true : undefined,
  );
  const after = await server.json("agent", "show", "-spiffeID", agent.id);
  expect(after["x509svid_serial_number"]).not.toBe(before["x509svid_serial_number"]);
}, 60_000);

test("an agent that is killed before the answer came is let in when it starts again", async () => {
  const agent = await TestAgent.prepare(stage, "ours", server);
  const line = await Line.before(agent);
  const daemon = agent.launch();
  await line.lost;
  await daemon.kill();
  line.repair();
  await agent.start();
  expect((await agent.cli(["healthcheck"])).code).toBe(0);
}, 60_000);

test("another node with the same token is not", async () => {
  const agent = await TestAgent.prepare(stage, "ours", server);
  const line = await Line.before(agent);
  const daemon = agent.launch();
  await line.lost;
  await daemon.kill();
  const thief = await TestAgent.prepare(stage, "ours", server, { token: agent.token });
  const stealing = thief.launch();
  expect(await stealing.exited).toBe(REFUSED);
  expect(stealing.lines.join("\n")).toContain("join token does not exist or has already been used");
}, 60_000);

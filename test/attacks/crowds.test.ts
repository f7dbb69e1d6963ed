/** Users who take up all they can get of the agent: connections and calls. Others are served meanwhile, root and the system first of all. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { spawn } from "node:child_process";
import { chmodSync, copyFileSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { statusValues } from "#ffi/process-status.ts";
import { eventually, run } from "../support/process.ts";
import { executable, GO_CLIENT, Stage, TestAgent, TestServer } from "../support/spire.ts";

/** Of the agent: few enough that they are soon taken up. */
const DESCRIPTORS = 2000;
const CONNECTIONS = 750;
const ATTACKERS = [7201, 7202, 7203, 7204];
const ROOT = 0;
const OF_THE_SYSTEM = 980;
const ORDINARY = 7300;
const CALLS_PER_UID = 2500;
const NAMELESS_MS = 30_000;

/** Of the system: one in a home is for its owner alone. */
const PYTHON3 = "/usr/bin/python3";

const stage = new Stage();
let agent: TestAgent;
/** Which an operator may open to users that act for workloads. */
let adminSocket: string;
/** Where every user can read it. */
let script: string;
let daemonPid: number;
let lines: () => readonly string[];

beforeAll(async () => {
  script = join(stage.room("crowd"), "crowd.py");
  copyFileSync(join(import.meta.dir, "crowd.py"), script);
  const server = await TestServer.start(stage, "ours");
  adminSocket = join(stage.room("admin"), "admin.sock");
  const settings = `log_level = "INFO"\n admin_socket_path = "${adminSocket}"`;
  agent = await TestAgent.prepare(stage, "ours", server, { settings });
  const limits = ["prlimit", `--nofile=${DESCRIPTORS}:${DESCRIPTORS}`, "--"];
  const words = [executable("ours", "spire-agent"), "run", "-config", agent.configuration];
  const daemon = stage.daemon([...limits, ...words], join(agent.directory, "agent.log"));
  daemonPid = daemon.pid;
  lines = () => daemon.lines;
  for (const uid of [ROOT, OF_THE_SYSTEM, ORDINARY]) {
    await server.entry(`spiffe://example.org/u${uid}`, agent.id, [`unix:uid:${uid}`]);
  }
  await eventually("SVIDs", async () => {
    const codes = await Promise.all([ROOT, OF_THE_SYSTEM, ORDINARY].map(fetchCode));
    return codes.every((code) => code === 0) ? true : undefined;
  });
}, 60_000);
afterAll(() => stage.close(), 60_000);

/** Asks for an X509-SVID. */
const fetchCode = async (uid: number): Promise<number> =>
  (await run([GO_CLIENT, "x509", agent.socket], { uid, timeoutMs: 20_000 })).code;

interface Count {
  readonly connections: number;
  readonly answered: number;
}

/** A user that takes up what it gets, until it is disposed of. */
class Crowd implements AsyncDisposable {
  readonly #child: ReturnType<typeof spawn>;
  readonly #counts: AsyncIterator<string>;

  constructor(uid: number, connections: number, calls: number, path = agent.socket) {
    const user = [`--reuid=${uid}`, `--regid=${uid}`, "--clear-groups"];
    const [program = "", ...words] = ["setpriv", ...user, "--pdeathsig", "KILL", "--", PYTHON3];
    const crowd = [script, path, String(connections), String(calls)];
    this.#child = spawn(program, [...words, ...crowd], { stdio: ["pipe", "pipe", "inherit"] });
    const { stdout } = this.#child;
    if (stdout === null) throw new Error("there is no standard output");
    this.#counts = createInterface({ input: stdout })[Symbol.asyncIterator]();
  }

  /** How many it got. */
  async count(): Promise<Count> {
    const { value } = await this.#counts.next();
    return JSON.parse(value) as Count;
  }

  async countAgain(): Promise<Count> {
    this.#child.stdin?.write("\n");
    return await this.count();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#child.once("close", () => resolve());
    this.#child.stdin?.end();
    await promise;
  }
}

const residentMb = (): number => {
  const [kb] = statusValues(readFileSync(`/proc/${daemonPid}/status`, "latin1"), "VmRSS");
  return Number(kb) / 1024;
};

test("four users with all the connections they can get keep out neither root, nor the system, nor anybody else", async () => {
  // Begun first, so that its time is over when the rest is done.
  await using patient = new Crowd(7399, 1, 1);
  expect(await patient.count()).toEqual({ connections: 1, answered: 0 });
  const began = performance.now();
  {
    await using stack = new AsyncDisposableStack();
    const crowds = ATTACKERS.map((uid) => stack.use(new Crowd(uid, 400, 1)));
    await Promise.all(crowds.map((crowd) => crowd.count()));
    // What the agent has not come to yet counts as open.
    const all = await eventually("refused connections", async () => {
      const counts = await Promise.all(crowds.map((crowd) => crowd.countAgain()));
      const got = counts.map(({ connections }) => connections);
      const sum = got.reduce((a, b) => a + b, 0);
      return sum <= CONNECTIONS * 0.8 && Math.max(...got) <= Math.ceil(CONNECTIONS / 4)
        ? sum
        : undefined;
    });
    expect(all).toBeGreaterThan(CONNECTIONS / 2);
    for (let round = 0; round < 5; round++) {
      expect(await Promise.all([ROOT, OF_THE_SYSTEM, ORDINARY].map(fetchCode))).toEqual([0, 0, 0]);
    }
  }
  const refusals = lines().filter((line) => line.includes("Connection refused"));
  expect(refusals.length).toBeGreaterThan(0);
  // Ten a minute for each of them, at most.
  expect(refusals.length).toBeLessThanOrEqual(ATTACKERS.length * 20);

  // A call of somebody without identity is not held for ever.
  const answered = await eventually("the end of a call without identity", async () => {
    const count = await patient.countAgain();
    return count.answered === 0 ? undefined : count;
  });
  expect(answered).toEqual({ connections: 1, answered: 1 });
  expect(performance.now() - began).toBeGreaterThan(NAMELESS_MS / 2);
}, 120_000);

test("a user alone gets a quarter of the connections, at all sockets together, and again what it lets go", async () => {
  chmodSync(adminSocket, 0o777);
  const most = Math.ceil(CONNECTIONS / 4);
  const [uid = 0] = ATTACKERS;
  for (const elsewhere of [0, 50]) {
    await using others = new Crowd(uid, elsewhere, 1, adminSocket);
    // As long as the agent has not seen all of an earlier crowd go, a crowd gets less.
    await eventually(`${most} connections, ${elsewhere} of them at the admin socket`, async () => {
      await using crowd = new Crowd(uid, 400, 1);
      let count = await crowd.count();
      for (let looks = 0; count.connections > most - elsewhere && looks < 50; looks++) {
        count = await crowd.countAgain();
      }
      return count.connections === most - elsewhere ? true : undefined;
    });
    expect((await others.count()).connections).toBe(elsewhere);
  }
}, 120_000);

test("a user has a bound of calls across its connections, and of the memory that they cost", async () => {
  const before = residentMb();
  const connections = 12;
  await using crowd = new Crowd(ATTACKERS[0] ?? 0, connections, 1000);
  await crowd.count();
  const refused = connections * 1000 - CALLS_PER_UID;
  const count = await eventually("refused calls", async () => {
    const { answered } = await crowd.countAgain();
    return answered >= refused ? answered : undefined;
  });
  expect(count).toBe(refused);
  expect(residentMb() - before).toBeLessThan(150);
  expect(await Promise.all([ROOT, OF_THE_SYSTEM, ORDINARY].map(fetchCode))).toEqual([0, 0, 0]);
}, 120_000);

/** Nodes that join by token, renew their SVID, are banned and evicted. */
import { callUnary } from "#grpc/client.ts";
import type { Agent } from "#proto/spire/api/types/agent.ts";
import type { SPIFFEID } from "#proto/spire/api/types/spiffeid.ts";
import type { X509SVID } from "#proto/spire/api/types/x509svid.ts";
import {
  attest,
  type ClientIdentity,
  type Clients,
  identityOf,
  type NewKey,
  newKey,
  refused,
} from "#server/server.fixture.ts";
import { StatusCode } from "#spiffe/status-error.ts";
import { Certificate } from "#x509/certificate.ts";
import { TRUST_DOMAIN } from "../support/spire.ts";
import type { Chance } from "./chance.ts";
import type { Lifetime, Load } from "./lifetime.ts";

const WORKERS = 2;
/** Of the nodes that nothing happened to since the last look, that many are looked at closely each time. */
const SAMPLE = 3;

interface Node {
  readonly token: string;
  /** Token made; in by it; banned; evicted. */
  standing: "expected" | "in" | "banned" | "evicted";
  /** Asked for without an answer yet. */
  open: "join" | "ban" | "evict" | undefined;
  /** Of the SVID that the server last saw. */
  serial: string;
  /** The last SVID that the node got. */
  identity: (ClientIdentity & { readonly serial: string }) | undefined;
}

export class JoinLoad implements Load {
  readonly #chance: Chance;
  readonly #workers: readonly Chance[];
  readonly #prefix: string;
  readonly #nodes: Set<Node> = new Set();
  /** Something happened to them since the last look. */
  readonly #touched: Set<Node> = new Set();
  readonly #counts: { joined: number; renewed: number; banned: number; evicted: number } = {
    joined: 0,
    renewed: 0,
    banned: 0,
    evicted: 0,
  };
  /** All nodes share one key, and the thief of their tokens has another. */
  readonly #keys: Promise<readonly [node: NewKey, thief: NewKey]>;
  #next = 0;

  constructor(chance: Chance) {
    this.#chance = chance;
    this.#prefix = `token-${chance.below(2 ** 32)}`;
    this.#workers = Array.from({ length: WORKERS }, () => chance.fork());
    this.#keys = Promise.all([newKey(), newKey()]);
  }

  /** How much of each was acknowledged. */
  get counts(): Readonly<Record<string, number>> {
    return this.#counts;
  }

  async work(life: Lifetime): Promise<void> {
    const expected = [...this.#nodes].filter(({ standing }) => standing === "expected");
    const shares = this.#workers.map((_, worker) =>
      expected.filter((_, index) => index % WORKERS === worker),
    );
    await Promise.all(
      this.#workers.map((chance, worker) => this.#workAs(chance, life, shares[worker] ?? [])),
    );
  }

  async check(life: Lifetime): Promise<readonly string[]> {
    const local = life.local();
    const agents = await listAgents(life, local);
    const problems: string[] = [];
    for (const node of this.#nodes) {
      const stored = agents.get(pathOf(node));
      const problem = problemOf(node, stored);
      if (problem !== undefined) problems.push(`node ${node.token} ${problem}`);
      adopt(node, stored);
    }
    problems.push(...(await this.#look(life, [...this.#touched, ...this.#sample()])));
    this.#touched.clear();
    return problems;
  }

  /** Looks closely at all nodes there ever were. */
  checkAll(life: Lifetime): Promise<readonly string[]> {
    return this.#look(life, [...this.#nodes]);
  }

  #sample(): Node[] {
    const all = [...this.#nodes];
    return Array.from({ length: SAMPLE }, () => this.#chance.pick(all)).filter(
      (node) => node !== undefined,
    );
  }

  async #look(life: Lifetime, nodes: readonly Node[]): Promise<string[]> {
    const [mine, thief] = await this.#keys;
    const anonymous = life.remote();
    const problems: string[] = [];
    for (const node of nodes) {
      if (node.standing === "expected") {
        if (node.open === undefined) continue;
        // The answer was lost, so the same key may ask again.
        if (!(await this.#join(life, anonymous, node, mine))) {
          problems.push(`node ${node.token} is not let in a second time after a lost answer`);
        }
      }
      const call = attest(anonymous.agent, { payload: node.token, csr: thief.csr });
      const error = (await refused(call).catch((taken) => taken)) as { code?: number };
      if (error.code !== StatusCode.INVALID_ARGUMENT) {
        problems.push(`used token ${node.token} was not refused to another: ${error}`);
      }
      problems.push(...(await lookAtIdentity(life, node)));
    }
    return problems;
  }

  async #workAs(chance: Chance, life: Lifetime, expected: readonly Node[]): Promise<void> {
    const local = life.local();
    const anonymous = life.remote();
    const [key] = await this.#keys;
    const waiting = [...expected];
    while (!life.isOver) {
      const node = waiting.pop() ?? (await this.#offer(life, local));
      // Some tokens wait for another life of the server.
      if (node === undefined || chance.fraction() < 0.2) continue;
      if (!(await this.#join(life, anonymous, node, key))) continue;
      const dice = chance.fraction();
      if (dice < 0.3) await this.#renew(life, node, key);
      else if (dice < 0.55) await this.#ban(life, local, node);
      else if (dice < 0.8) await this.#evict(life, local, node);
    }
  }

  async #offer(life: Lifetime, { agent }: Clients): Promise<Node | undefined> {
    const token = `${this.#prefix}-${this.#next++}`;
    const answer = await life.ask("create a join token", () =>
      callUnary(agent, "createJoinToken", { ttl: 600, token, agentId: undefined }),
    );
    // A token that nobody got is used by nobody.
    if (answer === undefined) return undefined;
    const identity = undefined;
    const node: Node = { token, standing: "expected", open: undefined, serial: "", identity };
    this.#nodes.add(node);
    return node;
  }

  async #join(life: Lifetime, { agent }: Clients, node: Node, key: NewKey): Promise<boolean> {
    this.#touched.add(node);
    node.open = "join";
    const answer = await life.ask("join", () =>
      attest(agent, { payload: node.token, csr: key.csr }),
    );
    const svid = answer?.step?.$case === "result" ? answer.step.value.svid : undefined;
    if (svid === undefined) return false;
    node.open = undefined;
    node.standing = "in";
    node.identity = withSerial(key, svid);
    node.serial = node.identity.serial;
    this.#counts.joined += 1;
    return true;
  }

  async #renew(life: Lifetime, node: Node, key: NewKey): Promise<void> {
    const answer = await life.ask("renew", () =>
      callUnary(life.remote(node.identity).agent, "renewAgent", { params: { csr: key.csr } }),
    );
    if (answer?.svid === undefined) return;
    node.identity = withSerial(key, answer.svid);
    // The server takes note of the new serial number when it is first shown, also if its answer is lost then.
    const shown = await life.ask("show the renewed SVID", () => authorizedEntries(life, node));
    if (shown !== undefined) node.serial = node.identity.serial;
    this.#counts.renewed += 1;
  }

  async #ban(life: Lifetime, { agent }: Clients, node: Node): Promise<void> {
    node.open = "ban";
    const answer = await life.ask("ban", () => callUnary(agent, "banAgent", { id: idOf(node) }));
    if (answer === undefined) return;
    node.open = undefined;
    node.standing = "banned";
    this.#counts.banned += 1;
  }

  async #evict(life: Lifetime, { agent }: Clients, node: Node): Promise<void> {
    node.open = "evict";
    const answer = await life.ask("evict", () =>
      callUnary(agent, "deleteAgent", { id: idOf(node) }),
    );
    if (answer === undefined) return;
    node.open = undefined;
    node.standing = "evicted";
    this.#counts.evicted += 1;
  }
}

/** The last SVID that a node got is good for as long as the node is; a banned or evicted node's is good for nothing. */
async function lookAtIdentity(life: Lifetime, node: Node): Promise<string[]> {
  if (node.identity === undefined) return [];
  const call = authorizedEntries(life, node);
  const isTaken = await call.then(
    () => true,
    () => false,
  );
  if (isTaken) node.serial = node.identity.serial;
  if (isTaken === (node.standing === "in")) return [];
  return [`node ${node.token} is ${node.standing}, and its SVID is ${isTaken ? "" : "not "}taken`];
}

function authorizedEntries(life: Lifetime, { identity }: Node): Promise<unknown> {
  return callUnary(life.remote(identity).entry, "getAuthorizedEntries", { outputMask: undefined });
}

async function listAgents(life: Lifetime, { agent }: Clients): Promise<Map<string, Agent>> {
  const all = { filter: undefined, outputMask: undefined, pageSize: 0, pageToken: "" };
  const listed = await life.ask("list agents", () => callUnary(agent, "listAgents", all));
  return new Map((listed?.agents ?? []).map((one) => [one.id?.path ?? "", one]));
}

function problemOf(node: Node, stored: Agent | undefined): string | undefined {
  const { standing, open, serial, identity } = node;
  if (stored === undefined) {
    const mayBeGone = standing === "expected" || standing === "evicted" || open === "evict";
    return mayBeGone ? undefined : "is lost";
  }
  switch (standing) {
    case "expected":
      return open === "join" ? undefined : "is there, although it never came";
    case "evicted":
      return "is back, although it was evicted";
    case "banned":
      return stored.banned ? undefined : "is not banned any more";
    case "in":
      if (stored.banned) return open === "ban" ? undefined : "is banned, nobody asked for that";
      return [serial, identity?.serial].includes(stored.x509svidSerialNumber)
        ? undefined
        : `has serial number ${stored.x509svidSerialNumber}, acknowledged was ${serial}`;
  }
}

/** A join without an answer stays open: the node asks again. */
function adopt(node: Node, stored: Agent | undefined): void {
  if (node.standing === "expected") return;
  node.open = undefined;
  if (stored === undefined) node.standing = "evicted";
  else if (stored.banned) node.standing = "banned";
  else node.serial = stored.x509svidSerialNumber;
}

function withSerial(key: NewKey, svid: X509SVID): NonNullable<Node["identity"]> {
  const leaf = Certificate.parse(svid.certChain[0] ?? new Uint8Array());
  return { ...identityOf(key, svid), serial: leaf.serialNumberDecimal };
}

const pathOf = ({ token }: Node): string => `/spire/agent/join_token/${token}`;
const idOf = (node: Node): SPIFFEID => ({ trustDomain: TRUST_DOMAIN, path: pathOf(node) });

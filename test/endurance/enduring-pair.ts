/**
 * Two workloads on go-spiffe, a service and its caller, that speak mTLS over a new connection ten times a second and fetch a JWT-SVID
 * every second, for as long as a test goes on. Both keep a ledger; whoever endures has an empty list of failures in it.
 */
import { type Daemon, eventually, freePort } from "../support/process.ts";
import {
  GO_CLIENT,
  type Stage,
  type TestAgent,
  type TestServer,
  TRUST_DOMAIN,
} from "../support/spire.ts";

const SERVICE_UID = 1101;
const CALLER_UID = 1102;

/** What one workload has met with so far. */
export interface Ledger {
  readonly handshakes: number;
  readonly jwts: number;
  readonly failures: number;
  /** The first failures, with the moment of each. */
  readonly kept: readonly string[];
  /** How often its SVID was found expired; looked at twice a second. */
  readonly expired: number;
  /** Different SVIDs, authorities that signed them, keys that signed JWT-SVIDs. */
  readonly svids: number;
  readonly issuers: number;
  readonly jwtKeys: number;
  /** Subject key ID, in hex, of the authority behind its present SVID. */
  readonly issuer: string;
  /** Subject key IDs, in hex, of the authorities in its bundle. */
  readonly bundle: readonly string[];
  /** Key IDs of the JWT authorities in its bundle. */
  readonly jwtBundle: readonly string[];
  readonly longestGapMs: number;
}

export interface Ledgers {
  readonly service: Ledger;
  readonly caller: Ledger;
}

export class EnduringPair {
  readonly #service: Daemon;
  readonly #caller: Daemon;

  private constructor(service: Daemon, caller: Daemon) {
    this.#service = service;
    this.#caller = caller;
  }

  /**
   * Registers both workloads and starts them.
   *
   * @param ttlSeconds of their X509-SVIDs and JWT-SVIDs
   * @param of where the caller is, if not where the service is
   */
  static async start(
    stage: Stage,
    server: TestServer,
    agent: TestAgent,
    ttlSeconds: { readonly x509: number; readonly jwt: number },
    of: { readonly server: TestServer; readonly agent: TestAgent } = { server, agent },
  ): Promise<EnduringPair> {
    const service = `spiffe://${TRUST_DOMAIN}/service`;
    const caller = `spiffe://${TRUST_DOMAIN}/caller`;
    const { x509, jwt } = ttlSeconds;
    const ttl = ["-x509SVIDTTL", String(x509), "-jwtSVIDTTL", String(jwt)];
    await server.entry(service, agent.id, [`unix:uid:${SERVICE_UID}`], ...ttl);
    await of.server.entry(caller, of.agent.id, [`unix:uid:${CALLER_UID}`], ...ttl);
    const address = `127.0.0.1:${await freePort()}`;
    const workload = async (
      at: TestAgent,
      name: string,
      uid: number,
      words: readonly string[],
    ): Promise<Daemon> => {
      // Until its entry has arrived, a workload has no identity, and go-spiffe counts that as a failure.
      await eventually(`${name} has an identity`, async () => {
        const fetched = await at.cli(["api", "fetch", "x509"], { uid });
        return fetched.code === 0 ? true : undefined;
      });
      const log = `${at.directory}/${name}.log`;
      return stage.daemon([GO_CLIENT, ...words], log, { uid });
    };
    const serving = await workload(agent, "service", SERVICE_UID, [
      "endure-serve",
      agent.socket,
      address,
      caller,
    ]);
    await serving.line((line) => line.includes("listening"));
    const calling = await workload(of.agent, "caller", CALLER_UID, [
      "endure-call",
      of.agent.socket,
      address,
      service,
    ]);
    const pair = new EnduringPair(serving, calling);
    await pair.until("the first handshakes", ({ handshakes }) => handshakes > 0);
    await eventually("the first token", async () => pair.ledgers.caller.jwts > 0 || undefined);
    return pair;
  }

  get ledgers(): Ledgers {
    return { service: ledgerOf(this.#service), caller: ledgerOf(this.#caller) };
  }

  /** Waits until the ledgers of both workloads satisfy the check. */
  async until(what: string, check: (ledger: Ledger) => boolean, timeoutMs?: number): Promise<void> {
    const both = async (): Promise<true | undefined> => {
      const { service, caller } = this.ledgers;
      return check(service) && check(caller) ? true : undefined;
    };
    try {
      await eventually(what, both, timeoutMs);
    } catch (error) {
      throw new Error(JSON.stringify(this.ledgers, undefined, 1), { cause: error });
    }
  }

  /** Ends both workloads and gives their last word. */
  async stop(): Promise<Ledgers> {
    await this.#caller.stop();
    await this.#service.stop();
    return this.ledgers;
  }
}

const NOTHING: Ledger = {
  handshakes: 0,
  jwts: 0,
  failures: 0,
  kept: [],
  expired: 0,
  svids: 0,
  issuers: 0,
  jwtKeys: 0,
  issuer: "",
  bundle: [],
  jwtBundle: [],
  longestGapMs: 0,
};

function ledgerOf(workload: Daemon): Ledger {
  const line = workload.lines.findLast((text) => text.includes('"handshakes"'));
  if (line === undefined && !workload.running) throw new Error(workload.lines.join("\n"));
  return line === undefined ? NOTHING : (JSON.parse(line) as Ledger);
}

/**
 * Every pairing of our executables with the reference's: a node joins by token, a workload known by its uid gets its
 * SVIDs through go-spiffe and the Python package, and loses them when its entry goes.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { Daemon, eventually, freePort, run } from "../support/process.ts";
import {
  GO_CLIENT,
  type Implementation,
  PYTHON,
  PYTHON_CLIENT,
  Stage,
  TestAgent,
  TestServer,
  TRUST_DOMAIN,
} from "../support/spire.ts";

/** Two users that every Debian has, so that the reference can look up their names. */
const BACKEND_UID = 1;
const FRONTEND_UID = 2;
const STRANGER_UID = 3;
const BACKEND = `spiffe://${TRUST_DOMAIN}/backend`;
const FRONTEND = `spiffe://${TRUST_DOMAIN}/frontend`;

const both: readonly Implementation[] = ["ours", "reference"];
const pairs = both.flatMap((server) => both.map((agent) => ({ server, agent })));

describe.each(pairs)("server $server, agent $agent", (pair) => {
  const stage = new Stage();
  let server: TestServer;
  let agent: TestAgent;
  let backendEntry: string;

  const go = async (uid: number, ...words: string[]): Promise<Record<string, unknown>> => {
    const answer = await run([GO_CLIENT, ...words], { uid });
    if (answer.code !== 0) throw new Error(answer.stderr);
    return JSON.parse(answer.stdout) as Record<string, unknown>;
  };
  const python = async (uid: number, ...words: string[]): Promise<Record<string, unknown>> => {
    const answer = await run([PYTHON, PYTHON_CLIENT, ...words], { uid });
    if (answer.code !== 0) throw new Error(answer.stderr);
    return JSON.parse(answer.stdout) as Record<string, unknown>;
  };

  beforeAll(async () => {
    server = await TestServer.start(stage, pair.server);
    agent = await TestAgent.start(stage, pair.agent, server);
    backendEntry = await server.entry(BACKEND, agent.id, [`unix:uid:${BACKEND_UID}`]);
    await server.entry(FRONTEND, agent.id, [
      `unix:uid:${FRONTEND_UID}`,
      `unix:gid:${FRONTEND_UID}`,
    ]);
    await eventually("both workloads have an identity", async () => {
      await go(BACKEND_UID, "x509", agent.socket);
      await go(FRONTEND_UID, "x509", agent.socket);
      return true;
    });
  }, 120_000);

  afterAll(() => stage.close(), 60_000);

  test("the node shows up with its attestation type", async () => {
    const shown = await server.cli("agent", "list");
    expect(shown.stdout).toContain("Found 1 attested agent");
    expect(shown.stdout).toContain(agent.id);
    expect(shown.stdout).toContain("join_token");
  });

  test("a token serves one node only", async () => {
    const second = await TestAgent.prepare(stage, pair.agent, server, { token: agent.token });
    const daemon = second.launch();
    await daemon.line((line) =>
      line.includes("join token does not exist or has already been used"),
    );
    await daemon.stop();
  }, 60_000);

  test("go-spiffe fetches and verifies an X.509-SVID", async () => {
    const svid = await go(BACKEND_UID, "x509", agent.socket);
    expect(svid["id"]).toBe(BACKEND);
    expect(svid["chain"]).toBe(1);
    expect(Number(svid["notAfter"]) - Number(svid["notBefore"])).toBeGreaterThan(3500);
  });

  test("go-spiffe fetches and verifies a JWT-SVID", async () => {
    const svid = await go(BACKEND_UID, "jwt", agent.socket, "db.example.org");
    expect(svid).toMatchObject({ id: BACKEND, validatedId: BACKEND, refusesAudience: true });
  });

  test("go-spiffe gets the trust bundle of both kinds", async () => {
    expect(await go(BACKEND_UID, "bundles", agent.socket, TRUST_DOMAIN)).toEqual({
      trustDomain: TRUST_DOMAIN,
      x509Authorities: 1,
      jwtAuthorities: 1,
    });
  });

  test("the Python package fetches X.509-SVID, JWT-SVID and bundles", async () => {
    expect(await python(BACKEND_UID, "x509", agent.socket)).toEqual({
      id: BACKEND,
      svids: 1,
      authorities: 1,
    });
    const jwt = await python(BACKEND_UID, "jwt", agent.socket, "db.example.org");
    expect(jwt).toMatchObject({ id: BACKEND, validatedId: BACKEND });
    expect(await python(BACKEND_UID, "bundles", agent.socket, TRUST_DOMAIN)).toEqual({
      x509Authorities: 1,
      jwtAuthorities: 1,
    });
  }, 60_000);

  test("two services speak mTLS, and a third is turned away", async () => {
    await server.entry(`spiffe://${TRUST_DOMAIN}/stranger`, agent.id, [`unix:uid:${STRANGER_UID}`]);
    const address = `127.0.0.1:${await freePort()}`;
    const listening = new Daemon(
      [GO_CLIENT, "serve", agent.socket, address, FRONTEND],
      `${agent.directory}/serve.log`,
      { uid: BACKEND_UID },
    );
    try {
      await listening.line((line) => line.includes("listening"));
      const answer = await go(FRONTEND_UID, "call", agent.socket, address, BACKEND);
      expect(answer["answer"]).toBe(`hello ${FRONTEND}`);
      await eventually("the third has an identity of its own", () =>
        go(STRANGER_UID, "x509", agent.socket),
      );
      const refused = await run([GO_CLIENT, "call", agent.socket, address, BACKEND], {
        uid: STRANGER_UID,
      });
      expect(refused.code).toBe(1);
      const wrongServer = await run([GO_CLIENT, "call", agent.socket, address, FRONTEND], {
        uid: FRONTEND_UID,
      });
      expect(wrongServer.stderr).toContain("unexpected ID");
    } finally {
      await listening.stop();
    }
  }, 60_000);

  test.each([...both])(
    "the command line of %s works against both sockets",
    async (cli) => {
      const words = ["entry", "show", "-entryID", backendEntry];
      const shown = await server.cliOf(cli, words);
      expect(shown.stdout).toContain(`SPIFFE ID               : ${BACKEND}`);
      const fetched = await agent.cliOf(cli, ["api", "fetch", "x509"], { uid: BACKEND_UID });
      expect(fetched.stdout).toContain(`SPIFFE ID:\t\t${BACKEND}`);
      const token = await agent.cliOf(cli, ["api", "fetch", "jwt", "-audience", "a,b"], {
        uid: BACKEND_UID,
      });
      expect(token.stdout).toContain(`token(${BACKEND}):`);
      const counted = await server.cliOf(cli, ["entry", "count"]);
      expect(counted.stdout).toMatch(/^\d registration entries\n$/);
      const bundle = await server.cliOf(cli, ["bundle", "show", "-format", "spiffe"]);
      expect(JSON.parse(bundle.stdout)).toHaveProperty("keys");
    },
    60_000,
  );

  test("a process that no entry knows gets nothing", async () => {
    const refused = await run([GO_CLIENT, "bundles", agent.socket, TRUST_DOMAIN], {
      uid: 4,
      timeoutMs: 5_000,
    });
    expect(refused.code).not.toBe(0);
    const fetched = await agent.cliOf(pair.agent, ["api", "fetch"], { uid: 4 });
    expect(fetched.stderr).toContain("no identity issued");
    expect(fetched.code).toBe(1);
  });

  test("a watching workload loses its identity when its entry is deleted", async () => {
    const watching = new Daemon(
      [GO_CLIENT, "watch", agent.socket],
      `${agent.directory}/watch.log`,
      {
        uid: BACKEND_UID,
      },
    );
    const watchingToo = new Daemon(
      [PYTHON, PYTHON_CLIENT, "watch", agent.socket],
      `${agent.directory}/watch-python.log`,
      { uid: BACKEND_UID },
    );
    try {
      await watching.line((line) => line.includes(BACKEND));
      await watchingToo.line((line) => line.includes(BACKEND));
      const deleted = await server.cli("entry", "delete", "-entryID", backendEntry);
      expect(deleted.code).toBe(0);
      await watching.line((line) => line.includes("PermissionDenied"));
      await watchingToo.line((line) => line.includes("error"));
      const fetched = await agent.cliOf(pair.agent, ["api", "fetch"], { uid: BACKEND_UID });
      expect(fetched.stderr).toContain("no identity issued");
    } finally {
      await Promise.all([watching.stop(), watchingToo.stop()]);
    }
  }, 60_000);
});

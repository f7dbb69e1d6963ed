/** Fifty federated bundles of which one hangs on the server hold up no SVID: none that is new, none that is due. */
import { afterAll, expect, test } from "bun:test";
import { join, resolve } from "node:path";
import { eventually, run } from "../support/process.ts";
import { GO_CLIENT, Stage, TestAgent, TestServer, TRUST_DOMAIN } from "../support/spire.ts";

const ROOT = resolve(import.meta.dir, "../..");
const HANGING = "td-25.example";
const TRUST_DOMAINS = Array.from({ length: 50 }, (_, n) => `td-${n}.example`);
/** An agent gives up on a call after 30 seconds; what comes within less did not wait for that. */
const PROMPT_MS = 20_000;
const TTL_SECONDS = 4;
const RENEWALS = 10;
const FEDERATED_UID = 1101;
const OTHER_UID = 1102;

const stage = new Stage();
afterAll(() => stage.close(), 60_000);

interface Update {
  readonly svids: readonly { readonly id: string; readonly serial: string }[];
  readonly bundles: number;
}

async function startServer(): Promise<TestServer> {
  const server = await TestServer.prepare(stage, "ours");
  const preload = ["--preload", join(import.meta.dir, "hang-bundle.ts")];
  stage.daemon(
    [
      process.execPath,
      ...preload,
      join(ROOT, "src/server/main.ts"),
      "run",
      "-config",
      server.configuration,
    ],
    join(server.directory, "server.log"),
    { cwd: server.directory, env: { HANGING_TRUST_DOMAIN: HANGING } },
  );
  await eventually("server healthy", async () => {
    const check = await server.cli("healthcheck");
    return check.code === 0 ? true : undefined;
  });
  return server;
}

test("a federated bundle that hangs holds up neither SVIDs nor the other bundles", async () => {
  const server = await startServer();
  const pem = await server.bundleFile();
  for (const trustDomain of TRUST_DOMAINS) {
    const set = await server.cli("bundle", "set", "-id", trustDomain, "-path", pem);
    expect(set.stdout).toContain("bundle set.");
  }
  const agent = await TestAgent.start(stage, "ours", server, {
    settings: `experimental { sync_interval = "1s" }`,
  });
  const ttl = ["-x509SVIDTTL", String(TTL_SECONDS)];
  const federated = TRUST_DOMAINS.flatMap((name) => ["-federatesWith", name]);
  const spiffeId = (name: string): string => `spiffe://${TRUST_DOMAIN}/${name}`;
  const selector = [`unix:uid:${FEDERATED_UID}`];
  await server.entry(spiffeId("federated"), agent.id, selector, ...ttl, ...federated);
  const watching = stage.daemon(
    [GO_CLIENT, "watch", agent.socket],
    join(agent.directory, "watch.log"),
    { uid: FEDERATED_UID },
  );
  const updates = (): Update[] =>
    watching.lines.filter((line) => line.includes('"svids"')).map((line) => JSON.parse(line));
  await eventually(
    "SVID and all bundles but one",
    async () => (updates().at(-1)?.bundles === TRUST_DOMAINS.length ? true : undefined),
    PROMPT_MS,
  );
  await server.entry(spiffeId("other"), agent.id, [`unix:uid:${OTHER_UID}`]);
  await eventually(
    "another entry's SVID",
    async () => {
      const fetched = await run([GO_CLIENT, "x509", agent.socket], { uid: OTHER_UID });
      return fetched.stdout.includes(spiffeId("other")) ? true : undefined;
    },
    PROMPT_MS,
  );
  const serials = (): number =>
    new Set(updates().flatMap(({ svids }) => svids.map(({ serial }) => serial))).size;
  const before = serials();
  await eventually(
    "SVIDs are renewed",
    async () => (serials() - before >= RENEWALS ? true : undefined),
    PROMPT_MS,
  );
}, 120_000);

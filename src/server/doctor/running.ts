/** Checks of a server that runs: over its socket, as an operator's other commands use it, and on the port where agents connect. */
import { type Finding, fail, ok, tried } from "#cli/doctor/finding.ts";
import { whenText } from "#cli/doctor/times.ts";
import { failureText } from "#cli/rpc-error.ts";
import type { Agent } from "#proto/spire/api/types/agent.ts";
import type { Bundle } from "#proto/spire/api/types/bundle.ts";
import type { ServerConnection } from "#server/client/connection.ts";
import type { ServerConfig } from "#server/config/config.ts";
import { checkAgents } from "./agents.ts";
import { type AuthoritiesAsked, checkAuthorities, checkBundle } from "./authorities.ts";
import { checkCaRequest } from "./ca-request.ts";
import { checkForeign, type Foreign } from "./federation.ts";

const PAGE_SIZE = 1000;
const REFRESHED_AT_ONCE = 10;
const ASK = "look into the server's log";

/** What is known besides: the configuration, when it can be read, and when authorities were made, by their IDs. */
export interface Known {
  readonly config: ServerConfig | undefined;
  /** Unix seconds. */
  readonly madeAt: ReadonlyMap<string, number>;
}

/** @param now Unix seconds */
export async function checkRunning(
  server: ServerConnection,
  known: Known,
  now: number,
): Promise<readonly Finding[]> {
  const health = await checkHealth(server);
  const request = await tried("ca_request", ASK, async () =>
    checkCaRequest(await server.ca("getState", {}), now),
  );
  // Without a CA the server waits, and is not healthy: that says why.
  if (health.level === "FAIL") return [health, ...request.filter(({ advice }) => advice !== ASK)];
  const parts = await Promise.all([
    tried("server_svid", ASK, () => checkServerSvid(server, now)),
    tried("x509_authority", ASK, () => authorities(server, known, now)),
    tried("trust_bundle", ASK, async () =>
      checkBundle(await server.bundle("getBundle", { outputMask: undefined }), now),
    ),
    tried("federation", ASK, () => federation(server, known, now)),
    tried("agents", ASK, async () => checkAgents(await allAgents(server), now)),
  ]);
  return [health, ...request, ...parts.flat()];
}

async function checkHealth({ health }: ServerConnection): Promise<Finding> {
  const check = "health";
  try {
    const { isServing, why } = await health();
    if (isServing) return ok(check, "the server answers, and is healthy");
    return fail(check, `the server answers, and says that it is not healthy${why}`, ASK);
  } catch (error) {
    const advice = "start the server, or give the path of its socket (-socketPath)";
    return fail(check, `the server does not answer: ${failureText(error)}`, advice);
  }
}

async function checkServerSvid({ debug }: ServerConnection, now: number): Promise<Finding[]> {
  const check = "server_svid";
  const { svidChain } = await debug("getInfo", {});
  const expiresAt = svidChain[0]?.expiresAt ?? 0;
  if (expiresAt > now) return [ok(check, `good until ${whenText(expiresAt, now)}`)];
  const message = `the server's own SVID expired ${whenText(expiresAt, now)}: no agent can connect`;
  return [fail(check, message, "look for errors of svid_rotator in the server's log")];
}

async function authorities(
  { localAuthority }: ServerConnection,
  { config, madeAt }: Known,
  now: number,
): Promise<Finding[]> {
  const examined = (kind: AuthoritiesAsked["kind"], state: AuthoritiesAsked["state"]) => {
    const issuedAt = madeAt.get(state.active?.authorityId ?? "");
    return checkAuthorities({ kind, state, issuedAt, now });
  };
  const found = examined("X.509", await localAuthority("getX509AuthorityState", {}));
  if (config?.disableJwtSvids) return found;
  return [...found, ...examined("JWT", await localAuthority("getJwtAuthorityState", {}))];
}

async function allAgents({ agent }: ServerConnection): Promise<readonly Agent[]> {
  const agents: Agent[] = [];
  let pageToken = "";
  do {
    const request = { filter: undefined, outputMask: undefined, pageSize: PAGE_SIZE, pageToken };
    const page = await agent("listAgents", request);
    agents.push(...page.agents);
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  return agents;
}

/** Bundles are fetched now, as the server would do it anyway: only so is known whether their endpoints answer. */
async function federation(
  server: ServerConnection,
  { config }: Known,
  now: number,
): Promise<readonly Finding[]> {
  const list = { outputMask: undefined, pageSize: 0, pageToken: "" };
  const { federationRelationships } = await server.trustDomain("listFederationRelationships", list);
  const configured = config?.federation?.federatesWith ?? [];
  const fetched = new Set([
    ...federationRelationships.map(({ trustDomain }) => trustDomain),
    ...configured.map(({ trustDomain }) => trustDomain.name),
  ]);
  const problems = await refreshAll(server, [...fetched]);
  const { bundles } = await server.bundle("listFederatedBundles", list);
  const known = new Map<string, Bundle>(bundles.map((bundle) => [bundle.trustDomain, bundle]));
  const foreign = [...new Set([...fetched, ...known.keys()])].sort().map(
    (name): Foreign => ({
      name,
      bundle: known.get(name),
      isFetched: fetched.has(name),
      problem: problems.get(name),
    }),
  );
  if (foreign.length === 0) return [ok("federation", "with no other trust domain")];
  return foreign.map((one) => checkForeign(one, now));
}

/** Some at a time: a server may have very many. @returns why, by the names of those that cannot be fetched */
async function refreshAll(
  server: ServerConnection,
  names: readonly string[],
): Promise<ReadonlyMap<string, string | undefined>> {
  const problems = new Map<string, string | undefined>();
  const left = [...names];
  const work = async (): Promise<void> => {
    for (let name = left.pop(); name !== undefined; name = left.pop()) {
      problems.set(name, await refresh(server, name));
    }
  };
  await Promise.all(Array.from({ length: REFRESHED_AT_ONCE }, work));
  return problems;
}

/** @returns why the bundle cannot be fetched */
async function refresh(
  { trustDomain }: ServerConnection,
  name: string,
): Promise<string | undefined> {
  try {
    await trustDomain("refreshBundle", { trustDomain: name });
    return undefined;
  } catch (error) {
    return failureText(error);
  }
}

/**
 * The words that scripts and alarms of operators look for, those of the reference's own integration suites among them. Each thing is done to a
 * pair of the reference's and to a pair of ours: where it says a text, ours says it as well.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import { order } from "../support/authorities.ts";
import { rootTier, tierBelow } from "../support/nested.ts";
import { type Daemon, eventually, run } from "../support/process.ts";
import {
  executable,
  type Implementation,
  type ServerOptions,
  Stage,
  TestAgent,
  TestServer,
} from "../support/spire.ts";

const UID = 8001;
const WORKLOAD = "spiffe://example.org/workload";
const TIMEOUT_MS = 120_000;

interface Pair {
  readonly server: TestServer;
  readonly agent: TestAgent;
}

const stage = new Stage();
const pairs: Pair[] = [];

async function start(implementation: Implementation, options: ServerOptions = {}): Promise<Pair> {
  const server = await TestServer.start(stage, implementation, options);
  const agent = await TestAgent.start(stage, implementation, server);
  await server.entry(WORKLOAD, agent.id, [`unix:uid:${UID}`]);
  await eventually(`${implementation}: the workload has an identity`, async () => {
    const { code } = await agent.cli(["api", "fetch", "x509"], { uid: UID });
    return code === 0 ? true : undefined;
  });
  return { server, agent };
}

beforeAll(async () => {
  pairs.push(...(await Promise.all([start("ours"), start("reference")])));
}, TIMEOUT_MS);
afterAll(() => stage.close(), 60_000);

const both = (work: (pair: Pair) => Promise<void>): Promise<unknown> =>
  Promise.all(pairs.map(work));

/** Each text stands in a line of the log, whatever else that line says. */
async function says(daemon: Daemon, ...texts: readonly string[]): Promise<void> {
  for (const text of texts) await daemon.line((line) => line.includes(text), 60_000);
}

const fetchJwt = (agent: TestAgent) =>
  agent.cli(["api", "fetch", "jwt", "-audience", "testIt"], { uid: UID });

test(
  "a start",
  () =>
    both(async ({ server, agent }) => {
      await says(server.daemon, "Starting Server APIs");
      await says(
        agent.daemon,
        "SVID is not found. Starting node attestation",
        "Node attestation was successful",
        "Starting agent APIs",
      );
    }),
  TIMEOUT_MS,
);

test(
  "an entry that is synced, and what is fetched by it",
  () =>
    both(async ({ agent }) => {
      await agent.daemon.line((line) => line.includes("Entry created") && line.includes(WORKLOAD));
      expect((await fetchJwt(agent)).code).toBe(0);
      for (const method of ["FetchJWTSVID", "FetchX509SVID"]) {
        await agent.daemon.line((line) => line.includes(method) && line.includes(WORKLOAD));
      }
    }),
  TIMEOUT_MS,
);

test(
  "a watch",
  () =>
    both(async ({ agent }) => {
      const command = [executable(agent.implementation, "spire-agent"), "api", "watch"];
      const log = join(stage.room("watch"), "log");
      const watch = stage.daemon([...command, "-socketPath", agent.socket], log, { uid: UID });
      await says(watch, "Received 1 svid after");
      await watch.stop();
    }),
  TIMEOUT_MS,
);

test(
  "a join token that was used",
  () =>
    both(async ({ server, agent }) => {
      const late = await TestAgent.prepare(stage, agent.implementation, server, {
        token: agent.token,
        directory: stage.room("late"),
      });
      await says(
        late.launch(),
        "failed to attest: join token does not exist or has already been used",
      );
    }),
  TIMEOUT_MS,
);

test(
  "a JWT authority is prepared, activated, tainted and revoked",
  () =>
    both(async ({ server, agent }) => {
      const jwt = (...words: string[]) => server.json("localauthority", "jwt", ...words);
      const idOf = (shown: Record<string, unknown>, which: string): string =>
        (shown[which] as { authority_id: string }).authority_id;
      const old = idOf(await jwt("show"), "active");
      const next = idOf(await jwt("prepare"), "prepared_authority");
      await says(server.daemon, "JWT key prepared");
      await jwt("activate", "-authorityID", next);
      await says(server.daemon, "JWT key activated");
      await jwt("taint", "-authorityID", old);
      await says(server.daemon, "JWT authority tainted successfully");
      await says(
        agent.daemon,
        "JWT-SVIDs were removed from the JWT cache because they were issued by a tainted authority",
        `jwt_authority_key_ids=${old}`,
      );
      await jwt("revoke", "-authorityID", old);
      await says(server.daemon, "JWT authority revoked successfully", `local_authority_id=${old}`);
    }),
  TIMEOUT_MS,
);

test(
  "an X.509 authority is prepared, activated, tainted and revoked",
  () =>
    both(async ({ server, agent }) => {
      const old = await order(server, "show");
      const next = await order(server, "prepare");
      await says(server.daemon, "X509 CA prepared");
      await order(server, "activate", "-authorityID", next);
      await says(server.daemon, "X509 CA activated", "Successfully rotated X.509 CA");
      await order(server, "taint", "-authorityID", old);
      await says(
        server.daemon,
        "X.509 authority tainted successfully",
        "Server SVID signed using a tainted authority, forcing rotation of the Server SVID",
      );
      await says(
        agent.daemon,
        "New tainted X.509 authorities found",
        `subject_key_ids=${old}`,
        "Scheduled rotation for SVID entries due to tainted X.509 authorities",
        "Agent SVID is tainted by a root authority, forcing rotation",
        "Successfully rotated agent SVID",
      );
      await order(server, "revoke", "-authorityID", old);
      await says(server.daemon, "X.509 authority revoked successfully");
    }),
  TIMEOUT_MS,
);

/** Makes a root and its key, in the files that the UpstreamAuthority of a server reads. */
async function makeRoot(name: string, key: string, certificate: string): Promise<void> {
  const made = await run([
    ...["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
    ...["-nodes", "-days", "3", "-subj", `/CN=${name}`, "-keyout", key, "-out", certificate],
    ...["-addext", "keyUsage=critical,keyCertSign,cRLSign"],
  ]);
  if (made.code !== 0) throw new Error(made.stderr);
}

test(
  "an upstream authority is replaced, tainted and revoked",
  () =>
    both(async ({ server: { implementation } }) => {
      const directory = stage.room("upstream");
      const [key, certificate] = [join(directory, "root.key"), join(directory, "root.pem")];
      await makeRoot("first", key, certificate);
      const { server, agent } = await start(implementation, {
        plugins: `UpstreamAuthority "disk" {
          plugin_data {
            key_file_path = "${key}"
            cert_file_path = "${certificate}"
          }
        }`,
      });
      await makeRoot("second", key, certificate);
      await order(server, "activate", "-authorityID", await order(server, "prepare"));
      const shown = await server.json("localauthority", "x509", "show");
      const old = shown["old"] as { upstream_authority_subject_key_id: string };
      const id = old.upstream_authority_subject_key_id;
      await server.json("upstreamauthority", "taint", "-subjectKeyID", id);
      await says(
        server.daemon,
        "X.509 upstream authority tainted successfully",
        `subject_key_id=${id}`,
        "Server SVID signed using a tainted authority, forcing rotation of the Server SVID",
      );
      await says(
        agent.daemon,
        "New tainted X.509 authorities found",
        `subject_key_ids=${id}`,
        "Scheduled rotation for SVID entries due to tainted X.509 authorities",
        "Agent SVID is tainted by a root authority, forcing rotation",
        "Successfully rotated agent SVID",
      );
      await server.json("upstreamauthority", "revoke", "-subjectKeyID", id);
      await says(server.daemon, "X.509 upstream authority successfully revoked");
    }),
  TIMEOUT_MS,
);

test(
  "a server below another whose authority is tainted and revoked",
  () =>
    both(async ({ server: { implementation } }) => {
      const kinds = [implementation, implementation] as const;
      const top = await rootTier(stage, kinds);
      const below = await tierBelow(stage, top, "below", kinds);
      const old = await order(top.server, "show");
      await order(top.server, "activate", "-authorityID", await order(top.server, "prepare"));
      await order(top.server, "taint", "-authorityID", old);
      await says(
        below.server.daemon,
        "Current root CA is signed by a tainted upstream authority, preparing rotation",
        "Server SVID signed using a tainted authority, forcing rotation of the Server SVID",
      );
      await order(top.server, "revoke", "-authorityID", old);
      await says(below.server.daemon, "X.509 authority revoked", `subject_key_id=${old}`);
    }),
  TIMEOUT_MS,
);

test(
  "JWT-SVIDs are disabled",
  () =>
    both(async ({ server: { implementation } }) => {
      const settings = "disable_jwt_svids = true";
      const server = await TestServer.start(stage, implementation, { settings });
      const agent = await TestAgent.start(stage, implementation, server);
      const id = "spiffe://example.org/a";
      await server.entry(id, agent.id, [`unix:uid:${UID}`]);
      const words = "code = Unimplemented desc = JWT functionality is disabled";
      for (const command of [
        ["localauthority", "jwt", "prepare"],
        ["localauthority", "jwt", "show"],
        ["localauthority", "jwt", "activate", "-authorityID", "test"],
        ["localauthority", "jwt", "revoke", "-authorityID", "test"],
        ["localauthority", "jwt", "taint", "-authorityID", "test"],
        ["jwt", "mint", "-spiffeID", id, "-audience", "test"],
      ]) {
        const { code, stderr } = await server.cli(...command);
        expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining(words) });
      }
      await eventually("the agent's answer", async () => {
        const { code, stdout, stderr } = await fetchJwt(agent);
        return (code !== 0 && `${stdout}${stderr}`.includes(words)) || undefined;
      });
    }),
  TIMEOUT_MS,
);

test(
  "an agent is banned",
  () =>
    both(async ({ server }) => {
      const agent = await TestAgent.start(stage, server.implementation, server, {
        directory: stage.room("banned"),
      });
      expect((await server.cli("agent", "ban", "-spiffeID", agent.id)).stdout).toContain(
        "Agent banned successfully",
      );
      await says(server.daemon, "Agent banned");
      await says(
        agent.daemon,
        "failed to fetch authorized entries:",
        "Agent is banned: removing SVID and shutting down",
      );
      await says(server.daemon, "Agent is banned");
      expect(await agent.daemon.exited).not.toBe(0);
    }),
  TIMEOUT_MS,
);

test(
  "an agent is evicted",
  () =>
    both(async ({ server, agent }) => {
      expect((await server.cli("agent", "evict", "-spiffeID", agent.id)).stdout).toContain(
        "Agent evicted successfully",
      );
      await says(server.daemon, "Agent deleted");
      await server.daemon.line(
        (line) =>
          line.includes("Agent is not attested") && line.includes(`caller_id="${agent.id}"`),
        60_000,
      );
      await says(agent.daemon, "Agent needs to re-attest; will attempt to re-attest");
      await says(agent.daemon, "Agent failed re-attestation; removing SVID and shutting down");
    }),
  TIMEOUT_MS,
);

test(
  "a configuration with a plugin's file that is missing, and a plugin without its keys",
  () =>
    both(async ({ server: { implementation } }) => {
      const server = await TestServer.prepare(stage, implementation, {
        plugins: `NodeAttestor "x509pop" { plugin_data_file = "conf/server/x509pop.conf" }
        UpstreamAuthority "disk" { plugin_data { key_file_path = "./conf/server/dummy_upstream_ca.key" } }`,
      });
      const { code, stdout, stderr } = await server.cli(
        "validate",
        "-config",
        server.configuration,
      );
      expect(code).toBe(1);
      expect(stdout + stderr).toContain(
        "failed to read plugin configuration: open conf/server/x509pop.conf: no such file or directory",
      );
      expect(stdout + stderr).toContain(
        "'cert_file_path' and 'key_file_path' must be set and not empty",
      );
    }),
  TIMEOUT_MS,
);

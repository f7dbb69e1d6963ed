/** What an agent listens on when its configuration takes APIs away. */
import { afterAll, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { callUnary, unixChannel } from "#grpc/client.ts";
import { DiscoveryRequest } from "#proto/envoy/service/discovery/v3/discovery.ts";
import { SecretDiscoveryServiceClient } from "#proto/envoy/service/secret/v3/sds.ts";
import {
  SpiffeWorkloadAPIClient,
  ValidateJWTSVIDRequest,
} from "#proto/spiffe/workload/workload.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import { eventually, run } from "../support/process.ts";
import { executable, Stage, TestAgent, TestServer } from "../support/spire.ts";

async function codeOf(call: Promise<unknown>): Promise<number> {
  try {
    await call;
    return StatusCode.OK;
  } catch (error) {
    if (error instanceof StatusError) return error.code;
    throw error;
  }
}

const stage = new Stage();
afterAll(() => stage.close(), 60_000);

test("each public API can be there without the other, and health beside either", async () => {
  const server = await TestServer.start(stage, "ours");
  const answers = async (settings: string): Promise<string> => {
    const agent = await TestAgent.start(stage, "ours", server, { settings });
    const { address, credentials, options } = unixChannel(agent.socket);
    const workloadApi = new SpiffeWorkloadAPIClient(address, credentials, options);
    const sds = new SecretDiscoveryServiceClient(address, credentials, options);
    const codes = await Promise.all([
      codeOf(callUnary(workloadApi, "validateJwtsvid", ValidateJWTSVIDRequest.fromPartial({}))),
      codeOf(callUnary(sds, "fetchSecrets", DiscoveryRequest.fromPartial({}))),
    ]);
    await agent.daemon.stop();
    return codes.join();
  };
  const { OK, INVALID_ARGUMENT, UNIMPLEMENTED } = StatusCode;
  expect(await answers("")).toBe([INVALID_ARGUMENT, OK].join());
  expect(await answers("disable_workload_api = true")).toBe([UNIMPLEMENTED, OK].join());
  expect(await answers("disable_sds_api = true")).toBe([INVALID_ARGUMENT, UNIMPLEMENTED].join());
}, 60_000);

test("with both public APIs disabled there is the admin socket alone, beside where the other would be", async () => {
  const server = await TestServer.start(stage, "ours");
  const directory = stage.room("agent");
  const adminSocket = join(directory, "public", "admin.sock");
  const agent = await TestAgent.prepare(stage, "ours", server, {
    directory,
    settings: `admin_socket_path = "${adminSocket}"
  disable_workload_api = true
  disable_sds_api = true`,
  });
  agent.launch();
  const words = [executable("ours", "spire-agent"), "debug", "getinfo", "-socketPath", adminSocket];
  const shown = await eventually("the admin socket answers", async () => {
    const answer = await run(words);
    return answer.code === 0 ? answer.stdout : undefined;
  });
  expect(shown).toContain(`SPIFFE ID:  ${agent.id}`);
  expect(existsSync(agent.socket)).toBe(false);
}, 60_000);

/** Lines that callers nobody knows can have server and agent write: a few from each address or user, however often they call. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { constants } from "node:http2";
import { StatusCode } from "#spiffe/status-error.ts";
import { eventually } from "../support/process.ts";
import { framed, RawCallers, rawCall } from "../support/raw-calls.ts";
import { Stage, TestAgent, TestServer } from "../support/spire.ts";

const CALLS = 300;
/** What is written of one address in a minute, and as much again should a minute end meanwhile. */
const LINES = 20;
const ATTEST = "/spire.api.server.agent.v1.Agent/AttestAgent";

const stage = new Stage();
const callers = new RawCallers();
let server: TestServer;

beforeAll(async () => {
  server = await TestServer.start(stage, "ours", { settings: "audit_log_enabled = true" });
  // At level debug everything is written.
  expect((await server.cli("logger", "set", "-level", "info")).code).toBe(0);
}, 60_000);

afterAll(async () => {
  callers.close();
  await stage.close();
}, 60_000);

test("calls that are denied", async () => {
  const from = server.daemon.lines.length;
  const session = await callers.tls(server.port);
  const path = "/spire.api.server.entry.v1.Entry/ListEntries";
  const calls = Array.from({ length: CALLS }, () => rawCall(session, path, Buffer.alloc(0)));
  const codes = new Set((await Promise.all(calls)).map(({ code }) => code));
  expect(codes).toEqual(new Set([StatusCode.PERMISSION_DENIED]));
  const lines = server.daemon.lines.slice(from);
  expect(lines.filter((line) => line.includes("Failed to authenticate caller"))).not.toBeEmpty();
  expect(lines.length).toBeLessThanOrEqual(LINES);
});

test("attestations that are given up while they wait for their turn", async () => {
  const from = server.daemon.lines.length;
  const session = await callers.tls(server.port);
  const streams = Array.from({ length: CALLS }, () =>
    session.request(
      { ":method": "POST", ":path": ATTEST, "content-type": "application/grpc" },
      { endStream: false },
    ),
  );
  for (const stream of streams) stream.on("error", () => {});
  // That they arrived, and what became of them, tells a call that comes behind them.
  await rawCall(session, "/grpc.health.v1.Health/Check", Buffer.alloc(0));
  for (const stream of streams) stream.close(constants.NGHTTP2_CANCEL);
  await rawCall(session, "/grpc.health.v1.Health/Check", Buffer.alloc(0));
  await eventually("the server has nothing more to say", async () => {
    const { length } = server.daemon.lines;
    await server.cli("healthcheck");
    return server.daemon.lines.length === length ? true : undefined;
  });
  expect(server.daemon.lines.length - from).toBeLessThanOrEqual(LINES);
});

test("workloads that nobody registered, at the agent", async () => {
  const agent = await TestAgent.prepare(stage, "ours", server);
  const text = readFileSync(agent.configuration, "utf8");
  writeFileSync(agent.configuration, text.replace('"DEBUG"', '"INFO"'));
  await agent.start();
  const session = callers.unix(agent.socket);
  for (const path of [
    "/SpiffeWorkloadAPI/FetchX509SVID",
    "/SpiffeWorkloadAPI/FetchX509Bundles",
    "/SpiffeWorkloadAPI/ValidateJWTSVID",
  ]) {
    const calls = Array.from({ length: CALLS }, () =>
      rawCall(session, path, framed(Buffer.alloc(0))),
    );
    const codes = new Set((await Promise.all(calls)).map(({ code }) => code));
    expect(codes).toEqual(new Set([StatusCode.PERMISSION_DENIED]));
  }
  const lines = agent.daemon.lines.filter((line) => line.includes("No identity issued"));
  expect(lines).not.toBeEmpty();
  expect(lines.length).toBeLessThanOrEqual(LINES);
});

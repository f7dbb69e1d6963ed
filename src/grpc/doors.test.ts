import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { type ClientHttp2Session, connect } from "node:http2";
import { connect as connectSocket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLog } from "#log/log.ts";
import { StatusCode } from "#spiffe/status-error.ts";
import { createHealthService } from "./health.ts";
import type { GrpcListener } from "./listener.ts";
import { ReceiveBudget } from "./receive-budget.ts";
import { withReflection } from "./reflection.ts";
import { listenUnix } from "./unix-listener.ts";

const log = createLog({ level: "error", format: "text" }, Date.now, { write: () => undefined });
const directory = mkdtempSync(join(tmpdir(), "doors-"));
let listener: GrpcListener;
let session: ClientHttp2Session;

beforeAll(async () => {
  const path = join(directory, "api.sock");
  listener = await listenUnix({
    path,
    socketMode: 0o700,
    directoryMode: 0o700,
    services: withReflection([createHealthService({ problem: async () => undefined }, { log })], {
      log,
    }),
    limits: { requestMs: 200 },
    log,
  });
  session = connect("http://localhost", { createConnection: () => connectSocket({ path }) });
});

afterAll(async () => {
  session.destroy();
  await listener.close(0);
  rmSync(directory, { recursive: true, force: true });
});

test.each([
  ["/grpc.health.v1.Health/Check", Buffer.alloc(0)],
  ["/grpc.health.v1.Health/Check", Buffer.from([0, 0, 0, 0, 9, 1])],
  ["/grpc.health.v1.Health/Check", Buffer.from([0, 0, 0, 0, 0])],
  ["/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Buffer.from([0, 0, 0])],
])("a request of %s that does not come to its end is given up: %p", async (path, begun) => {
  const { promise, resolve } = Promise.withResolvers<unknown>();
  const stream = session.request(
    { ":method": "POST", ":path": path, "content-type": "application/grpc" },
    { endStream: false },
  );
  stream.on("response", (headers) => resolve(headers["grpc-status"]));
  if (begun.length > 0) stream.write(begun);
  expect(Number(await promise)).toBe(StatusCode.DEADLINE_EXCEEDED);
  stream.destroy();
});

test("unfinished requests hold so much of one source, and so much together", () => {
  const budget = new ReceiveBudget({ source: 10, total: 15 });
  budget.take("a", 10);
  expect(() => budget.take("a", 1)).toThrow("too many requests are unfinished");
  budget.take("b", 5);
  expect(() => budget.take("c", 1)).toThrow("too many requests are unfinished");
  budget.give("a", 4);
  budget.take("c", 4);
  budget.give("a", 6);
  budget.take("a", 6);
});

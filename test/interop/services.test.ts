/** What is served over the network, and what on the local socket alone: the same as by the reference. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { StatusCode } from "#spiffe/status-error.ts";
import { SERVER_METHODS } from "../fuzz/request-samples.ts";
import { framed, RawCallers, rawCall } from "../support/raw-calls.ts";
import { type Implementation, Stage, TestServer } from "../support/spire.ts";

const stage = new Stage();
const callers = new RawCallers();
const servers = new Map<Implementation, TestServer>();

beforeAll(async () => {
  for (const implementation of ["ours", "reference"] as const) {
    servers.set(implementation, await TestServer.start(stage, implementation));
  }
}, 120_000);

afterAll(async () => {
  callers.close();
  await stage.close();
}, 60_000);

/** Services that SPIRE has, too. */
const METHODS = SERVER_METHODS.map(({ path }) => path).filter(
  (path) => !path.startsWith("/spire_edge."),
);

/** Those that a caller without a certificate hears of that they are not there. */
async function absent(implementation: Implementation): Promise<string[]> {
  const port = servers.get(implementation)?.port ?? 0;
  const session = await callers.tls(port);
  const codes = await Promise.all(
    METHODS.map(async (path) => {
      const { code } = await rawCall(session, path, framed(Buffer.alloc(0)), {
        encoding: "identity",
      });
      return [path, code] as const;
    }),
  );
  return codes.flatMap(([path, code]) => (code === StatusCode.UNIMPLEMENTED ? [path] : []));
}

test("over the network", async () => {
  const [ours, theirs] = [await absent("ours"), await absent("reference")];
  expect(ours).toContain("/spire.api.server.debug.v1.Debug/GetInfo");
  expect(ours).toEqual(theirs);
});

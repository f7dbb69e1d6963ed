/** Our server and the reference's federate, in both roles and by both profiles. */
import { afterAll, describe, expect, test } from "bun:test";
import { federatedWorkloadTests } from "../support/federated-workloads.ts";
import {
  bundleOf,
  create,
  endpointBlock,
  offer,
  REFRESH_HINT,
  startServer,
  urlOf,
  webFlags,
} from "../support/federation.ts";
import { eventually } from "../support/process.ts";
import { Stage } from "../support/spire.ts";
import { WebCa } from "../support/web-ca.ts";

const pairs = [
  ["ours", "reference"],
  ["reference", "ours"],
] as const;

describe.each(pairs)("%s and %s federate by https_spiffe", (one, two) =>
  federatedWorkloadTests([one, two]),
);

describe.each(pairs)("%s fetches from %s by https_web", (asking, serving) => {
  const stage = new Stage();
  afterAll(() => stage.close(), 60_000);

  test("by the machine's root certificates", async () => {
    const ca = await WebCa.make(stage.room("web"));
    await ca.issue("endpoint");
    ca.install("endpoint");
    const offered = await offer("web.test");
    const [, client] = await Promise.all([
      startServer(stage, serving, "web.test", [endpointBlock(offered, ca.profile)]),
      startServer(stage, asking, "asking.test", [], { env: { SSL_CERT_FILE: ca.file } }),
    ]);
    await create(client, ...webFlags("web.test", urlOf(offered, "localhost")));
    const bundle = await eventually("the bundle", () => bundleOf(client, "web.test"));
    expect(bundle).toEqual({ hint: REFRESH_HINT, x509: 1, jwt: 1 });
  }, 60_000);
});

import { afterAll, expect, test } from "bun:test";
import { CaStage, WORKLOAD } from "#server/ca/ca.fixture.ts";
import { generatePrivateKey, signerFromPrivateKey } from "#x509/keys.ts";

const stage = new CaStage();
afterAll(() => stage.close());

test("an SVID costs one signature, of either kind", async () => {
  const manager = await stage.open();
  const counts = { x509: 0, jwt: 0 };
  for (const [kind, slot] of [
    ["x509", manager.authorities.x509],
    ["jwt", manager.authorities.jwt],
  ] as const) {
    const key = slot.state.active?.key;
    if (key === undefined) throw new Error("nothing signs");
    const sign = key.sign.bind(key);
    key.sign = (data) => {
      counts[kind]++;
      return sign(data);
    };
  }
  const { publicKeySpki } = signerFromPrivateKey(await generatePrivateKey("ec-p256"));
  for (let n = 0; n < 5; n++) {
    await manager.x509Svid({ id: WORKLOAD, publicKeySpki });
    await manager.jwtSvid({ id: WORKLOAD, audience: ["a"] });
  }
  expect(counts).toEqual({ x509: 5, jwt: 5 });
});

import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { privateKeyToPkcs8Pem } from "#x509/keys.ts";
import { certificatesToPem } from "#x509/pem.ts";
import { make, NOW } from "#x509/pki.fixture.ts";
import { checkIdentity, checkNodeCertificate } from "./identity.ts";
import { checkSight } from "./process.ts";
import { checkSkew } from "./server.ts";

const HOUR = 3600;

describe("the agent's identity", async () => {
  const uri = "spiffe://example.org/spire/agent/join_token/a";
  const found = async (
    notBefore: number,
    notAfter: number,
    more: { readonly hasKey?: boolean; readonly hasBundle?: boolean } = {},
  ): Promise<string> => {
    const times = { notBefore: NOW + notBefore, notAfter: NOW + notAfter };
    const { certificate } = await make({ name: "agent", uri, ...times });
    const state = {
      svid: [certificate.der],
      bundle: more.hasBundle === false ? [] : [certificate.der],
      reattestable: false,
      bootstrapMode: undefined,
      bootstrapStart: 0,
      connectionAttempts: 0,
    };
    const keys = more.hasKey === false ? [] : [certificate.publicKeySpki];
    const { level, message } = checkIdentity(state, keys, NOW);
    return `${level} ${message}`;
  };

  test.each([
    ["young", -60, HOUR, {}, "OK spiffe://example.org/spire/agent/join_token/a, good until"],
    ["old", -HOUR, 60, {}, "WARN spiffe"],
    ["expired", -HOUR, -1, {}, "FAIL spiffe"],
    ["of the future", 60, HOUR, {}, "FAIL spiffe"],
    ["without its key", -60, HOUR, { hasKey: false }, "FAIL spiffe"],
    ["without a bundle", -60, HOUR, { hasBundle: false }, "FAIL spiffe"],
  ])("that is %s", async (_what, notBefore, notAfter, more, beginning) => {
    expect(await found(notBefore, notAfter, more)).toStartWith(beginning);
  });
});

describe("the node's certificate", () => {
  const directory = mkdtempSync(join(tmpdir(), "node-"));
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  test.each([
    [48 * HOUR, "OK"],
    [HOUR, "WARN"],
    [-1, "FAIL"],
  ] as const)("that ends in %i seconds: %s", async (left, level) => {
    const times = { notBefore: NOW - 96 * HOUR, notAfter: NOW + left };
    const { certificate, key } = await make({ name: "node", ...times });
    const write = (name: string, text: string): string => {
      writeFileSync(join(directory, name), text);
      return join(directory, name);
    };
    const files = {
      privateKeyPath: write("key.pem", privateKeyToPkcs8Pem(key)),
      certificatePath: write("cert.pem", certificatesToPem([certificate.der])),
    };
    expect((await checkNodeCertificate(files, NOW)).level).toBe(level);
  });
});

test.each([
  [undefined, "OK", "not compared"],
  [[-0.1, 0.9], "OK", "as far as can be told: to 0.9 s"],
  [[0.5, 1.5], "OK", "0.5 s ahead of"],
  [[-2.9, -1.9], "OK", "1.9 s behind"],
  [[5, 6], "WARN", "5.0 s ahead of"],
  [[-6, -5], "WARN", "5.0 s behind"],
  [[11, 12], "FAIL", "11.0 s ahead of"],
  [[-12, -11], "FAIL", "11.0 s behind"],
] as const)("a server whose clock is between %p s ahead: %s, %s", (between, level, words) => {
  const [atLeast, atMost] = between ?? [0, 0];
  const found = checkSkew(between === undefined ? undefined : { atLeast, atMost });
  expect(found).toMatchObject({ level, message: expect.stringContaining(words) });
});

test.each([
  ["root", "0", "000001ffffffffff", "OK"],
  ["a user with the capability", "998", "0000000000080000", "OK"],
  ["a user without", "998", "0000000000000400", "FAIL"],
  // What the shipped unit gives, all of it decimal digits.
  ["the agent's unit", "998", "0000000000080004", "OK"],
])("programs of others, seen by %s", (_who, uid, capabilities, level) => {
  const status = `Name:\tspire-agent\nUid:\t${uid}\t${uid}\t${uid}\t${uid}\nCapEff:\t${capabilities}\nCapBnd:\t${capabilities}\n`;
  expect(checkSight(status, true).level).toBe(level as "OK");
  expect(checkSight(status, false).level).toBe("OK");
});

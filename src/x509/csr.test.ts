import { expect, test } from "bun:test";
import { generateKeyPairSync } from "node:crypto";
import { createCsr, parseCsr } from "./csr.ts";
import { generatePrivateKey, signerFromPrivateKey } from "./keys.ts";

const signer = signerFromPrivateKey(await generatePrivateKey("ec-p256"));

test.each(["ec-p256", "ec-p384", "rsa-2048"] as const)(
  "a %s request says what was put in and verifies",
  async (type) => {
    const own = signerFromPrivateKey(await generatePrivateKey(type));
    const csr = parseCsr(
      await createCsr({ signer: own, uriSan: "spiffe://example.org/a", dnsSans: ["a.example"] }),
    );
    expect(csr.uriSans).toEqual(["spiffe://example.org/a"]);
    expect(csr.dnsSans).toEqual(["a.example"]);
    expect(Buffer.compare(csr.publicKeySpki, own.publicKeySpki)).toBe(0);
    expect(await csr.verifySignature()).toBe(true);
  },
);

test("openssl reads it and verifies it", async () => {
  const der = await createCsr({ signer, uriSan: "spiffe://example.org/a" });
  const { stderr, stdout } = Bun.spawnSync(
    ["openssl", "req", "-inform", "DER", "-noout", "-verify", "-text"],
    { stdin: der },
  );
  expect(stderr.toString() + stdout.toString()).toContain("verify OK");
  expect(stdout.toString()).toContain("URI:spiffe://example.org/a");
});

test("a request without names is as good", async () => {
  const csr = parseCsr(await createCsr({ signer }));
  expect([csr.uriSans, csr.dnsSans]).toEqual([[], []]);
});

test("a request signed by another key does not verify", async () => {
  const other = signerFromPrivateKey(await generatePrivateKey("ec-p256"));
  const csr = parseCsr(
    await createCsr({ signer: { ...other, publicKeySpki: signer.publicKeySpki } }),
  );
  expect(await csr.verifySignature()).toBe(false);
});

test("trailing bytes, cuts and sizes beyond reason are refused", async () => {
  const der = await createCsr({ signer });
  expect(() => parseCsr(Buffer.concat([der, Buffer.of(0)]))).toThrow("trailing data");
  expect(() => parseCsr(der.subarray(0, der.length - 1))).toThrow("cut off");
  expect(() => parseCsr(new Uint8Array(0))).toThrow();
  expect(() => parseCsr(new Uint8Array(1_000_000))).toThrow("longer than");
});

test("keys too weak to certify are named", () => {
  const weak = generateKeyPairSync("rsa", { modulusLength: 1024 }).publicKey.export({
    type: "spki",
    format: "der",
  });
  return expect(
    createCsr({ signer: { ...signer, publicKeySpki: weak } }).then(parseCsr),
  ).rejects.toThrow("RSA key of 1024 bits");
});

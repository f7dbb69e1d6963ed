import { expect, test } from "bun:test";
import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readPkcs12 } from "./pkcs12.ts";
import { writePkcs12 } from "./pkcs12-write.ts";
import { make } from "./pki.fixture.ts";

const valid = { notBefore: 1_700_000_000, notAfter: 4_000_000_000 };
const KEYS: readonly (readonly [string, () => { publicKey: KeyObject; privateKey: KeyObject }])[] =
  [
    ["EC P-256", () => generateKeyPairSync("ec", { namedCurve: "P-256" })],
    ["EC P-384", () => generateKeyPairSync("ec", { namedCurve: "P-384" })],
    ["RSA 2048", () => generateKeyPairSync("rsa", { modulusLength: 2048 })],
  ];

async function written(keys: { publicKey: KeyObject; privateKey: KeyObject }) {
  const authority = await make({ ...valid, name: "Authority", isCa: true });
  const publicKeySpki = keys.publicKey.export({ type: "spki", format: "der" });
  const leaf = await make({ ...valid, name: "leaf", issuer: authority, publicKeySpki });
  const privateKey = keys.privateKey.export({ type: "pkcs8", format: "der" });
  const chain = [leaf, authority].map(({ certificate }) => certificate.der);
  const input = { privateKey, chain, name: "spiffe://example.org/é", password: "open sesame" };
  return { bytes: writePkcs12(input), privateKey, chain };
}

test.each(KEYS)(
  "%s: what is written is read again, and only with the password",
  async (_type, keys) => {
    const { bytes, privateKey, chain } = await written(keys());
    const read = await readPkcs12(bytes, "open sesame");
    expect(read.privateKey.export({ type: "pkcs8", format: "der" })).toEqual(privateKey);
    expect(read.certificate.der).toEqual(new Uint8Array(chain[0] ?? []));
    expect(read.others.map(({ der }) => der)).toEqual(
      chain.slice(1).map((der) => new Uint8Array(der)),
    );
    await expect(readPkcs12(bytes, "wrong")).rejects.toThrow("wrong password");
  },
);

test.each(KEYS)("%s: OpenSSL and Java read it", async (_type, keys) => {
  const { bytes } = await written(keys());
  const directory = mkdtempSync(join(tmpdir(), "spire-edge-p12-"));
  const file = join(directory, "svid.p12");
  writeFileSync(file, bytes);
  const run = async (...command: string[]): Promise<string> => {
    const child = Bun.spawn(command, { stdout: "pipe", stderr: "pipe" });
    const [out, err] = await Promise.all(
      [child.stdout, child.stderr].map((one) => new Response(one).text()),
    );
    expect({ code: await child.exited, err }).toMatchObject({ code: 0 });
    return `${out}${err}`;
  };
  try {
    const text = await run(
      "openssl",
      "pkcs12",
      "-in",
      file,
      "-passin",
      "pass:open sesame",
      "-nodes",
      "-info",
    );
    expect(text).toContain("BEGIN PRIVATE KEY");
    expect(text.match(/BEGIN CERTIFICATE/g)).toHaveLength(2);
    expect(text).toContain("MAC: sha256, Iteration 2048");
    if (Bun.which("keytool") !== null) {
      const listed = await run("keytool", "-list", "-keystore", file, "-storepass", "open sesame");
      expect(listed).toContain("PrivateKeyEntry");
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});

import { expect, test } from "bun:test";
import { generateKeyPairSync } from "node:crypto";
import { Certificate } from "./certificate.ts";
import { basicConstraintsExtension } from "./extensions.ts";
import { issueCertificate } from "./issue.ts";
import { authoritySigner } from "./keys.ts";
import { encodeName } from "./name.ts";
import { isSelfSigned } from "./self-signed.ts";
import { twinCertificates } from "./twin.ts";

async function certificateBy(privateKey: Parameters<typeof authoritySigner>[0]) {
  const signer = authoritySigner(privateKey);
  const subjectDer = encodeName({ commonName: "one" });
  return issueCertificate(
    {
      serialNumber: Uint8Array.of(1),
      issuerDer: subjectDer,
      subjectDer,
      notBefore: 1_800_000_000,
      notAfter: 1_900_000_000,
      publicKeySpki: signer.publicKeySpki,
      extensions: [basicConstraintsExtension(true)],
    },
    signer,
  );
}

test.each(["P-256", "P-384", "P-521"])(
  "a signature by %s has one twin that verifies",
  async (namedCurve) => {
    const { privateKey } = generateKeyPairSync("ec", { namedCurve });
    for (let round = 0; round < 20; round++) {
      const certificate = await certificateBy(privateKey);
      const twins = twinCertificates(certificate);
      const good = twins.filter((der) => isSelfSigned(Certificate.parse(der)));
      expect(good).toHaveLength(1);
      expect(good[0]).not.toEqual(certificate);
      // The twin of the twin is the certificate itself.
      expect(twinCertificates(good[0]!)).toContainEqual(certificate);
    }
  },
);

test("signatures of other kinds have none", async () => {
  for (const { privateKey } of [
    generateKeyPairSync("rsa", { modulusLength: 2048 }),
    generateKeyPairSync("ed25519"),
  ]) {
    expect(twinCertificates(await certificateBy(privateKey))).toEqual([]);
  }
});

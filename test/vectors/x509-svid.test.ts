/** The vectors of the X509-SVID standard: chains with a verdict each, made once and kept. */
import { expect, test } from "bun:test";
import { Certificate } from "#x509/certificate.ts";
import { certificatesFromPem } from "#x509/pem.ts";
import { verifyX509Svid } from "#x509/svid.ts";
import suite from "./x509-svid.json";

const roots = certificatesFromPem(suite.bundle).map((der) => Certificate.parse(der));

test.each(suite.vectors)("X509-SVID §$section: $name ($why) is $verdict", ({ input, verdict }) => {
  const verify = () =>
    verifyX509Svid(
      certificatesFromPem(input),
      ({ name }) => (name === suite.trustDomain ? roots : undefined),
      suite.atSeconds,
    );
  if (verdict === "valid") expect(verify().id.trustDomain.name).toBe(suite.trustDomain);
  else expect(verify).toThrow();
});

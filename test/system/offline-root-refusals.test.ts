/** What a server does not take as its CA, though a real openssl signed it. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { Ceremony, type SigningOptions } from "../support/ceremony.ts";
import { activeCa, CA_EXTENSIONS, csrFile, URI, waitingServer } from "../support/offline-server.ts";
import { Stage, type TestServer, TRUST_DOMAIN } from "../support/spire.ts";

const stage = new Stage();
afterAll(() => stage.close(), 60_000);

describe("what is refused", () => {
  let server: TestServer;
  let ceremony: Ceremony;
  let other: Ceremony;
  beforeAll(async () => {
    ({ server, ceremony } = await waitingServer(stage));
    other = new Ceremony(stage.room("ceremony"));
    await other.makeRoot();
    await ceremony.sign();
  }, 60_000);

  const importing = async (root = ceremony.root): Promise<string> => {
    const answer = await server.cli("ca", "import", "-cert", ceremony.certificate, "-root", root);
    expect(answer.code).toBe(1);
    expect(await activeCa(server)).toBe("");
    expect(await Bun.file(csrFile(server)).exists()).toBe(true);
    return answer.stderr;
  };

  test.each([
    [
      "a certificate that is no CA's",
      ["basicConstraints = critical, CA:FALSE", ...CA_EXTENSIONS.slice(1), URI],
      {},
      "it is not a CA certificate",
    ],
    [
      "a CA that may not sign certificates",
      ["basicConstraints = critical, CA:TRUE", "keyUsage = critical, cRLSign", URI],
      {},
      "its key usage must hold keyCertSign",
    ],
    [
      "a CA without a key usage",
      ["basicConstraints = critical, CA:TRUE", URI],
      {},
      "its key usage must hold keyCertSign",
    ],
    [
      "another trust domain",
      [...CA_EXTENSIONS, "subjectAltName = URI:spiffe://other.org"],
      {},
      `its URI SAN is "spiffe://other.org"; it must be "spiffe://${TRUST_DOMAIN}" alone, or none`,
    ],
    [
      "a workload's ID",
      [...CA_EXTENSIONS, `subjectAltName = URI:spiffe://${TRUST_DOMAIN}/web`],
      {},
      `must be "spiffe://${TRUST_DOMAIN}" alone`,
    ],
    [
      "a certificate that ended",
      [...CA_EXTENSIONS, URI],
      { until: "20210101000000Z" },
      "has expired at 2021-01-01",
    ],
    [
      "a life beyond the root's",
      [...CA_EXTENSIONS, URI],
      { days: 5000 },
      "have it signed for less time",
    ],
    [
      "a weak signature",
      [...CA_EXTENSIONS, URI],
      { digest: "sha1" },
      "an algorithm that is weak or not supported",
    ],
    [
      "clients' certificates only",
      [...CA_EXTENSIONS, URI, "extendedKeyUsage = clientAuth"],
      {},
      "leaves out serverAuth or clientAuth",
    ],
    [
      "URIs of another trust domain only",
      [...CA_EXTENSIONS, "nameConstraints = critical, permitted;URI:other.org"],
      {},
      "is outside the name constraints",
    ],
    [
      "no subject key identifier",
      [...CA_EXTENSIONS.slice(0, 2), "subjectKeyIdentifier = none", URI],
      {},
      "it needs a subject key identifier and an authority key identifier",
    ],
    [
      "the subject of the root",
      [...CA_EXTENSIONS, URI],
      { subject: "/O=Example/CN=Example offline root" },
      "it has the subject of its issuer",
    ],
  ])(
    "%s",
    async (_what, extensions, options: SigningOptions, why) => {
      await ceremony.signWith(extensions, options);
      expect(await importing()).toContain(why);
    },
    60_000,
  );

  test("a root that did not sign it, and none at all", async () => {
    await ceremony.signWith([...CA_EXTENSIONS, URI]);
    expect(await importing(other.root)).toContain("it leads to no root that counts");
    const without = await server.cli("ca", "import", "-cert", ceremony.certificate);
    expect(without.stderr).toContain(
      "no root was given: name it with -root, or set root_cert_path",
    );
    const nothing = await server.cli("ca", "import", "-cert", csrFile(server));
    expect(nothing.stderr).toContain("no PEM blocks of type CERTIFICATE found");
  });

  test("a root with a key that not everybody can use", async () => {
    const root = join(ceremony.directory, "pss");
    await ceremony.openssl(
      ...["req", "-x509", "-newkey", "rsa-pss", "-pkeyopt", "rsa_keygen_bits:2048", "-nodes"],
      ...["-subj", "/O=PSS", "-keyout", `${root}.key`, "-out", `${root}.pem`],
    );
    expect(await importing(`${root}.pem`)).toContain(
      'key of the root "O=PSS": it is of a kind that is not supported',
    );
  });

  test("another key", async () => {
    const key = join(ceremony.directory, "other.key");
    await ceremony.openssl(
      "genpkey",
      "-algorithm",
      "EC",
      "-pkeyopt",
      "ec_paramgen_curve:P-256",
      "-out",
      key,
    );
    await ceremony.openssl(
      ...[
        "req",
        "-new",
        "-key",
        key,
        "-subj",
        "/O=Other",
        "-out",
        join(ceremony.stick, "server-ca.csr"),
      ],
    );
    await ceremony.signWith([...CA_EXTENSIONS, URI]);
    expect(await importing()).toContain("it is for another key than the pending request's");
  });

  test("a root without room below it", async () => {
    const root = join(ceremony.directory, "narrow");
    await narrowRoot(ceremony, root);
    expect(await importing(`${root}.pem`)).toContain("is longer than its path length allows");
  });
});

/** Signs the pending request by a root whose path length is 0. */
async function narrowRoot(ceremony: Ceremony, root: string): Promise<void> {
  await ceremony.openssl(
    "genpkey",
    "-algorithm",
    "EC",
    "-pkeyopt",
    "ec_paramgen_curve:P-256",
    "-out",
    `${root}.key`,
  );
  await ceremony.openssl(
    ...[
      "req",
      "-x509",
      "-new",
      "-key",
      `${root}.key`,
      "-subj",
      "/O=Narrow",
      "-days",
      "99",
      "-out",
      `${root}.pem`,
    ],
    ...["-addext", "basicConstraints=critical,CA:TRUE,pathlen:0"],
  );
  const extensions = join(ceremony.directory, "narrow.cnf");
  writeFileSync(extensions, `${[...CA_EXTENSIONS, URI].join("\n")}\n`);
  const csr = (await ceremony.server?.cli("ca", "csr", "-write", `${root}.csr`))?.stdout;
  expect(csr).toBe(`Request written to ${root}.csr\n`);
  await ceremony.openssl(
    ...["x509", "-req", "-in", `${root}.csr`, "-CA", `${root}.pem`, "-CAkey", `${root}.key`],
    ...["-CAcreateserial", "-extfile", extensions, "-out", ceremony.certificate],
  );
}

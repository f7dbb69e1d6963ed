import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { systemClock } from "#clock/clock.ts";
import { systemRandom } from "#clock/random.ts";
import { createLog } from "#log/log.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import { Certificate } from "#x509/certificate.ts";
import { createCsr } from "#x509/csr.ts";
import { KeyUsage } from "#x509/extensions.ts";
import { generatePrivateKey, signerFromPrivateKey } from "#x509/keys.ts";
import { encodeName } from "#x509/name.ts";
import { certificatesFromPem, certificatesToPem } from "#x509/pem.ts";
import type { Signer } from "#x509/signer.ts";
import { openDiskUpstreamAuthority } from "./disk.ts";
import type { AuthorityFiles } from "./load.ts";
import { Authorities } from "./openssl.fixture.ts";

const SUBJECT = encodeName({ country: ["US"], organization: ["SPIFFE"] });

let files: Authorities;
let signer: Signer;
let csr: Uint8Array;
let logged: string[];
/** Seconds that the clock is ahead. */
let ahead = 0;

beforeAll(async () => {
  files = new Authorities();
  signer = signerFromPrivateKey(await generatePrivateKey("ec-p256"));
  csr = await createCsr({ signer, subjectDer: SUBJECT, uriSan: "spiffe://example.org" });
  files.ca("root");
  files.ca("policy", { issuer: "root" });
  files.ca("issuing", { issuer: "policy" });
});

afterAll(() => files.remove());

beforeEach(() => {
  logged = [];
  ahead = 0;
});

function open(config: AuthorityFiles) {
  return openDiskUpstreamAuthority(config, {
    trustDomain: TrustDomain.parse("example.org"),
    clock: { ...systemClock, nowSeconds: () => Math.floor(Date.now() / 1000) + ahead },
    random: systemRandom,
    log: createLog({ level: "info", format: "text" }, () => 0, {
      write: (line) => void logged.push(line),
    }),
  });
}

function pem(name: string, certificates = `${name}.pem`): AuthorityFiles {
  return { certFilePath: files.path(certificates), keyFilePath: files.path(`${name}.key`) };
}

/** The issuing CA with those above it in one file, and the root as the bundle. */
function chained(): AuthorityFiles {
  files.write("chain.pem", files.read("issuing.pem"), files.read("policy.pem"));
  return { ...pem("issuing", "chain.pem"), bundleFilePath: files.path("root.pem") };
}

describe("the certificate it signs", () => {
  test("has the profile of a trust domain's CA", async () => {
    const { caChain, upstreamRoots } = await (await open(pem("root"))).mintX509Ca(csr, 600);
    const [minted] = caChain.map((der) => Certificate.parse(der));
    const root = Certificate.parse(upstreamRoots[0]!.certificate);
    const now = Math.floor(Date.now() / 1000);
    expect(caChain).toHaveLength(1);
    expect(minted!.uriSans).toEqual(["spiffe://example.org"]);
    expect(minted!.subjectText).toBe("O=SPIFFE,C=US");
    expect(minted!.issuerDer).toEqual(root.subjectDer);
    expect(minted!.isCa).toBe(true);
    expect(minted!.extensions.keyUsage).toBe(KeyUsage.keyCertSign + KeyUsage.cRLSign);
    expect(minted!.extensions.authorityKeyId).toEqual(root.extensions.subjectKeyId);
    expect(minted!.publicKeySpki).toEqual(signer.publicKeySpki);
    expect(Math.abs(minted!.notBefore - (now - 10))).toBeLessThanOrEqual(2);
    expect(Math.abs(minted!.notAfter - (now + 600))).toBeLessThanOrEqual(2);
    const text = files.openssl(
      "x509",
      "-noout",
      "-text",
      "-in",
      files.write("m", certificatesToPem(caChain)),
    );
    expect(text).toContain("X509v3 Basic Constraints: critical\n                CA:TRUE\n");
    expect(text).toContain(
      "X509v3 Key Usage: critical\n                Certificate Sign, CRL Sign\n",
    );
  });

  test("lasts an hour when no lifetime is asked for, and never longer than what is above it", async () => {
    files.ca("short", { issuer: "root", days: 1 });
    const config = { ...pem("short"), bundleFilePath: files.path("root.pem") };
    const upstream = await open(config);
    const now = Math.floor(Date.now() / 1000);
    const hour = Certificate.parse((await upstream.mintX509Ca(csr, 0)).caChain[0]!);
    expect(Math.abs(hour.notAfter - (now + 3600))).toBeLessThanOrEqual(2);
    const capped = await upstream.mintX509Ca(csr, 10 * 86_400);
    const [minted, short] = capped.caChain.map((der) => Certificate.parse(der));
    expect(minted!.notAfter).toBe(short!.notAfter);
  });

  test("has a serial number of its own each time", async () => {
    const upstream = await open(pem("root"));
    const serials = new Set<string>();
    for (let round = 0; round < 3; round++) {
      serials.add(
        Certificate.parse((await upstream.mintX509Ca(csr, 0)).caChain[0]!).serialNumberDecimal,
      );
    }
    expect(serials.size).toBe(3);
  });
});

describe("PEM files", () => {
  test.each([
    ["rsa-2048", "pkcs8"],
    ["rsa-2048", "traditional"],
    ["rsa-3072", "pkcs8"],
    ["rsa-3072", "traditional"],
    ["rsa-4096", "pkcs8"],
    ["ec-p256", "pkcs8"],
    ["ec-p256", "traditional"],
    ["ec-p384", "pkcs8"],
    ["ec-p384", "traditional"],
    ["ec-p521", "pkcs8"],
    ["ec-p521", "traditional"],
    ["ed25519", "pkcs8"],
  ] as const)("self-signed %s with a key in %s form", async (kind, form) => {
    files.ca("one", { kind, form });
    const { caChain, upstreamRoots } = await (await open(pem("one"))).mintX509Ca(csr, 600);
    expect(
      files.verify(
        caChain,
        upstreamRoots.map(({ certificate }) => certificate),
      ),
    ).toContain(": OK");
  });

  test.each(["sha1", "md5"] as const)("a root signed with %s", async (digest) => {
    files.ca("old", { kind: "rsa-2048", digest });
    const { caChain, upstreamRoots } = await (await open(pem("old"))).mintX509Ca(csr, 600);
    expect(caChain).toHaveLength(1);
    const roots = upstreamRoots.map(({ certificate }) => certificate);
    expect(files.verify(caChain, roots)).toContain(": OK");
    files.ca("young", { issuer: "old" });
    const below = { ...pem("young"), bundleFilePath: files.path("old.pem") };
    const lower = (await (await open(below)).mintX509Ca(csr, 600)).caChain;
    expect(files.verify(lower, roots)).toContain(": OK");
  });

  test.each([
    ["the authority and its root", "issuing.pem", ["issuing.pem", "policy.pem", "root.pem"]],
    ["one in between and its root", "chain.pem", ["policy.pem", "root.pem"]],
    ["the authority and its root, with the chain beside", "chain.pem", ["issuing.pem", "root.pem"]],
  ])("a bundle with %s gives a chain that the root alone verifies", async (_what, own, bundle) => {
    chained();
    files.write("many.pem", ...bundle.map((name) => files.read(name)));
    const config = { ...pem("issuing", own), bundleFilePath: files.path("many.pem") };
    const { caChain, upstreamRoots } = await (await open(config)).mintX509Ca(csr, 600);
    expect(upstreamRoots).toHaveLength(bundle.length);
    const root = certificatesFromPem(files.read("root.pem"));
    expect(files.verify(caChain, root)).toContain(": OK");
  });

  test("a chain below a root: the chain goes with the certificate, the root does not", async () => {
    const { caChain, upstreamRoots } = await (await open(chained())).mintX509Ca(csr, 600);
    expect(caChain.slice(1).map((der) => Certificate.parse(der).subjectText)).toEqual([
      "CN=issuing,O=Corp,C=DE",
      "CN=policy,O=Corp,C=DE",
    ]);
    const roots = upstreamRoots.map(({ certificate }) => certificate);
    expect(roots.map((der) => Certificate.parse(der).subjectText)).toEqual(["CN=root,O=Corp,C=DE"]);
    expect(files.verify(caChain, roots)).toContain(": OK");
  });

  test("the order of the certificates above does not matter, and a root among them is left out", async () => {
    files.write(
      "mixed.pem",
      ...["issuing", "root", "policy"].map((one) => files.read(`${one}.pem`)),
    );
    const config = { ...pem("issuing", "mixed.pem"), bundleFilePath: files.path("root.pem") };
    const { caChain } = await (await open(config)).mintX509Ca(csr, 600);
    expect(caChain).toHaveLength(3);
  });

  test("a root with room for one below it", async () => {
    const extensions = ["basicConstraints=critical,CA:TRUE,pathlen:1"];
    files.ca("roomy", { extensions: [...extensions, "keyUsage=critical,keyCertSign"] });
    const { caChain } = await (await open(pem("roomy"))).mintX509Ca(csr, 600);
    expect(caChain).toHaveLength(1);
  });

  test("a bundle that trusts the issuing CA itself", async () => {
    const config = { ...pem("issuing"), bundleFilePath: files.path("issuing.pem") };
    const { caChain } = await (await open(config)).mintX509Ca(csr, 600);
    expect(caChain).toHaveLength(2);
  });

  test("are read again for each certificate", async () => {
    files.ca("replaced");
    const upstream = await open(pem("replaced"));
    const before = await upstream.mintX509Ca(csr, 600);
    files.ca("replaced", { kind: "ec-p384" });
    const after = await upstream.mintX509Ca(csr, 600);
    expect(after.upstreamRoots).not.toEqual(before.upstreamRoots);
    expect(files.verify(after.caChain, [after.upstreamRoots[0]!.certificate])).toContain(": OK");
    expect(logged).toEqual([]);
  });

  test("that do not fit while they are being replaced leave the last authority in place, with a warning", async () => {
    files.ca("torn");
    const upstream = await open(pem("torn"));
    const before = await upstream.mintX509Ca(csr, 600);
    files.write("torn.key", files.read("root.key"));
    expect((await upstream.mintX509Ca(csr, 600)).upstreamRoots).toEqual(before.upstreamRoots);
    rmSync(files.path("torn.key"));
    await upstream.mintX509Ca(csr, 600);
    expect(logged).toHaveLength(2);
    expect(logged[0]).toContain("certificate and private key do not match");
  });

  test("are looked at again for the version, which changes with the authority and stays with all else", async () => {
    files.ca("moving");
    const upstream = await open(pem("moving"));
    const before = await upstream.currentVersion();
    expect((await upstream.mintX509Ca(csr, 600)).version).toBe(before);
    files.write("moving.pem", files.read("moving.pem"), "\n");
    expect(await upstream.currentVersion()).toBe(before);
    const [key, certificate] = [files.read("moving.key"), files.read("moving.pem")];
    files.ca("moving");
    const after = await upstream.currentVersion();
    expect(after).not.toBe(before);
    expect((await upstream.mintX509Ca(csr, 600)).version).toBe(after);
    files.write("moving.key", key);
    files.write("moving.pem", certificate);
    expect(await upstream.currentVersion()).toBe(before);
    expect(logged).toEqual([]);
  });

  test("that stay broken make one line in the log, and are taken once they fit", async () => {
    files.ca("halved");
    const upstream = await open(pem("halved"));
    const before = await upstream.currentVersion();
    files.ca("other");
    files.write("halved.pem", files.read("other.pem").slice(0, 200));
    for (let round = 0; round < 3; round++) expect(await upstream.currentVersion()).toBe(before);
    files.write("halved.pem", files.read("other.pem"));
    for (let round = 0; round < 3; round++) expect(await upstream.currentVersion()).toBe(before);
    expect(logged).toHaveLength(2);
    files.write("halved.key", files.read("other.key"));
    expect(await upstream.currentVersion()).not.toBe(before);
    expect(logged).toHaveLength(2);
  });

  test("an authority that has run out meanwhile signs nothing more", async () => {
    files.ca("dying", { days: 1 });
    const upstream = await open(pem("dying"));
    ahead = 2 * 86_400;
    await expect(upstream.mintX509Ca(csr, 600)).rejects.toThrow(/expired/);
  });
});

describe("an authority that does not fit is refused at start", () => {
  const broken: readonly (readonly [string, () => AuthorityFiles, RegExp])[] = [
    ["no files", () => ({}), /'cert_file_path' and 'key_file_path' must be set/],
    ["no key file", () => ({ certFilePath: files.path("root.pem") }), /must be set/],
    [
      "a missing file",
      () => pem("nowhere"),
      /unable to load upstream CA key: .*nowhere\.key: ENOENT/,
    ],
    [
      "a certificate for a key",
      () => ({ ...pem("root"), keyFilePath: files.path("root.pem") }),
      /unable to load upstream CA key: /,
    ],
    [
      "a key for a certificate",
      () => ({ ...pem("root"), certFilePath: files.path("root.key") }),
      /unable to load upstream CA cert: /,
    ],
    [
      "another's key",
      () => ({ ...pem("root"), keyFilePath: files.path("policy.key") }),
      /"disk": certificate and private key do not match: .*root\.pem, .*policy\.key/,
    ],
    [
      "a key that is too weak",
      () => {
        files.ca("weak", { kind: "rsa-1024" });
        return pem("weak");
      },
      /^UpstreamAuthority "disk": .*weak\.key: RSA key of 1024 bits; 2048 to 8192/,
    ],
    [
      "a file with a certificate that is cut off",
      () => {
        files.write("cut.pem", files.read("root.pem"), files.read("policy.pem").slice(0, 200));
        return pem("root", "cut.pem");
      },
      /"disk": .*cut\.pem: line \d+: .*is cut off/,
    ],
    [
      "a key encrypted in the older way",
      () => {
        const cipher = ["-aes256", "-passout", "pass:secret"];
        const key = ["-in", files.path("root.key"), "-out", files.path("old-way.key")];
        files.openssl("ec", ...key, ...cipher);
        return { ...pem("root"), keyFilePath: files.path("old-way.key") };
      },
      /"disk": .*old-way\.key: the private key is encrypted/,
    ],
    [
      "a chain without a bundle",
      () => ({ ...chained(), bundleFilePath: undefined }) as never,
      /only self-signed CAs are supported/,
    ],
    ["not self-signed and no bundle", () => pem("issuing"), /only self-signed CAs are supported/],
    [
      "a bundle of somebody else",
      () => {
        files.ca("stranger");
        return { ...chained(), bundleFilePath: files.path("stranger.pem") };
      },
      /cannot be validated with the provided bundle/,
    ],
    [
      "a link of the chain is missing",
      () => ({ ...pem("issuing"), bundleFilePath: files.path("root.pem") }),
      /cannot be validated/,
    ],
    [
      "not a CA",
      () => {
        files.ca("leaf", { issuer: "root", extensions: ["basicConstraints=critical,CA:FALSE"] });
        return { ...pem("leaf"), bundleFilePath: files.path("root.pem") };
      },
      /is not a certificate authority/,
    ],
    [
      "a root by itself that is no CA",
      () => {
        files.ca("self", { extensions: ["basicConstraints=critical,CA:FALSE"] });
        return pem("self");
      },
      /is not a certificate authority/,
    ],
    [
      "a root whose own signature is damaged",
      () => {
        const [der = new Uint8Array()] = certificatesFromPem(files.read("root.pem"));
        files.write("damaged.pem", certificatesToPem([der.with(-1, (der.at(-1) ?? 0) ^ 1)]));
        return pem("root", "damaged.pem");
      },
      /signature by "CN=root,O=Corp,C=DE" does not verify/,
    ],
    [
      "a CA that may not sign certificates",
      () => {
        files.ca("crl", {
          issuer: "root",
          extensions: ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,cRLSign"],
        });
        return { ...pem("crl"), bundleFilePath: files.path("root.pem") };
      },
      /may not sign certificates/,
    ],
    [
      "a CA with no room for another below it",
      () => {
        files.ca("narrow", {
          extensions: [
            "basicConstraints=critical,CA:TRUE,pathlen:0",
            "keyUsage=critical,keyCertSign",
          ],
        });
        return pem("narrow");
      },
      /path length .* has no room/,
    ],
    [
      "a root with no room for two below it",
      () => {
        files.ca("tight", {
          extensions: [
            "basicConstraints=critical,CA:TRUE,pathlen:1",
            "keyUsage=critical,keyCertSign",
          ],
        });
        files.ca("below", { issuer: "tight" });
        return { ...pem("below"), bundleFilePath: files.path("tight.pem") };
      },
      /path length .*CN=tight.* has no room/,
    ],
    [
      "an encrypted key",
      () => {
        files.openssl(
          "pkcs8",
          "-topk8",
          "-in",
          files.path("root.key"),
          "-passout",
          "pass:x",
          "-out",
          files.path("enc.key"),
        );
        return { ...pem("root"), keyFilePath: files.path("enc.key") };
      },
      /the private key is encrypted/,
    ],
  ];

  test.each(broken)("%s", async (_what, config, message) => {
    await expect(open(config())).rejects.toThrow(message);
  });

  test("one that has expired", async () => {
    ahead = 31 * 86_400;
    await expect(open(pem("root"))).rejects.toThrow(/is not valid now/);
  });
});

describe("a request that it does not sign", () => {
  const requests: readonly (readonly [string, () => Promise<Uint8Array>, RegExp])[] = [
    [
      "not a request",
      async () => new Uint8Array([1, 2, 3]),
      /unable to sign CSR: unable to parse CSR: /,
    ],
    [
      "without a subject",
      () => createCsr({ signer, uriSan: "spiffe://example.org" }),
      /CSR must have a subject/,
    ],
    [
      "without an ID",
      () => createCsr({ signer, subjectDer: SUBJECT }),
      /CSR must have exactly one URI SAN/,
    ],
    [
      "for a workload",
      () => createCsr({ signer, subjectDer: SUBJECT, uriSan: "spiffe://example.org/workload" }),
      /must use the trust domain ID/,
    ],
    [
      "for another trust domain",
      () => createCsr({ signer, subjectDer: SUBJECT, uriSan: "spiffe://other.org" }),
      /must use the trust domain ID for trust domain "example\.org"/,
    ],
    [
      "whose signature does not verify",
      async () => {
        const bad = Uint8Array.from(csr);
        bad[bad.length - 1]! ^= 1;
        return bad;
      },
      /CSR signature check failed/,
    ],
  ];

  test.each(requests)("%s", async (_what, request, message) => {
    const upstream = await open(pem("root"));
    await expect(upstream.mintX509Ca(await request(), 600)).rejects.toThrow(message);
  });

  test("for a trust domain that the name constraints above forbid", async () => {
    files.ca("constrained", {
      extensions: [
        "basicConstraints=critical,CA:TRUE",
        "keyUsage=critical,keyCertSign",
        "nameConstraints=critical,permitted;URI:other.org",
      ],
    });
    const upstream = await open(pem("constrained"));
    await expect(upstream.mintX509Ca(csr, 600)).rejects.toThrow(/unable to sign CSR: /);
  });
});

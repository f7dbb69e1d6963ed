import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import forge from "node-forge";
import { systemClock } from "#clock/clock.ts";
import { systemRandom } from "#clock/random.ts";
import { createLog } from "#log/log.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import { createCsr } from "#x509/csr.ts";
import { generatePrivateKey, signerFromPrivateKey } from "#x509/keys.ts";
import { encodeName } from "#x509/name.ts";
import { certificatesToPem } from "#x509/pem.ts";
import { openDiskUpstreamAuthority } from "./disk.ts";
import type { AuthorityFiles } from "./load.ts";
import { Authorities } from "./openssl.fixture.ts";

let files: Authorities;
let csr: Uint8Array;

beforeAll(async () => {
  files = new Authorities();
  const signer = signerFromPrivateKey(await generatePrivateKey("ec-p256"));
  const subjectDer = encodeName({ organization: ["SPIFFE"] });
  csr = await createCsr({ signer, subjectDer, uriSan: "spiffe://example.org" });
  files.ca("root");
  files.ca("policy", { issuer: "root" });
  files.ca("issuing", { issuer: "policy" });
});

afterAll(() => files.remove());

function open(config: AuthorityFiles) {
  return openDiskUpstreamAuthority(config, {
    trustDomain: TrustDomain.parse("example.org"),
    clock: systemClock,
    random: systemRandom,
    log: createLog({ level: "info", format: "text" }, () => 0, { write: () => undefined }),
  });
}

describe("PKCS#12 files", () => {
  const kinds = ["rsa-2048", "ec-p256", "ec-p384"] as const;
  const protections = [
    ["as openssl 3 does", []],
    [
      "as older tools do (3DES, SHA-1)",
      ["-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES", "-macalg", "sha1"],
    ],
    ["as the oldest do (RC2-40, SHA-1)", ["-legacy"]],
    [
      "with AES-128 and a SHA-512 MAC",
      ["-keypbe", "AES-128-CBC", "-certpbe", "AES-128-CBC", "-macalg", "sha512"],
    ],
    ["with certificates in the clear", ["-certpbe", "NONE"]],
    ["with nothing encrypted", ["-keypbe", "NONE", "-certpbe", "NONE"]],
    ["without a MAC", ["-nomac"]],
  ] as const;
  const cases = kinds.flatMap((kind) =>
    protections.map(([protection, options]) => [kind, protection, options] as const),
  );

  test.each(cases)("%s protected %s", async (kind, _protection, options) => {
    files.ca("p12", { kind, issuer: "root" });
    files.write("password", "correct horse\n");
    const upstream = await open({
      pkcs12FilePath: files.pkcs12("p12", "correct horse", ["root"], ...options),
      pkcs12PasswordFile: files.path("password"),
    });
    const { caChain, upstreamRoots } = await upstream.mintX509Ca(csr, 600);
    const roots = upstreamRoots.map(({ certificate }) => certificate);
    expect(Buffer.from(certificatesToPem(roots)).toString()).toBe(files.read("root.pem"));
    expect(certificatesToPem(caChain.slice(1))).toBe(files.read("p12.pem"));
    expect(files.verify(caChain, roots)).toContain(": OK");
  });

  test("without a password", async () => {
    const upstream = await open({ pkcs12FilePath: files.pkcs12("root", "", []) });
    expect((await upstream.mintX509Ca(csr, 600)).caChain).toHaveLength(1);
  });

  test("a chain in any order, with a friendly name", async () => {
    const path = files.pkcs12("issuing", "x", ["root", "policy"], "-name", "Corp Issuing CA");
    const upstream = await open({
      pkcs12FilePath: path,
      pkcs12PasswordFile: files.write("pw", "x"),
    });
    const { caChain, upstreamRoots } = await upstream.mintX509Ca(csr, 600);
    expect(certificatesToPem(caChain.slice(1))).toBe(
      files.read("issuing.pem") + files.read("policy.pem"),
    );
    expect(upstreamRoots).toHaveLength(1);
  });

  test("the authority's own certificate is found by its key, wherever it stands", async () => {
    files.ca("rsa-root", { kind: "rsa-2048" });
    files.ca("rsa-below", { kind: "rsa-2048", issuer: "rsa-root" });
    const key = forge.pki.privateKeyFromPem(files.read("rsa-below.key"));
    const certificates = ["rsa-root", "rsa-below"].map((one) =>
      forge.pki.certificateFromPem(files.read(`${one}.pem`)),
    );
    // openssl always puts it first.
    const pfx = forge.pkcs12.toPkcs12Asn1(key, certificates, "x", { algorithm: "aes256" });
    const path = files.path("reordered.p12");
    writeFileSync(path, forge.asn1.toDer(pfx).getBytes(), "binary");
    const upstream = await open({
      pkcs12FilePath: path,
      pkcs12PasswordFile: files.write("pw", "x"),
    });
    const { caChain } = await upstream.mintX509Ca(csr, 600);
    expect(certificatesToPem(caChain.slice(1))).toBe(files.read("rsa-below.pem"));
  });

  test("a bundle file decides whom to trust, not the roots in the file", async () => {
    files.ca("stranger");
    const config = {
      pkcs12FilePath: files.pkcs12("issuing", "x", ["root", "policy"]),
      pkcs12PasswordFile: files.write("pw", "x"),
    };
    await expect(open({ ...config, bundleFilePath: files.path("stranger.pem") })).rejects.toThrow(
      /cannot be validated with the provided bundle/,
    );
    const { upstreamRoots } = await (
      await open({ ...config, bundleFilePath: files.path("root.pem") })
    ).mintX509Ca(csr, 600);
    expect(upstreamRoots).toHaveLength(1);
  });

  test("what cannot be opened is refused with the file's name and never with the password", async () => {
    const path = files.pkcs12("root", "s3cret", []);
    const wrong = { pkcs12FilePath: path, pkcs12PasswordFile: files.write("pw", "wr0ng") };
    const refusal = async (config: AuthorityFiles): Promise<string> =>
      await open(config).then(
        () => "opened",
        (error: unknown) => String(error),
      );
    expect(await refusal(wrong)).toEndWith(`${path}: wrong password, or the file is damaged`);
    expect(await refusal(wrong)).not.toContain("wr0ng");
    const unchecked = files.pkcs12("policy", "s3cret", [], "-nomac");
    expect(await refusal({ ...wrong, pkcs12FilePath: unchecked })).toEndWith(
      `${unchecked}: wrong password, or the file is damaged`,
    );
    expect(await refusal({ ...wrong, pkcs12PasswordFile: files.write("pw", "naïve") })).toContain(
      "not ASCII",
    );
    expect(await refusal({ pkcs12FilePath: files.path("root.pem") })).toContain(
      "not a PKCS#12 file",
    );
    const certificate = ["-in", files.path("root.pem"), "-outform", "DER"];
    files.openssl("x509", ...certificate, "-out", files.path("root.der"));
    expect(await refusal({ pkcs12FilePath: files.path("root.der") })).toContain(
      "not a PKCS#12 file",
    );
    expect(await refusal({ pkcs12FilePath: files.path("none.p12") })).toContain("ENOENT");
    files.openssl(
      "pkcs12",
      "-export",
      "-nokeys",
      "-in",
      files.path("root.pem"),
      "-passout",
      "pass:",
      "-out",
      files.path("nokey.p12"),
    );
    expect(await refusal({ pkcs12FilePath: files.path("nokey.p12") })).toContain("no private key");
    files.openssl(
      "pkcs12",
      "-export",
      "-nocerts",
      "-inkey",
      files.path("root.key"),
      "-passout",
      "pass:",
      "-out",
      files.path("nocert.p12"),
    );
    expect(await refusal({ pkcs12FilePath: files.path("nocert.p12") })).toContain("no certificate");
    expect(await refusal({ pkcs12FilePath: files.pkcs12("issuing", "", ["policy"]) })).toContain(
      "no self-signed root",
    );
    // What SHA-1 signed is no root for that, if somebody else signed it.
    files.ca("old", { issuer: "root", digest: "sha1" });
    files.ca("below", { issuer: "old" });
    expect(await refusal({ pkcs12FilePath: files.pkcs12("below", "", ["old"]) })).toContain(
      "no self-signed root",
    );
    expect(await refusal({ certFilePath: files.path("root.pem"), pkcs12FilePath: path })).toContain(
      "not both",
    );
  });

  test("with very many iterations holds up nobody meanwhile", async () => {
    files.ca("slow", { kind: "rsa-2048" });
    const config = {
      pkcs12FilePath: files.pkcs12("slow", "x", [], "-iter", "600000", "-maciter"),
      pkcs12PasswordFile: files.write("pw", "x"),
    };
    let longest = 0;
    let last = performance.now();
    const beat = setInterval(() => {
      longest = Math.max(longest, performance.now() - last);
      last = performance.now();
    }, 1);
    const started = performance.now();
    await open(config);
    const took = performance.now() - started;
    clearInterval(beat);
    // Twenty seconds when it was done in JavaScript, all of them at once.
    expect(took).toBeLessThan(10_000);
    expect(longest).toBeLessThan(Math.max(300, took / 2));
  }, 60_000);

  test("with more iterations than anybody means is refused", async () => {
    // One derivation, of the key alone: making it takes as long as reading it would.
    const options = ["-iter", "10000001", "-certpbe", "NONE", "-nomac"];
    const path = files.pkcs12("root", "x", [], ...options);
    const config = { pkcs12FilePath: path, pkcs12PasswordFile: files.write("pw", "x") };
    await expect(open(config)).rejects.toThrow(`${path}: it asks for 10000001 iterations`);
  }, 60_000);

  test.each([
    ["Camellia", ["-keypbe", "CAMELLIA-256-CBC"]],
    ["ARIA", ["-certpbe", "ARIA-256-CBC", "-keypbe", "ARIA-256-CBC"]],
    ["RC4", ["-legacy", "-keypbe", "PBE-SHA1-RC4-128"]],
    ["a MAC with SHA-3", ["-macalg", "sha3-256"]],
    ["no MAC, but Camellia", ["-keypbe", "CAMELLIA-256-CBC", "-nomac"]],
  ])("%s is called not supported, and no wrong password", async (_what, options) => {
    const path = files.pkcs12("root", "x", [], ...options);
    const config = { pkcs12FilePath: path, pkcs12PasswordFile: files.write("pw", "x") };
    const refusal = await open(config).then(String, String);
    expect(refusal).toMatch(/not supported( \([\d.]+\))?; write it anew with AES-256-CBC/);
    expect(refusal).not.toContain("password");
  });
});

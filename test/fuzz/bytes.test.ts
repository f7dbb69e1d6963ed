/** Bytes from outside, damaged: certificates, chains, requests, files of keys, headers of balancers, answers of systemd. What is read is what was signed, and nothing crashes. */
import { beforeAll, expect, test } from "bun:test";
import { isIP } from "node:net";
import fc from "fast-check";
import forge from "node-forge";
import { marshal } from "#dbus/marshal.ts";
import { decodeMessage } from "#dbus/message.ts";
import { MessageStream } from "#dbus/message-stream.ts";
import { readProxyHeader } from "#grpc/proxy-header.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";
import { Certificate } from "#x509/certificate.ts";
import { createCsr, parseCsr } from "#x509/csr.ts";
import { splitCertificates } from "#x509/der.ts";
import { nameText } from "#x509/name.ts";
import { pkcs12Content } from "#x509/pkcs12.ts";
import { parsePkcs12 } from "#x509/pkcs12-parse.ts";
import { type Made, make, NOW } from "#x509/pki.fixture.ts";
import { parseX509SvidChain, verifyX509Svid } from "#x509/svid.ts";
import { attempt, damagedBytes, FUZZ_RUNS, FUZZ_TIMEOUT_MS, fuzz } from "../support/fuzzing.ts";

const ID = "spiffe://example.org/a";
let root: Made;
let middle: Made;
let leaf: Made;
let rsa: Made;
let csr: Uint8Array;

beforeAll(async () => {
  root = await make({ name: "root", isCa: true, uri: "spiffe://example.org" });
  middle = await make({ name: "middle", isCa: true, uri: "spiffe://example.org", issuer: root });
  leaf = await make({ name: "leaf", uri: ID, dns: ["a.example"], issuer: middle });
  rsa = await make({ name: "rsa", uri: ID, issuer: middle, keyType: "rsa-2048" });
  csr = await createCsr({ signer: leaf.signer, uriSan: ID, dnsSans: ["a.example"] });
});

const der = ({ certificate }: Made): Uint8Array => certificate.der;

test(
  "certificates",
  () =>
    fuzz("certificates", damagedBytes([root, middle, leaf, rsa].map(der)), async (bytes) => {
      const certificate = await attempt(() => Certificate.parse(bytes));
      if (certificate !== undefined) {
        expect(Buffer.compare(certificate.der, bytes)).toBe(0);
        await attempt(() => nameText(certificate.subjectDer));
      }
      await attempt(() => splitCertificates(bytes));
    }),
  FUZZ_TIMEOUT_MS,
);

test(
  "chains: whatever was done to one, it says only what its authority signed",
  () =>
    fuzz(
      "chains",
      fc.tuple(
        fc.constantFrom(0, 1, 2),
        damagedBytes([leaf, rsa].map(der)),
        damagedBytes([middle].map(der)),
      ),
      async ([which, damagedLeaf, damagedMiddle]) => {
        const chain = [
          which === 1 ? der(leaf) : damagedLeaf,
          which === 0 ? der(middle) : damagedMiddle,
        ];
        await attempt(() => parseX509SvidChain(chain));
        const rootsOf = ({ name }: TrustDomain): readonly Certificate[] | undefined =>
          name === "example.org" ? [root.certificate] : undefined;
        const verified = await attempt(() => verifyX509Svid(chain, rootsOf, NOW));
        if (verified === undefined) return;
        expect(verified.id.toString()).toBe(ID);
        const keys = [leaf, rsa].map(({ certificate }) => Buffer.from(certificate.publicKeySpki));
        expect(keys.some((key) => key.equals(verified.leaf.publicKeySpki))).toBe(true);
      },
    ),
  FUZZ_TIMEOUT_MS,
);

test(
  "requests: a signature that verifies is over the very names and the very key",
  () =>
    fuzz("requests", damagedBytes([csr]), async (bytes) => {
      const read = await attempt(() => parseCsr(bytes));
      if (read === undefined) return;
      const isGood = await attempt(() => read.verifySignature());
      if (isGood !== true) return;
      expect([read.uriSans, read.dnsSans]).toEqual([[ID], ["a.example"]]);
      expect(Buffer.compare(read.publicKeySpki, leaf.signer.publicKeySpki)).toBe(0);
    }),
  FUZZ_TIMEOUT_MS,
);

test(
  "PKCS#12 files",
  async () => {
    // forge writes certificates of RSA authorities alone.
    const own = await make({ name: "own", uri: ID, keyType: "rsa-2048" });
    const certificate = forge.pki.certificateFromAsn1(
      forge.asn1.fromDer(Buffer.from(der(own)).toString("latin1")),
    );
    const key = forge.pki.privateKeyFromPem(
      own.key.export({ type: "pkcs1", format: "pem" }).toString(),
    );
    const options = { algorithm: "3des", count: 1 } as const;
    const asn1 = forge.pkcs12.toPkcs12Asn1(key, [certificate], "password", options);
    const file = Buffer.from(forge.asn1.toDer(asn1).getBytes(), "latin1");
    expect(pkcs12Content(parsePkcs12(file, "password")).certificate.uriSans).toEqual([ID]);
    await fuzz(
      "PKCS#12",
      damagedBytes([file]),
      async (bytes) => {
        await attempt(() => pkcs12Content(parsePkcs12(bytes, "password")));
      },
      // A file of the operator's, and slow to read.
      Math.ceil(FUZZ_RUNS / 10),
    );
  },
  FUZZ_TIMEOUT_MS,
);

const PROXY_HEADERS = [
  "PROXY TCP4 192.0.2.7 198.51.100.1 56324 8081\r\n",
  "PROXY TCP6 2001:db8::7 ::1 56324 8081\r\n",
].map((line) => Buffer.from(line));
PROXY_HEADERS.push(
  Buffer.from("0d0a0d0a000d0a515549540a2111000cc0000207c6336401dc041f91", "hex"),
  Buffer.from(`0d0a0d0a000d0a515549540a21210024${"20".repeat(32)}dc041f91`, "hex"),
);

test(
  "headers of the PROXY protocol",
  () =>
    fuzz("PROXY headers", damagedBytes(PROXY_HEADERS), async (bytes) => {
      const read = await attempt(() => readProxyHeader(Buffer.from(bytes)));
      if (read?.kind !== "present") return;
      expect(read.bytes).toBeLessThanOrEqual(bytes.length);
      if (read.address !== undefined) expect(isIP(read.address)).not.toBe(0);
    }),
  FUZZ_TIMEOUT_MS,
);

/** An answer as systemd gives it: one value in a variant. */
function dbusAnswer(type: string, value: string | readonly number[]): Uint8Array {
  const body = marshal("v", [{ signature: type, value }]);
  const fields = [
    [5, { signature: "u", value: 7 }],
    [7, { signature: "s", value: ":1.0" }],
    [8, { signature: "g", value: "v" }],
  ];
  const header = marshal("yyyyuua(yv)", [0x6c, 2, 1, 1, body.length, 3, fields]);
  return Buffer.concat([header, Buffer.alloc(-header.length & 7), body]);
}

test(
  "answers of systemd: as a message, and in the stream that they come in",
  () =>
    fuzz(
      "D-Bus",
      damagedBytes([dbusAnswer("s", "nginx.service"), dbusAnswer("ay", [1, 2, 3, 4])]),
      async (bytes) => {
        await attempt(() => decodeMessage(Buffer.from(bytes)));
        await attempt(() => {
          const stream = new MessageStream();
          stream.push(Buffer.concat([Buffer.from("OK 1\r\n"), bytes, bytes]));
          stream.line();
          for (const message of stream.messages()) decodeMessage(message);
        });
      },
    ),
  FUZZ_TIMEOUT_MS,
);

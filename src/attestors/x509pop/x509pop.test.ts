/** Both halves against each other, and the server half against nodes that lie. */
import { describe, expect, test } from "bun:test";
import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import type { ChallengeStream, NodeAttestation, NodePeer } from "#attestors/attestor.ts";
import { systemRandom } from "#clock/random.ts";
import { Block, Problems } from "#config/block.ts";
import { parseHcl } from "#config/hcl.ts";
import { createLog } from "#log/log.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import type { Certificate } from "#x509/certificate.ts";
import { der, derOid, Tag } from "#x509/der.ts";
import { Oid } from "#x509/oid.ts";
import { type Made, make, NOW, type Wish } from "#x509/pki.fixture.ts";
import { createX509popAgent } from "./agent.ts";
import { encodeCertificates, encodeChallenge, encodeResponse } from "./payload.ts";
import { createX509popServer } from "./server.ts";
import { readX509popServerConfig } from "./server-config.ts";

const trustDomain = TrustDomain.parse("example.org");
const peer: NodePeer = { publicKeySpki: new Uint8Array(), ipAddress: "10.0.0.7" };
const encoder = new TextEncoder();

const root = await make({ name: "root", isCa: true });
const below = await make({ name: "below", isCa: true, issuer: root });
const stranger = await make({ name: "stranger", isCa: true });
const namesake = await make({ name: "below", isCa: true });

interface Node {
  readonly leaf: Certificate;
  readonly privateKey: KeyObject;
}

interface KeyPair {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}

const newKey = (): KeyPair => generateKeyPairSync("ec", { namedCurve: "P-256" });

async function node(
  wish: Partial<Wish> = {},
  { publicKey, privateKey }: KeyPair = newKey(),
): Promise<Node> {
  const publicKeySpki = publicKey.export({ type: "spki", format: "der" });
  const made = await make({ name: "node", issuer: below, publicKeySpki, ...wish });
  return { leaf: made.certificate, privateKey };
}

const names = (...entries: readonly [number, Uint8Array | string][]): Uint8Array =>
  der(
    Tag.SEQUENCE,
    derOid(Oid.subjectAltName),
    der(
      Tag.OCTET_STRING,
      der(
        Tag.SEQUENCE,
        ...entries.map(([tag, value]) =>
          der(tag, typeof value === "string" ? encoder.encode(value) : value),
        ),
      ),
    ),
  );
const uri = (value: string): [number, string] => [0x86, value];
const address = (...octets: number[]): [number, Uint8Array] => [0x87, Uint8Array.from(octets)];

interface Setting {
  readonly settings?: string;
  readonly roots?: readonly Made[];
  readonly from?: NodePeer;
}

const logged: string[] = [];

function server({ settings = "", roots = [root] }: Setting = {}) {
  const problems = new Problems("server.conf");
  const block = new Block(
    [parseHcl(`ca_bundle_path = "ca.pem"\n${settings}`, "t")],
    "it",
    problems,
  );
  const config = readX509popServerConfig(block, problems);
  problems.check();
  return createX509popServer({
    config,
    trustDomain,
    roots: async () => roots.map(({ certificate }) => certificate),
    clock: {
      nowMs: () => NOW * 1000,
      nowSeconds: () => NOW,
      monotonicMs: () => 0,
      after: () => ({ cancel: () => undefined }),
      sleep: async () => undefined,
    },
    random: systemRandom,
    log: createLog({ level: "info", format: "text" }, () => 0, {
      write: (line) => void logged.push(line),
    }),
  });
}

/** Has the agent half talk to the server half. */
async function attest(
  { leaf, privateKey }: Node,
  setting: Setting = {},
  intermediates: readonly Made[] = [below],
): Promise<NodeAttestation> {
  const certificates = [leaf, ...intermediates.map(({ certificate }) => certificate)];
  const agent = createX509popAgent({
    identity: async () => ({ privateKey, certificates: certificates.map((one) => one.der) }),
    random: systemRandom,
  });
  const challenged = Promise.withResolvers<Uint8Array>();
  const answered = Promise.withResolvers<Uint8Array>();
  let result: Promise<NodeAttestation> | undefined;
  const stream: ChallengeStream = {
    sendPayload: async (payload) => {
      result = server(setting).attest(
        payload,
        (challenge) => {
          challenged.resolve(challenge);
          return answered.promise;
        },
        setting.from ?? peer,
      );
      await Promise.race([challenged.promise, result]);
    },
    receiveChallenge: () => challenged.promise,
    sendChallengeResponse: async (response) => answered.resolve(response),
  };
  await agent.attest(stream);
  if (result === undefined) throw new Error("the agent sent no payload");
  return result;
}

async function refusalOf(outcome: Promise<unknown>): Promise<{ code: number; message: string }> {
  const error = await outcome.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (error instanceof StatusError) return { code: error.code, message: error.message };
  throw new Error(`not refused with a status: ${String(error)}`);
}

const values = ({ selectors }: NodeAttestation): string[] => selectors.map(({ value }) => value);

describe("a node with a key of its own kind is let in", () => {
  const kinds: readonly [string, () => KeyPair][] = [
    ["RSA of 2048 bits", () => generateKeyPairSync("rsa", { modulusLength: 2048 })],
    ["P-256", () => generateKeyPairSync("ec", { namedCurve: "P-256" })],
    ["P-384", () => generateKeyPairSync("ec", { namedCurve: "P-384" })],
    ["P-521", () => generateKeyPairSync("ec", { namedCurve: "P-521" })],
  ];
  test.each(kinds)("%s", async (_kind, generate) => {
    const one = await node({}, generate());
    const { agentId, canReattest } = await attest(one);
    expect(agentId).toMatch(/^spiffe:\/\/example.org\/spire\/agent\/x509pop\/[0-9a-f]{40}$/);
    expect(canReattest).toBe(true);
  });
});

describe("selectors", () => {
  test("of the subject, of each authority on the way, and the serial number", async () => {
    const one = await node();
    const found = values(await attest(one));
    expect(found).toContain("subject:cn:node");
    expect(found.filter((value) => value.startsWith("ca:fingerprint:"))).toHaveLength(2);
    const serial = found.find((value) => value.startsWith("serialnumber:")) ?? "";
    expect(BigInt(`0x${serial.slice("serialnumber:".length)}`)).toBe(one.leaf.serialNumber);
  });

  test.each([
    [Uint8Array.of(0x0a, 0x1b), "serialnumber:0a1b"],
    [Uint8Array.of(0x9f, 0x01), "serialnumber:9f01"],
  ])("of a serial number with an even number of digits: %p", async (serialNumber, selector) => {
    expect(values(await attest(await node({ serialNumber })))).toContain(selector);
  });

  test("of all ways to a root", async () => {
    const other = await make({ name: "other root", isCa: true });
    const crossed = await make({ name: "below", isCa: true, issuer: other, signer: below });
    const found = values(await attest(await node(), { roots: [root, other] }, [below, crossed]));
    expect(found.filter((value) => value.startsWith("ca:fingerprint:"))).toHaveLength(4);
  });

  test("from alternative names of the scheme, for this trust domain only", async () => {
    const more = [
      names(
        uri("x509pop://example.org/env/prod"),
        uri("x509pop://example.org/path/a/b/"),
        uri("X509POP://example.org/blank/a%20b?x=y"),
        uri("x509pop://example.org/env/test"),
        uri("x509pop://other.org/env/prod"),
        uri("x509pop://example.org/lonely"),
        uri("https://example.org/x/y"),
      ),
    ];
    logged.length = 0;
    const found = values(await attest(await node({ more })));
    expect(found.filter((value) => value.startsWith("san:")).sort()).toEqual([
      "san:blank:a b",
      "san:env:test",
      "san:path:a/b",
    ]);
    expect(logged.join("")).toContain("x509pop://example.org/lonely");
  });
});

describe("the agent's path", () => {
  const settings = (template: string, more = ""): string =>
    `agent_path_template = ${JSON.stringify(template)}\n${more}`;

  test("follows the template", async () => {
    const more = [names(uri("x509pop://example.org/rack/r7"), [0x82, "n1.example.org"])];
    const template =
      "/{{ .TrustDomain }}/{{ .Subject.CommonName | upper }}/{{ .URISanSelectors.rack }}/{{ index .DNSNames 0 }}";
    const { agentId } = await attest(await node({ more }), { settings: settings(template) });
    expect(agentId).toBe("spiffe://example.org/spire/agent/example.org/NODE/r7/n1.example.org");
  });

  test("is refused when it would be no path of a SPIFFE ID", async () => {
    const bad = settings("/{{ .Subject.CommonName }}/../server");
    expect(await refusalOf(attest(await node(), { settings: bad }))).toMatchObject({
      code: StatusCode.INTERNAL,
      message: expect.stringContaining("failed to make spiffe id"),
    });
  });

  test("is refused when the certificate lacks what the template asks for", async () => {
    const rack = settings("/{{ .URISanSelectors.rack }}");
    expect(await refusalOf(attest(await node(), { settings: rack }))).toMatchObject({
      code: StatusCode.INTERNAL,
    });
  });
});

describe("mode spiffe", () => {
  const spiffe = (more = ""): Setting => ({
    settings: `ca_bundle_path = ""\nmode = "spiffe"\n${more}`,
  });
  const holder = (id: string): Promise<Node> => node({ uri: id });

  test("an SVID below the prefix becomes an agent of the same path", async () => {
    const one = await holder("spiffe://example.org/spire-exchange/rack/host");
    const { agentId } = await attest(one, spiffe());
    expect(agentId).toBe("spiffe://example.org/spire/agent/x509pop/rack/host");
  });

  test.each([
    ["spiffe_prefix", '"/hosts"'],
    ["svid_prefix", '"/hosts/"'],
  ])("the prefix is that of %s", async (key, value) => {
    const setting = spiffe(`${key} = ${value}`);
    const { agentId } = await attest(await holder("spiffe://example.org/hosts/a"), setting);
    expect(agentId).toBe("spiffe://example.org/spire/agent/x509pop/a");
    const outside = attest(await holder("spiffe://example.org/hosts-b/a"), setting);
    expect((await refusalOf(outside)).code).toBe(StatusCode.PERMISSION_DENIED);
  });

  test.each([
    ["outside the prefix", "spiffe://example.org/other/host", "x509 cert doesnt match SVID prefix"],
    ["of another trust domain", "spiffe://other.org/spire-exchange/host", "is not of trust domain"],
    ["that is malformed", "spiffe://example.org/spire-exchange/../x", "valid SVID x509 cert not"],
  ])("an SVID %s is refused", async (_what, id, message) => {
    expect(await refusalOf(attest(await holder(id), spiffe()))).toEqual({
      code: StatusCode.PERMISSION_DENIED,
      message: expect.stringContaining(message),
    });
  });

  test("a certificate without a SPIFFE ID is refused", async () => {
    expect((await refusalOf(attest(await node(), spiffe()))).message).toBe(
      "valid SVID x509 cert not found",
    );
  });
});

describe("verify_client_ip", () => {
  const settings = "verify_client_ip = true";
  const six = address(0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1);

  test.each([
    ["10.0.0.7", address(10, 0, 0, 7)],
    ["::ffff:10.0.0.7", address(10, 0, 0, 7)],
    ["2001:DB8::1", six],
    ["2001:db8::1%eth0", six],
  ])("%s is the address of the certificate", async (ipAddress, name) => {
    const one = await node({ more: [names(name)] });
    await attest(one, { settings, from: { ...peer, ipAddress } });
  });

  test.each([
    ["10.0.0.8", StatusCode.PERMISSION_DENIED],
    ["2001:db8::2", StatusCode.PERMISSION_DENIED],
    ["", StatusCode.INTERNAL],
  ])("%s is not", async (ipAddress, code) => {
    const one = await node({ more: [names(address(10, 0, 0, 7), six)] });
    const outcome = attest(one, { settings, from: { ...peer, ipAddress } });
    expect((await refusalOf(outcome)).code).toBe(code);
  });
});

describe("refused before a challenge is drawn", () => {
  const noChallenge = async (): Promise<Uint8Array> => {
    throw new Error("a challenge was sent");
  };
  const show = (payload: Uint8Array, setting: Setting = {}): Promise<unknown> =>
    server(setting).attest(payload, noChallenge, peer);
  const chain = (...made: Certificate[]): Uint8Array =>
    encodeCertificates(made.map((one) => one.der));

  test.each([
    ["no JSON", "certificates", "failed to unmarshal data"],
    ["no object", "[]", "failed to unmarshal data"],
    ["no certificates", "{}", "no certificate to attest"],
    ["null", '{"certificates":null}', "no certificate to attest"],
    ["no list", '{"certificates":"AAAA"}', "failed to unmarshal data"],
    ["no base64", '{"certificates":["%%%%"]}', "failed to unmarshal data"],
    ["no certificate", '{"certificates":["AAAA"]}', "unable to parse leaf certificate"],
    ["too long", `{"certificates":["${"A".repeat(300_000)}"]}`, "longer than"],
  ])("a payload with %s", async (_what, payload, message) => {
    expect(await refusalOf(show(encoder.encode(payload)))).toEqual({
      code: StatusCode.INVALID_ARGUMENT,
      message: expect.stringContaining(message),
    });
  });

  test("more intermediates than are allowed", async () => {
    const { leaf } = await node();
    const five = Array.from({ length: 5 }, () => below.certificate);
    expect(await refusalOf(show(chain(leaf, ...five)))).toEqual({
      code: StatusCode.INVALID_ARGUMENT,
      message: "too many intermediate certificates",
    });
    const one = { settings: "max_intermediates = 1" };
    expect((await refusalOf(show(chain(leaf, ...five.slice(3)), one))).message).toContain("many");
  });

  test("RSA keys larger than is allowed, of the node and of an authority", async () => {
    const rsaKey = generateKeyPairSync("rsa", { modulusLength: 3072 });
    const settings = "max_rsa_key_size = 2048";
    const { leaf } = await node({}, rsaKey);
    expect(await refusalOf(show(chain(leaf), { settings }))).toEqual({
      code: StatusCode.INVALID_ARGUMENT,
      message: "leaf certificate key size too large",
    });
    const { leaf: other } = await node();
    expect((await refusalOf(show(chain(other, leaf), { settings }))).message).toBe(
      "intermediate certificate 0 key size too large",
    );
  });

  const denied: readonly [string, Partial<Wish>, string][] = [
    ["an expired certificate", { notAfter: NOW - 1 }, "has expired"],
    ["one that is not valid yet", { notBefore: NOW + 1 }, "not yet valid"],
    ["one without an authority", { issuer: stranger }, "unknown auth"],
    ["an authority of the same name", { issuer: namesake }, "verify"],
  ];
  test.each(denied)("%s", async (_what, wish, message) => {
    const { leaf } = await node(wish);
    expect(await refusalOf(show(chain(leaf, below.certificate)))).toEqual({
      code: StatusCode.PERMISSION_DENIED,
      message: expect.stringMatching(new RegExp(`^certificate verification failed: .*${message}`)),
    });
  });

  test("a key too weak to prove anything", async () => {
    const { leaf } = await node({}, generateKeyPairSync("rsa", { modulusLength: 1024 }));
    expect((await refusalOf(show(chain(leaf, below.certificate)))).message).toContain("1024 bits");
  });

  test("a certificate that is not for signatures", async () => {
    const { leaf } = await node({ usage: 4 });
    expect(await refusalOf(show(chain(leaf, below.certificate)))).toEqual({
      code: StatusCode.INTERNAL,
      message: "unable to generate challenge: certificate not intended for digital signature use",
    });
  });

  test("a key of a kind that has no challenge", async () => {
    const { leaf } = await node({}, generateKeyPairSync("ed25519"));
    expect((await refusalOf(show(chain(leaf, below.certificate)))).message).toContain(
      "unable to generate challenge: unsupported key",
    );
  });
});

describe("a response that proves nothing", () => {
  type Reply = (challenge: Uint8Array, one: Node) => unknown;
  const exchange = async (reply: Reply, one?: Node): Promise<{ code: number; message: string }> => {
    const shown = one ?? (await node());
    const payload = encodeCertificates([shown.leaf.der, below.certificate.der]);
    const answer = async (challenge: Uint8Array): Promise<Uint8Array> => {
      const made = reply(challenge, shown);
      return made instanceof Uint8Array ? made : encoder.encode(JSON.stringify(made));
    };
    return refusalOf(server().attest(payload, answer, peer));
  };
  const nonce = Buffer.alloc(32, 7);
  const serverNonce = (challenge: Uint8Array): Buffer =>
    Buffer.from(JSON.parse(Buffer.from(challenge).toString()).ecdsa_signature.nonce, "base64");
  const signed = (data: Uint8Array, key: KeyObject): { r: string; s: string } => {
    const both = sign("sha256", data, { key, dsaEncoding: "ieee-p1363" });
    return {
      r: both.subarray(0, 32).toString("base64"),
      s: both.subarray(32).toString("base64"),
    };
  };
  const ecdsa = (fields: object): unknown => ({
    ecdsa_signature: { nonce: nonce.toString("base64"), ...fields },
  });

  test("is a signature by another key", async () => {
    const { privateKey } = newKey();
    const reply: Reply = (challenge) =>
      ecdsa(signed(Buffer.concat([serverNonce(challenge), nonce]), privateKey));
    expect(await exchange(reply)).toEqual({
      code: StatusCode.PERMISSION_DENIED,
      message: "challenge response verification failed: ECDSA signature verify failed",
    });
  });

  test("is one over the nonces the other way round, or over one alone", async () => {
    for (const order of [(a: Buffer) => [nonce, a], (a: Buffer) => [a], () => [nonce]]) {
      const reply: Reply = (challenge, { privateKey }) =>
        ecdsa(signed(Buffer.concat(order(serverNonce(challenge))), privateKey));
      expect((await exchange(reply)).code).toBe(StatusCode.PERMISSION_DENIED);
    }
  });

  test("is one that was good for an earlier challenge", async () => {
    const one = await node();
    let recorded: unknown;
    const first: Reply = (challenge, { privateKey }) => {
      recorded = ecdsa(signed(Buffer.concat([serverNonce(challenge), nonce]), privateKey));
      return { rsa_signature: null };
    };
    await exchange(first, one);
    expect((await exchange(() => recorded, one)).code).toBe(StatusCode.PERMISSION_DENIED);
  });

  test.each([
    ["zeros", ecdsa({ r: "", s: "" }), StatusCode.PERMISSION_DENIED],
    ["a first number larger than the curve", ecdsa({ r: "B".repeat(64), s: "AQ==" }), 7],
    ["a second number larger than the curve", ecdsa({ r: "AQ==", s: "B".repeat(64) }), 7],
    ["of another kind", { rsa_signature: { nonce: "", signature: "" } }, 3],
    ["a short nonce", ecdsa({ nonce: "AAAA", r: "AAAA", s: "AAAA" }), 3],
    ["no JSON", Buffer.from("nonsense"), 3],
    ["too long", Buffer.alloc(20_000, "{"), 3],
    ["empty", new Uint8Array(), 3],
  ])("is %s", async (_what, reply, code) => {
    expect((await exchange(() => reply)).code).toBe(code);
  });

  test("is a good signature that is all in one of its numbers", async () => {
    const reply: Reply = (challenge, { privateKey }) => {
      const { r, s } = signed(Buffer.concat([serverNonce(challenge), nonce]), privateKey);
      const whole = Buffer.concat([Buffer.from(r, "base64"), Buffer.from(s, "base64")]);
      return ecdsa({ r: "AQ==", s: whole.toString("base64") });
    };
    expect((await exchange(reply)).code).toBe(StatusCode.PERMISSION_DENIED);
  });

  test("but a number with leading zeros is the same number", async () => {
    const one = await node();
    const payload = encodeCertificates([one.leaf.der, below.certificate.der]);
    const padded = (text: string): string =>
      Buffer.concat([Buffer.alloc(5), Buffer.from(text, "base64")]).toString("base64");
    const { agentId } = await server().attest(
      payload,
      async (challenge) => {
        const { r, s } = signed(Buffer.concat([serverNonce(challenge), nonce]), one.privateKey);
        return encoder.encode(JSON.stringify(ecdsa({ r: padded(r), s: padded(s) })));
      },
      peer,
    );
    expect(agentId).toContain("/x509pop/");
  });
});

test("the agent answers a challenge of the right kind only, and of the right size", async () => {
  const { privateKey } = newKey();
  const agent = createX509popAgent({
    identity: async () => ({ privateKey, certificates: [] }),
    random: systemRandom,
  });
  const answer = (challenge: string | undefined): Promise<{ code: number; message: string }> =>
    refusalOf(
      agent.attest({
        sendPayload: async () => undefined,
        receiveChallenge: async () =>
          challenge === undefined ? undefined : encoder.encode(challenge),
        sendChallengeResponse: async () => undefined,
      }),
    );
  const nonce = Buffer.alloc(32).toString("base64");
  expect(
    (await answer(`{"rsa_signature":{"nonce":"${nonce}"},"ecdsa_signature":null}`)).message,
  ).toBe("failed to calculate challenge response: expecting ECDSA challenge");
  expect((await answer('{"ecdsa_signature":{"nonce":"AAAA"}}')).message).toContain("invalid");
  expect((await answer(" ".repeat(20_000))).message).toContain("longer than");
  expect((await answer(undefined)).message).toBe("the server asked for no proof");
});

test("the bytes on the wire are those that Go writes", () => {
  const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString();
  const nonce = Uint8Array.of(0xfb, 0xff);
  expect(text(encodeCertificates([Uint8Array.of(1), Uint8Array.of(2, 3)]))).toBe(
    '{"certificates":["AQ==","AgM="]}',
  );
  expect(text(encodeChallenge({ algorithm: "rsa", nonce }))).toBe(
    '{"rsa_signature":{"nonce":"+/8="},"ecdsa_signature":null}',
  );
  expect(text(encodeResponse({ algorithm: "ecdsa", nonce, r: nonce, s: nonce }))).toBe(
    '{"rsa_signature":null,"ecdsa_signature":{"nonce":"+/8=","r":"+/8=","s":"+/8="}}',
  );
});

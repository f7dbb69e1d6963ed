/** A table of certificates, good and bad, that our server and the reference's must judge alike. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { generateKeyPairSync } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { NodeAttestorAgent } from "#attestors/attestor.ts";
import { createX509popAgent } from "#attestors/x509pop/agent.ts";
import { systemRandom } from "#clock/random.ts";
import { der, derOid, Tag } from "#x509/der.ts";
import { authorityKeyIdExtension, subjectKeyIdExtension } from "#x509/extensions.ts";
import { Oid } from "#x509/oid.ts";
import { type Made, make, type Wish } from "#x509/pki.fixture.ts";
import { attestAt, type Outcome } from "../support/attest.ts";
import {
  ecKey,
  issuing,
  type Node,
  node,
  now,
  otherRoot,
  pem,
  root,
  rsaKey,
  selectorsOf,
  valid,
} from "../support/nodes.ts";
import { type Implementation, Stage, TestServer, TRUST_DOMAIN } from "../support/spire.ts";

const both: readonly Implementation[] = ["ours", "reference"];
const stage = new Stage();
const servers = new Map<Implementation, TestServer>();
const serverOf = (implementation: Implementation): TestServer => {
  const server = servers.get(implementation);
  if (server === undefined) throw new Error("not started");
  return server;
};
/** Listed in the bundle itself. */
const listed = await node({ name: "listed" }, undefined, []);

beforeAll(async () => {
  const bundle = join(stage.directory, "ca.pem");
  const trusted = [root, otherRoot].map(({ certificate }) => certificate);
  writeFileSync(bundle, pem([...trusted, ...listed.chain]));
  await Promise.all(
    both.map(async (implementation) => {
      const server = await TestServer.start(stage, implementation, {
        settings: "ratelimit { attestation = false }",
        plugins: `NodeAttestor "x509pop" {\n    plugin_data {\n      ca_bundle_path = "${bundle}"\n    }\n  }`,
      });
      servers.set(implementation, server);
    }),
  );
}, 60_000);

afterAll(() => stage.close(), 60_000);

/** What an agent of ours does with those certificates, at either server. */
async function judged(one: Node): Promise<{ ours: Outcome; reference: Outcome }> {
  const attestor = createX509popAgent({
    identity: async () => ({
      privateKey: one.privateKey,
      certificates: one.chain.map((certificate) => certificate.der),
    }),
    random: systemRandom,
  });
  return {
    ours: await attestAt(serverOf("ours").port, attestor),
    reference: await attestAt(serverOf("reference").port, attestor),
  };
}

const extension = (oid: string, critical: boolean, value: Uint8Array): Uint8Array =>
  der(
    Tag.SEQUENCE,
    derOid(oid),
    ...(critical ? [der(Tag.BOOLEAN, Uint8Array.of(0xff))] : []),
    der(Tag.OCTET_STRING, value),
  );
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const alternativeNames = (
  names: readonly [number, string | readonly number[]][],
  critical = false,
): Uint8Array => {
  const encoded = names.map(([tag, value]) =>
    der(tag, typeof value === "string" ? bytes(value) : Uint8Array.from(value)),
  );
  return extension(Oid.subjectAltName, critical, der(Tag.SEQUENCE, ...encoded));
};
const uris = (...names: string[]): Uint8Array =>
  alternativeNames(names.map((name) => [0x86, name] as const));
const constraints = (permitted: Uint8Array[], excluded: Uint8Array[] = []): Uint8Array => {
  const trees = (tag: number, bases: Uint8Array[]): Uint8Array[] =>
    bases.length === 0 ? [] : [der(tag, ...bases.map((base) => der(Tag.SEQUENCE, base)))];
  const value = der(Tag.SEQUENCE, ...trees(0xa0, permitted), ...trees(0xa1, excluded));
  return extension(Oid.nameConstraints, true, value);
};
const authority = (pathLength?: number): Uint8Array => {
  const limit = pathLength === undefined ? [] : [der(Tag.INTEGER, Uint8Array.of(pathLength))];
  const value = der(Tag.SEQUENCE, der(Tag.BOOLEAN, Uint8Array.of(0xff)), ...limit);
  return extension(Oid.basicConstraints, true, value);
};
const subject = (...attributes: readonly [string, number, Uint8Array][]): Uint8Array =>
  der(
    Tag.SEQUENCE,
    ...attributes.map(([oid, tag, value]) =>
      der(Tag.SET, der(Tag.SEQUENCE, derOid(oid), der(tag, value))),
    ),
  );

/** An authority below the root with some wish of its own, and a node below that. */
async function below(
  wish: Partial<Wish>,
  leafWish: Partial<Wish> = {},
  above: readonly Made[] = [],
): Promise<Node> {
  const issuer = await make({ ...valid, name: "Issuer", isCa: true, issuer: root, ...wish });
  return node({ issuer, ...leafWish }, ecKey("P-256"), [issuer, ...above]);
}

describe("certificates that both servers take, for the same agent with the same selectors", () => {
  const cases: readonly [string, () => Promise<Node>][] = [
    ["of a chain with one intermediate", () => node()],
    ["signed by a root", () => node({ issuer: root }, ecKey("P-256"), [])],
    ["listed among the roots itself", async () => listed],
    ["with the root in the chain", () => node({}, ecKey("P-256"), [issuing, root])],
    [
      "with its chain in another order",
      async () => {
        const deep = await make({ ...valid, name: "Deep", isCa: true, issuer: issuing });
        return node({ issuer: deep }, ecKey("P-256"), [issuing, deep]);
      },
    ],
    [
      "with two ways up",
      async () => {
        const crossed = await make({
          ...valid,
          name: "Corp Issuing",
          isCa: true,
          issuer: otherRoot,
          signer: issuing,
        });
        return node({}, ecKey("P-256"), [issuing, crossed]);
      },
    ],
    ["with a stranger in the chain", () => node({}, ecKey("P-256"), [issuing, otherRoot])],
    [
      "below an authority with another key identifier",
      () =>
        below(
          { keyId: subjectKeyIdExtension(bytes("other")) },
          { issuerKeyId: authorityKeyIdExtension(bytes("one")) },
        ),
    ],
    [
      "below an authority with room for none below it",
      () => below({ basicConstraints: authority(0) }),
    ],
    [
      "with addresses and mailboxes within limits",
      () =>
        below(
          {
            more: [
              constraints([
                der(0x87, Uint8Array.of(10, 0, 0, 0, 255, 0, 0, 0)),
                der(0x81, bytes("corp.example")),
                der(0x82, bytes("corp.example")),
                der(0x86, bytes(TRUST_DOMAIN)),
              ]),
            ],
          },
          {
            more: [
              alternativeNames([
                [0x87, [10, 1, 2, 3]],
                [0x81, "ops@corp.example"],
                [0x82, "n1.corp.example"],
                [0x86, `x509pop://${TRUST_DOMAIN}/a/b`],
              ]),
            ],
          },
        ),
    ],
    [
      "with a critical place of a revocation list",
      () => node({ more: [extension(Oid.crlDistributionPoints, true, der(Tag.SEQUENCE))] }),
    ],
    [
      "with an extension that nobody knows",
      () => node({ more: [extension("1.2.3.4", false, bytes("x"))] }),
    ],
    [
      "without a common name",
      () => node({ subjectDer: subject([Oid.organization, Tag.UTF8_STRING, bytes("Corp")]) }),
    ],
    [
      "with two common names",
      () =>
        node({
          subjectDer: subject(
            [Oid.commonName, Tag.UTF8_STRING, bytes("first")],
            [Oid.commonName, Tag.UTF8_STRING, bytes("last")],
          ),
        }),
    ],
    [
      "with a common name beyond ASCII",
      () => node({ subjectDer: subject([Oid.commonName, Tag.UTF8_STRING, bytes("Gerät №7")]) }),
    ],
    [
      "with a common name of two octets a character",
      () =>
        node({
          subjectDer: subject([Oid.commonName, Tag.BMP_STRING, Uint8Array.of(0, 0x47, 0x21, 0x16)]),
        }),
    ],
    [
      "with a common name in Latin-1",
      () =>
        node({ subjectDer: subject([Oid.commonName, Tag.T61_STRING, Uint8Array.of(0x47, 0xe4)]) }),
    ],
    [
      "with selectors in its names",
      () =>
        node({
          more: [
            uris(
              `x509pop://${TRUST_DOMAIN}/env/prod`,
              `x509pop://${TRUST_DOMAIN}/path/a/b/`,
              `X509POP://${TRUST_DOMAIN}/case/A`,
              `x509pop://${TRUST_DOMAIN}/blank/a%20b%2Fc?query=1#part`,
              `x509pop://${TRUST_DOMAIN}/env/test`,
              `x509pop://${TRUST_DOMAIN}//slashes//x`,
              `x509pop://${TRUST_DOMAIN}/co:lon/v:w`,
              `x509pop://${TRUST_DOMAIN}/lonely`,
              `x509pop://${TRUST_DOMAIN}/`,
              `x509pop://user@${TRUST_DOMAIN}/user/x`,
              "x509pop://other.org/env/prod",
              `spiffe://${TRUST_DOMAIN}/host`,
            ),
          ],
        }),
    ],
    [
      "with the largest chain that is allowed",
      async () => {
        const more = await Promise.all(
          [1, 2, 3].map((at) => make({ ...valid, name: `x${at}`, isCa: true })),
        );
        return node({}, ecKey("P-256"), [issuing, ...more]);
      },
    ],
    ["with an RSA key of 4096 bits", () => node({}, rsaKey(4096))],
    ["below an RSA authority", () => below({ keyType: "rsa-2048" })],
  ];
  test.each(cases)("%s", async (_what, made) => {
    const outcome = await judged(await made());
    expect(outcome).toEqual({
      ours: { id: expect.any(String) },
      reference: { id: expect.any(String) },
    });
    expect(outcome.ours).toEqual(outcome.reference);
    const { id } = outcome.ours as { readonly id: string };
    expect(await selectorsOf(serverOf("ours"), id)).toEqual(
      await selectorsOf(serverOf("reference"), id),
    );
  });
});

describe("certificates that both servers refuse with the same code", () => {
  const cases: readonly [string, () => Promise<Node>][] = [
    ["none", async () => ({ privateKey: ecKey("P-256").privateKey, chain: [] })],
    ["expired", () => node({ notAfter: now - 60 })],
    ["of the future", () => node({ notBefore: now + 600 })],
    ["below an expired authority", () => below({ notAfter: now - 60 })],
    [
      "of an authority nobody named",
      async () => {
        const stranger = await make({ ...valid, name: "Stranger", isCa: true });
        return node({ issuer: stranger }, ecKey("P-256"), [stranger]);
      },
    ],
    [
      "of another authority of the same name",
      async () => {
        const namesake = await make({ ...valid, name: "Corp Root", isCa: true });
        return node({ issuer: namesake }, ecKey("P-256"), []);
      },
    ],
    ["whose intermediate is missing", () => node({}, ecKey("P-256"), [])],
    ["signed by what is no authority", () => below({ isCa: false })],
    ["signed by what may not sign", () => below({ usage: 1 })],
    [
      "deeper than its authority allows",
      async () => {
        const flat = await make({
          ...valid,
          name: "Flat",
          isCa: true,
          issuer: root,
          basicConstraints: authority(0),
        });
        return below({ issuer: flat }, {}, [flat]);
      },
    ],
    [
      "with a critical extension that nobody knows",
      () => node({ more: [extension("1.2.3.4", true, bytes("x"))] }),
    ],
    [
      "with critical names of no known kind",
      () => node({ more: [alternativeNames([[0x88, [42, 3]]], true)] }),
    ],
    [
      "with an address outside its limits",
      () =>
        below(
          { more: [constraints([der(0x87, Uint8Array.of(10, 0, 0, 0, 255, 0, 0, 0))])] },
          { more: [alternativeNames([[0x87, [11, 1, 2, 3]]])] },
        ),
    ],
    [
      "with a mailbox that is excluded",
      () =>
        below(
          { more: [constraints([], [der(0x81, bytes("corp.example"))])] },
          { more: [alternativeNames([[0x81, "ops@corp.example"]])] },
        ),
    ],
    [
      "with a host outside its limits",
      () =>
        below(
          { more: [constraints([der(0x82, bytes("corp.example"))])] },
          { more: [alternativeNames([[0x82, "n1.example"]])] },
        ),
    ],
    [
      "with a trust domain outside its limits",
      () =>
        below(
          { more: [constraints([der(0x86, bytes("other.org"))])] },
          { more: [uris(`x509pop://${TRUST_DOMAIN}/a/b`)] },
        ),
    ],
    [
      "with limits of a kind that is not checked",
      () => below({ more: [constraints([der(0x88, Uint8Array.of(42, 3))])] }),
    ],
    ["not for signatures", () => node({ usage: 4 })],
    [
      "with too many intermediates",
      async () => {
        const more = await Promise.all(
          [1, 2, 3, 4].map((at) => make({ ...valid, name: `x${at}`, isCa: true })),
        );
        return node({}, ecKey("P-256"), [issuing, ...more]);
      },
    ],
    [
      "with a key of a kind that cannot be asked",
      async () => {
        const { publicKey } = generateKeyPairSync("ed25519");
        const one = await node({
          publicKeySpki: publicKey.export({ type: "spki", format: "der" }),
        });
        return one;
      },
    ],
    ["for another key", async () => ({ ...(await node()), privateKey: ecKey("P-256").privateKey })],
  ];
  test.each(cases)("%s", async (_what, made) => {
    const { ours, reference } = await judged(await made());
    expect([ours, reference]).toEqual([
      { code: expect.any(Number), message: expect.any(String) },
      { code: expect.any(Number), message: expect.any(String) },
    ]);
    expect(ours).toMatchObject({ code: (reference as { code: number }).code });
  });
});

describe.each([...both])("at the server of %s", (implementation) => {
  const chainOf = (one: Node): Uint8Array[] => one.chain.map((certificate) => certificate.der);

  test("a response that was good for another challenge is refused", async () => {
    const one = await node();
    const honest = createX509popAgent({
      identity: async () => ({ privateKey: one.privateKey, certificates: chainOf(one) }),
      random: systemRandom,
    });
    let recorded = new Uint8Array();
    const recording: NodeAttestorAgent = {
      type: "x509pop",
      attest: (stream) =>
        honest.attest({
          ...stream,
          sendChallengeResponse: (response) => {
            recorded = Uint8Array.from(response);
            return stream.sendChallengeResponse(response);
          },
        }),
    };
    const { port } = serverOf(implementation);
    expect(await attestAt(port, recording)).toEqual({ id: expect.any(String) });
    const replaying: NodeAttestorAgent = {
      type: "x509pop",
      attest: (stream) =>
        honest.attest({
          ...stream,
          sendChallengeResponse: () => stream.sendChallengeResponse(recorded),
        }),
    };
    expect(await attestAt(port, replaying)).toEqual({
      code: 7,
      message: expect.stringContaining("challenge response verification failed"),
    });
  });

  const nonsense: readonly [string, string][] = [
    ["no JSON", "certificates"],
    ["no base64", '{"certificates":["%"]}'],
    ["no certificate", '{"certificates":["AAAA"]}'],
    ["none", '{"certificates":[]}'],
  ];
  test.each(nonsense)("a payload with %s is an invalid argument", async (_what, payload) => {
    const attestor: NodeAttestorAgent = {
      type: "x509pop",
      attest: (stream) => stream.sendPayload(bytes(payload)),
    };
    expect(await attestAt(serverOf(implementation).port, attestor)).toEqual({
      code: 3,
      message: expect.any(String),
    });
  });
});

/**
 * Envoy's Secret Discovery Service of either agent: the same requests, and the same answers field by field. The reference speaks with
 * Envoy's own message types, so what is read and written here by ours is what Envoy reads and writes.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createPublicKey, X509Certificate } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { callUnary, openBidi, unixChannel } from "#grpc/client.ts";
import type { Node } from "#proto/envoy/config/core/v3/core.ts";
import {
  type CertificateValidationContext,
  Secret,
  SPIFFECertValidatorConfig,
  type TlsCertificate,
} from "#proto/envoy/extensions/transport_sockets/tls/v3/secret.ts";
import {
  DiscoveryRequest,
  type DiscoveryResponse,
} from "#proto/envoy/service/discovery/v3/discovery.ts";
import { SecretDiscoveryServiceClient } from "#proto/envoy/service/secret/v3/sds.ts";
import type { Any } from "#proto/google/protobuf/any.ts";
import { StatusError } from "#spiffe/status-error.ts";
import { certificatesToPem } from "#x509/pem.ts";
import { make } from "#x509/pki.fixture.ts";
import { eventually } from "../support/process.ts";
import {
  type Implementation,
  Stage,
  TestAgent,
  TestServer,
  TRUST_DOMAIN,
} from "../support/spire.ts";

const OWN_UID = process.getuid?.() ?? 0;
const SECRET = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
const OWN = `spiffe://${TRUST_DOMAIN}`;
const FEDERATED = "spiffe://federated.test";
const ENVOY = `${OWN}/envoy`;
const SECOND = `${OWN}/second`;
const both: readonly Implementation[] = ["ours", "reference"];

const version = (majorNumber: number, minorNumber: number): Node => ({
  id: "test",
  metadata: undefined,
  userAgentBuildVersion: { version: { majorNumber, minorNumber } },
});
const choosing = (value: boolean | string): Node => ({
  id: "test",
  metadata: { disable_spiffe_cert_validation: value },
  userAgentBuildVersion: undefined,
});

/** What is expected of a bundle: the PEM by its trust domain, in a SPIFFE validator or plainly. */
const validator = (...ids: string[]): string => `validator of ${ids.join(" and ")}`;
const plain = (id: string): string => `authorities of ${id}`;
const svid = (id: string): string => `SVID of ${id}`;

interface Case {
  readonly names: readonly string[];
  readonly node?: Node;
  /** Names and contents in order, or the refusal. */
  readonly expected: readonly (readonly [string, string])[] | string;
}

const refused = (names: string): string =>
  `3: workload is not authorized for the requested identities [${names}]`;
const TOO_OLD = '13: unable to use "SPIFFE validator" on Envoy below 1.17';

const cases: readonly Case[] = [
  {
    names: [],
    expected: [
      [OWN, validator(OWN)],
      [FEDERATED, validator(FEDERATED)],
      [ENVOY, svid(ENVOY)],
      [SECOND, svid(SECOND)],
    ],
  },
  {
    names: [""],
    node: version(1, 17),
    expected: [
      [OWN, plain(OWN)],
      [FEDERATED, plain(FEDERATED)],
      [ENVOY, svid(ENVOY)],
      [SECOND, svid(SECOND)],
    ],
  },
  { names: ["default"], expected: [["default", svid(ENVOY)]] },
  {
    names: [SECOND, "default"],
    expected: [
      ["default", svid(ENVOY)],
      [SECOND, svid(SECOND)],
    ],
  },
  { names: [ENVOY, "default"], expected: refused('"default"') },
  { names: ["ROOTCA"], expected: [["ROOTCA", validator(OWN)]] },
  { names: ["ALL"], expected: [["ALL", validator(OWN, FEDERATED)]] },
  { names: ["ROOTCA", "ALL"], expected: refused('"ALL"') },
  { names: [OWN, "ROOTCA"], expected: refused('"ROOTCA"') },
  {
    names: [FEDERATED, OWN],
    expected: [
      [OWN, validator(OWN)],
      [FEDERATED, validator(FEDERATED)],
    ],
  },
  {
    names: ["spiffe://nobody.test", 'b"', OWN],
    expected: refused('"b\\"" "spiffe://nobody.test"'),
  },
  { names: [`${OWN}/other`], expected: refused(`"${OWN}/other"`) },
  { names: ["ROOTCA"], node: version(1, 17), expected: [["ROOTCA", plain(OWN)]] },
  { names: [FEDERATED], node: version(0, 99), expected: [[FEDERATED, plain(FEDERATED)]] },
  { names: ["ALL"], node: version(1, 17), expected: TOO_OLD },
  { names: ["ALL"], node: version(1, 18), expected: [["ALL", validator(OWN, FEDERATED)]] },
  { names: ["ALL"], node: version(2, 0), expected: [["ALL", validator(OWN, FEDERATED)]] },
  { names: ["ROOTCA"], node: choosing(true), expected: [["ROOTCA", plain(OWN)]] },
  { names: ["ROOTCA"], node: choosing("T"), expected: [["ROOTCA", plain(OWN)]] },
  { names: ["ROOTCA"], node: choosing("false"), expected: [["ROOTCA", validator(OWN)]] },
  { names: ["ROOTCA"], node: choosing("perhaps"), expected: [["ROOTCA", validator(OWN)]] },
  { names: ["ALL"], node: choosing(true), expected: TOO_OLD },
];

function titleOf({ names, node }: Case): string {
  const { majorNumber, minorNumber } = node?.userAgentBuildVersion?.version ?? {};
  const chosen = node?.metadata?.["disable_spiffe_cert_validation"];
  const by = majorNumber === undefined ? "" : `, Envoy ${majorNumber}.${minorNumber}`;
  return `${JSON.stringify(names)}${by}${chosen === undefined ? "" : `, disabled: ${chosen}`}`;
}

/** `CODE: message` of what a call throws. */
async function refusal(call: Promise<unknown>): Promise<string> {
  try {
    return `no refusal: ${JSON.stringify(await call)}`;
  } catch (error) {
    return error instanceof StatusError ? `${error.code}: ${error.message}` : String(error);
  }
}

const requestOf = (more: Partial<DiscoveryRequest>): DiscoveryRequest =>
  DiscoveryRequest.fromPartial({ typeUrl: SECRET, ...more });

function textOf(source: TlsCertificate["privateKey"]): string {
  return Buffer.from(source?.specifier?.value ?? []).toString();
}

function showCertificate({ certificateChain, privateKey }: TlsCertificate): string {
  const leaf = new X509Certificate(textOf(certificateChain));
  expect(leaf.toString()).toBe(textOf(certificateChain));
  const pem = textOf(privateKey);
  expect(pem).toStartWith("-----BEGIN PRIVATE KEY-----\n");
  expect(leaf.publicKey.equals(createPublicKey(pem))).toBe(true);
  return svid(leaf.subjectAltName?.match(/URI:([^,]*)/)?.[1] ?? "");
}

describe.each(both)("the %s agent", (implementation) => {
  const stage = new Stage();
  /** Trust bundles in PEM, by trust domain ID. */
  const bundles = new Map<string, string>();
  let server: TestServer;
  let agent: TestAgent;
  let client: SecretDiscoveryServiceClient;
  const entries = new Map<string, string>();

  const idOfBundle = (pem: string): string =>
    [...bundles].find(([, known]) => known === pem)?.[0] ?? `nobody: ${pem}`;

  function showContext({ trustedCa, customValidatorConfig }: CertificateValidationContext): string {
    if (customValidatorConfig === undefined) return plain(idOfBundle(textOf(trustedCa)));
    expect(trustedCa).toBeUndefined();
    expect(customValidatorConfig.name).toBe("envoy.tls.cert_validator.spiffe");
    const { typeUrl, value } = customValidatorConfig.typedConfig ?? { typeUrl: "", value: [] };
    expect(typeUrl).toBe(SECRET.replace(/Secret$/, "SPIFFECertValidatorConfig"));
    const { trustDomains } = SPIFFECertValidatorConfig.decode(new Uint8Array(value));
    const ids = trustDomains.map(({ name, trustBundle }) => {
      expect(idOfBundle(textOf(trustBundle))).toBe(`spiffe://${name}`);
      return `spiffe://${name}`;
    });
    return validator(...ids);
  }

  function show({ typeUrl, value }: Any): [string, string] {
    expect(typeUrl).toBe(SECRET);
    const { name, type } = Secret.decode(value);
    // Nothing is in it that our messages do not know.
    expect(Buffer.from(Secret.encode({ name, type }).finish())).toEqual(Buffer.from(value));
    if (type?.$case === "tlsCertificate") return [name, showCertificate(type.value)];
    if (type?.$case === "validationContext") return [name, showContext(type.value)];
    throw new Error(`${name} is nothing`);
  }

  const fetchSecrets = async (more: Partial<DiscoveryRequest>): Promise<[string, string][]> => {
    const response = await callUnary(client, "fetchSecrets", requestOf(more));
    expect({ ...response, resources: [] }).toEqual({
      ...{ versionInfo: "", nonce: "", resources: [], typeUrl: SECRET },
    });
    return response.resources.map(show);
  };

  /** A stream that answers each response with the names asked for last, as Envoy does. */
  function openStream() {
    const { send, receive, finish, cancel } = openBidi<DiscoveryRequest, DiscoveryResponse>(
      (metadata, options) => client.streamSecrets(metadata, options),
    );
    let last: DiscoveryResponse | undefined;
    const ask = (resourceNames: string[], more: Partial<DiscoveryRequest> = {}): void =>
      send(
        requestOf({
          resourceNames,
          versionInfo: last?.versionInfo ?? "",
          responseNonce: last?.nonce ?? "",
          ...more,
        }),
      );
    const next = async (): Promise<DiscoveryResponse> => {
      last = await receive();
      if (last === undefined) throw new Error("the stream has ended");
      expect(last.typeUrl).toBe(SECRET);
      return last;
    };
    return { ask, next, finish, cancel, receive };
  }

  const makeFederated = async (): Promise<void> => {
    const { certificate } = await make({ name: "federated", isCa: true, uri: FEDERATED });
    const path = join(stage.directory, "federated.pem");
    writeFileSync(path, certificatesToPem([certificate.der]));
    bundles.set(FEDERATED, readFileSync(path, "utf8"));
    const { code, stderr } = await server.cli("bundle", "set", "-id", FEDERATED, "-path", path);
    if (code !== 0) throw new Error(stderr);
  };

  beforeAll(async () => {
    server = await TestServer.start(stage, "ours");
    bundles.set(OWN, readFileSync(await server.bundleFile(), "utf8"));
    await makeFederated();
    agent = await TestAgent.start(stage, implementation, server, {
      settings: 'experimental { sync_interval = "1s" }',
    });
    const { address, credentials, options } = unixChannel(agent.socket);
    client = new SecretDiscoveryServiceClient(address, credentials, options);
    const selectors = [`unix:uid:${OWN_UID}`];
    for (const [id, spiffeId] of Object.entries({ a: ENVOY, b: SECOND })) {
      const more = ["-entryID", id, "-hint", "the same", "-federatesWith", FEDERATED];
      entries.set(spiffeId, await server.entry(spiffeId, agent.id, selectors, ...more));
    }
    await eventually("the workload is served", () => fetchSecrets({ resourceNames: [SECOND] }));
  }, 60_000);

  afterAll(() => stage.close(), 60_000);

  const titled = cases.map((one) => ({ ...one, title: titleOf(one) }));
  test.each(titled)("$title", async ({ names, node, expected }) => {
    const request = { resourceNames: [...names], ...(node === undefined ? {} : { node }) };
    if (typeof expected === "string") expect(await refusal(fetchSecrets(request))).toBe(expected);
    else expect(await fetchSecrets(request)).toEqual(expected as [string, string][]);
  });

  test("the incremental variant is not there", async () => {
    const { receive } = openBidi((metadata, options) => client.deltaSecrets(metadata, options));
    expect(await refusal(receive())).toBe("12: Method is not implemented");
  });

  test("a stream: a request is answered once, an answer to an older response not at all", async () => {
    const { ask, next, finish, receive } = openStream();
    ask(["ROOTCA"], { node: version(1, 17) });
    const first = await next();
    expect(first.versionInfo).toBe("1");
    expect(first.nonce).toMatch(/^[0-9a-f]{8}$/);
    expect(first.resources.map(show)).toEqual([["ROOTCA", plain(OWN)]]);
    ask(["ROOTCA"]);
    ask([SECOND], { responseNonce: "00000000" });
    // What the first request said of the node holds for the later ones.
    ask([OWN]);
    const second = await next();
    expect(second.versionInfo).toBe("1");
    expect(second.nonce).not.toBe(first.nonce);
    expect(second.resources.map(show)).toEqual([[OWN, plain(OWN)]]);
    finish();
    expect(await receive()).toBeUndefined();
  });

  test("a stream: what Envoy could not use is logged, and what it asks for then is answered", async () => {
    const { ask, next, cancel } = openStream();
    ask(["ROOTCA"]);
    await next();
    const errorDetail = { code: 3, message: "no such thing", details: [] };
    ask(["ROOTCA", "default"], { errorDetail, versionInfo: "" });
    expect((await next()).resources.map(show).map(([name]) => name)).toEqual(["ROOTCA", "default"]);
    await agent.daemon.line(
      (line) =>
        line.includes("Envoy reported errors applying secrets") && line.includes("no such thing"),
    );
    cancel();
  });

  test("a stream: a name that the workload has nothing for ends it", async () => {
    const { ask, next } = openStream();
    ask(["default"]);
    await next();
    ask(["default", "more"]);
    expect(await refusal(next())).toBe(refused('"more"'));
  });

  test("a stream: new SVIDs and bundles are pushed, each with a new version", async () => {
    const { ask, next, cancel } = openStream();
    const names = ["default", FEDERATED];
    ask(names);
    let version = Number((await next()).versionInfo);
    /** Acknowledges what comes until it is what is waited for. */
    const until = async (isIt: (response: DiscoveryResponse) => boolean): Promise<void> => {
      for (let done = false; !done; ) {
        ask(names);
        const response = await next();
        expect(Number(response.versionInfo)).toBe(++version);
        done = isIt(response);
      }
    };
    const changed = ["-entryID", entries.get(ENVOY) ?? "", "-parentID", agent.id];
    await server.cli(
      ...["entry", "update", ...changed, "-spiffeID", ENVOY, "-selector", `unix:uid:${OWN_UID}`],
      ...["-dns", "envoy.test", "-federatesWith", FEDERATED],
    );
    await until(({ resources }) => {
      const secrets = resources.map(({ value }) => Secret.decode(value).type);
      const certificate = secrets.find((type) => type?.$case === "tlsCertificate");
      const pem = textOf(certificate?.value.certificateChain);
      return new X509Certificate(pem).subjectAltName?.includes("DNS:envoy.test") === true;
    });
    const before = bundles.get(FEDERATED);
    await makeFederated();
    expect(bundles.get(FEDERATED)).not.toBe(before as string);
    const [, line = ""] = bundles.get(FEDERATED)?.split("\n") ?? [];
    await until(({ resources }) =>
      resources.some(({ value }) => Buffer.from(value).includes(line)),
    );
    cancel();
  });

  test("a workload that loses its identities: its streams end, and it is left with the bundle", async () => {
    const { ask, next } = openStream();
    ask(["default"]);
    await next();
    for (const id of entries.values()) await server.cli("entry", "delete", "-entryID", id);
    const ending = (async () => {
      for (;;) {
        ask(["default"]);
        await next();
      }
    })();
    expect(await refusal(ending)).toBe(refused('"default"'));
    expect(await fetchSecrets({})).toEqual([[OWN, validator(OWN)]]);
  });
});

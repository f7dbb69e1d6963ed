/** What is in the files of an output. */
import type { WorkloadSvid } from "#agent/workload-client/x509-svids.ts";
import type { SetFile } from "#files/file-set.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import type { Certificate } from "#x509/certificate.ts";
import { certificatesToPem, encodePem } from "#x509/pem.ts";
import { pkcs12Content } from "#x509/pkcs12.ts";
import { parsePkcs12 } from "#x509/pkcs12-parse.ts";
import { writePkcs12 } from "#x509/pkcs12-write.ts";
import type { FilesConfig } from "./config-files.ts";

/** What the agent gave for an output. */
export interface Material {
  readonly svid: WorkloadSvid;
  /** JWK sets by SPIFFE ID of the trust domain. */
  readonly jwtBundles: Readonly<Record<string, Uint8Array>>;
  /** By name of the file. */
  readonly jwtSvids: ReadonlyMap<string, string>;
}

export function contentsOf(files: FilesConfig, material: Material): SetFile[] {
  const { svid, jwtSvids } = material;
  const { modes } = files;
  const key = encodePem("PRIVATE KEY", svid.privateKey);
  const file = (name: string | undefined, data: string, mode: number): SetFile[] =>
    name === undefined ? [] : [{ name, data, mode }];
  const tokens = [...jwtSvids].map(([name, data]) => ({ name, data, mode: modes.jwtSvid }));
  const chain = pem(chainOf(files, svid));
  return [
    ...file(files.key, key, modes.key),
    ...file(files.certificates, chain, modes.certificates),
    ...file(files.combined, pem(svid.certificates) + key, modes.key),
    ...file(files.bundle, pem(bundleOf(files, svid)), modes.certificates),
    ...federatedBundles(files, svid),
    ...pkcs12Of(files, svid),
    ...jwtBundlesOf(files, material),
    ...tokens,
  ];
}

function chainOf({ intermediatesInBundle }: FilesConfig, { certificates }: WorkloadSvid) {
  return intermediatesInBundle ? certificates.slice(0, 1) : certificates;
}

/** As SPIFFE Helper puts it together; whoever verifies by it must look at the trust domain himself where others are in it. */
function bundleOf(files: FilesConfig, svid: WorkloadSvid): Certificate[] {
  const federated = svid.federatedBundles.flatMap(([, certificates]) => certificates);
  return [
    ...svid.bundle,
    ...(files.intermediatesInBundle ? svid.certificates.slice(1) : []),
    ...(files.includeFederatedDomains ? federated : []),
  ];
}

function federatedBundles(files: FilesConfig, svid: WorkloadSvid): SetFile[] {
  const { federatedBundles: pattern, modes } = files;
  if (pattern === undefined) return [];
  return svid.federatedBundles.map(([id, certificates]) => ({
    name: nameFor(pattern, id),
    data: pem(certificates),
    mode: modes.certificates,
  }));
}

function pkcs12Of({ pkcs12, modes }: FilesConfig, svid: WorkloadSvid): SetFile[] {
  if (pkcs12 === undefined) return [];
  const { name, password } = pkcs12;
  const chain = svid.certificates.map(({ der }) => der);
  const input = { privateKey: svid.privateKey, chain, name: svid.id.toString(), password };
  // It is encrypted anew each time, so its bytes say nothing.
  const isSame = (data: Buffer): boolean => holds(data, password, svid);
  return [{ name, data: writePkcs12(input), mode: modes.key, isSame }];
}

function holds(data: Buffer, password: string, svid: WorkloadSvid): boolean {
  try {
    const { certificate, others } = pkcs12Content(parsePkcs12(data, password));
    const [leaf, ...above] = svid.certificates;
    const same = (one: Certificate, other: Certificate | undefined): boolean =>
      other !== undefined && Buffer.compare(one.der, other.der) === 0;
    return same(certificate, leaf) && above.every((one, index) => same(one, others[index]));
  } catch {
    return false;
  }
}

function jwtBundlesOf(files: FilesConfig, { svid, jwtBundles }: Material): SetFile[] {
  const { jwtBundle, federatedJwtBundles: pattern, modes } = files;
  const own = svid.id.trustDomain.id;
  return Object.entries(jwtBundles).flatMap(([id, keys]) => {
    const name = id === own ? jwtBundle : pattern === undefined ? undefined : nameFor(pattern, id);
    return name === undefined ? [] : [{ name, data: keys, mode: modes.jwtBundle }];
  });
}

/** @throws Error when the agent names something that may be no name of a file */
function nameFor(pattern: string, trustDomainId: string): string {
  const name = pattern.replace("%s", TrustDomain.parse(trustDomainId).name);
  // Names that begin so are the file set's own.
  if (name.startsWith("..")) throw new Error(`no file can have the name ${JSON.stringify(name)}`);
  return name;
}

function pem(certificates: readonly Certificate[]): string {
  return certificatesToPem(certificates.map(({ der }) => der));
}

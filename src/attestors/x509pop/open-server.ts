/** The server half of x509pop over the life of a server: with what it was configured last. */
import type { NodeAttestorServer, NodeAttestorServerParts } from "#attestors/attestor.ts";
import { Certificate } from "#x509/certificate.ts";
import { CaBundle } from "./ca-bundle.ts";
import { createX509popServer } from "./server.ts";
import type { X509popServerConfig } from "./server-config.ts";

export interface OpenedX509popServer extends NodeAttestorServer {
  /** Nodes are attested by it from now on. @throws Error when its authorities cannot be read; nothing has changed then */
  configure(config: X509popServerConfig): Promise<void>;
}

/** @throws Error when the authorities cannot be read */
export async function openX509popServer(
  config: X509popServerConfig,
  parts: NodeAttestorServerParts,
): Promise<OpenedX509popServer> {
  let current = await createWith(config, parts);
  return {
    type: current.type,
    attest: (...attestation) => current.attest(...attestation),
    configure: async (next) => {
      current = await createWith(next, parts);
    },
  };
}

async function createWith(
  config: X509popServerConfig,
  parts: NodeAttestorServerParts,
): Promise<NodeAttestorServer> {
  return createX509popServer({ ...parts, config, roots: await nodeAuthorities(config, parts) });
}

/** Who may sign the certificates of nodes: the authorities in the operator's files, or this trust domain itself. */
async function nodeAuthorities(
  { mode, caBundlePaths }: X509popServerConfig,
  { bundles, trustDomain, log }: NodeAttestorServerParts,
): Promise<() => Promise<readonly Certificate[]>> {
  if (mode === "external_pki") {
    const files = await CaBundle.open(caBundlePaths, log);
    return () => files.roots();
  }
  return async () => {
    const bundle = await bundles.find(trustDomain.name);
    return bundle?.x509Authorities.map(({ certificate }) => Certificate.parse(certificate)) ?? [];
  };
}

import type {
  NodeAttestorAgentParts,
  NodeAttestorOpener,
  OpenNodeAttestor,
} from "#attestors/attestor.ts";
import type { Plugin } from "#config/plugin.ts";
import { readX509popAgentConfig, type X509popAgentConfig } from "./agent-config.ts";
import type { IdentityFiles, IdentityReader } from "./node-identity.ts";

interface Opened extends NodeAttestorOpener {
  /** @throws Error when there is nothing to prove the node with by that configuration */
  configure(config: X509popAgentConfig): Promise<void>;
}

export const x509popAgent: Plugin<X509popAgentConfig, NodeAttestorAgentParts, Opened> = {
  name: "x509pop",
  read: readX509popAgentConfig,
  privateFiles: (config) => {
    if (!("files" in config)) return [];
    const { privateKeyPath, pkcs12FilePath, pkcs12PasswordFile } = config.files;
    const files = [privateKeyPath, pkcs12FilePath, pkcs12PasswordFile];
    return files.filter((path) => path !== undefined);
  },
  open: async (config, parts) => {
    let open = openerOf(config, parts);
    return {
      open: () => open(),
      configure: async (next) => {
        const opener = openerOf(next, parts);
        await opener();
        open = opener;
      },
    };
  },
  reconfigure: (attestor, config) => attestor.configure(config),
};

// Both load x509pop when the node is to be attested: an agent that has its SVID starts sooner and needs less memory.

function openerOf(config: X509popAgentConfig, parts: NodeAttestorAgentParts): OpenNodeAttestor {
  return "files" in config
    ? byFiles(config.files, parts)
    : bySocket(config.spiffeSocketPath, parts);
}

function bySocket(
  path: string,
  { fetchIdentity, random }: NodeAttestorAgentParts,
): OpenNodeAttestor {
  return async () => {
    const { createX509popAgent } = await import("./agent.ts");
    return createX509popAgent({ identity: () => fetchIdentity(path), random });
  };
}

function byFiles(files: IdentityFiles, { random }: NodeAttestorAgentParts): OpenNodeAttestor {
  let reader: IdentityReader | undefined;
  return async () => {
    const [{ IdentityReader }, { createX509popAgent }] = await Promise.all([
      import("./node-identity.ts"),
      import("./agent.ts"),
    ]);
    reader ??= new IdentityReader(files);
    // Files that do not fit show before the server is asked.
    const identity = await reader.read();
    return createX509popAgent({ identity: async () => identity, random });
  };
}

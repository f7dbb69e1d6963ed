/** Servers whose CA is signed off the network, for tests. */
import { join } from "node:path";
import { Ceremony, pluginBlock } from "./ceremony.ts";
import { type ServerOptions, type Stage, TestServer, TRUST_DOMAIN } from "./spire.ts";

/** What makes a certificate the CA of a server, but for its URI SAN. */
export const CA_EXTENSIONS: readonly string[] = [
  "basicConstraints = critical, CA:TRUE, pathlen:0",
  "keyUsage = critical, keyCertSign, cRLSign",
  "subjectKeyIdentifier = hash",
];
export const URI: string = `subjectAltName = URI:spiffe://${TRUST_DOMAIN}`;

/** A server that waits for its first CA, and the offline machine. */
export async function waitingServer(
  stage: Stage,
  options: ServerOptions = {},
): Promise<{ server: TestServer; ceremony: Ceremony }> {
  const ceremony = new Ceremony(stage.room("ceremony"));
  await ceremony.makeRoot();
  const server = await TestServer.prepare(stage, "ours", { plugins: pluginBlock(), ...options });
  ceremony.server = server;
  await startWaiting(server);
  return { server, ceremony };
}

/** Starts the server, and comes back when it waits. */
export function startWaiting(server: TestServer): Promise<void> {
  return server.start("Server is waiting for CA: csr at ");
}

/** The ID of the CA that signs; empty without one. */
export async function activeCa(server: TestServer): Promise<string> {
  const { active } = await server.json("ca", "show");
  return (active as { authority_id?: string } | undefined)?.authority_id ?? "";
}

export function csrFile({ directory }: TestServer): string {
  return join(directory, "data/server-ca.csr");
}

import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { ClientIdentity } from "#server/server.fixture.ts";
import type { TestAgent } from "./spire.ts";

/** The SVID and key that an agent keeps in its data directory, as whoever gets at the disk can use them. */
export function identityOnDisk(agent: TestAgent): ClientIdentity {
  const read = (name: string): Record<string, unknown> =>
    JSON.parse(readFileSync(join(agent.directory, "data", name), "utf8"));
  const svid = read("agent-data.json")["svid"] as string[];
  const chain = svid.map((pem) => Buffer.from(pem, "base64").toString("latin1"));
  const leaf = new X509Certificate(chain[0] ?? "");
  const keys = Object.values(read("keys.json")["keys"] as Record<string, string>).map((pkcs8) =>
    createPrivateKey({ key: Buffer.from(pkcs8, "base64"), format: "der", type: "pkcs8" }),
  );
  const key = keys.find((candidate) => leaf.checkPrivateKey(candidate));
  if (key === undefined) throw new Error(`${agent.directory} holds no key for its SVID`);
  return {
    privateKeyPem: String(key.export({ format: "pem", type: "pkcs8" })),
    certificateChainPem: chain.join(""),
  };
}

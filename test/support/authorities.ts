import type { TestServer } from "./spire.ts";

/** A command about X.509 authorities. @returns the ID of the authority it names first */
export async function order(server: TestServer, ...words: string[]): Promise<string> {
  const answer = await server.cli("localauthority", "x509", ...words);
  if (answer.code !== 0) throw new Error(answer.stderr);
  return /Authority ID: (\w+)/.exec(answer.stdout)?.[1] ?? "";
}

import { run } from "./process.ts";
import { GO_CLIENT } from "./spire.ts";

/** Has a workload that uses go-spiffe do something. @param uid who it runs as @returns what it says */
export async function goClient(uid: number, ...words: string[]): Promise<Record<string, unknown>> {
  const answer = await run([GO_CLIENT, ...words], { uid });
  if (answer.code !== 0) throw new Error(answer.stderr);
  return JSON.parse(answer.stdout) as Record<string, unknown>;
}

/** The packages that scripts/package builds, for tests. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "./process.ts";

/** All builds of one test run have the same date. */
export async function buildPackages(command: readonly string[]): Promise<void> {
  const { code, stderr } = await run(command, { env: { SOURCE_DATE_EPOCH: "1700000000" } });
  if (code !== 0) throw new Error(stderr);
}

/** The checksums of what was built; on x86_64, as in CI, or arm64. */
export function checksums(packages: string): string {
  const name = process.arch === "arm64" ? "arm64" : "amd64";
  return readFileSync(join(packages, `SHA256SUMS.${name}`), "utf8");
}

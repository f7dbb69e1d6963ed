/** The packages that scripts/package builds, for tests. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "./process.ts";

/** All builds of one test run have the same date. */
export async function buildPackages(command: readonly string[]): Promise<void> {
  const { code, stderr } = await run(command, {
    // Bun keeps what it fetches for other machines there, and without one in the checkout.
    env: { HOME: process.env["HOME"] ?? "/root", SOURCE_DATE_EPOCH: "1700000000" },
    timeoutMs: 170_000,
  });
  if (code !== 0) throw new Error(stderr);
}

/** The checksums of what was built; on x86_64, as in CI, or arm64. */
export function checksums(packages: string): string {
  const name = process.arch === "arm64" ? "arm64" : "amd64";
  return readFileSync(join(packages, `SHA256SUMS.${name}`), "utf8");
}

/**
 * The same packages as of a later version, which also has something new in the configuration that it brings.
 *
 * @param to a directory for them
 */
export async function buildLaterPackages(
  packages: string,
  to: string,
  version: string,
): Promise<void> {
  // Not compressed: they are installed here and now.
  const script = `set -e
cd "$1"
for package in *.deb; do
  tree=$(mktemp -d -p "$2")
  dpkg-deb --raw-extract "$package" "$tree"
  sed -i "s/^Version: .*/Version: $3/" "$tree/DEBIAN/control"
  find "$tree/etc" -name "*.conf" -exec sed -i "1i # As of version $3." {} +
  dpkg-deb --root-owner-group -Znone --build "$tree" "$2"
  rm -r "$tree"
done`;
  const { code, stderr } = await run(["sh", "-c", script, "-", packages, to, version], {
    timeoutMs: 170_000,
  });
  if (code !== 0) throw new Error(stderr);
}

/** Our executables for another machine, run here by an emulator: arm64, which most edge devices are. */
import { chmodSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { run } from "./process.ts";
import type { Stage } from "./spire.ts";

const ROOT = resolve(import.meta.dir, "../..");
const TARGET = "linux-arm64";
/** Where Debian has the libraries of that machine. */
const LIBRARIES = "/usr/aarch64-linux-gnu";

/** Installs the emulator where it is missing; needs root and a package mirror. */
const INSTALL = `
command -v qemu-aarch64-static >/dev/null && [ -d ${LIBRARIES}/lib ] && exit 0
apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends qemu-user-static libc6-arm64-cross
`;

/**
 * Builds the executables for arm64.
 *
 * @returns a directory of programs of the same names that run them
 * @throws Error with what went wrong
 */
export async function emulatedPrograms(stage: Stage): Promise<string> {
  for (const command of [
    ["bash", "-euc", INSTALL],
    [join(ROOT, "scripts/build-binary"), "--target", TARGET],
  ]) {
    const env = { HOME: process.env["HOME"] ?? "/root" };
    const { code, stdout, stderr } = await run(command, { env, timeoutMs: 240_000 });
    if (code !== 0) throw new Error(`${command.join(" ")}: exit ${code}\n${stdout}${stderr}`);
  }
  const directory = stage.room("emulated");
  for (const name of ["spire-server", "spire-agent"]) {
    const program = join(ROOT, "dist", TARGET, name);
    const path = join(directory, name);
    const words = `qemu-aarch64-static -L ${LIBRARIES} ${program}`;
    writeFileSync(path, `#!/bin/sh\nexec ${words} "$@"\n`);
    chmodSync(path, 0o755);
  }
  return directory;
}

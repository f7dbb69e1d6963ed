/** The packages are installed where an image is built: a root directory without /proc, and no systemd that runs. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { buildPackages } from "../support/packages.ts";
import { type Finished, run } from "../support/process.ts";

const ROOT = resolve(import.meta.dir, "../..");
const directory = mkdtempSync(join(tmpdir(), "spire-edge-image-"));

beforeAll(async () => {
  expect((await run([join(import.meta.dir, "install-systemd")], { timeoutMs: 170_000 })).code).toBe(
    0,
  );
  await buildPackages([join(ROOT, "scripts/package"), "--prebuilt", "--out", directory]);
}, 360_000);

afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** Runs a script in a copy of this machine's files that is thrown away, where nothing is mounted: /proc is empty. */
function inImage(script: string): Promise<Finished> {
  const prepare = `set -e
    mount -t tmpfs tmpfs "$0"
    mkdir "$0/upper" "$0/work" "$0/root"
    mount -t overlay overlay -o "lowerdir=/,upperdir=$0/upper,workdir=$0/work" "$0/root"
    mkdir -p "$0/root/packages"
    cp "$1"/*.deb "$1"/*.tar.zst "$0/root/packages"
    exec chroot "$0/root" sh -ec "$2"`;
  const place = mkdtempSync(join(tmpdir(), "spire-edge-root-"));
  const command = [
    "unshare",
    "-m",
    "--propagation",
    "private",
    "sh",
    "-c",
    prepare,
    place,
    directory,
  ];
  const done = run([...command, script], { timeoutMs: 170_000 });
  return done.finally(() => rmSync(place, { recursive: true, force: true }));
}

test("both Debian packages are installed, and their users are there", async () => {
  const { code, stdout, stderr } = await inImage(`
    test ! -e /proc/self
    dpkg --install /packages/*.deb
    for part in server agent; do
      dpkg --status spire-edge-$part | grep -q "^Status: install ok installed"
      id -u spire-$part
    done`);
  expect(stderr).not.toContain("dependency problems");
  expect({ code, stderr: code === 0 ? "" : stderr }).toEqual({ code: 0, stderr: "" });
  const uids = stdout.trim().split("\n").slice(-2);
  expect(uids).toEqual([expect.stringMatching(/^\d+$/), expect.stringMatching(/^\d+$/)]);
}, 180_000);

test("so is the archive", async () => {
  const { code, stderr } = await inImage(`
    mkdir /opt/new; tar -C /opt/new --zstd -xf /packages/*.tar.zst; cd /opt/new/*
    ./install.sh server; ./install.sh agent`);
  expect({ code, stderr: code === 0 ? "" : stderr }).toEqual({ code: 0, stderr: "" });
}, 180_000);

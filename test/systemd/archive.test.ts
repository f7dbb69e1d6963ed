/** The archive, on a machine without any network: checked, installed, used, removed; what is in it, and that anybody can build the same. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Machine } from "../support/machine.ts";
import { buildPackages, checksums } from "../support/packages.ts";

const ROOT = resolve(import.meta.dir, "../..");
const TIMEOUT_MS = 60_000;

const directory = mkdtempSync(join(tmpdir(), "spire-edge-archive-"));
let machine: Machine;

beforeAll(async () => {
  await buildPackages([join(ROOT, "scripts/package"), "--prebuilt", "--out", directory]);
  machine = await Machine.boot(directory, directory);
  await machine.must(
    "sh",
    "-c",
    "mkdir /opt/new && tar -C /opt/new --zstd -xf /packages/*.tar.zst",
  );
  await machine.must("sh", "-c", "mv /opt/new/*/* /opt/new");
}, 180_000);

afterAll(async () => {
  await machine?.close();
  rmSync(directory, { recursive: true, force: true });
}, TIMEOUT_MS);

const server = (...words: string[]): Promise<string> => machine.must("spire-server", ...words);

describe("a file that is not what SHA256SUMS says", () => {
  test.each([
    [
      "an executable with one byte changed",
      "server",
      "spire-agent",
      "dd bs=1 seek=4096 conv=notrunc if=/dev/zero count=1 of=",
    ],
    ["an executable cut short", "agent", "spire-server", "truncate -s -1 "],
    ["a unit with a line more", "server", "systemd/spire-server.service", "sh -c 'echo >>$0' "],
    ["a file that is missing", "agent", "conf/agent.conf", "rm "],
  ])(
    "stops the installation: %s",
    async (_what, part, file, damage) => {
      const script = `cp -al new damaged; cd damaged; cp --remove-destination ../new/${file} ${file}; ${damage}${file}`;
      await machine.must("sh", "-ec", `cd /opt; ${script}`);
      const refused = await machine.run("/opt/damaged/install.sh", part);
      expect(refused.code).toBe(1);
      expect(refused.stderr).toContain("nothing was installed");
      for (const path of [`/usr/local/bin/spire-${part}`, "/etc/spire", "/etc/sysusers.d"]) {
        expect((await machine.run("find", path, "-name", "*spire*")).stdout).toBe("");
      }
      await machine.must("rm", "-r", "/opt/damaged");
    },
    TIMEOUT_MS,
  );

  test("cannot hide: all files are listed", async () => {
    const here = await machine.must("sh", "-c", "cd /opt/new && find . -type f | sort");
    const listed = await machine.must("sh", "-c", "cut -c 67- /opt/new/SHA256SUMS | sort");
    expect(here.split("\n").filter((path) => path !== "./SHA256SUMS")).toEqual(listed.split("\n"));
  });
});

test(
  "without a network both are installed, and a process of the machine gets its identity",
  async () => {
    const links = await machine.must("sh", "-c", "ls /sys/class/net");
    expect(links).toBe("lo\n");
    expect((await machine.run("getent", "hosts", "registry.npmjs.org")).code).not.toBe(0);
    for (const part of ["server", "agent"]) {
      expect(await machine.must("/opt/new/install.sh", part)).toContain("Next: edit");
    }
    const shell = "/usr/local/share/zsh/site-functions/_spire-server";
    expect(await machine.must("cat", shell)).toContain("healthcheck");
    await machine.nameTrustDomain();
    await machine.must("systemctl", "start", "spire-server");
    const node = "spiffe://example.org/node";
    const word = ["token", "generate", "-join", "-serverAddress", "localhost", "-spiffeID", node];
    await machine.write("/etc/spire/agent/join", await server(...word));
    const ids = ["-parentID", node, "-spiffeID", "spiffe://example.org/root"];
    await server("entry", "create", ...ids, "-selector", "unix:uid:0");
    await machine.must("systemctl", "start", "spire-agent");
    const fetched = await machine.must(
      ...["spire-agent", "api", "fetch", "x509", "-timeout", "20s"],
    );
    expect(fetched).toContain("spiffe://example.org/root");
    const path = await machine.must("systemctl", "show", "-P", "ExecStart", "spire-agent");
    expect(path).toContain("path=/usr/local/bin/spire-agent");
    await machine.must("systemctl", "reload", "spire-server", "spire-agent");
    for (const part of ["server", "agent"]) {
      await machine.must("/opt/new/install.sh", "remove", part);
    }
    expect((await machine.run("pgrep", "spire-")).stdout).toBe("");
    const left = await machine.must("find", "/usr/local/share", "-name", "*spire*");
    expect(left).toBe("");
    await machine.must("test", "-e", "/var/lib/spire/server/keys.json");
  },
  TIMEOUT_MS,
);

describe("the bill of materials", () => {
  interface Bill {
    readonly components: readonly {
      readonly name: string;
      readonly version: string;
      readonly hashes: readonly { readonly content: string }[];
    }[];
  }
  const read = async (): Promise<Bill["components"]> =>
    (JSON.parse(await machine.must("cat", "/opt/new/doc/sbom.cdx.json")) as Bill).components;

  test("has the runtime and every dependency, with the hashes of bun.lock", async () => {
    const components = await read();
    const { dependencies } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
    const lock = readFileSync(join(ROOT, "bun.lock"), "utf8");
    const names = components.map(({ name }) => name);
    expect(names).toContainEqual(expect.stringMatching(/^@oven\/bun-linux-(x64|aarch64)$/));
    expect(names).toEqual(expect.arrayContaining(Object.keys(dependencies)));
    // What only builds and tests is not in the executables.
    expect(names).not.toContain("typescript");
    for (const { name, version, hashes } of components) {
      const hash = Buffer.from(hashes[0]?.content ?? "", "hex").toString("base64");
      const line = lock.split("\n").find((one) => one.includes(`["${name}@${version}"`)) ?? "";
      expect(line).toContain(`sha512-${hash}`);
    }
  });

  test("leaves out no package that code of the executables comes from", async () => {
    const names = (await read()).map(({ name }) => name);
    const built = await Bun.build({
      entrypoints: ["server", "agent"].map((part) => join(ROOT, `src/${part}/main.ts`)),
      target: "bun",
      splitting: true,
      metafile: true,
    });
    const packages = Object.keys(built.metafile?.inputs ?? {}).flatMap(
      (path) => /.*node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1] ?? [],
    );
    expect(packages).toContain("@grpc/grpc-js");
    expect([...new Set(packages)].filter((name) => !names.includes(name))).toEqual([]);
  });
});

test("another directory and another umask give the same bytes", async () => {
  const copy = join(directory, "elsewhere");
  // The packages too, not by a link: the bundler would call them by where they are.
  for (const name of ["proto", "src", "scripts", "systemd", "docs", "node_modules"]) {
    cpSync(join(ROOT, name), join(copy, name), {
      recursive: true,
      preserveTimestamps: true,
      verbatimSymlinks: true,
    });
  }
  for (const name of ["package.json", "bun.lock", "tsconfig.json", "LICENSE", "CHANGELOG.md"]) {
    cpSync(join(ROOT, name), join(copy, name), { preserveTimestamps: true });
  }
  symlinkSync(join(ROOT, "build"), join(copy, "build"));
  const script = join(copy, "scripts/package");
  await buildPackages([
    "sh",
    "-c",
    'umask 077 && exec "$1" --out "$2"',
    "-",
    script,
    join(directory, "again"),
  ]);
  expect(checksums(join(directory, "again"))).toBe(checksums(directory));
}, 120_000);

test.each(["spire-server", "spire-agent"])("%s does not say where it was built", (name) => {
  expect(readFileSync(join(ROOT, "dist", name)).includes(ROOT)).toBe(false);
});

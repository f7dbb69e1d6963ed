/** An operator who types what docs/INSTALL.md and docs/WALKTHROUGH.md say, on an empty machine, and nothing else. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { commandsOf } from "../support/document.ts";
import { Fleet } from "../support/fleet.ts";
import type { Machine } from "../support/machine.ts";
import { buildPackages } from "../support/packages.ts";
import { eventually } from "../support/process.ts";

const ROOT = resolve(import.meta.dir, "../..");
const TIMEOUT_MS = 120_000;

const directory = mkdtempSync(join(tmpdir(), "spire-edge-documents-"));
const packages = join(directory, "packages");
let fleet: Fleet;
let machine: Machine;

beforeAll(async () => {
  mkdirSync(packages, { mode: 0o755 });
  await buildPackages([join(ROOT, "scripts/package"), "--prebuilt", "--out", packages]);
  fleet = await Fleet.start(directory, packages);
  machine = await fleet.boot("spire-1");
}, 180_000);

afterAll(async () => {
  await fleet?.close();
  rmSync(directory, { recursive: true, force: true });
}, TIMEOUT_MS);

/**
 * @param input what is pasted into the first command that reads
 * @returns what it printed
 */
async function type(script: string, input = ""): Promise<string> {
  await machine.write("/root/pasted", input);
  try {
    return await machine.must("sh", "-euc", `cd /packages; exec </root/pasted\n${script}`);
  } catch (error) {
    const told = await machine.run("journalctl", "--boot", "--lines=30", "--output=cat");
    throw new Error(told.stdout, { cause: error });
  }
}

const part = (page: string, heading: string, block: number): string =>
  commandsOf(page, heading)[block] ?? "";

test(
  "INSTALL: from the packages to a healthy agent",
  async () => {
    // What the documents take for granted: a name that leads to the server.
    await machine.must("sh", "-c", "echo 127.0.0.1 spire.example.org >>/etc/hosts");
    await type(part("INSTALL.md", "Install", 0));
    await machine.must(
      "sed",
      "-i",
      's/^\\( *\\)#*trust_domain = .*/\\1trust_domain = "example.org"/',
      "/etc/spire/server/server.conf",
    );
    expect(await type(part("INSTALL.md", "The first server", 0))).toContain("Server is healthy.");
    const word = await type(part("INSTALL.md", "The first node", 0));
    expect(await type(part("INSTALL.md", "The first node", 1), word)).toContain(
      "Agent is healthy.",
    );
  },
  TIMEOUT_MS,
);

/** A block that works as soon as the agent has heard of a change. */
const soon = (heading: string, block: number): Promise<string> =>
  eventually(`${heading}, block ${block}`, () => type(part("WALKTHROUGH.md", heading, block)));

test(
  "WALKTHROUGH: two services know each other, and nobody else gets in",
  async () => {
    await type(part("WALKTHROUGH.md", "Users and entries", 0));
    await type(part("WALKTHROUGH.md", "Users and entries", 1));
    const identities = await soon("Users and entries", 2);
    expect(identities).toContain("spiffe://example.org/backend");
    expect(identities).toContain("spiffe://example.org/frontend");
    await type(part("WALKTHROUGH.md", "Users and entries", 3));

    await type(part("WALKTHROUGH.md", "SVIDs in files", 0));
    expect(await type(part("WALKTHROUGH.md", "SVIDs in files", 1))).toContain("svid.pem");

    await type(part("WALKTHROUGH.md", "The backend", 0));
    await type(part("WALKTHROUGH.md", "The frontend", 0));
    expect(await soon("The frontend", 1)).toBe("hello, frontend\n");
    expect(await type(part("WALKTHROUGH.md", "The frontend", 2))).toBe("I do not know you\n");
    await type(part("WALKTHROUGH.md", "The frontend", 3));

    await type(part("WALKTHROUGH.md", "The end of an identity", 0));
    await soon("The end of an identity", 1);
    await type(part("WALKTHROUGH.md", "The end of an identity", 2));
  },
  TIMEOUT_MS,
);

/** The README's first command: from nothing to an identity, and nothing left behind. */
import { expect, test } from "bun:test";
import { readdirSync, readlinkSync } from "node:fs";
import { join, resolve } from "node:path";
import { run } from "../support/process.ts";

const ROOT = resolve(import.meta.dir, "../..");

/** The pids of the daemons that run from this checkout. */
function daemons(): string[] {
  return readdirSync("/proc").filter((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      return readlinkSync(`/proc/${pid}/exe`).startsWith(join(ROOT, "dist/"));
    } catch {
      return false;
    }
  });
}

test("it prints an X.509-SVID and a JWT-SVID, and ends what it started", async () => {
  const before = daemons();
  const shown = await run([join(ROOT, "scripts/quickstart")], {
    env: { HOME: process.env["HOME"] ?? "/root" },
    timeoutMs: 110_000,
  });
  expect({ code: shown.code, stderr: shown.stderr }).toMatchObject({ code: 0 });
  expect(shown.stdout).toContain("SPIFFE ID:\t\tspiffe://example.org/me");
  expect(shown.stdout).toMatch(/token\(spiffe:\/\/example\.org\/me\):\n\teyJ/);
  expect(shown.stderr).toContain("It works.");
  expect(daemons()).toEqual(before);
}, 120_000);

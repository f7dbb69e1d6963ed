/**
 * Whether a backup is the operator's own. Its passphrase says so; of one without, nothing does, and whoever made it would be the authority of the
 * trust domain: what it holds is shown, and somebody has to know it again.
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { createInterface } from "node:readline/promises";
import type { Io } from "#cli/io.ts";
import { systemClock } from "#clock/clock.ts";
import { type Summarized, summaryText } from "./summary.ts";

/**
 * @param isForced whether the operator has said yes already
 * @throws Error when the backup is not to be restored
 */
export async function approve(
  path: string,
  backup: Summarized,
  isForced: boolean,
  io: Io,
): Promise<void> {
  if (backup.isEncrypted || isForced) return;
  const digest = await sha256(path);
  const summary = summaryText(backup, systemClock.nowSeconds());
  io.err(
    `Backup ${path} is not encrypted: nothing in it tells who made it. Compare the authorities, or the hash of the file, with what you know.\n\n${summary}${"SHA-256 of the file".padEnd(20)} : ${digest}\n\n`,
  );
  if (process.stdin.isTTY !== true) {
    throw new Error(
      "not restored, as there is nobody to confirm that this backup is yours: give -force if it is; nothing was changed",
    );
  }
  if ((await answer("Is it yours, and to be restored? Only yes restores it: ")) === "yes") return;
  throw new Error("not restored: nothing was changed");
}

async function answer(question: string): Promise<string> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  const { promise: ended, resolve } = Promise.withResolvers<string>();
  terminal.once("close", () => resolve(""));
  try {
    return (await Promise.race([terminal.question(question), ended])).trim();
  } finally {
    terminal.close();
  }
}

async function sha256(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const piece of createReadStream(path)) hash.update(piece);
  return hash.digest("hex");
}

import { afterEach, beforeEach, expect, test } from "bun:test";
import {
  chownSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { giveToOwnerOfDirectory } from "./owner.ts";

const DAEMON = 1;
let room: string;
let data: string;
beforeEach(() => {
  room = mkdtempSync(join(tmpdir(), "owner-"));
  data = join(room, "data");
  mkdirSync(data);
});
afterEach(() => rmSync(room, { recursive: true }));

test.skipIf(process.getuid?.() !== 0)(
  "a file becomes the daemon's, and what a link of the daemon's leads to does not",
  () => {
    chownSync(data, DAEMON, DAEMON);
    const file = join(data, "file");
    writeFileSync(file, "");
    giveToOwnerOfDirectory(file);
    expect(statSync(file).uid).toBe(DAEMON);

    const secret = join(room, "of-root");
    const link = join(data, "link");
    writeFileSync(secret, "");
    symlinkSync(secret, link);
    giveToOwnerOfDirectory(link);
    expect([statSync(secret).uid, lstatSync(link).uid]).toEqual([0, 0]);

    linkSync(secret, join(data, "hard-link"));
    expect(() => giveToOwnerOfDirectory(join(data, "hard-link"))).toThrow("other names");
    expect(statSync(secret).uid).toBe(0);
  },
);

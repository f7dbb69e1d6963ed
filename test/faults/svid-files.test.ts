/** The writer of SVID files on a disk that is full: the files that are there stay, whole, and new ones come when there is room. */
import { afterAll, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, realpathSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { eventually } from "../support/process.ts";
import { executable, Stage, TestAgent, TestServer } from "../support/spire.ts";
import { SmallDisk } from "./small-disk.ts";

const stage = new Stage();
afterAll(() => stage.close(), 60_000);

test("a full disk costs no file that is there; with room again the newest SVID is written", async () => {
  const server = await TestServer.start(stage, "ours");
  const agent = await TestAgent.start(stage, "ours", server);
  const selectors = [`unix:uid:${process.getuid?.()}`];
  await server.entry("spiffe://example.org/web", agent.id, selectors, "-x509SVIDTTL", "6");
  const directory = stage.room("files");
  const certs = join(directory, "certs");
  mkdirSync(certs, { mode: 0o755 });
  const disk = await SmallDisk.mount(stage, certs, "64k");
  const configuration = join(directory, "helper.conf");
  writeFileSync(
    configuration,
    `agent_address = "${agent.socket}"
    cert_dir = "${certs}"
    combined_file_name = "combined.pem"`,
  );
  const command = [executable("ours", "spire-agent"), "svid-files", "-config", configuration];
  const writer = stage.daemon(disk.within(command), join(directory, "log"));
  await writer.line((line) => line.includes("Files written"));
  disk.fill();
  const full = await writer.line((line) => line.includes("Unable to write the files"));
  expect(full).toContain("ENOSPC");
  const current = (): string => join(disk.reach(), "..data", "combined.pem");
  const kept = readFileSync(current(), "utf8");
  expect(kept).toMatch(/^-----BEGIN CERTIFICATE-----\n(.*\n)*-----END PRIVATE KEY-----\n$/);
  const before = writer.lines.length;
  disk.free();
  await writer.line((line) => line.includes("Files written"), 30_000, before);
  await eventually(
    "another SVID",
    async () => readFileSync(current(), "utf8") !== kept || undefined,
  );
  const sets = readdirSync(disk.reach()).filter((name) => name.startsWith("..set-"));
  expect(sets.length).toBeLessThanOrEqual(2);
  expect(realpathSync(join(disk.reach(), "..data"))).toContain("..set-");
}, 60_000);

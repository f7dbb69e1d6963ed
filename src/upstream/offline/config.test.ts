import { expect, test } from "bun:test";
import { Block, Problems } from "#config/block.ts";
import { parseHcl } from "#config/hcl.ts";
import { type OfflineUpstreamConfig, readOfflineUpstreamConfig } from "./config.ts";

function read(text: string): OfflineUpstreamConfig {
  const problems = new Problems("server.conf");
  const data = new Block([parseHcl(text, "server.conf")], "the plugin_data block", problems);
  const config = readOfflineUpstreamConfig(data, "/data", problems);
  data.finish();
  problems.check();
  return config;
}

test("nothing need be set", () => {
  expect(read("")).toEqual({
    name: "offline",
    dataDir: "/data",
    csrPath: "/data/server-ca.csr",
    warnBeforeSeconds: 30 * 24 * 3600,
  });
});

test("every key", () => {
  const text = `csr_path = "/c"\nroot_cert_path = "/r"\nimport_path = "/i"\nwarn_before = "48h"\n`;
  expect(read(text)).toEqual({
    name: "offline",
    dataDir: "/data",
    csrPath: "/c",
    rootCertPath: "/r",
    importPath: "/i",
    warnBeforeSeconds: 48 * 3600,
  });
});

test.each([
  [`import_path = "/i"`, "import_path needs root_cert_path"],
  [`warn_before = "59m"`, "warn_before must be at least an hour"],
  [`warn_before = "soon"`, "could not parse warn_before"],
  [`ca_path = "/c"`, "ca_path"],
])("%s is refused", (text, words) => {
  expect(() => read(text)).toThrow(words);
});

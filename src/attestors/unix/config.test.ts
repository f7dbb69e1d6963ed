import { expect, test } from "bun:test";
import { Block, Problems } from "#config/block.ts";
import { parseHcl } from "#config/hcl.ts";
import { readUnixConfig } from "./config.ts";

function read(text: string): ReturnType<typeof readUnixConfig> {
  const problems = new Problems("agent.conf");
  const data = new Block([parseHcl(text, "agent.conf")], "the plugin_data block", problems);
  const config = readUnixConfig(data, problems);
  data.finish();
  problems.check();
  return config;
}

test("WorkloadAttestor unix: without any key neither path nor digest, and executables have a limit", () => {
  expect(read("")).toEqual({
    name: "unix",
    discoverWorkloadPath: false,
    discoverContainerPath: false,
    workloadSizeLimit: 1024 ** 3,
  });
  expect(read("workload_size_limit = 0").workloadSizeLimit).toBe(0);
});

test("a key that would do nothing alone is refused with what it needs", () => {
  const alone = () => read("discover_container_path = true");
  expect(alone).toThrow("set discover_workload_path = true as well");
  const both = read("discover_workload_path = true\ndiscover_container_path = true");
  expect(both.discoverContainerPath).toBe(true);
});

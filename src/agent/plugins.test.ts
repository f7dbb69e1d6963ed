import { expect, test } from "bun:test";
import { documentedPlugins, pluginRows } from "#config/plugin-rows.fixture.ts";
import { AGENT_PLUGINS } from "./plugins.ts";

test("docs/CONFIGURATION.md has a row for each plugin, and how many of its kind there may be", () => {
  expect(documentedPlugins("agent")).toEqual(pluginRows(AGENT_PLUGINS));
});

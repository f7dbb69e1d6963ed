import { expect, test } from "bun:test";
import { Block, Problems } from "#config/block.ts";
import { parseHcl } from "#config/hcl.ts";
import { documentedPlugins, pluginRows } from "#config/plugin-rows.fixture.ts";
import { readPlugins } from "#config/read-plugins.ts";
import { errorText } from "#spiffe/status-error.ts";
import { ABSENT_SERVER_PLUGINS, SERVER_PLUGINS } from "./plugins.ts";

/** The path of the store, notes, or what is wrong. */
function store(connection: string): readonly string[] {
  const problems = new Problems("server.conf");
  const text = `KeyManager "memory" {}
DataStore "sql" {
  plugin_data {
    database_type = "sqlite3"
    connection_string = ${JSON.stringify(connection)}
  }
}`;
  const plugins = new Block([parseHcl(text, "server.conf")], "the plugins block", problems);
  const { dataStore } = readPlugins(
    SERVER_PLUGINS,
    ABSENT_SERVER_PLUGINS,
    plugins,
    { dataDir: "data" },
    problems,
  );
  try {
    problems.check();
  } catch (error) {
    return [errorText(error)];
  }
  return [dataStore.connectionString, ...problems.notes];
}

test.each([
  ["data/db", ["data/db"]],
  ["file:data/db", ["data/db"]],
  [
    "file:data/db?cache=shared",
    [
      "data/db",
      "server.conf:5: the options of connection_string are not needed: SQLite runs in this process, over connections of its own",
    ],
  ],
])("%s is a path", (connection, expected) => expect(store(connection)).toEqual(expected));

test.each(["file:memdb?mode=memory&cache=shared", ":memory:", "file::memory:"])(
  "%s would be a file by that name, and is refused",
  (connection) => {
    expect(store(connection)).toEqual([
      expect.stringMatching(/^server.conf:5: .*a store in memory is not supported/),
    ]);
  },
);

test("docs/CONFIGURATION.md has a row for each plugin, and how many of its kind there may be", () => {
  expect(documentedPlugins("server")).toEqual(pluginRows(SERVER_PLUGINS));
});

import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type SocketRules, socketOwner, socketPath, unnamedSocketPath } from "./socket-path.ts";

const RULES: SocketRules = {
  defaultPath: "/default.sock",
  packaged: { path: "/run/packaged.sock", config: "/etc/packaged.conf", user: "daemon" },
  templateVariable: "SOCKET_TEMPLATE",
  noTemplate: "no template",
};

describe("the socket", () => {
  test.each([
    ["the default", "", "", {}, "/default.sock"],
    ["the default, named", "/default.sock", "", {}, "/default.sock"],
    ["the environment's", "", "", { SOCKET: "/env.sock" }, "/env.sock"],
    [
      "the environment's before the default, even a named one",
      "/default.sock",
      "",
      { SOCKET: "/env.sock" },
      "/env.sock",
    ],
    [
      "an explicit one before all",
      "/a.sock",
      "i",
      { SOCKET_TEMPLATE: "/%i", SOCKET: "/env.sock" },
      "/a.sock",
    ],
    [
      "the instance's before the environment's",
      "",
      "$&",
      { SOCKET_TEMPLATE: "/%i/%i", SOCKET: "/env.sock" },
      "/$&/$&",
    ],
  ])("%s", (_name, path, instance, env, expected) => {
    expect(socketPath(RULES, { socketPath: path, instance }, env)).toBe(expected);
  });

  test.each([
    ["an instance without a template", {}, "no template"],
    ["a template without %i", { SOCKET_TEMPLATE: "/x" }, "failed to find %i in SOCKET_TEMPLATE"],
  ])("%s is an error, even beside an explicit path", (_name, env, message) => {
    const flags = { socketPath: "/a.sock", instance: "i" };
    expect(() => socketPath(RULES, flags, env)).toThrow(new Error(message));
  });
});

test.each([
  ["found by itself", "", "", {}, "daemon"],
  ["an instance of the packages", "", "i", {}, "daemon"],
  ["named, as the default too", "/default.sock", "", {}, undefined],
  ["the environment's", "", "", { SOCKET: "/env.sock" }, undefined],
  ["the instance's in the environment's template", "", "i", { SOCKET_TEMPLATE: "/%i" }, undefined],
])("who may listen: %s", (_name, path, instance, env, owner) => {
  expect(socketOwner(RULES, { socketPath: path, instance }, env)).toBe(owner as string);
});

describe("the socket when nothing names one", () => {
  const directory = mkdtempSync(join(tmpdir(), "spire-edge-sockets-"));
  const at = (name: string): string => join(directory, name);
  const rules: SocketRules = {
    ...RULES,
    defaultPath: at("default"),
    packaged: { path: at("packaged"), config: at("config"), user: "daemon" },
    packagedTemplate: at("instance-%i"),
  };
  beforeEach(() => rmSync(directory, { recursive: true, force: true }));
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  test.each([
    [[], "default"],
    [["config"], "packaged"],
    [["packaged"], "packaged"],
    [["default"], "default"],
    [["default", "packaged", "config"], "default"],
  ])("where %p is there: %s", (there, expected) => {
    mkdirSync(directory);
    for (const name of there) writeFileSync(at(name), "");
    expect(unnamedSocketPath(rules, {})).toBe(at(expected));
    expect(socketPath(rules, { socketPath: "", instance: "" }, {})).toBe(at(expected));
    const named = { socketPath: at("default"), instance: "" };
    expect(socketPath(rules, named, {})).toBe(at("default"));
    expect(unnamedSocketPath(rules, { SOCKET: "/env.sock" })).toBe("/env.sock");
  });

  test("an instance of the packages needs no template, where it is there", () => {
    mkdirSync(directory);
    writeFileSync(at("instance-two"), "");
    const find = (instance: string, env = {}): string =>
      socketPath(rules, { socketPath: "", instance }, env);
    expect(find("two")).toBe(at("instance-two"));
    expect(find("two", { SOCKET_TEMPLATE: "/x/%i" })).toBe("/x/two");
    for (const name of ["three", "two/../instance-two"]) {
      expect(() => find(name)).toThrow(new Error("no template"));
    }
  });
});

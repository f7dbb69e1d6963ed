import { describe, expect, test } from "bun:test";
import { type SocketRules, socketPath } from "./socket-path.ts";

const RULES: SocketRules = {
  defaultPath: "/default.sock",
  templateVariable: "SOCKET_TEMPLATE",
  noTemplate: "no template",
};

describe("the socket", () => {
  test.each([
    ["the default", "/default.sock", "", {}, "/default.sock"],
    ["the environment's", "/default.sock", "", { SOCKET: "/env.sock" }, "/env.sock"],
    [
      "an explicit one before all",
      "/a.sock",
      "i",
      { SOCKET_TEMPLATE: "/%i", SOCKET: "/env.sock" },
      "/a.sock",
    ],
    [
      "the instance's before the environment's",
      "/default.sock",
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

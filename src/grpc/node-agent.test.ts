import { expect, test } from "bun:test";
import { nodeAgent, parseNodeAgent } from "./node-agent.ts";

test.each([
  [{ hostName: "node-1.example.org", attestors: ["unix", "systemd"] }],
  [{ hostName: "", attestors: [] }],
])("what is told is read, whatever follows: %p", (about) => {
  expect(parseNodeAgent(`${nodeAgent(about)} grpc-node-js/1.14.7`)).toEqual(about);
});

test("a name that is none is not told", () => {
  expect(parseNodeAgent(nodeAgent({ hostName: "a b\n", attestors: ["unix"] }))).toEqual({
    hostName: "",
    attestors: ["unix"],
  });
});

test.each([
  "",
  "grpc-go/1.70",
  "spire-edge-agent (host=\u001b[2J; attestors=unix)",
  `spire-edge-agent (host=${"a".repeat(600)}; attestors=)`,
])("from another program, or one that lies, nothing is taken: %p", (text) => {
  expect(parseNodeAgent(text)).toEqual({ hostName: "", attestors: [] });
});

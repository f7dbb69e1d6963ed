import { expect, test } from "bun:test";
import { Agent } from "#proto/spire/api/types/agent.ts";
import { agentBlock } from "./agent-block.ts";

test("what a node says of itself does not speak to the operator's terminal", () => {
  const agent = Agent.fromPartial({ agentVersion: "1.0\n\x9b2J\x1b]0;x\x07" });
  expect(agentBlock(agent)).toContain("\nAgent version     : 1.0\\n\\u009b2J\\u001b]0;x\\u0007\n");
});

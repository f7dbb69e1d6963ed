import { expect, test } from "bun:test";
import { isAgentId, isReservedId } from "./reserved-id.ts";
import { SpiffeId } from "./spiffe-id.ts";

test.each([
  ["/spire", true, false],
  ["/spire/server", true, false],
  ["/spire/agent/x509pop/a", true, true],
  ["/spire/agents/a", true, false],
  ["/spirelike", false, false],
  ["/a/spire/agent/b", false, false],
  ["", false, false],
])("%p: reserved %p, an agent's %p", (path, reserved, agent) => {
  const id = SpiffeId.parse(`spiffe://example.org${path}`);
  expect([isReservedId(id), isAgentId(id)]).toEqual([reserved, agent]);
});

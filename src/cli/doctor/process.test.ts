import { expect, test } from "bun:test";
import { checkExecutable } from "./process.ts";

test("an executable that was replaced under its process", () => {
  const [finding] = checkExecutable("spire-server", "/usr/bin/spire-server (deleted)");
  expect(finding?.level).toBe("WARN");
  const others = ["/usr/bin/spire-server", "/usr/bin/other (deleted)", undefined];
  expect(others.flatMap((program) => checkExecutable("spire-server", program))).toEqual([]);
});

import { expect, test } from "bun:test";
import { Exclusive } from "./exclusive.ts";

test("work on one key runs in order, also after a failure; other keys do not wait", async () => {
  const exclusive = new Exclusive();
  const seen: string[] = [];
  const gate = Promise.withResolvers<void>();
  const first = exclusive.run("a", async () => {
    await gate.promise;
    seen.push("a1");
    throw new Error("first fails");
  });
  const second = exclusive.run("a", async () => seen.push("a2"));
  await exclusive.run("b", async () => seen.push("b1"));
  gate.resolve();
  await expect(first).rejects.toThrow("first fails");
  await second;
  expect(seen).toEqual(["b1", "a1", "a2"]);
});

import { expect, test } from "bun:test";
import { setImmediate } from "node:timers/promises";
import { eachItem } from "./api-call.ts";

const items = Array.from({ length: 200 }, (_, index) => index);

test("the items of a batch are worked on side by side, a few at a time, and answered in their order", async () => {
  let underWay = 0;
  let most = 0;
  const results = await eachItem(items, async (item) => {
    most = Math.max(most, ++underWay);
    await Bun.sleep(item % 3);
    underWay--;
    return -item;
  });
  expect(results).toEqual(items.map((item) => -item));
  expect(most).toBeGreaterThan(8);
  expect(most).toBeLessThan(100);
});

test("others have their turn in between, also when no item waits for anything", async () => {
  const order: (number | "other")[] = [];
  const other = setImmediate().then(() => void order.push("other"));
  await eachItem(items, async (item) => void order.push(item));
  await other;
  expect(order.indexOf("other")).toBeLessThan(order.indexOf(199));
});

test("an item that fails fails the batch", async () => {
  const failed = eachItem(items, async (item) => {
    if (item === 150) throw new Error("item 150");
  });
  expect(await failed.catch(String)).toBe("Error: item 150");
});

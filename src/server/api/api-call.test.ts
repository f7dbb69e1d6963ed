import { expect, test } from "bun:test";
import { setImmediate } from "node:timers/promises";
import { eachItem } from "./api-call.ts";

test("the items of a batch are worked on side by side, and others have their turn in between", async () => {
  const order: (number | "other")[] = [];
  const { promise: all, resolve: goOn } = Promise.withResolvers<void>();
  const other = setImmediate().then(() => void order.push("other"));
  const items = Array.from({ length: 200 }, (_, index) => index);
  const results = await eachItem(items, async (item) => {
    order.push(item);
    if (item === 199) goOn();
    await all;
    return -item;
  });
  await other;
  expect(results).toEqual(items.map((item) => -item));
  expect(order.indexOf("other")).toBeLessThan(order.indexOf(199));
  expect(order.filter((one) => one !== "other")).toEqual(items);
});

import { expect, test } from "bun:test";
import { ManualClock } from "#clock/manual-clock.fixture.ts";
import { StatusCode } from "#spiffe/status-error.ts";
import { nextMessageOf } from "./next-message.ts";

test("messages come one by one, then the end", async () => {
  const messages = async function* (): AsyncGenerator<string> {
    yield "a";
    yield "b";
  };
  const next = nextMessageOf(messages(), new ManualClock());
  expect([await next(), await next(), await next()]).toEqual(["a", "b", undefined]);
});

test("who says nothing is waited for half a minute, for each message anew", async () => {
  const clock = new ManualClock();
  const spoken = Promise.withResolvers<void>();
  const messages = async function* (): AsyncGenerator<string> {
    await spoken.promise;
    yield "late";
    await Promise.withResolvers<void>().promise;
  };
  const next = nextMessageOf(messages(), clock);
  const first = next();
  clock.pass(29_999);
  spoken.resolve();
  expect(await first).toBe("late");
  const second = next().catch((error: unknown) => error);
  clock.pass(29_999);
  clock.pass(1);
  expect(await second).toMatchObject({ code: StatusCode.DEADLINE_EXCEEDED });
});

import { expect, test } from "bun:test";
import type { Authority, Slot } from "./authority.ts";
import { Rotation } from "./rotation.ts";

const LIFETIME = 3600;

/** A rotation whose clock is the argument of advance; what it did is written down. */
function rotationFrom(active: Authority | undefined, next: Authority | undefined) {
  const done: string[] = [];
  let now = 0;
  const rotation = new Rotation<Authority>(
    {
      prepare: async (slot: Slot) => {
        done.push(`prepare ${slot}`);
        return { slot, authorityId: `${slot}${now}`, issuedAt: now, notAfter: now + LIFETIME };
      },
      record: async (one, two) => void done.push(`record ${one?.authorityId} ${two?.authorityId}`),
    },
    active,
    next,
  );
  const advance = async (to: number): Promise<string[]> => {
    now = to;
    done.length = 0;
    await rotation.advance(to);
    return [...done];
  };
  return { rotation, advance };
}

test("prepares at half of the lifetime, activates at a sixth before its end, and writes down first", async () => {
  const { rotation, advance } = rotationFrom(undefined, undefined);
  expect(await advance(0)).toEqual(["prepare A", "record A0 undefined"]);
  expect(await advance(LIFETIME / 2 - 1)).toEqual([]);
  expect(await advance(LIFETIME / 2)).toEqual(["prepare B", "record A0 B1800"]);
  expect(await advance((LIFETIME * 5) / 6 - 1)).toEqual([]);
  expect(rotation.active?.slot).toBe("A");
  expect(await advance((LIFETIME * 5) / 6)).toEqual(["record B1800 undefined"]);
  expect(rotation.active?.slot).toBe("B");
  expect(rotation.next).toBeUndefined();
});

test("long lifetimes: 30 days ahead and 7 days ahead", async () => {
  const day = 86_400;
  const active: Authority = { slot: "A", authorityId: "A", issuedAt: 0, notAfter: 365 * day };
  const { advance } = rotationFrom(active, undefined);
  expect(await advance(335 * day - 1)).toEqual([]);
  expect(await advance(335 * day)).toHaveLength(2);
});

test("an authority that expired while the server was down gives way to the prepared one, or to a new one", async () => {
  const old: Authority = { slot: "A", authorityId: "old", issuedAt: 0, notAfter: 10 };
  const prepared: Authority = { slot: "B", authorityId: "prepared", issuedAt: 5, notAfter: 100 };
  const first = rotationFrom(old, prepared);
  expect(await first.advance(50)).toEqual(["record prepared undefined"]);
  const second = rotationFrom(old, { ...prepared, notAfter: 20 });
  expect(await second.advance(50)).toEqual(["prepare B", "record B50 undefined"]);
});

test("an authority that cannot be written down does not sign", async () => {
  const rotation = new Rotation<Authority>(
    {
      prepare: async (slot) => ({ slot, authorityId: "x", issuedAt: 0, notAfter: 10 }),
      record: () => Promise.reject(new Error("disk full")),
    },
    undefined,
    undefined,
  );
  expect(await rotation.advance(0).catch((error: Error) => error.message)).toBe("disk full");
  expect(rotation.active).toBeUndefined();
});

import { describe, expect, test } from "bun:test";
import type { Authority, Slot } from "#server/ca/authority/authority.ts";
import { Rotation, type RotationState } from "./rotation.ts";
import { Turns } from "./turns.ts";

const LIFETIME = 3600;
const NOTHING: RotationState<Authority> = {
  active: undefined,
  prepared: undefined,
  old: undefined,
};

function authority(slot: Slot, authorityId: string, issuedAt: number, notAfter: number): Authority {
  return { slot, authorityId, upstreamAuthorityId: "", issuedAt, notAfter };
}

/** A rotation whose clock is the argument of `advance`; what it did is written down. */
function rotationFrom(recovered: Partial<RotationState<Authority>>) {
  const done: string[] = [];
  /** Where preparing fails after it has made a key. */
  const lostKeys = new Set<Slot>();
  let now = 0;
  const rotation = new Rotation<Authority>(
    {
      prepare: async (slot: Slot) => {
        if (lostKeys.has(slot)) throw new Error("the disk is full");
        done.push(`prepare ${slot}`);
        return authority(slot, `${slot}${now}`, now, now + LIFETIME);
      },
      activate: async ({ authorityId }) => void done.push(`activate ${authorityId}`),
      hasKey: ({ slot }) => !lostKeys.has(slot),
    },
    new Turns(),
    { ...NOTHING, ...recovered },
  );
  const advance = async (to: number): Promise<string[]> => {
    now = to;
    done.length = 0;
    await rotation.advance(to);
    return [...done];
  };
  return { rotation, advance, done, lostKeys };
}

function ids({ active, prepared, old }: RotationState<Authority>) {
  return [active?.authorityId, prepared?.authorityId, old?.authorityId];
}

test("prepares at half of the lifetime and activates at a sixth before its end", async () => {
  const { rotation, advance } = rotationFrom({});
  expect([rotation.dueAt, rotation.rotatesAt]).toEqual([0, 0]);
  await rotation.prepare();
  expect(rotation.rotatesAt).toBe(0);
  expect(await advance(0)).toEqual(["activate A0"]);
  expect(rotation.dueAt).toBe(LIFETIME / 2);
  expect(await advance(LIFETIME / 2 - 1)).toEqual([]);
  expect(await advance(LIFETIME / 2)).toEqual(["prepare B"]);
  expect(rotation.dueAt).toBe((LIFETIME * 5) / 6);
  expect(await advance((LIFETIME * 5) / 6 - 1)).toEqual([]);
  expect(ids(rotation.state)).toEqual(["A0", "B1800", undefined]);
  expect(await advance((LIFETIME * 5) / 6)).toEqual(["activate B1800"]);
  expect(ids(rotation.state)).toEqual(["B1800", undefined, "A0"]);
});

test("a prepared authority is forgotten when preparing another one broke off after its key was replaced", async () => {
  const { rotation, advance, lostKeys } = rotationFrom({});
  await advance(0);
  await rotation.prepare();
  lostKeys.add("B");
  await expect(rotation.prepare()).rejects.toThrow("the disk is full");
  expect(ids(rotation.state)).toEqual(["A0", undefined, undefined]);
  lostKeys.clear();
  expect(await advance(LIFETIME / 2)).toEqual(["prepare B"]);
});

test("the old authority is known until its slot is prepared again", async () => {
  const { rotation } = rotationFrom({
    active: authority("B", "new", 0, LIFETIME),
    old: authority("A", "old", -LIFETIME, LIFETIME / 2),
  });
  const prepared = await rotation.prepare();
  expect(ids(rotation.state)).toEqual(["new", "A0", undefined]);
  await rotation.activate(prepared);
  expect(ids(rotation.state)).toEqual(["A0", undefined, "new"]);
});

test("long lifetimes: 30 days ahead and 7 days ahead", async () => {
  const day = 86_400;
  const { rotation, advance } = rotationFrom({ active: authority("A", "A", 0, 365 * day) });
  expect(await advance(335 * day - 1)).toEqual([]);
  expect(await advance(335 * day)).toEqual(["prepare B"]);
  expect(rotation.dueAt).toBe(358 * day);
});

test("an authority that expired while the server was down gives way to the prepared one, or to a new one", async () => {
  const old = authority("A", "old", 0, 10);
  const first = rotationFrom({ active: old, prepared: authority("B", "prepared", 5, 100) });
  expect(await first.advance(50)).toEqual(["activate prepared"]);
  const second = rotationFrom({ active: old, prepared: authority("B", "prepared", 5, 20) });
  expect(await second.advance(50)).toEqual(["prepare B", "activate B50"]);
});

test("an authority whose key was lost does not lose its slot to the next one", async () => {
  const { rotation, advance } = rotationFrom({ old: authority("A", "lost", 0, LIFETIME) });
  expect(await advance(50)).toEqual(["prepare B", "activate B50"]);
  expect(ids(rotation.state)).toEqual(["B50", undefined, "lost"]);
});

test("an operator's orders and the rotation's own follow one another", async () => {
  const { rotation, done } = rotationFrom({ active: authority("A", "A", -LIFETIME, 60) });
  const [first, second] = await Promise.all([rotation.prepare(), rotation.prepare()]);
  const refused = rotation.activate(first).catch(({ message }: Error) => message);
  await Promise.all([rotation.advance(0), refused]);
  expect(await refused).toBe("unexpected authority ID");
  expect(done).toEqual(["prepare B", "prepare B", "activate B0"]);
  expect(rotation.state.active).toBe(second);
});

test("a newest authority that will not do is replaced, the prepared one before the active one", async () => {
  const { rotation, done } = rotationFrom({ active: authority("A", "A", 0, LIFETIME) });
  await rotation.prepareUnless(({ authorityId }) => authorityId === "A");
  expect(done).toEqual([]);
  await rotation.prepareUnless(({ authorityId }) => authorityId !== "A");
  await rotation.prepareUnless(({ authorityId }) => authorityId === "B0");
  expect(done).toEqual(["prepare B"]);
  expect(ids(rotation.state)).toEqual(["A", "B0", undefined]);
});

test("an authority that cannot be written down does not sign", async () => {
  const rotation = new Rotation<Authority>(
    {
      prepare: async (slot) => authority(slot, "x", 0, 10),
      activate: () => Promise.reject(new Error("disk full")),
      hasKey: () => true,
    },
    new Turns(),
    NOTHING,
  );
  expect(await rotation.advance(0).catch((error: Error) => error.message)).toBe("disk full");
  expect(rotation.state.active).toBeUndefined();
});

test("one that somebody has to bring is asked for once, and waited for without haste", async () => {
  const asked: Slot[] = [];
  const activated: string[] = [];
  const rotation = new Rotation<Authority>(
    {
      slots: ["A", "B", "C"],
      prepareAheadSeconds: () => 100,
      prepare: async (slot) => void asked.push(slot),
      awaiting: () => "somebody is on the way",
      startsAt: ({ issuedAt }) => issuedAt,
      activate: async ({ authorityId }) => void activated.push(authorityId),
      hasKey: () => true,
    },
    new Turns(),
    NOTHING,
  );
  await rotation.advance(0);
  expect([asked, rotation.dueAt, rotation.state]).toEqual([["A"], Infinity, NOTHING]);
  await rotation.adopt(async () => authority("A", "first", 10, 1010));
  expect(rotation.dueAt).toBe(10);
  await rotation.advance(9);
  expect(activated).toEqual([]);
  await rotation.advance(10);
  expect([activated, rotation.dueAt]).toEqual([["first"], 910]);
  await rotation.advance(910);
  expect(asked).toEqual(["A", "B"]);
  await rotation.adopt(async () => authority("B", "second", 910, 2000));
  expect(await rotation.prepare().catch(({ message }) => message)).toBe("somebody is on the way");
  expect(asked.at(-1)).toBe("C");
  // What expired while it waited for its turn never signs.
  await rotation.advance(2001);
  expect([asked, activated]).toEqual([["A", "B", "C"], ["first"]]);
});

describe("authorities that are to live longer from now on", () => {
  interface Made extends Authority {
    readonly ttlSeconds: number;
  }

  function growing(upstreamAuthorityId = "") {
    const done: string[] = [];
    let now = 0;
    let ttl = LIFETIME;
    /** What is above gives no more than that. */
    const given = (): number => Math.min(ttl, upstreamAuthorityId === "" ? ttl : 2 * LIFETIME);
    const rotation = new Rotation<Made>(
      {
        ttlSeconds: () => ttl,
        prepare: async (slot: Slot) => {
          done.push(`prepare ${slot}`);
          const made = authority(slot, `${slot}${now}`, now, now + given());
          return { ...made, upstreamAuthorityId, ttlSeconds: ttl };
        },
        activate: async ({ authorityId }) => void done.push(`activate ${authorityId}`),
        hasKey: () => true,
      },
      new Turns(),
      NOTHING as RotationState<Made>,
    );
    const advance = async (to: number, ttlSeconds = ttl): Promise<string[]> => {
      now = to;
      ttl = ttlSeconds;
      done.length = 0;
      await rotation.advance(to);
      return [...done];
    };
    return { rotation, advance };
  }

  test("are prepared at once and sign when others know them", async () => {
    const { rotation, advance } = growing();
    await advance(0);
    expect(await advance(10)).toEqual([]);
    expect(await advance(20, 24 * LIFETIME)).toEqual(["prepare B"]);
    expect(rotation.dueAt).toBe(320);
    expect(rotation.rotatesAt).toBe(320);
    expect(await advance(319)).toEqual([]);
    expect(await advance(320)).toEqual(["activate B20"]);
    expect(rotation.dueAt).toBe(20 + 12 * LIFETIME);
    expect(await advance(400)).toEqual([]);
  });

  test("take the place of one that was prepared before", async () => {
    const { advance } = growing();
    await advance(0);
    expect(await advance(LIFETIME / 2)).toEqual(["prepare B"]);
    expect(await advance(LIFETIME / 2 + 1, 24 * LIFETIME)).toEqual(["prepare B"]);
    expect(await advance(LIFETIME / 2 + 301)).toEqual(["activate B1801"]);
  });

  test("sign at once where what is above them is known already, and are asked for once", async () => {
    const { advance } = growing("above");
    await advance(0);
    expect(await advance(20, 24 * LIFETIME)).toEqual(["prepare B", "activate B20"]);
    // It got less than it asked for.
    expect(await advance(30)).toEqual([]);
    expect(await advance(40, LIFETIME)).toEqual([]);
  });
});

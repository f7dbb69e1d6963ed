import { expect, test } from "bun:test";
import type { ConnectionShare } from "./user-shares.ts";
import { limitsWithin, UserShares } from "./user-shares.ts";

const LIMITS = { connections: 1000, connectionsPerUid: 250, calls: 400, callsPerUid: 100 };

/** Connects as often as it may, and no more often than that. @returns the shares, in their order */
function connectMany(shares: UserShares, uid: number, most = 1000): ConnectionShare[] {
  const made: ConnectionShare[] = [];
  try {
    while (made.length < most) made.push(shares.connect(uid, () => {}));
  } catch {
    // That was all.
  }
  return made;
}

test("a user has a bound, whatever it runs", () => {
  const shares = new UserShares(LIMITS);
  const [first] = connectMany(shares, 1001);
  expect(() => shares.connect(1001, () => {})).toThrow("user 1001 has 250 connections already");
  first?.close();
  first?.close();
  expect(connectMany(shares, 1001)).toHaveLength(1);
});

test("users with many connections leave room for those with few, they for the system's, and these for root", () => {
  const shares = new UserShares(LIMITS);
  const identified = (uid: number, most?: number): number => {
    const made = connectMany(shares, uid, most);
    for (const share of made) share.identified();
    return made.length;
  };
  const counts = [1001, 1002, 1003, 1004].map((uid) => identified(uid));
  expect(counts).toEqual([250, 250, 250, 50]);
  const few = Array.from({ length: 20 }, (_, n) => identified(2000 + n));
  expect(few.reduce((a, b) => a + b, 0)).toBe(100);
  expect(identified(999)).toBe(75);
  expect(identified(0)).toBe(25);
  expect(() => shares.connect(0, () => {})).toThrow("there are 1000 connections already");
});

test("when it is full, the nameless connections of the user with the most make room, the oldest first", () => {
  const shares = new UserShares({ ...LIMITS, connections: 400 });
  const closed: string[] = [];
  const connect = (uid: number, name: string): ConnectionShare =>
    shares.connect(uid, () => closed.push(name));
  for (let n = 0; n < 210; n++) connect(1001, `a${n}`);
  for (let n = 0; n < 110; n++) connect(1002, `b${n}`);
  // As many may stay as have room; who has few comes in beside them, and then in place of them.
  const few = Array.from({ length: 41 }, (_, n) => connect(2000 + n, "few"));
  expect(few).toHaveLength(41);
  expect(closed).toEqual(["a0"]);
  connect(999, "system");
  expect(closed).toEqual(["a0"]);
});

test("who has an identity does not make room, and a user makes none for itself", () => {
  const shares = new UserShares({ ...LIMITS, connections: 100 });
  const closed: number[] = [];
  for (let n = 0; n < 80; n++) {
    const share = shares.connect(1001, () => closed.push(n));
    if (n !== 50) share.identified();
  }
  expect(() => shares.connect(1001, () => {})).toThrow("there are 80 connections already");
  connectMany(shares, 1002, 9);
  connectMany(shares, 1003, 1);
  expect(closed).toEqual([]);
  expect(() => connectMany(shares, 1004, 1)).not.toThrow();
  expect(closed).toEqual([50]);
});

test("calls are counted for a user, across its connections, until each has ended", () => {
  const shares = new UserShares(LIMITS);
  const [one, other] = [1, 2].map(() => shares.connect(1001, () => {}));
  const ends = Array.from({ length: 50 }, () => [one?.call(), other?.call()]).flat();
  expect(() => one?.call()).toThrow("user 1001 has 100 calls under way already");
  other?.close();
  expect(() => one?.call()).toThrow("user 1001 has 100 calls under way already");
  ends[0]?.();
  expect(() => one?.call()).not.toThrow();
});

test("calls of many users leave room for the others' as well", () => {
  const shares = new UserShares(LIMITS);
  const most = (uid: number): number => {
    const share = shares.connect(uid, () => {});
    let count = 0;
    try {
      for (; count < 500; count++) share.call();
    } catch {
      // That was all.
    }
    return count;
  };
  expect([1001, 1002, 1003, 1004].map(most)).toEqual([100, 100, 100, 20]);
  expect([1005, 1006, 1007, 1008, 1009].map(most)).toEqual([10, 10, 10, 10, 0]);
  expect([500, 0].map(most)).toEqual([30, 10]);
});

test("there are no more connections than there are descriptors for, and some are left for the rest", () => {
  expect(limitsWithin(65_536)).toMatchObject({ connections: 10_000, connectionsPerUid: 2500 });
  expect(limitsWithin(20_000)).toMatchObject({ connections: 9750, connectionsPerUid: 2438 });
  expect(limitsWithin(1024).connections).toBe(384);
  expect(limitsWithin(Number.POSITIVE_INFINITY).connections).toBe(10_000);
});

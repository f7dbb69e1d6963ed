import { expect, test } from "bun:test";
import { FairQueue, QueueFullError } from "./fair-queue.ts";

const LIMITS = { running: 1, runningPerKey: 1, waiting: 100, waitingPerKey: 50 };
const forever = new AbortController().signal;
const settle = (): Promise<void> => Bun.sleep(0);

/** Work that goes on until it is told to end. */
function gate(): { readonly work: () => Promise<void>; readonly open: () => void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { work: () => promise, open: resolve };
}

test("keys take turns, however much one of them has waiting", async () => {
  const queue = new FairQueue<string>(LIMITS);
  const order: string[] = [];
  const first = gate();
  const all = [queue.run("a", forever, first.work)];
  for (const name of ["a", "a", "a", "b", "c", "b"]) {
    all.push(queue.run(name, forever, async () => void order.push(name)));
  }
  first.open();
  await Promise.all(all);
  expect(order).toEqual(["a", "b", "c", "a", "b", "a"]);
});

test("no more runs at once than may, of one key and of all", async () => {
  const queue = new FairQueue<number>({ ...LIMITS, running: 3, runningPerKey: 2 });
  const now = new Map<number, number>();
  let most = 0;
  let mostOfOne = 0;
  const work = (key: number) => async (): Promise<void> => {
    now.set(key, (now.get(key) ?? 0) + 1);
    most = Math.max(
      most,
      [...now.values()].reduce((a, b) => a + b),
    );
    mostOfOne = Math.max(mostOfOne, ...now.values());
    await settle();
    now.set(key, (now.get(key) ?? 0) - 1);
  };
  await Promise.all(Array.from({ length: 60 }, (_, n) => queue.run(n % 2, forever, work(n % 2))));
  expect([most, mostOfOne]).toEqual([3, 2]);
});

test("a turn that comes free goes to nobody who has a share already", async () => {
  const queue = new FairQueue<string>({ ...LIMITS, running: 2 });
  const [first, other] = [gate(), gate()];
  const running = [queue.run("a", forever, first.work), queue.run("b", forever, other.work)];
  let ran = false;
  const second = queue.run("a", forever, async () => {
    ran = true;
  });
  other.open();
  await running[1];
  await queue.run("c", forever, settle);
  expect(ran).toBe(false);
  first.open();
  await Promise.all([...running, second]);
  expect(ran).toBe(true);
});

test("what is beyond the bounds is refused at once; others may still wait", async () => {
  const queue = new FairQueue<string>({ ...LIMITS, waiting: 3, waitingPerKey: 2 });
  const first = gate();
  const all = [queue.run("a", forever, first.work)];
  const wait = (key: string) => queue.run(key, forever, settle);
  all.push(wait("a"), wait("a"));
  expect(await wait("a").catch((error: unknown) => error)).toBeInstanceOf(QueueFullError);
  all.push(wait("b"));
  expect(await wait("c").catch((error: unknown) => error)).toBeInstanceOf(QueueFullError);
  first.open();
  await Promise.all(all);
  await wait("a");
});

test("who gives up while waiting takes no turn, and leaves its place", async () => {
  const queue = new FairQueue<string>({ ...LIMITS, waiting: 2 });
  const first = gate();
  const running = queue.run("a", forever, first.work);
  const stays = queue.run("b", forever, settle);
  const leaving = new AbortController();
  let ran = false;
  const left = queue.run("b", leaving.signal, async () => {
    ran = true;
  });
  leaving.abort(new Error("gone"));
  expect(await left.catch(String)).toContain("gone");
  const next = queue.run("b", forever, settle);
  first.open();
  await Promise.all([running, stays, next]);
  expect(ran).toBe(false);
});

test("long work that passes its turn lets a later one end first, and work that fails gives its turn back", async () => {
  const queue = new FairQueue<string>(LIMITS);
  const order: string[] = [];
  const long = queue.run("a", forever, async (turn) => {
    for (let part = 0; part < 3; part++) {
      await settle();
      await turn.pass();
    }
    order.push("long");
  });
  const failing = queue.run("b", forever, () => Promise.reject(new Error("broken")));
  const short = queue.run("c", forever, async () => void order.push("short"));
  expect(await failing.catch(String)).toContain("broken");
  await Promise.all([long, short]);
  expect(order).toEqual(["short", "long"]);
});

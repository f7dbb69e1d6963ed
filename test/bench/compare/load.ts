/** The load generator (../load), and what can be read of a process from outside. */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { statusValues } from "#ffi/process-status.ts";
import { type Daemon, run } from "../../support/process.ts";

export const ROOT: string = resolve(import.meta.dir, "../../..");
export const LOAD: string = join(ROOT, "build/peers/load");

/** What a load prints: milliseconds, but for `seconds` and `cpuSeconds`. */
export interface LoadFigures {
  readonly calls: number;
  readonly items: number;
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly p50: number;
  readonly p99: number;
  readonly longest: number;
}

/** What loads must not be slowed down by themselves: memory is there, so garbage may lie a while. */
export const LOAD_ENV: Readonly<Record<string, string>> = { GOGC: "400" };

type Words = Readonly<Record<string, string | number>>;

/** The command line of a load, for whoever wants it to go on. */
export const loadCommand = (name: string, words: Words): string[] => [
  LOAD,
  name,
  ...Object.entries(words).map(([key, value]) => `${key}=${value}`),
];

/** @throws Error with what the load generator complained of */
export async function load<Result = LoadFigures>(name: string, words: Words): Promise<Result> {
  const done = await run(loadCommand(name, words), { env: LOAD_ENV, timeoutMs: 1_200_000 });
  if (done.code !== 0) throw new Error(`load ${name}: ${done.stderr}`);
  return JSON.parse(done.stdout) as Result;
}

export const callsPerSecond = ({ calls, seconds }: LoadFigures): number => calls / seconds;
export const itemsPerSecond = ({ items, seconds }: LoadFigures): number => items / seconds;

/** @param part `VmRSS`, or `RssAnon`: what is not a page of a file, which the kernel could take away */
export function residentMegabytes(pid: number, part: "VmRSS" | "RssAnon" = "VmRSS"): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(statusValues(status, part)[0]) / 1024;
}

/** What a minute without work costs, by a sample of the given length. */
export async function idleMinute(pid: number, sampleSeconds: number): Promise<number> {
  // What a start leaves behind, compiling and collecting, goes on for a while.
  await Bun.sleep(sampleSeconds * 1000);
  const { cpuSeconds } = await load("idle", { pid, milliseconds: sampleSeconds * 1000 });
  return (cpuSeconds / sampleSeconds) * 60;
}

/** Milliseconds from the start of a daemon until the health service on its socket says SERVING; ends it again. */
export async function readyAfter(socket: string, launch: () => Daemon): Promise<number> {
  const waiting = load<{ at: number }>("ready", { socket });
  // The one who waits must not be slower than what it waits for.
  await Bun.sleep(300);
  const began = performance.timeOrigin + performance.now();
  const daemon = launch();
  const { at } = await waiting;
  await daemon.stop();
  return at - began;
}

/** The median of several starts, each of which is prepared for. */
export async function startTime(times: number, start: () => Promise<number>): Promise<number> {
  const all: number[] = [];
  for (let n = 0; n < times; n++) all.push(await start());
  return median(all);
}

/** Of any list, in any order; the upper of the two middle ones. */
export const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;

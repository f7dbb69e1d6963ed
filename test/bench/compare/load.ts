/** The load generator (../load), and what can be read of a process from outside. */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
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

type Words = Readonly<Record<string, string | number>>;

/** The command line of a load, for whoever wants it to go on. */
export const loadCommand = (name: string, words: Words): string[] => [
  "env",
  "GOGC=400",
  LOAD,
  name,
  ...Object.entries(words).map(([key, value]) => `${key}=${value}`),
];

/** @throws Error with what the load generator complained of */
export async function load<Result = LoadFigures>(name: string, words: Words): Promise<Result> {
  const done = await run(loadCommand(name, words), { timeoutMs: 1_200_000 });
  if (done.code !== 0) throw new Error(`load ${name}: ${done.stderr}`);
  return JSON.parse(done.stdout) as Result;
}

export const callsPerSecond = ({ calls, seconds }: LoadFigures): number => calls / seconds;
export const itemsPerSecond = ({ items, seconds }: LoadFigures): number => items / seconds;

/** @param part `VmRSS`, or `RssAnon`: what is not a page of a file, which the kernel could take away */
export function residentMegabytes(pid: number, part: "VmRSS" | "RssAnon" = "VmRSS"): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(new RegExp(`${part}:\\s+(\\d+)`).exec(status)?.[1]) / 1024;
}

const TICKS_PER_SECOND = 100;

/** Seconds that a process has run, threads that ended included; in hundredths (proc_pid_stat(5), utime and stime). */
function processorSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** What a minute without work costs, by a sample of the given length. */
export async function idleMinute(pid: number, sampleSeconds: number): Promise<number> {
  // What a start leaves behind, compiling and collecting, goes on for a while.
  await Bun.sleep(sampleSeconds * 1000);
  const before = processorSeconds(pid);
  await Bun.sleep(sampleSeconds * 1000);
  return ((processorSeconds(pid) - before) / sampleSeconds) * 60;
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

// Plants faults in a copy of the tree, one at a time, and runs the unit tests near each. Prints what no test noticed.
import { spawn } from "node:child_process";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative, resolve } from "node:path";
import { parseArgs } from "node:util";
import { type Fault, findFaults, plant } from "./faults.ts";

const ROOMS = ["x509", "jwt", "spiffe", "grpc", "attestors", "server/ca", "server/api"];
const ROOT = join(import.meta.dir, "../..");
const NOT_CODE = /\.(test|fixture|conformance)\.ts$|\.d\.ts$/;
/** How much longer than without a fault a test may take before it counts as hung, which is noticed too. */
const SLOWER = 4;
const AT_LEAST_MS = 20_000;

interface Planted {
  readonly file: string;
  readonly fault: Fault;
}

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    sample: { type: "string" },
    seed: { type: "string", default: "1" },
    jobs: { type: "string", default: "2" },
  },
});

const sources = scan("src/**/*.ts");
const tests = [...sources, ...scan("test/vectors/*.ts")].filter((file) =>
  file.endsWith(".test.ts"),
);
/** As it was at the start: whoever edits the tree meanwhile disturbs nothing. */
const texts = new Map(
  [...sources, ...tests].map((file) => [file, readFileSync(join(ROOT, file), "utf8")]),
);
const textOf = (file: string): string => texts.get(file) ?? "";
const imports = new Map([...texts.keys()].map((file) => [file, importsOf(file)]));

const results = new Map<string, { noticed: number; all: number }>();
function scan(pattern: string): string[] {
  return [...new Bun.Glob(pattern).scanSync(ROOT)].sort();
}

function summary(room: string, noticed: number, all: number): string {
  const part = all === 0 ? 100 : (100 * noticed) / all;
  return `${room}: ${noticed} of ${all} noticed, ${part.toFixed(1)} %`;
}

async function mutateRoom(room: string): Promise<void> {
  const inRoom = (file: string): boolean =>
    file.startsWith(`src/${room}/`) || file === room || file === `src/${room}`;
  const faults = sources
    .filter((file) => inRoom(file) && !NOT_CODE.test(file))
    .flatMap((file) => findFaults(textOf(file)).map((fault) => ({ file, fault })));
  const chosen = options.sample === undefined ? faults : sample(faults, Number(options.sample));
  console.log(`${room}: ${chosen.length} of ${faults.length} faults`);
  const queue = chosen.values();
  const count = { noticed: 0, all: 0 };
  results.set(room, count);
  const work = async (copy: Copy): Promise<void> => {
    for (const planted of queue) {
      const noticed = await copy.notices(planted, nearTests(planted.file));
      count.all++;
      if (noticed) count.noticed++;
      else console.log(describe(planted));
    }
  };
  await Promise.all(copies.map(work));
  console.log(summary(room, count.noticed, count.all));
}

function describe({ file, fault }: Planted): string {
  const line = textOf(file).split("\n")[fault.line - 1] ?? "";
  const from = fault.from.replaceAll(/\s+/g, " ");
  return `survived: ${file}:${fault.line} ${fault.kind}: ${from} → ${fault.to || "(nothing)"} | ${line.trim()}`;
}

/** The same choice for the same seed. */
function sample(all: readonly Planted[], count: number): Planted[] {
  return all
    .map((planted, index) => ({ planted, order: Bun.hash(`${options.seed} ${index}`) }))
    .sort((a, b) => (a.order < b.order ? -1 : 1))
    .slice(0, count)
    .map(({ planted }) => planted);
}

function importsOf(file: string): string[] {
  return [
    ...textOf(file).matchAll(
      /(?:^|\n)(?:import|export)\s(?!type\s)[^"']*?"([^"]+)"|import\("([^"]+)"\)/g,
    ),
  ]
    .map(([, from, lazily]) => from ?? lazily ?? "")
    .filter((target) => /^[.#]/.test(target))
    .map((target) =>
      target.startsWith("#")
        ? `src/${target.slice(1)}`
        : relative(ROOT, resolve(ROOT, dirname(file), target)),
    );
}

/**
 * The tests that come to a file by their imports, those nearest to it first: unit tests of its room, and vectors. A test that starts an
 * executable is none of them.
 */
function nearTests(file: string): string[][] {
  const room = ROOMS.find((name) => file.startsWith(`src/${name}/`)) ?? file.split("/")[1];
  const near = tests.filter(
    (test) => test.startsWith(`src/${room}/`) || test.startsWith("test/vectors/"),
  );
  const byDistance = new Map<number, string[]>();
  for (const test of near) {
    const distance = distanceTo(test, file);
    if (distance === undefined) continue;
    byDistance.set(distance, [...(byDistance.get(distance) ?? []), test]);
  }
  const ordered = [...byDistance].sort(([a], [b]) => a - b).map(([, files]) => files);
  return [...ordered.slice(0, 1), ordered.slice(1).flat()].filter((files) => files.length > 0);
}

function distanceTo(from: string, to: string): number | undefined {
  let reached = [from];
  const seen = new Set(reached);
  for (let distance = 0; reached.length > 0; distance++) {
    if (reached.includes(to)) return distance;
    reached = reached.flatMap((file) => imports.get(file) ?? []).filter((file) => !seen.has(file));
    for (const file of reached) seen.add(file);
  }
  return undefined;
}

/** A copy of the tree to plant in, so that nobody ever sees a fault in the tree itself. */
class Copy {
  readonly #root: string = mkdtempSync(join(tmpdir(), "spire-edge-mutate-"));
  readonly #unharmedMs = new Map<string, number>();

  constructor() {
    for (const part of ["src", "proto", "test", "package.json", "tsconfig.json", "bunfig.toml"])
      cpSync(join(ROOT, part), join(this.#root, part), { recursive: true });
    symlinkSync(join(ROOT, "node_modules"), join(this.#root, "node_modules"));
    mkdirSync(join(this.#root, "tmp"));
  }

  async notices({ file, fault }: Planted, groups: readonly string[][]): Promise<boolean> {
    const path = join(this.#root, file);
    const text = textOf(file);
    for (const group of groups) {
      const limit = Math.max(AT_LEAST_MS, SLOWER * (await this.#timeUnharmed(group)));
      writeFileSync(path, plant(text, fault));
      const passed = await this.#run(group, limit);
      writeFileSync(path, text);
      if (!passed) return true;
    }
    return false;
  }

  remove(): void {
    rmSync(this.#root, { recursive: true, force: true });
  }

  /** @throws Error when tests fail without any fault, since then they say nothing of one */
  async #timeUnharmed(group: readonly string[]): Promise<number> {
    const key = group.join(" ");
    const known = this.#unharmedMs.get(key);
    if (known !== undefined) return known;
    const begun = performance.now();
    if (!(await this.#run(group, 600_000)))
      throw new Error(`without any fault, this fails: ${key}`);
    const took = performance.now() - begun;
    this.#unharmedMs.set(key, took);
    return took;
  }

  async #run(group: readonly string[], limitMs: number): Promise<boolean> {
    const args = ["test", "--bail", "--timeout", "60000", ...group.map((test) => `./${test}`)];
    // A group of its own, so that what a hung test started ends with it.
    const child = spawn(process.execPath, args, {
      cwd: this.#root,
      env: { ...process.env, TMPDIR: join(this.#root, "tmp") },
      stdio: "ignore",
      detached: true,
    });
    const ended = new Promise<number | null>((tell) => child.once("exit", tell));
    const timer = setTimeout(() => {
      if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
    }, limitMs);
    const code = await ended;
    clearTimeout(timer);
    return code === 0;
  }
}

const started = performance.now();
const copies = Array.from({ length: Number(options.jobs) }, () => new Copy());
try {
  for (const room of positionals.length > 0 ? positionals : ROOMS) await mutateRoom(room);
} finally {
  for (const copy of copies) copy.remove();
}
for (const [room, { noticed, all }] of results) console.log(summary(room, noticed, all));
console.log(`${Math.round((performance.now() - started) / 1000)} s`);

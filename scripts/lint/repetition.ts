// Counts the runs of equal tokens in what is not a test, and fails when there are more than the bound: what is said twice wants a name.
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";

/** How many runs the tree has. It only goes down: lower it when runs have gone. */
const BOUND = 163;

const TOKENS = 30;
const TESTS = "**/*.test.ts,**/*.fixture.ts,**/*.conformance.ts";

interface Place {
  readonly name: string;
  readonly start: number;
}

interface Run {
  readonly tokens: number;
  readonly firstFile: Place;
  readonly secondFile: Place;
}

/** The runs of equal tokens in the TypeScript of these folders, tests apart, shortest first. The report is left in `output`. */
export function repetition(folders: readonly string[], output: string): readonly Run[] {
  const root = join(import.meta.dir, "../..");
  const report = join(output, "jscpd-report.json");
  rmSync(report, { force: true });
  const options = ["--format", "typescript", "--min-tokens", String(TOKENS), "--min-lines", "1"];
  const jscpd = Bun.spawnSync(
    [
      join(root, "node_modules/.bin/jscpd"),
      ...options,
      ...["--ignore", TESTS, "--absolute", "--reporters", "json", "--output", output],
      ...folders,
    ],
    { cwd: root },
  );
  if (jscpd.exitCode !== 0) throw new Error(`jscpd: ${jscpd.stderr}`);
  const { duplicates } = JSON.parse(readFileSync(report, "utf8"));
  return duplicates.toSorted((a: Run, b: Run) => a.tokens - b.tokens);
}

if (import.meta.main) {
  const root = join(import.meta.dir, "../..");
  const runs = repetition(
    ["src", "scripts"].map((folder) => join(root, folder)),
    join(root, "build/log/repetition"),
  );
  const place = ({ name, start }: Place): string => `${name.replace(`${root}/`, "")}:${start}`;
  for (const { tokens, firstFile, secondFile } of runs)
    console.log(`${tokens} tokens: ${place(firstFile)} ${place(secondFile)}`);
  console.log(`${runs.length} runs of ${TOKENS} equal tokens or more, ${BOUND} allowed`);
  process.exitCode = runs.length > BOUND ? 1 : 0;
}

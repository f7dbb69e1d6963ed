import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { repetition } from "./repetition.ts";
import { ownTree, type Tree, treeFaults } from "./tree.ts";

const root = join(import.meta.dir, "../..");

const IMPORT = "lint/style/noRestrictedImports";
const CIRCLE = "lint/suspicious/noImportCycles";
const CLOCK = "plugin";

const lines = (count: number): string =>
  Array.from({ length: count }, (_, index) => `export const line${index} = ${index};\n`).join("");

const longFunction = (count: number): string =>
  `export function long(log: (n: number) => void): void {\n${Array.from(
    { length: count },
    (_, index) => `  log(${index});\n`,
  ).join("")}}\n`;

/** Files that break one rule each, and the rule. */
const forbidden: readonly (readonly [rule: string, path: string, text: string])[] = [
  [IMPORT, "src/spiffe/up.ts", 'import "#x509/der.ts";\n'],
  [IMPORT, "src/spiffe/runtime.ts", 'import "node:fs";\n'],
  [IMPORT, "src/x509/up.ts", 'import "#grpc/peer.ts";\n'],
  [IMPORT, "src/x509/up.test.ts", 'import "#grpc/peer.ts";\n'],
  [IMPORT, "src/grpc/up.ts", 'import "#server/server.ts";\n'],
  [IMPORT, "src/agent/across.ts", 'import "#server/server.ts";\n'],
  [IMPORT, "src/server/across.ts", 'import "#agent/agent.ts";\n'],
  [IMPORT, "src/server/by-parent.ts", 'import "../x509/der.ts";\n'],
  [IMPORT, "src/server/ca/up.ts", 'import "#server/api/call/guard.ts";\n'],
  [IMPORT, "src/server/ca/adapter.ts", 'import "#server/datastore/sqlite/open.ts";\n'],
  [IMPORT, "src/server/ca/wires.ts", 'import "#server/server.ts";\n'],
  [IMPORT, "src/server/datastore/sqlite/up.ts", 'import "#grpc/client.ts";\n'],
  [IMPORT, "src/server/datastore/sqlite/rows/up.ts", 'import "#grpc/client.ts";\n'],
  [IMPORT, "src/server/ca/profile/up.ts", 'import "#server/ca/signing/issue.ts";\n'],
  [IMPORT, "src/server/api/call/up.ts", 'import "#server/api/entry/entry.ts";\n'],
  [IMPORT, "src/agent/cache/up.ts", 'import "#agent/own-svid/rotation.ts";\n'],
  [IMPORT, "src/attestors/unix/across.ts", 'import "#attestors/x509pop/attributes.ts";\n'],
  [IMPORT, "src/attestors/x509pop/agent.ts", 'import "./server.ts";\n'],
  [IMPORT, "src/attestors/join_token/server.ts", 'import "./agent.ts";\n'],
  [
    CIRCLE,
    "src/http/round.ts",
    'import { other } from "./trip.ts";\n\nexport const one: number = other;\n',
  ],
  [
    CIRCLE,
    "src/http/trip.ts",
    'import { one } from "./round.ts";\n\nexport const other: number = one;\n',
  ],
  ["lint/style/noExcessiveLinesPerFile", "src/jwt/long.ts", lines(401)],
  ["lint/complexity/noExcessiveLinesPerFunction", "src/jwt/long-function.ts", longFunction(61)],
  ...[
    "Date.now()",
    "new Date()",
    "performance.now()",
    "process.hrtime()",
    "process.hrtime.bigint()",
    "Bun.nanoseconds()",
    "setTimeout(() => {}, 1)",
    "setInterval(() => {}, 1)",
    "Bun.sleep(1)",
    "AbortSignal.timeout(1)",
    "Math.random()",
  ].map(
    (call, index) =>
      [CLOCK, `src/agent/clock-${index}.ts`, `export const it: unknown = ${call};\n`] as const,
  ),
];

/** Files near those that break nothing. */
const allowed: Readonly<Record<string, string>> = {
  "src/x509/down.ts": 'import "#spiffe/spiffe-id.ts";\n',
  "src/agent/now.test.ts": "export const now: number = Date.now();\n",
  "src/spiffe/values.test.ts": 'import "bun:test";\n',
  "src/clock/now.ts": "export const now: number = Date.now();\n",
  "src/server/server.ts": 'import "#server/ca/signing/issue.ts";\n',
  "src/server/ca/port.ts": 'import "#server/datastore/datastore.ts";\n',
  "src/server/ca/store.test.ts": 'import "#server/datastore/sqlite/open.ts";\n',
  "src/agent/offline/one-file.ts": 'import "#agent/sync/fetch-bundles.ts";\n',
  "src/jwt/file.ts": lines(400),
  "src/jwt/function.ts": longFunction(60),
};

describe("Biome refuses", () => {
  const copy = realpathSync(mkdtempSync(join(tmpdir(), "spire-edge-lint-")));
  const found = new Map<string, Set<string>>();

  beforeAll(() => {
    cpSync(join(root, "biome.json"), join(copy, "biome.json"));
    cpSync(import.meta.dir, join(copy, "scripts/lint"), { recursive: true });
    symlinkSync(join(root, "node_modules"), join(copy, "node_modules"));
    const files = [...forbidden.map(([, path, text]) => [path, text]), ...Object.entries(allowed)];
    for (const [path = "", text = ""] of files) {
      mkdirSync(dirname(join(copy, path)), { recursive: true });
      writeFileSync(join(copy, path), text);
    }
    const options = ["--vcs-enabled=false", "--reporter=github", "--max-diagnostics=none"];
    const biome = Bun.spawnSync(
      [join(root, "node_modules/.bin/biome"), "lint", ...options, "src"],
      {
        cwd: copy,
      },
    );
    for (const line of biome.stdout.toString().split("\n")) {
      const [, rule, file] = line.match(/^::error title=([^,]*),file=([^,]*),/) ?? [];
      if (rule === undefined || file === undefined) continue;
      const path = relative(copy, file);
      found.set(path, (found.get(path) ?? new Set()).add(rule));
    }
  });

  afterAll(() => rmSync(copy, { recursive: true }));

  test.each(forbidden)("%s in %s", (rule, path) => {
    expect([...(found.get(path) ?? [])]).toEqual([rule]);
  });

  test.each(Object.keys(allowed))("nothing in %s", (path) => {
    expect([...(found.get(path) ?? [])]).toEqual([]);
  });
});

describe("of the tree is refused", () => {
  const tree = ownTree();

  /** The tree with files that it does not have. */
  const planted = (files: Readonly<Record<string, string>>): Tree => ({
    files: [...new Set([...tree.files, ...Object.keys(files)])],
    read: (path) => files[path] ?? tree.read(path),
  });

  test("nothing as it is", () => {
    expect(treeFaults(tree)).toEqual([]);
  });

  test.each([
    ["`src/x509/gone.ts`", "src/x509/gone.ts"],
    ["`grpc/gone.ts`, relative to src", "grpc/gone.ts"],
    ["`gone-for-good.ts`", "gone-for-good.ts"],
    ["`scripts/gone --now`", "scripts/gone"],
    ["`test/gone/`", "test/gone/"],
    ["[a link](GONE.md#there)", "GONE.md"],
    ["\n    scripts/gone\n", "scripts/gone"],
  ])("a document that says %s", (text, path) => {
    expect(treeFaults(planted({ "docs/PLANTED.md": text }))).toEqual([
      `docs/PLANTED.md names ${path}, which does not exist`,
    ]);
  });

  test.each([
    "`src/x509/der.ts`",
    "`x509/der.ts` and `der.ts`",
    "`scripts/test unit`",
    "`dist/spire-agent`, `10.0.0.0/8`, `./install.sh`",
    "`test/*/`",
    "[a link](ARCHITECTURE.md#rooms), [elsewhere](https://spiffe.io/docs)",
  ])("nothing of a document that says %s", (text) => {
    expect(treeFaults(planted({ "docs/PLANTED.md": text }))).toEqual([]);
  });

  test("a folder without a line in the table", () => {
    expect(treeFaults(planted({ "src/server/planted/a.ts": "" }))).toEqual([
      "src/server/planted has no line in scripts/lint/rooms.ts: say there what it may import",
    ]);
  });

  test.each([
    ["src/x509", "`src/x509`", "`src/X`"],
    ["src/server/ca", "`ca/`", "`X/`"],
    ["src/server/api/entry", "`entry/`", "`X/`"],
  ])("an architecture that does not list %s", (room, name, other) => {
    const architecture = tree.read("docs/ARCHITECTURE.md").replaceAll(name, other);
    expect(treeFaults(planted({ "docs/ARCHITECTURE.md": architecture }))).toContain(
      `docs/ARCHITECTURE.md does not list the room ${room}`,
    );
  });
});

describe("of equal tokens", () => {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "spire-edge-lint-")));

  afterAll(() => rmSync(folder, { recursive: true }));

  /** Two files that begin differently and then have these elements in common. */
  const runs = (elements: number, suffix = ".ts"): number => {
    const here = join(folder, `${elements}${suffix}`);
    mkdirSync(here);
    const common = Array.from({ length: elements }, (_, index) => `n${index}`).join(" +\n");
    writeFileSync(join(here, `one${suffix}`), `export const one = new Map([["a", 1]]);\n${common}`);
    writeFileSync(join(here, `two${suffix}`), `export class Two { b = 2 }\n${common}`);
    return repetition([here], here).length;
  };

  test("a run of 30 is counted, one of fewer is not", () => {
    expect([runs(13), runs(18)]).toEqual([0, 1]);
  });

  test("a run in tests is not", () => {
    expect(runs(18, ".test.ts")).toBe(0);
  });
});

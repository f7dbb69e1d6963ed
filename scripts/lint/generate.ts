// Writes the Biome rules that the table of rooms asks for. With --check it changes nothing, and fails when the file, or the
// imports of package.json, differ from the table.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { biomeRules, packageImports } from "./biome-rules.ts";

const root = join(import.meta.dir, "../..");
const target = join(import.meta.dir, "biome-rooms.json");
const table = "scripts/lint/rooms.ts";

function differences(): string[] {
  const found: string[] = [];
  if (readFileSync(target, "utf8") !== biomeRules())
    found.push(`scripts/lint/biome-rooms.json differs from ${table}: run scripts/generate-lint`);
  const { imports } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  if (!Bun.deepEquals(imports, packageImports()))
    found.push(
      `"imports" of package.json must be, by ${table}: ${JSON.stringify(packageImports())}`,
    );
  return found;
}

if (process.argv.includes("--check")) {
  const found = differences();
  for (const line of found) console.error(line);
  process.exitCode = found.length === 0 ? 0 : 1;
} else {
  writeFileSync(target, biomeRules());
}

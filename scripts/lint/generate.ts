// Writes the Biome rules that the table of rooms asks for. With --check it changes nothing, and fails when the file, the imports of
// package.json or the folders of src differ from the table.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { biomeRules, isRoom, packageImports } from "./biome-rules.ts";

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
  for (const folder of roomFolders())
    if (!isRoom(folder))
      found.push(`src/${folder} has no line in ${table}: say what it may import`);
  return found;
}

/** The folders of src that have a file directly in them. */
function roomFolders(): string[] {
  const files = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" });
  return [...new Set(files.filter((file) => file.endsWith(".ts")).map(dirname))].sort();
}

if (process.argv.includes("--check")) {
  const found = differences();
  for (const line of found) console.error(line);
  process.exitCode = found.length === 0 ? 0 : 1;
} else {
  writeFileSync(target, biomeRules());
}

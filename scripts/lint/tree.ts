// Looks for what no lint of single files can see: a folder of src without a line in the table of rooms, a room that
// docs/ARCHITECTURE.md does not list, and a document that names a file or folder which does not exist.
import { readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { isRoom } from "./biome-rules.ts";
import { rooms, within } from "./rooms.ts";

const ARCHITECTURE = "docs/ARCHITECTURE.md";

/** Folders that a build makes, which documents may name. */
const BUILT = ["dist", "build", "node_modules"];

export interface Tree {
  /** Every file, by its path from the top. */
  readonly files: readonly string[];
  readonly read: (path: string) => string;
}

/** What is wrong with a tree, a line each. */
export function treeFaults(tree: Tree): string[] {
  const paths = new Paths(tree.files);
  return [
    ...unlistedFolders(tree.files),
    ...unlistedRooms(tree.read(ARCHITECTURE)),
    ...tree.files
      .filter((file) => file.endsWith(".md"))
      .flatMap((document) => deadPaths(document, tree.read(document), paths)),
  ];
}

function unlistedFolders(files: readonly string[]): string[] {
  const sources = files.filter((file) => /^src\/.*\.ts$/.test(file));
  return [...new Set(sources.map((file) => dirname(file).slice("src/".length)))]
    .filter((folder) => !isRoom(folder))
    .map(
      (folder) =>
        `src/${folder} has no line in scripts/lint/rooms.ts: say there what it may import`,
    );
}

/** A room of src is listed by its path; a room within it by its own name, `name/`, in the row of the outer one. */
function unlistedRooms(architecture: string): string[] {
  const rows = architecture.split("\n").filter((line) => line.startsWith("| `"));
  const rowOf = (room: string): string =>
    rows.find((row) => row.split("|")[1]?.includes(`\`src/${room}\``)) ?? "";
  const inner = Object.keys(within).filter((room) => !room.endsWith("*"));
  return [
    ...Object.keys(rooms).filter((room) => rowOf(room) === ""),
    ...inner.filter((room) => {
      const [outer = "", ...names] = room.split("/");
      return !rowOf(outer).includes(`\`${names.at(-1)}/\``);
    }),
  ].map((room) => `${ARCHITECTURE} does not list the room src/${room}`);
}

/** The paths that a document names: those of its links, and those in code that begin with a folder of ours or end in `.ts`. */
function deadPaths(document: string, text: string, paths: Paths): string[] {
  const links = [...text.matchAll(/\]\(([^)#\s:]+)(?:#[^)\s]*)?\)/g)]
    .map(([, target = ""]) => target)
    .filter((target) => !paths.has(normalize(join(dirname(document), target))));
  const code = [...text.matchAll(/^ {4}.*$|`[^`\n]+`/gm)]
    .flatMap(([span]) => span.split(/[\s`"'=,;:()<>[\]]+/))
    .filter((word) => /^[\w.*-]+(?:\/[\w.*-]+)*\/?$/.test(word))
    .filter((word) => paths.isOurs(word) && !paths.isNamed(word));
  return [...new Set([...links, ...code])].map(
    (path) => `${document} names ${path}, which does not exist`,
  );
}

class Paths {
  readonly #all = new Set<string>();
  readonly #tops = new Set<string>();

  constructor(files: readonly string[]) {
    for (const file of files) {
      for (let path = file; path !== "."; path = dirname(path)) this.#all.add(path);
      const [top, ...rest] = file.split("/");
      if (top !== undefined && rest.length > 0) this.#tops.add(top);
    }
    for (const room of Object.keys(rooms)) this.#tops.add(room);
  }

  has(path: string): boolean {
    return this.#all.has(path.replace(/\/$/, ""));
  }

  /** Whether a word can only mean a path of this tree. */
  isOurs(word: string): boolean {
    const [top = "", ...rest] = word.split("/");
    if (BUILT.includes(top) || top === ".") return false;
    return word.endsWith(".ts") || (this.#tops.has(top) && rest.length > 0 && rest[0] !== "");
  }

  /** Whether the word names something: from the top, from src, or, for a TypeScript file, by the end of its path. */
  isNamed(word: string): boolean {
    const path = word.replace(/\/$/, "");
    if (path.includes("*")) {
      const glob = new Bun.Glob(path.endsWith(".ts") ? `**/${path}` : path);
      return [...this.#all].some((known) => glob.match(known));
    }
    if (this.has(path) || this.has(`src/${path}`)) return true;
    return path.endsWith(".ts") && [...this.#all].some((known) => known.endsWith(`/${path}`));
  }
}

/** The tree that Git knows, with what is not committed yet. */
export function ownTree(): Tree {
  const root = join(import.meta.dir, "../..");
  const list = Bun.spawnSync(["git", "ls-files", "-co", "--exclude-standard", "--deduplicate"], {
    cwd: root,
  });
  if (list.exitCode !== 0) throw new Error(`git ls-files: ${list.stderr}`);
  const listed = list.stdout.toString().split("\n").filter(Boolean);
  const read = (path: string): string => readFileSync(join(root, path), "utf8");
  return { files: listed.filter((path) => Bun.file(join(root, path)).size > 0), read };
}

if (import.meta.main) {
  const found = treeFaults(ownTree());
  for (const line of found) console.error(line);
  process.exitCode = found.length === 0 ? 0 : 1;
}

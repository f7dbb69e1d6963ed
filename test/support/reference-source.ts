/** The reference's source and documents, where Go's module cache has them. They are read by tests, never copied. */
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { run } from "./process.ts";

const MODULE = "github.com/spiffe/spire@v1.15.3";

export class ReferenceSource {
  readonly #directory: string;

  private constructor(directory: string) {
    this.#directory = directory;
  }

  /** Fetches the source if the module cache lacks it. */
  static async find(): Promise<ReferenceSource> {
    // Outside any module of ours, whose requirements do not matter here.
    const answer = await run(["go", "mod", "download", "-json", MODULE], {
      cwd: "/",
      env: { HOME: process.env["HOME"] ?? "/root", GOFLAGS: "-mod=mod" },
      timeoutMs: 300_000,
    });
    if (answer.code !== 0) throw new Error(`${answer.stderr}${answer.stdout}`);
    return new ReferenceSource(String((JSON.parse(answer.stdout) as { Dir: string }).Dir));
  }

  path(file: string): string {
    return resolve(join(this.#directory, file));
  }

  files(directory: string): readonly string[] {
    return readdirSync(this.path(directory)).sort();
  }

  text(file: string): string {
    return readFileSync(this.path(file), "utf8");
  }

  /** The configuration keys that a struct of a Go file names in its tags, as `struct.key`. */
  keysOfStructs(file: string): ReadonlyMap<string, readonly string[]> {
    const structs = this.text(file).matchAll(/^type (\w+) struct \{\n([\s\S]*?)^\}/gm);
    const found = new Map<string, readonly string[]>();
    for (const [, name = "", body = ""] of structs) {
      const keys = [...body.matchAll(/hcl:"([\w-]+)"/g)].map(([, key = ""]) => key);
      if (keys.some((key) => key !== "-")) {
        found.set(
          name,
          keys.filter((key) => key !== "-"),
        );
      }
    }
    return found;
  }

  /** The tables of a Markdown document: the heading above, the first cell of the header, the first cell of each row. */
  tables(file: string): readonly DocumentTable[] {
    const tables: DocumentTable[] = [];
    let heading = "";
    let rows: string[] = [];
    for (const line of [...this.text(file).split("\n"), ""]) {
      heading = /^#+ (.*)/.exec(line)?.[1] ?? heading;
      const cell = /^\|([^|]*)\|/.exec(line)?.[1];
      if (cell !== undefined) rows.push(plain(cell));
      else if (rows.length > 2) {
        const [header = "", , ...keys] = rows;
        tables.push({ heading: plain(heading), header, keys });
      }
      if (cell === undefined) rows = [];
    }
    return tables;
  }

  /** The code blocks of a Markdown document in a language. */
  codeBlocks(file: string, language: string): readonly string[] {
    const fence = new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, "gm");
    return [...this.text(file).matchAll(fence)].map(([, code = ""]) => code);
  }
}

export interface DocumentTable {
  readonly heading: string;
  readonly header: string;
  readonly keys: readonly string[];
}

function plain(cell: string): string {
  return cell
    .replaceAll("`", "")
    .replaceAll("&lt;", "<")
    .replaceAll("&gt;", ">")
    .replaceAll("&vert;", "|")
    .trim();
}

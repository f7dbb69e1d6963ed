/** The ceremony of docs/OFFLINE-ROOT.md: its commands, run as they stand there, by a real openssl. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { type Finished, run } from "./process.ts";
import { executable, type TestServer } from "./spire.ts";

const PAGE = resolve(import.meta.dir, "../../docs/OFFLINE-ROOT.md");
const BLOCK = /^```(sh offline|sh server|hcl)\n(.*?)^```$/gms;

/** As openssl wants a date: `20270131235959Z`. @param at milliseconds since the epoch */
export function opensslTime(at: number): string {
  return new Date(at).toISOString().replace(/[-:T]|\.\d+/g, "");
}

/** The fenced blocks of the page, in order. */
function blocksOf(kind: "sh offline" | "sh server" | "hcl"): string[] {
  const text = readFileSync(PAGE, "utf8");
  return [...text.matchAll(BLOCK)].flatMap(([, found, body = ""]) => (found === kind ? body : []));
}

/** The block of server.conf, as the page has it. */
export function pluginBlock(): string {
  const [block] = blocksOf("hcl");
  if (block === undefined) throw new Error(`${PAGE} has no block of configuration`);
  return block;
}

export interface SigningOptions {
  readonly days?: number;
  readonly digest?: string;
  /** The end, instead of the days, as `20270131235959Z`; the beginning is then long ago. */
  readonly until?: string;
  /** Instead of the request's. */
  readonly subject?: string;
  /** More words about the signature. */
  readonly signature?: readonly string[];
}

/** One offline machine, and the medium between it and a server. */
export class Ceremony {
  readonly directory: string;
  readonly stick: string;
  /** The server whose CA is signed, once it runs. */
  server: TestServer | undefined;

  constructor(directory: string) {
    this.directory = directory;
    this.stick = join(directory, "stick");
    mkdirSync(this.stick);
  }

  get root(): string {
    return join(this.stick, "root.pem");
  }

  get certificate(): string {
    return join(this.stick, "server-ca.pem");
  }

  /** Makes the root, by the commands of the page. */
  async makeRoot(): Promise<void> {
    await this.#block("sh offline", 0);
  }

  /** Puts the request on the medium. */
  async carryRequest(): Promise<void> {
    await this.#block("sh server", 0);
  }

  /** Carries the request, has it signed, and leaves the certificate on the medium. */
  async sign(): Promise<void> {
    await this.carryRequest();
    await this.#block("sh offline", 1);
  }

  /** Imports what was signed; gives what the commands printed. */
  async importSigned(): Promise<string> {
    return (await this.#block("sh server", 1)).stdout;
  }

  /** Signs the request on the medium with extensions of one's own. */
  async signWith(extensions: readonly string[], options: SigningOptions = {}): Promise<void> {
    const { days = 30, digest = "sha256", until, subject, signature = [] } = options;
    const lines = ["[server_ca]", ...extensions, "authorityKeyIdentifier = keyid:always"];
    writeFileSync(join(this.directory, "offline-ca/other.cnf"), `${lines.join("\n")}\n`);
    const end = until === undefined ? ["-days", String(days)] : ["-enddate", until];
    const begin = until === undefined ? [] : ["-startdate", "20200101000000Z"];
    await this.openssl(
      ...["ca", "-config", "ca.cnf", "-extfile", "other.cnf", "-extensions", "server_ca"],
      ...["-batch", "-notext", "-md", digest, ...begin, ...end],
      ...signature,
      ...(subject === undefined ? [] : ["-subj", subject]),
      ...["-in", join(this.stick, "server-ca.csr"), "-out", this.certificate],
    );
  }

  /** Runs openssl on the offline machine. @throws Error with what it said */
  async openssl(...words: readonly string[]): Promise<string> {
    const cwd = join(this.directory, "offline-ca");
    return (await succeed(await run(["openssl", ...words], { cwd }))).stdout;
  }

  async #block(kind: "sh offline" | "sh server", index: number): Promise<Finished> {
    const script = blocksOf(kind)[index];
    if (script === undefined) throw new Error(`${PAGE} has no block ${index} of ${kind}`);
    const path = dirname(executable("ours", "spire-server"));
    return succeed(
      await run(["bash", "--norc", "-euo", "pipefail", "-c", script], {
        cwd: this.directory,
        env: {
          PATH: `${path}:${process.env["PATH"] ?? ""}`,
          STICK: this.stick,
          SPIRE_SERVER_PRIVATE_SOCKET: this.server?.socket ?? "",
        },
      }),
    );
  }
}

async function succeed(finished: Finished): Promise<Finished> {
  if (finished.code !== 0) throw new Error(finished.stdout + finished.stderr);
  return finished;
}

/**
 * Who could change what is at a path. Whoever may rename in a directory, at any height above a file, may put another file in its place; so a
 * path is safe when every directory and every link on the way to it belongs to root or to this process's user, and nobody else may write
 * there. Nobody can then change it between the look and the use. In a directory with the sticky bit, such as /tmp, all may make names, but
 * none may touch another's.
 */
import { lstatSync, mkdirSync, readlinkSync, type Stats } from "node:fs";
import { join, resolve } from "node:path";
import { isNobodyElse, isOwnGroup } from "./accounts.ts";

const GROUP_WRITE = 0o020;
const OTHERS_WRITE = 0o002;
const STICKY = 0o1000;
/** As many as Linux follows (path_resolution(7)). */
const MAX_LINKS = 40;

/** Somebody else could change what is at a path; the message names what stands open, and the way out. */
class UnsafePathError extends Error {
  override readonly name: string = "UnsafePathError";
}

export interface SafetyRules {
  /** Users who may own what is on the way, beside root and this process's own. */
  readonly alsoOwners?: readonly number[];
  /** Whether what a group may write is safe: then such directories are for the caller to judge. */
  readonly groups?: "allowed" | "refused";
  /** Whether the last directory may be one where all make names (sticky); those above it always may. */
  readonly sticky?: "allowed" | "refused";
}

type Facts = Pick<Stats, "uid" | "gid" | "mode" | "isDirectory" | "isSymbolicLink">;

export interface SafePath {
  /** Without links. */
  readonly path: string;
  /** Undefined when nothing is there. */
  readonly facts: Stats | undefined;
}

/**
 * Follows a path from the root on, and looks at all that it comes by.
 *
 * @throws UnsafePathError, or the file system's error; a path that does not exist is none
 */
export function followSafely(path: string, rules: SafetyRules = {}): SafePath {
  const walk = new Walk(rules);
  for (const name of namesOf(resolve(path))) walk.enter(name);
  return walk.end();
}

/**
 * Makes what is missing of a directory.
 *
 * @param mode of each directory that is made, whatever the umask
 * @throws UnsafePathError when somebody else could change it, also when that is what was made meanwhile
 */
export function makeSafeDirectory(path: string, mode: number, rules: SafetyRules = {}): SafePath {
  const walk = new Walk(rules);
  for (const name of namesOf(resolve(path))) walk.enter(name, mode);
  const made = walk.end();
  if (made.facts?.isDirectory() !== true) throw new Error(`${path} is not a directory`);
  return made;
}

/**
 * Checks a file or directory by itself, where the way to it was checked before.
 *
 * @throws UnsafePathError when nobody but root or this user is to write it, and others may
 */
export function checkOwn(path: string, facts: Facts, rules: SafetyRules = {}): void {
  const problem = ownProblem(path, facts, rules);
  if (problem !== undefined) throw unsafe(problem);
}

/** Runs something that makes files, with exactly that umask. It must not wait for anything: a process has one umask. */
export function withUmask<T>(umask: number, make: () => T): T {
  const before = process.umask(umask);
  try {
    return make();
  } finally {
    process.umask(before);
  }
}

/** What is wrong with a file or directory in itself, not with the way to it. */
interface OwnProblem {
  /** `directory /a`. */
  readonly what: string;
  /** `it belongs to user 7`. */
  readonly how: string;
  /** The way out. */
  readonly way: string;
}

/** @returns undefined when nobody else may write it */
function ownProblem(
  path: string,
  facts: Facts,
  { alsoOwners = [], groups = "refused", sticky = "allowed" }: SafetyRules,
): OwnProblem | undefined {
  const { uid, gid, mode } = facts;
  const what = `${kindOf(facts)} ${path}`;
  if (!isNobodyElse(uid) && !alsoOwners.includes(uid)) {
    const way = "move it away, chown it, or use another path";
    return { what, how: `it belongs to user ${uid}`, way };
  }
  if (facts.isSymbolicLink()) return undefined;
  if (facts.isDirectory() && sticky === "allowed" && (mode & STICKY) !== 0) return undefined;
  const octal = (mode & 0o7777).toString(8).padStart(4, "0");
  if ((mode & OTHERS_WRITE) !== 0) {
    return { what, how: `everybody may write it, mode ${octal}`, way: `chmod go-w ${path}` };
  }
  if (groups === "allowed" || (mode & GROUP_WRITE) === 0 || isOwnGroup(gid)) return undefined;
  return { what, how: `group ${gid} may write it, mode ${octal}`, way: `chmod g-w ${path}` };
}

/** An error that says what stands open and how to close it. */
function unsafe({ what, how, way }: OwnProblem): UnsafePathError {
  const uid = process.geteuid?.() ?? 0;
  const owner = uid === 0 ? "root" : `root or user ${uid}`;
  return new UnsafePathError(
    `${what} can be changed by other users (${how}): it must belong to ${owner}, and be writable for nobody else; ${way}`,
  );
}

/** One walk, link by link. */
class Walk {
  readonly #rules: SafetyRules;
  #at = "/";
  #facts: Stats | undefined = lstatSync("/");
  #links = 0;

  constructor(rules: SafetyRules) {
    this.#rules = rules;
    this.#check({ ...rules, sticky: "allowed" });
  }

  end(): SafePath {
    this.#check(this.#rules);
    return { path: this.#at, facts: this.#facts };
  }

  /** @param mode to make a directory with, where there is nothing */
  enter(name: string, mode?: number): void {
    this.#check({ ...this.#rules, sticky: "allowed" });
    const next = join(this.#at, name);
    // Below what is not there, nothing is.
    const found = this.#facts === undefined ? undefined : lookAt(next, mode);
    if (found?.isSymbolicLink() === true) this.#follow(next, found, mode);
    else this.#go(next, found);
  }

  #go(path: string, facts: Stats | undefined): void {
    this.#at = path;
    this.#facts = facts;
  }

  #follow(link: string, facts: Stats, mode: number | undefined): void {
    checkOwn(link, facts, this.#rules);
    if (++this.#links > MAX_LINKS) throw new Error(`too many links on the way to ${link}`);
    const target = readlinkSync(link);
    if (target.startsWith("/")) this.#go("/", lstatSync("/"));
    for (const name of namesOf(target)) this.enter(name, mode);
  }

  #check(rules: SafetyRules): void {
    if (this.#facts !== undefined) checkOwn(this.#at, this.#facts, rules);
  }
}

/** What is there, after a directory was made where nothing was. */
function lookAt(path: string, mode: number | undefined): Stats | undefined {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found !== undefined || mode === undefined) return found;
  try {
    withUmask(0o777 & ~mode, () => mkdirSync(path));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
  return lstatSync(path);
}

function namesOf(path: string): readonly string[] {
  return path.split("/").filter((name) => name !== "" && name !== ".");
}

function kindOf(facts: Facts): string {
  if (facts.isSymbolicLink()) return "link";
  return facts.isDirectory() ? "directory" : "file";
}

/** Which users are as good as this process itself, and which groups have nobody else in them. */
import { readFileSync } from "node:fs";

const ROOT = 0;
/** One line of uid_map(5) that leaves every user what he is: no user namespace. */
const WHOLE_MAP = /^\s*0\s+0\s+4294967295\s*$/;

/**
 * Whether what belongs to that user is root's or ours. In a user namespace that does not know root, as `unshare -U` makes it, all that is root's
 * outside shows as the user for those who have no number here (user_namespaces(7)).
 */
export function isNobodyElse(uid: number): boolean {
  return uid === ROOT || uid === process.geteuid?.() || uid === unmappedUser();
}

/**
 * Whether a group is this user's alone, as many distributions make one for each user: none but he has it for his own or is a member. Root is
 * to have no such group: files of a root daemon are nobody else's to write.
 */
export function isOwnGroup(gid: number): boolean {
  const uid = process.geteuid?.() ?? ROOT;
  if (uid === ROOT || gid !== process.getegid?.()) return false;
  try {
    const users = tableOf("/etc/passwd");
    const names = users.filter(([, , id]) => Number(id) === uid).map(([name]) => name);
    const sharers = users.filter(([, , id, group]) => Number(group) === gid && Number(id) !== uid);
    const groups = tableOf("/etc/group").filter(([, , id]) => Number(id) === gid);
    const members = groups.flatMap(([, , , list = ""]) => list.split(",")).filter(Boolean);
    const isKnown = names.length > 0 && groups.length > 0;
    return isKnown && sharers.length === 0 && members.every((name) => names.includes(name));
  } catch {
    return false;
  }
}

/**
 * The number of a user or group by its name. Directory services are left out.
 *
 * @param table `/etc/passwd` or `/etc/group`
 * @returns undefined when it has no such name, or no number for it
 * @throws Error when the file cannot be read
 */
export function idOf(name: string, table: string): number | undefined {
  const id = tableOf(table).find(([one]) => one === name)?.[2];
  return id !== undefined && /^\d+$/.test(id) ? Number(id) : undefined;
}

/** The number of a user in /etc/passwd; undefined also when that cannot be read. */
export function uidOf(name: string): number | undefined {
  try {
    return idOf(name, "/etc/passwd");
  } catch {
    return undefined;
  }
}

let unmapped: { readonly uid: number | undefined } | undefined;

function unmappedUser(): number | undefined {
  unmapped ??= { uid: readUnmapped() };
  return unmapped.uid;
}

function readUnmapped(): number | undefined {
  try {
    const map = readFileSync("/proc/self/uid_map", "latin1").trim();
    if (map === "" || WHOLE_MAP.test(map)) return undefined;
    const uid = Number(readFileSync("/proc/sys/kernel/overflowuid", "latin1"));
    const ranges = map.split("\n").map((line) => line.trim().split(/\s+/).map(Number));
    const isMapped = ranges.some(([first = 0, , count = 0]) => uid >= first && uid < first + count);
    return isMapped ? undefined : uid;
  } catch {
    return undefined;
  }
}

function tableOf(path: string): readonly (readonly string[])[] {
  return readFileSync(path, "utf8")
    .split("\n")
    .map((line) => line.split(":"));
}

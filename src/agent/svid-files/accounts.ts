/** Users and groups by name, from the files of this machine; directory services are left out, as for selectors. */
import { readFile } from "node:fs/promises";
import type { Owner } from "#files/file-set.ts";

/** @throws Error when there is no such user or group */
export async function findAccounts(names: {
  readonly user?: string;
  readonly group?: string;
}): Promise<Owner> {
  const [uid, gid] = await Promise.all([
    find("user", names.user, "/etc/passwd"),
    find("group", names.group, "/etc/group"),
  ]);
  return { ...(uid === undefined ? {} : { uid }), ...(gid === undefined ? {} : { gid }) };
}

async function find(
  what: string,
  name: string | undefined,
  path: string,
): Promise<number | undefined> {
  if (name === undefined) return undefined;
  if (/^\d+$/.test(name)) return Number(name);
  const lines = (await readFile(path, "utf8")).split("\n").map((line) => line.split(":"));
  const id = lines.find(([one]) => one === name)?.[2];
  if (id === undefined || !/^\d+$/.test(id)) {
    throw new Error(`there is no ${what} ${JSON.stringify(name)} in ${path}`);
  }
  return Number(id);
}

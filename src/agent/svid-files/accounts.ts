/** Users and groups by name, from the files of this machine; directory services are left out, as for selectors. */
import { idOf } from "#files/accounts.ts";
import type { Owner } from "#files/file-set.ts";

/** @throws Error when there is no such user or group */
export function findAccounts(names: { readonly user?: string; readonly group?: string }): Owner {
  const uid = find("user", names.user, "/etc/passwd");
  const gid = find("group", names.group, "/etc/group");
  return { ...(uid === undefined ? {} : { uid }), ...(gid === undefined ? {} : { gid }) };
}

function find(what: string, name: string | undefined, path: string): number | undefined {
  if (name === undefined) return undefined;
  if (/^\d+$/.test(name)) return Number(name);
  const id = idOf(name, path);
  if (id === undefined) throw new Error(`there is no ${what} ${JSON.stringify(name)} in ${path}`);
  return id;
}

import type { EntryFilter, NodeFilter, SelectorFilter } from "#server/datastore/datastore.ts";
import { type MatchBehavior, selectorKey } from "#spiffe/selector.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import { selectorSetText } from "./selector-set.ts";

/**
 * Part of a WHERE clause with what its question marks stand for. `?1` and `?2` are the bounds of `seq` that are looked at,
 * see listing.ts.
 */
export interface Condition {
  readonly sql: string;
  readonly values: readonly (string | number)[];
}

/** Every condition here is served by an index of the schema. */
export function entryConditions(filter: EntryFilter): Condition[] {
  const conditions: Condition[] = [];
  const add = (sql: string, ...values: string[]): void => void conditions.push({ sql, values });
  if (filter.spiffeId) add("spiffe_id = ?", filter.spiffeId);
  if (filter.parentId) add("parent_id = ?", filter.parentId);
  if (filter.hint) add("hint = ? AND hint <> ''", filter.hint);
  if (filter.downstream) add("downstream = 1");
  if (filter.selectors) conditions.push(selectorCondition("entry_selectors", filter.selectors));
  const federation = filter.federatesWith;
  if (federation && federation.trustDomains.length > 0) {
    const lookup = { table: "entry_federation", column: "trust_domain" };
    conditions.push(setCondition(lookup, federation.match, federation.trustDomains));
  }
  return conditions;
}

export function nodeConditions(filter: NodeFilter): Condition[] {
  const conditions: Condition[] = [];
  const add = (sql: string, ...values: (string | number)[]): void =>
    void conditions.push({ sql, values });
  if (filter.attestationType) add("attestation_type = ?", filter.attestationType);
  if (filter.banned !== undefined) {
    add(filter.banned ? "serial_number = ''" : "serial_number <> ''");
  }
  if (filter.canReattest !== undefined) add("can_reattest = ?", filter.canReattest ? 1 : 0);
  if (filter.expiresBefore !== undefined) add("not_after < ?", filter.expiresBefore);
  if (filter.selectors) conditions.push(selectorCondition("node_selectors", filter.selectors));
  return conditions;
}

function selectorCondition(table: string, { selectors, match }: SelectorFilter): Condition {
  if (selectors.length === 0) {
    throw new StatusError(StatusCode.INVALID_ARGUMENT, "cannot list by empty selector set");
  }
  if (match === "exact") return { sql: "selector_set = ?", values: [selectorSetText(selectors)] };
  return setCondition({ table, column: "selector" }, match, selectors.map(selectorKey));
}

/** Matches records by the set of values they own in a table; a record that owns none never matches, as in the reference. */
function setCondition(
  { table, column }: { table: string; column: string },
  match: MatchBehavior,
  wanted: readonly string[],
): Condition {
  const unique = [...new Set(wanted)];
  const list = JSON.stringify(unique);
  const owners = `SELECT owner FROM ${table} WHERE ${column} IN (SELECT value FROM json_each(?)) AND owner > ?1 AND owner <= ?2`;
  const some: Condition = { sql: `seq IN (${owners})`, values: [list] };
  const all: Condition = {
    sql: `seq IN (${owners} GROUP BY owner HAVING count(*) = ?)`,
    values: [list, unique.length],
  };
  const noOther: Condition = {
    sql: `NOT EXISTS (SELECT 1 FROM ${table} WHERE owner = seq AND ${column} NOT IN (SELECT value FROM json_each(?)))`,
    values: [list],
  };
  switch (match) {
    case "any":
      return some;
    case "subset":
      return both(some, noOther);
    case "superset":
      return all;
    case "exact":
      return both(all, noOther);
  }
}

function both(a: Condition, b: Condition): Condition {
  return { sql: `${a.sql} AND ${b.sql}`, values: [...a.values, ...b.values] };
}

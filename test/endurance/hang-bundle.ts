/**
 * Loaded into a server ahead of its own code, to make one of its bundles hang as behind a disk that does not answer.
 *
 *   bun --preload test/endurance/hang-bundle.ts src/server/main.ts run …
 */
import { writeSync } from "node:fs";
import { SqliteBundles } from "#server/datastore/sqlite/tables/bundles.ts";

const name = process.env["HANGING_TRUST_DOMAIN"];
const { find } = SqliteBundles.prototype;
SqliteBundles.prototype.find = function (trustDomain) {
  if (trustDomain !== name) return find.call(this, trustDomain);
  writeSync(1, `${trustDomain} hangs\n`);
  return Promise.withResolvers<never>().promise;
};

import { expect, test } from "bun:test";
import { Block, Problems } from "#config/block.ts";
import { parseHcl } from "#config/hcl.ts";
import { readNodePruning } from "./pruning.ts";

function read(text: string): ReturnType<typeof readNodePruning> {
  const problems = new Problems("server.conf");
  const pruning = readNodePruning(
    new Block([parseHcl(text, "server.conf")], "the server block", problems),
    problems,
  );
  problems.check();
  return pruning;
}

test.each([
  ["", undefined],
  ["prune_tofu_nodes = true", undefined],
  ['prune_attested_nodes_expired_for = "0s"', undefined],
  [
    'prune_attested_nodes_expired_for = "1h"',
    { expiredForSeconds: 3600, includeTofu: false, batchSize: 1000 },
  ],
  [
    'prune_attested_nodes_expired_for = "720h"\nprune_tofu_nodes = true\nprune_attested_nodes_batch_size = 5',
    { expiredForSeconds: 2_592_000, includeTofu: true, batchSize: 5 },
  ],
  [
    'prune_attested_nodes_expired_for = "1m"\nprune_attested_nodes_batch_size = -1',
    { expiredForSeconds: 60, includeTofu: false, batchSize: 1000 },
  ],
])("%p", (text, pruning) => {
  expect(read(text)).toEqual(pruning);
});

test.each([
  ['prune_attested_nodes_expired_for = "-1h"', "server.conf:1: prune_attested_nodes_expired_for"],
  ['prune_attested_nodes_expired_for = "1"', "could not parse prune_attested_nodes_expired_for"],
  ['prune_tofu_nodes = "perhaps"', "prune_tofu_nodes"],
  ["prune_attested_nodes_batch_size = 1.5", "prune_attested_nodes_batch_size"],
])("%p is refused", (text, message) => {
  expect(() => read(text)).toThrow(message);
});

/** The server is killed in the middle of creating entries, twenty times: every entry it acknowledged is there after the restart. */
import { afterAll, expect, test } from "bun:test";
import { Stage, TestServer, TRUST_DOMAIN } from "../support/spire.ts";

const ROUNDS = 20;
const stage = new Stage();
afterAll(() => stage.close(), 60_000);

test("every acknowledged entry survives kill -9", async () => {
  const server = await TestServer.prepare(stage, "ours");
  const acknowledged = new Set<string>();
  for (let round = 0; round < ROUNDS; round++) {
    await server.start();
    let killed = false;
    const create = async (worker: number): Promise<void> => {
      for (let count = 0; !killed; count++) {
        const id = `round-${round}-${worker}-${count}`;
        const path = `spiffe://${TRUST_DOMAIN}/${id}`;
        const words = [
          "-spiffeID",
          path,
          "-parentID",
          `spiffe://${TRUST_DOMAIN}/node`,
          "-selector",
          `unix:uid:${count}`,
        ];
        const answer = await server.cli("entry", "create", "-entryID", id, ...words);
        if (answer.code === 0) acknowledged.add(id);
      }
    };
    const workers = [create(0), create(1), create(2)];
    await Bun.sleep(50 + Math.random() * 400);
    await server.daemon.kill();
    killed = true;
    await Promise.all(workers);
  }
  await server.start();
  const shown = await server.cli("entry", "show");
  const present = new Set(
    [...shown.stdout.matchAll(/^Entry ID +: (\S+)$/gm)].map(([, id]) => id ?? ""),
  );
  expect(acknowledged.size).toBeGreaterThan(ROUNDS);
  expect([...acknowledged].filter((id) => !present.has(id))).toEqual([]);
}, 240_000);

/**
 * A server whose CA is signed by hand is killed while it makes a request and while it takes the answer: a request that anybody can have seen is
 * still there, what was signed for it is of use, and what was acknowledged is done.
 */
import { afterAll, expect, test } from "bun:test";
import { Ceremony, pluginBlock } from "../support/ceremony.ts";
import { Stage, TestServer } from "../support/spire.ts";
import { Chance } from "./chance.ts";

const KILLS = 12;
/** About twice what a command takes from its start to its answer. */
const WORK_MS = 200;

const stage = new Stage();
afterAll(() => stage.close(), 60_000);

interface Named {
  readonly authority_id: string;
}

interface Shown {
  readonly active?: Named;
  readonly prepared?: Named;
  readonly pending?: Named & { readonly csr: string };
}

const shown = async (server: TestServer): Promise<Shown> => await server.json("ca", "show");

/** Has the server do something, kills it meanwhile, and starts it again. @returns whether the work was acknowledged */
async function killDuring(
  server: TestServer,
  work: Promise<{ readonly code: number; readonly stderr: string }>,
  moment: number,
): Promise<boolean> {
  await Bun.sleep(moment * WORK_MS);
  await server.daemon.kill();
  const { code, stderr } = await work;
  await server.start();
  return code === 0 || stderr.includes("FailedPrecondition");
}

test("no kill costs a request or its answer", async () => {
  const chance = Chance.start("a CA that is signed by hand");
  const ceremony = new Ceremony(stage.room("ceremony"));
  await ceremony.makeRoot();
  const server = await TestServer.prepare(stage, "ours", { plugins: pluginBlock() });
  ceremony.server = server;
  await server.start("Server is waiting for CA");
  await ceremony.sign();
  await ceremony.importSigned();
  const outcomes = { requested: 0, imported: 0 };
  for (let kills = 0; kills < KILLS; kills += 2) {
    const prepare = server.cli("localauthority", "x509", "prepare");
    const wasTold = await killDuring(server, prepare, chance.fraction());
    const { pending: first } = await shown(server);
    if (wasTold) expect(first).toBeDefined();
    if (first !== undefined) outcomes.requested++;
    await server.cli("localauthority", "x509", "prepare");
    const { active: before, pending } = await shown(server);
    if (first !== undefined) expect(pending?.csr).toBe(first.csr);
    await ceremony.sign();
    const words = ["ca", "import", "-cert", ceremony.certificate, "-root", ceremony.root];
    const wasTaken = await killDuring(server, server.cli(...words), chance.fraction());
    const after = await shown(server);
    expect(after.active).toEqual(before);
    const isTaken = after.prepared?.authority_id === pending?.authority_id;
    if (wasTaken || isTaken) expect([isTaken, after.pending]).toEqual([true, undefined]);
    else expect(after.pending).toEqual(pending);
    if (isTaken) outcomes.imported++;
    // Once more: an answer that was lost is no reason to be refused.
    expect((await server.cli(...words)).stderr).toBe("");
    const id = pending?.authority_id ?? "";
    const activated = await server.cli("localauthority", "x509", "activate", "-authorityID", id);
    expect(activated.stderr).toBe("");
    expect((await shown(server)).active?.authority_id).toBe(id);
  }
  console.log(outcomes);
}, 120_000);

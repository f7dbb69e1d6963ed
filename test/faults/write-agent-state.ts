/** Writes an agent's keys and state without end, as fast as it can, and says what it wrote. Usage: write-agent-state.ts DIRECTORY */
import { join } from "node:path";
import { StoredState } from "#agent/attestation/stored-state.ts";
import { DiskKeyManager } from "#keymanager/disk/disk.ts";

const [directory = ""] = process.argv.slice(2);
const keys = await DiskKeyManager.open(join(directory, "keys.json"));
const state = await StoredState.open(join(directory, "agent-data.json"));
for (let count = state.current.connectionAttempts + 1; ; count++) {
  await keys.generateKey(count % 2 === 0 ? "agent-svid-A" : "agent-svid-B", "ec-p256");
  // As large as a chain with its bundle.
  const svid = [new Uint8Array(900).fill(count % 251)];
  await state.update({ svid, bundle: svid, connectionAttempts: count });
  process.stdout.write(`wrote ${count}\n`);
}

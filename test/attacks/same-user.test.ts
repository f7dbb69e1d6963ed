/** Another program that runs as the daemons' own user: it must not get at their keys by their memory. */
import { afterAll, expect, test } from "bun:test";
import { chownSync } from "node:fs";
import { join } from "node:path";
import { eventually, type Finished, run } from "../support/process.ts";
import { executable, Stage, TRUST_DOMAIN } from "../support/spire.ts";

const USER = 4711;
const stage = new Stage();
afterAll(() => stage.close(), 60_000);

function asUser(...command: string[]): Promise<Finished> {
  return run(command, { uid: USER });
}

test("a server's memory, environment and open files are not to be read, and it works", async () => {
  const room = stage.room("server");
  chownSync(room, USER, USER);
  const [data, socket] = [join(room, "data"), join(room, "api.sock")];
  const words = ["-trustDomain", TRUST_DOMAIN, "-dataDir", data, "-socketPath", socket];
  const command = [executable("ours", "spire-server"), "run", ...words, "-serverPort", "0"];
  const env = { SECRET: "in the environment" };
  const daemon = stage.daemon(command, join(stage.directory, "log"), { uid: USER, env });
  await daemon.line((line) => line.includes("Starting Server APIs"));
  const looks = [
    ["cat", `/proc/${daemon.pid}/environ`],
    ["dd", `if=/proc/${daemon.pid}/mem`, "bs=1", "count=1", "status=none"],
    ["ls", `/proc/${daemon.pid}/fd`],
    ["readlink", `/proc/${daemon.pid}/exe`],
  ];
  for (const look of looks) {
    const { code, stderr } = await asUser(...look);
    expect(code).not.toBe(0);
    if (look[0] !== "readlink") expect(stderr).toContain("Permission denied");
  }
  const healthy = [executable("ours", "spire-server"), "healthcheck", "-socketPath", socket];
  await eventually("it is healthy", async () =>
    (await asUser(...healthy)).code === 0 ? true : undefined,
  );
  // Nor is it closed to itself: it reloads, and ends in good order.
  const from = daemon.lines.length;
  daemon.signal("SIGUSR1");
  daemon.signal("SIGHUP");
  await daemon.line((line) => /reload/i.test(line), 30_000, from);
  expect(await daemon.stop()).toBe(0);
});

import { afterEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "#clock/clock.ts";
import { systemRandom } from "#clock/random.ts";
import { createLog } from "#log/log.ts";
import { startTestServer, type TestServer, testConfig, unary } from "./server.fixture.ts";
import { runServer } from "./server.ts";

const silent = createLog({ level: "panic", format: "text" }, () => 0, { write: () => undefined });
const tools = { log: silent, version: "test", clock: systemClock, random: systemRandom };
const running: TestServer[] = [];

afterEach(async () => {
  for (const test of running.splice(0)) await test.stop();
});

async function started(): Promise<TestServer> {
  const test = await startTestServer();
  running.push(test);
  return test;
}

const ask = (test: TestServer): Promise<unknown> =>
  unary((done) => test.local.bundle.countBundles({}, done));

test("the data directory is for its owner, the admin socket for owner and group", async () => {
  const { config } = await started();
  expect(statSync(config.dataDir).mode & 0o777).toBe(0o700);
  expect(statSync(config.socketPath).mode & 0o777).toBe(0o770);
  expect(statSync(join(config.socketPath, "..")).mode & 0o777).toBe(0o750);
});

test("a server that was stopped starts again in the same place and knows what it knew", async () => {
  const directory = mkdtempSync(join(tmpdir(), "spire-server-"));
  const keyManager = { name: "disk", keysPath: join(directory, "data", "keys.json") } as const;
  const config = testConfig(directory);
  const change = { plugins: { ...config.plugins, keyManager } };
  const bundleOf = (test: TestServer): Promise<unknown> =>
    unary((done) => test.local.bundle.getBundle({ outputMask: undefined }, done));
  const first = await startTestServer(change, directory);
  const before = await bundleOf(first);
  await first.server.stop();
  const again = await startTestServer(change, directory);
  expect(await bundleOf(again)).toEqual(before);
  await again.stop();
});

test("once stopped, it answers nowhere", async () => {
  const test = await startTestServer();
  const port = Number(test.server.address.split(":").at(-1));
  await test.stop();
  await test.server.stopped;
  const connections = [{ port, host: "127.0.0.1" }, { path: test.config.socketPath }].map(
    (target) =>
      new Promise((resolve) => {
        const socket = connect(target, () => resolve("connected"));
        socket.once("error", () => resolve("refused"));
      }),
  );
  expect(await Promise.all(connections)).toEqual(["refused", "refused"]);
});

describe("a start that fails says why and leaves the first server at work", () => {
  test("on the same data directory", async () => {
    const first = await started();
    const second = { ...first.config, socketPath: `${first.config.socketPath}2` };
    await expect(runServer(second, tools)).rejects.toThrow(first.config.dataDir);
    expect(await ask(first)).toMatchObject({ count: 1 });
  });

  test("on the same port", async () => {
    const first = await started();
    const directory = mkdtempSync(join(tmpdir(), "spire-server-"));
    const port = Number(first.server.address.split(":").at(-1));
    const config = testConfig(directory, { bindPort: port });
    await expect(runServer(config, tools)).rejects.toThrow(String(port));
    expect(await ask(first)).toMatchObject({ count: 1 });
    // Everything the failed start had made is free again.
    await (await runServer({ ...config, bindPort: 0 }, tools)).stop();
    rmSync(directory, { recursive: true });
  });

  test("on the same admin socket", async () => {
    const first = await started();
    const directory = mkdtempSync(join(tmpdir(), "spire-server-"));
    const config = testConfig(directory, { socketPath: first.config.socketPath });
    await expect(runServer(config, tools)).rejects.toThrow(first.config.socketPath);
    expect(await ask(first)).toMatchObject({ count: 1 });
    rmSync(directory, { recursive: true });
  });

  test("where the data directory cannot be made", async () => {
    const directory = mkdtempSync(join(tmpdir(), "spire-server-"));
    await Bun.write(join(directory, "file"), "");
    const config = testConfig(directory, { dataDir: join(directory, "file", "data") });
    await expect(runServer(config, tools)).rejects.toThrow("could not use data directory");
    rmSync(directory, { recursive: true });
  });
});

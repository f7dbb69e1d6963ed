import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { StoredState } from "./stored-state.ts";

let directory: string;
let path: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "state-"));
  path = join(directory, "agent-data.json");
});

afterEach(() => rmSync(directory, { recursive: true, force: true }));

describe("agent-data.json", () => {
  test("is empty where it is missing", async () => {
    const { current } = await StoredState.open(path);
    expect(current.svid).toEqual([]);
    expect(current.bootstrapMode).toBeUndefined();
    expect(readdirSync(directory)).toEqual([]);
  });

  test("is in the reference's layout, times and numbers included", async () => {
    const state = await StoredState.open(path);
    await state.update({
      bundle: [Uint8Array.of(0x30, 0)],
      bootstrapMode: "rebootstrap",
      bootstrapStart: 1_700_000_000,
      connectionAttempts: 3,
    });
    const [stored] = JSON.parse(readFileSync(path, "utf8")).bundle;
    expect(Buffer.from(stored, "base64").toString()).toStartWith("-----BEGIN CERTIFICATE-----\n");
    expect(JSON.parse(readFileSync(path, "utf8"))).toEqual({
      svid: null,
      bundle: [stored],
      reattestable: false,
      bootstrap_use: 2,
      bootstrap_start_time: "2023-11-14T22:13:20Z",
      connection_attempts: 3,
    });
    await state.update({ bootstrapStart: 0, reattestable: true });
    expect(JSON.parse(readFileSync(path, "utf8"))).toMatchObject({
      bootstrap_start_time: "0001-01-01T00:00:00Z",
      reattestable: true,
      connection_attempts: 3,
    });
  });

  test("is read as the reference writes it, and as it was before it had a bootstrap state", async () => {
    const head = '{"svid":null,"bundle":null,"reattestable":true';
    writeFileSync(
      path,
      `${head},"bootstrap_use":1,"bootstrap_start_time":"2023-11-14T23:13:20.5+01:00","connection_attempts":7}`,
    );
    expect((await StoredState.open(path)).current).toMatchObject({
      bootstrapMode: "bootstrap",
      bootstrapStart: 1_700_000_000,
      connectionAttempts: 7,
    });
    writeFileSync(path, `${head},"bootstrap_start_time":"0001-01-01T00:00:00Z"}`);
    expect((await StoredState.open(path)).current.bootstrapStart).toBe(0);
    writeFileSync(path, `${head}}`);
    expect((await StoredState.open(path)).current).toMatchObject({
      reattestable: true,
      bootstrapStart: 0,
      connectionAttempts: 0,
    });
  });

  test("keeps what was changed by several at a time", async () => {
    const state = await StoredState.open(path);
    await Promise.all([
      state.update({ connectionAttempts: 1 }),
      state.update({ reattestable: true }),
      state.update({ connectionAttempts: 2 }),
    ]);
    expect((await StoredState.open(path)).current).toEqual(state.current);
    expect(state.current).toMatchObject({ connectionAttempts: 2, reattestable: true });
  });

  test("that cannot be written stays as it was, and so does what the agent goes by", async () => {
    const state = await StoredState.open(path);
    mkdirSync(join(path, "in-the-way"), { recursive: true });
    await expect(state.update({ connectionAttempts: 1 })).rejects.toThrow(`cannot write ${path}`);
    expect(state.current.connectionAttempts).toBe(0);
    rmSync(path, { recursive: true });
    await state.update({ reattestable: true });
    expect((await StoredState.open(path)).current.connectionAttempts).toBe(0);
  });
});

import { describe, expect, test } from "bun:test";
import { atStart, ConfigInForce, type KeyTable, live, livePlugins, planReload } from "./reload.ts";

interface Example {
  readonly port: number;
  readonly names: readonly string[];
  readonly log: { readonly level: string; readonly file?: string };
  readonly upstream?: { readonly name: string; readonly path: string };
  readonly rates: ReadonlyMap<string, number>;
  readonly warnings: readonly string[];
  readonly notes: readonly string[];
}

const TABLE: KeyTable<Example> = {
  port: atStart("bind_port"),
  names: live("admin_ids"),
  log: { level: live("log_level"), file: atStart("log_file") },
  upstream: livePlugins("UpstreamAuthority"),
  rates: live("ratelimit"),
};

const PRESENT: Example = {
  port: 1,
  names: ["a"],
  log: { level: "info" },
  upstream: { name: "disk", path: "/a" },
  rates: new Map([["x", 1]]),
  warnings: [],
  notes: [],
};

describe("a configuration that was read again", () => {
  test("changes nothing when it says the same in other objects", () => {
    const same = { ...structuredClone(PRESENT), warnings: ["w"], notes: ["n"] };
    expect(planReload(TABLE, PRESENT, same)).toEqual({
      config: PRESENT,
      applied: [],
      pending: [],
    });
  });

  test("is taken over where that can be done live, and named where it cannot", () => {
    const next = { ...PRESENT, port: 2, names: ["a", "b"], log: { level: "debug", file: "/log" } };
    const { config, applied, pending } = planReload(TABLE, PRESENT, next);
    expect(applied).toEqual(["admin_ids", "log_level"]);
    expect(pending).toEqual(["bind_port", "log_file"]);
    expect(config).toEqual({ ...PRESENT, names: ["a", "b"], log: { level: "debug" } });
  });

  test("configures the plugins that stay, and waits with others", () => {
    const moved = { ...PRESENT, upstream: { name: "disk", path: "/b" } };
    expect(planReload(TABLE, PRESENT, moved)).toMatchObject({
      applied: ["UpstreamAuthority"],
      config: { upstream: { path: "/b" } },
    });
    const { upstream: _gone, ...without } = PRESENT;
    for (const other of [{ ...PRESENT, upstream: { name: "spire", path: "/b" } }, without]) {
      expect(planReload(TABLE, PRESENT, other)).toMatchObject({
        pending: ["UpstreamAuthority"],
        config: { upstream: { name: "disk", path: "/a" } },
      });
    }
  });

  test("is compared also in maps", () => {
    const next = { ...PRESENT, rates: new Map([["x", 2]]) };
    expect(planReload(TABLE, PRESENT, next).applied).toEqual(["ratelimit"]);
  });

  test("is not taken for the same where a value says nothing of itself", () => {
    class Opaque {
      readonly #path = "/a";
      get path(): string {
        return this.#path;
      }
      readonly name: string = "disk";
    }
    const next = { ...PRESENT, upstream: new Opaque() };
    expect(() => planReload(TABLE, PRESENT, next)).toThrow("cannot be compared");
  });
});

test("what needs a restart is named again at every reload, until it is as it was", () => {
  const inForce = new ConfigInForce(TABLE, PRESENT);
  const next = { ...PRESENT, port: 2, names: [] };
  expect(inForce.take(next)).toMatchObject({ applied: ["admin_ids"], pending: ["bind_port"] });
  expect(inForce.take(next)).toMatchObject({ applied: [], pending: ["bind_port"] });
  expect(inForce.config).toEqual({ ...PRESENT, names: [] });
  expect(inForce.take(PRESENT)).toMatchObject({ applied: ["admin_ids"], pending: [] });
});

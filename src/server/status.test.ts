import { expect, test } from "bun:test";
import type { CaState } from "./ca/ca-manager.ts";
import type { DataStoreChange } from "./datastore/datastore.ts";
import { serverStatus } from "./status.ts";

const NOTHING = { stored: [], removed: [] };
const CHANGE: DataStoreChange = {
  entries: NOTHING,
  nodes: NOTHING,
  bundles: [],
  federationRelationships: [],
};

function status(upstream?: CaState["upstream"], waitingFor?: string, failure?: string) {
  const listeners = new Set<(change: DataStoreChange) => void>();
  let changed = (): void => {};
  const parts = {
    trustDomain: "example.org",
    address: "[::]:8081",
    store: {
      entries: { count: async () => 12 },
      nodes: { count: async () => 3 },
      onChange: (listener: (change: DataStoreChange) => void) => {
        listeners.add(listener);
        return () => void listeners.delete(listener);
      },
    },
    ca: {
      state: { rotatesAt: 1_700_000_000, expiresAt: 1_700_003_600, upstream },
      waitingFor: () => waitingFor,
      whenChanged: (call: () => void) => {
        changed = call;
      },
    },
    declared: { failure, whenChanged: () => {} },
  };
  return { source: serverStatus(parts), listeners, rotate: () => changed() };
}

const OWN_ROOT =
  "Serving trust domain example.org on [::]:8081; entries: 12; agents: 3; CA rotates 2023-11-14 22:13:20 UTC, expires 2023-11-14 23:13:20 UTC";

test("a server that is its own root says nothing of an upstream", async () => {
  expect(await status().source.text()).toBe(OWN_ROOT);
});

test("one below another authority says how that one does", async () => {
  const { source } = status({ name: "disk", problem: undefined });
  expect(await source.text()).toBe(`${OWN_ROOT}; upstream disk: in order`);
  const problem = "upstream server above:8081: out of reach";
  const broken = status({ name: "spire", problem }).source;
  expect(await broken.text()).toBe(`${OWN_ROOT}; upstream spire: ${problem}`);
});

test("one that cannot sign says what it waits for", async () => {
  const { source } = status(undefined, "waiting for CA: csr at /ca.csr");
  expect(await source.text()).toBe("Waiting for CA: csr at /ca.csr; entries: 12; agents: 3");
});

test("one that could not take its declared entries says why", async () => {
  const { source } = status(undefined, undefined, "a.yaml:3: no such trust domain");
  const why = "declared entries rejected: a.yaml:3: no such trust domain";
  expect(await source.text()).toBe(`${OWN_ROOT}; ${why}`);
});

test("entries, agents and the CA change it; bundles and relationships do not", () => {
  const { source, listeners, rotate } = status();
  let heard = 0;
  const end = source.onChange(() => heard++);
  const [tell = () => {}] = listeners;
  tell({ ...CHANGE, bundles: ["x"], federationRelationships: ["x"] });
  expect(heard).toBe(0);
  tell({ ...CHANGE, entries: { stored: [], removed: ["id"] } });
  tell({ ...CHANGE, nodes: { stored: [], removed: ["id"] } });
  rotate();
  expect(heard).toBe(3);
  end();
  expect(listeners.size).toBe(0);
});

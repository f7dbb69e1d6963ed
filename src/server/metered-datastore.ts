/** A DataStore whose calls are counted, by the names that the reference counts its own by. */
import type { Clock } from "#clock/clock.ts";
import type { DataStore } from "#server/datastore/datastore.ts";
import { countedCall, type MetricKey, type Metrics } from "#telemetry/metrics.ts";

interface Meter {
  readonly metrics: Metrics;
  readonly clock: Clock;
}

type Names<Port> = { readonly [Method in keyof Port]: string };

/** By port and method; what stands here is the whole of what is counted. */
const NAMES: {
  readonly [Port in
    | "joinTokens"
    | "nodes"
    | "entries"
    | "declaredEntries"
    | "bundles"
    | "federationRelationships"
    | "caJournals"]: Names<DataStore[Port]>;
} = {
  joinTokens: {
    create: "join_token create",
    find: "join_token fetch",
    join: "join_token delete",
    delete: "join_token delete",
    deleteRejoin: "join_token delete",
    prune: "join_token prune",
  },
  nodes: {
    put: "node create",
    find: "node fetch",
    list: "node list",
    count: "node count",
    update: "node update",
    delete: "node delete",
    prune: "node prune",
  },
  entries: {
    create: "registration_entry create",
    find: "registration_entry fetch",
    list: "registration_entry list",
    count: "registration_entry count",
    update: "registration_entry update",
    delete: "registration_entry delete",
    prune: "registration_entry prune",
  },
  declaredEntries: {
    sets: "declared_entry list",
    apply: "declared_entry set",
  },
  bundles: {
    find: "bundle fetch",
    list: "bundle list",
    count: "bundle count",
    create: "bundle create",
    set: "bundle set",
    append: "bundle append",
    update: "bundle update",
    delete: "bundle delete",
  },
  federationRelationships: {
    create: "federation_relationship create",
    find: "federation_relationship fetch",
    list: "federation_relationship list",
    update: "federation_relationship update",
    delete: "federation_relationship delete",
  },
  caJournals: { load: "ca_journal fetch", save: "ca_journal set" },
};

export function meteredDataStore(store: DataStore, meter: Meter): DataStore {
  return {
    joinTokens: metered(store.joinTokens, NAMES.joinTokens, meter),
    nodes: metered(store.nodes, NAMES.nodes, meter),
    entries: metered(store.entries, NAMES.entries, meter),
    declaredEntries: metered(store.declaredEntries, NAMES.declaredEntries, meter),
    bundles: metered(store.bundles, NAMES.bundles, meter),
    federationRelationships: metered(
      store.federationRelationships,
      NAMES.federationRelationships,
      meter,
    ),
    caJournals: metered(store.caJournals, NAMES.caJournals, meter),
    onChange: (listener) => store.onChange(listener),
    close: () => store.close(),
  };
}

type Method = (...all: unknown[]) => Promise<unknown>;

/** Each method of the port, counted; the names decide which methods there are. */
function metered<Port extends object>(port: Port, names: Names<Port>, meter: Meter): Port {
  const counted = Object.entries<string>(names).map(([method, name]) => {
    const key: MetricKey = ["datastore", ...name.split(" ")];
    const run = (port as Record<string, Method>)[method];
    if (run === undefined) throw new Error(`the datastore has no method ${method}`);
    const call: Method = (...all) => countedCall(meter, key, () => run.apply(port, all));
    return [method, call] as const;
  });
  return Object.fromEntries(counted) as Port;
}

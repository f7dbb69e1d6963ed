/**
 * What a room may import. A room is a folder of src; this is the table that `scripts/lint/generate` makes Biome's rules from, and
 * that docs/ARCHITECTURE.md explains. A room always has itself, and every file has `./sibling.ts`; nothing has `../`.
 *
 * Moving a folder means moving its line. A new arrow is a word more in a line: it should point down.
 */

/** The rooms of src from the bottom up, and which others each may import. */
export const rooms: Readonly<Record<string, string>> = {
  // values, without the runtime
  spiffe: "",

  // the machine
  clock: "",
  log: "",
  ffi: "",
  files: "spiffe ffi",
  dbus: "clock",

  // mechanisms
  x509: "spiffe",
  jwt: "spiffe x509",
  config: "spiffe log files",
  http: "spiffe clock",
  notify: "clock log ffi",
  grpc: "proto spiffe x509 clock log ffi files http",
  cli: "proto spiffe clock config grpc",
  telemetry: "spiffe clock log config http",
  health: "spiffe log config http",

  // ports with their adapters
  keymanager: "spiffe x509 config clock log files",
  attestors: "spiffe x509 config clock log ffi dbus files",
  upstream: "proto spiffe x509 config clock log grpc files http",

  // the executables
  server:
    "proto spiffe clock log ffi files x509 jwt config grpc cli notify http telemetry health keymanager attestors upstream",
  agent:
    "proto spiffe clock log ffi files dbus x509 jwt config grpc cli notify http telemetry health keymanager attestors",
};

/** Rooms that may import nothing of Node.js or Bun. */
export const withoutRuntime: readonly string[] = ["spiffe"];

/** What lies outside src, as it is imported. */
export const outsideSrc: Readonly<Record<string, string>> = { proto: "proto/gen" };

/**
 * Rooms within a room: what else of the outer room each may import. A room does not stand for the rooms within it; a file stands for
 * itself. The files directly in the outer room wire the rest together and have all of it. Tests and fixtures are held to the outer
 * room's line alone.
 */
export const within: Readonly<Record<string, string>> = {
  "keymanager/*": "keymanager",
  "attestors/*": "attestors",
  "upstream/*": "upstream",
  "cli/doctor": "cli",
  "config/template": "",

  "server/datastore": "",
  "server/datastore/sqlite": "server/datastore server/datastore/sqlite/*",
  "server/datastore/sqlite/file": "",
  "server/datastore/sqlite/rows": "server/datastore",
  "server/datastore/sqlite/writing":
    "server/datastore server/datastore/sqlite/file server/datastore/sqlite/rows server/datastore/sqlite/tables",
  "server/datastore/sqlite/tables":
    "server/datastore server/datastore/sqlite/rows server/datastore/sqlite/writing",
  "server/config": "server/bundle-endpoint server/plugins.ts",
  "server/entries": "server/datastore",
  "server/ca": "server/datastore server/ca/*",
  "server/ca/profile": "",
  "server/ca/authority": "server/datastore server/ca/profile",
  "server/ca/rotation": "server/ca/authority",
  "server/ca/signing": "server/ca/authority server/ca/profile",
  "server/ca/offline":
    "server/datastore server/ca/authority server/ca/profile server/ca/rotation server/ca/signing",
  "server/ca/lifecycle":
    "server/datastore server/ca/authority server/ca/offline server/ca/rotation",
  "server/ca/upstream": "server/datastore server/ca/authority server/ca/lifecycle",
  "server/bundle-endpoint": "server/datastore server/periodic.ts",
  "server/backup":
    "server/datastore/sqlite server/datastore/sqlite/* server/ca server/ca/* server/data-directory.ts server/restored.ts",
  "server/api/call": "server/datastore server/message",
  "server/message": "server/datastore server/ca server/ca/*",
  "server/api/entry":
    "server/datastore server/entries server/declared server/api/call server/message",
  "server/api/agent":
    "server/datastore server/ca server/ca/* server/restored.ts server/api/call server/message",
  "server/api/bundle": "server/datastore server/ca server/ca/* server/api/call server/message",
  "server/api/svid":
    "server/datastore server/ca server/ca/* server/api/call server/message server/api/entry",
  "server/api/changes":
    "server/datastore server/entries server/api/call server/api/agent server/api/entry server/message",
  "server/api/trust-domain": "server/datastore server/api/call server/api/bundle server/message",
  "server/api/local-authority":
    "server/datastore server/ca server/ca/* server/api/call server/message",
  "server/api/operator": "server/datastore server/ca server/ca/* server/api/call",
  "server/api":
    "server/datastore server/ca server/ca/* server/declared server/restored.ts server/api/*",
  "server/declared": "server/datastore server/message",
  "server/doctor":
    "server/datastore/sqlite server/datastore/sqlite/* server/ca server/ca/* server/declared server/config server/plugins.ts server/client",
  "server/client": "",
  "server/commands":
    "server/datastore/sqlite server/datastore/sqlite/* server/config server/server.ts server/doctor server/commands/bundle server/client",
  "server/commands/*":
    "server/backup server/config server/plugins.ts server/declared server/entries server/commands server/commands/bundle server/client",

  "agent/config":
    "agent/sds/secrets.ts agent/offline/open-keeper.ts agent/attestation/call-rates.ts agent/plugins.ts",
  "agent/cache": "",
  "agent/workload-client": "",
  "agent/svid-files": "agent/workload-client",
  "agent/offline": "agent/cache agent/sync/fetch-bundles.ts",
  "agent/own-svid": "agent/cache agent/attestation",
  "agent/sync": "agent/cache agent/attestation agent/own-svid",
  "agent/attestation": "agent/cache agent/config agent/plugins.ts",
  "agent/audit": "agent/cache agent/attestation",
  "agent/workload-api": "agent/cache agent/sync agent/attestation agent/audit",
  "agent/sds": "agent/cache agent/attestation agent/audit",
  "agent/explain": "agent/cache agent/sync agent/attestation agent/workload-api agent/own-svid",
  "agent/admin-api": "agent/cache agent/sync agent/attestation agent/audit agent/explain",
  "agent/credentials": "agent/cache agent/audit agent/workload-api",
  "agent/doctor":
    "agent/sync agent/attestation agent/workload-client agent/config agent/plugins.ts",
  "agent/commands":
    "agent/attestation agent/svid-files agent/workload-client agent/doctor agent/config agent/agent.ts agent/unit-status.ts",
};

/** Rooms that, with those within them, see less of the other rooms than the outer room does. */
export const lessOutside: Readonly<Record<string, string>> = {
  "server/ca": "spiffe x509 jwt config clock log keymanager upstream files telemetry",
  "server/datastore": "spiffe x509 jwt config clock log keymanager upstream files telemetry",
  "server/bundle-endpoint":
    "spiffe x509 jwt clock log telemetry grpc/listen-tcp.ts grpc/remote-connections.ts grpc/presented-chain.ts grpc/tls-listener.ts http",
  "agent/offline": "proto spiffe clock log ffi files notify",
};

/** Files that never import a sibling, so that one executable does not carry what belongs to the other. */
export const apart: Readonly<Record<string, string>> = {
  "attestors/*/agent.ts": "server.ts",
  "attestors/*/server.ts": "agent.ts",
};

/** Where the tree does not keep a rule of biome.json, and why. */
export const exceptions: readonly Exception[] = [
  {
    rule: "style/noExcessiveLinesPerFile",
    files: [
      "src/attestors/x509pop/x509pop.test.ts",
      "src/upstream/disk/disk.test.ts",
      "test/interop/x509pop-certificates.test.ts",
      "test/system/backup.test.ts",
      "test/systemd/units.test.ts",
      "test/systemd/machine.test.ts",
    ],
    why: "tests that share what they set up; one more case belongs into a file of its own",
  },
  {
    rule: "complexity/noExcessiveLinesPerFunction",
    files: ["src/**/*.test.ts", "src/**/*.conformance.ts", "test/**"],
    why: "a group of tests is a function, and a scenario reads from its start to its end",
  },
  {
    rule: "complexity/noExcessiveLinesPerFunction",
    files: ["src/server/server.ts", "src/agent/agent.ts"],
    why: "the order in which the parts start, which is the order in which they stop, is seen at once",
  },
];

export interface Exception {
  readonly rule: string;
  readonly files: readonly string[];
  readonly why: string;
}

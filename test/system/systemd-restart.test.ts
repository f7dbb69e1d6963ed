/**
 * The agent as a unit of a real systemd, booted for the occasion: what it keeps in the descriptor store crosses a crash, a hang and a
 * restart while the server is away, for a user who is not root too.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { run } from "../support/process.ts";
import { executable, Stage } from "../support/spire.ts";

const stage = new Stage();
afterAll(() => stage.close(), 60_000);

const AGENT_UNIT = `[Unit]
StartLimitIntervalSec=0
[Service]
Type=notify
NotifyAccess=all
ExecStart=/dist/spire-agent run -config /stage/agent.conf
ExecReload=/bin/kill -HUP $MAINPID
User=nobody
StateDirectory=agent
StateDirectoryMode=0700
RuntimeDirectory=agent
RuntimeDirectoryMode=0755
FileDescriptorStoreMax=2
WatchdogSec=2s
TimeoutAbortSec=1s
Restart=on-failure
RestartSec=100ms
LimitCORE=0
StandardOutput=append:/stage/agent.log
StandardError=append:/stage/agent.log
`;

const SERVER_UNIT = `[Service]
Type=notify
NotifyAccess=all
ExecStart=/dist/spire-server run -trustDomain example.org -dataDir /var/lib/server
StateDirectory=server
StandardOutput=append:/stage/server.log
StandardError=append:/stage/server.log
`;

const AGENT_CONFIGURATION = `agent {
  data_dir = "/var/lib/agent"
  log_level = "DEBUG"
  server_address = "127.0.0.1"
  server_port = 8081
  socket_path = "/run/agent/api.sock"
  trust_domain = "example.org"
  trust_bundle_path = "/stage/bundle.pem"
  join_token_file = "/stage/token"
}
plugins {
  KeyManager "disk" { plugin_data { directory = "/var/lib/agent" } }
  NodeAttestor "join_token" { plugin_data {} }
  WorkloadAttestor "unix" { plugin_data {} }
}
`;

/** Writes a name and a value to /stage/facts, a line each. */
const SCRIPT = `set -u
umask 022
fact() { echo "$1 $2" >>/stage/facts; }
# Repeats a command for half a minute until it works.
until_works() { for _ in $(seq 300); do "$@" && return; sleep 0.1; done; echo "never worked: $*"; return 1; }
serial() {
  rm -rf /run/svid; mkdir /run/svid
  /dist/spire-agent api fetch x509 -socketPath /run/agent/api.sock -silent -write /run/svid >/dev/null &&
    sha256sum /run/svid/svid.0.pem | cut -c1-16
}
served() { serial >/run/serial && [ -s /run/serial ]; }
show() { systemctl show --value -p "$1" agent; }
# The one snapshot that the service manager holds, once it has the SVID in it.
stored() {
  for descriptor in /proc/1/fd/*; do
    case $(readlink "$descriptor") in
      /memfd:workload-cache-*) [ "$(stat -L -c %s "$descriptor")" -gt 1000 ] && [ "$(show NFileDescriptorStore)" = 1 ] && return ;;
    esac
  done
  return 1
}
pid_is_not() { [ "$(show MainPID)" != "$1" ] && [ "$(show ActiveState)" = active ]; }

systemctl start server || exit 1
/dist/spire-server bundle show >/stage/bundle.pem
/dist/spire-server token generate -spiffeID spiffe://example.org/node | sed -n 's/^Token: //p' >/stage/token
chmod 644 /stage/token /stage/bundle.pem /stage/agent.conf
/dist/spire-server entry create -parentID spiffe://example.org/node -spiffeID spiffe://example.org/db -selector unix:uid:0 >/dev/null
systemctl start agent || exit 1
fact active "$(show ActiveState)"
fact status "$(show StatusText)"
until_works served
fact first "$(cat /run/serial)"
until_works stored
systemctl stop server

pid=$(show MainPID); kill -KILL "$pid"
until_works pid_is_not "$pid"; until_works served
fact killed "$(cat /run/serial)"

pid=$(show MainPID); kill -STOP "$pid"
until_works pid_is_not "$pid"; until_works served
fact hung "$(cat /run/serial)"

systemctl reload agent; fact reload $?
systemctl restart agent; fact restart $?
until_works served
fact restarted "$(cat /run/serial)"
fact restarts "$(show NRestarts)"

systemctl stop agent
fact result "$(show Result)"
fact code "$(show ExecMainStatus)"
fact end reached
`;

let facts: ReadonlyMap<string, string>;
let directory: string;

beforeAll(async () => {
  directory = stage.room("systemd");
  mkdirSync(join(directory, "units"));
  writeFileSync(join(directory, "units/agent.service"), AGENT_UNIT);
  writeFileSync(join(directory, "units/server.service"), SERVER_UNIT);
  writeFileSync(join(directory, "agent.conf"), AGENT_CONFIGURATION);
  writeFileSync(join(directory, "run"), SCRIPT);
  writeFileSync(join(directory, "agent.log"), "", { mode: 0o666 });
  const booted = await run([resolve(import.meta.dir, "../support/boot-systemd"), directory], {
    env: { DIST: dirname(executable("ours", "spire-agent")) },
    timeoutMs: 150_000,
  });
  const read = (name: string): string => {
    try {
      return readFileSync(join(directory, name), "utf8");
    } catch {
      return "";
    }
  };
  facts = new Map(
    read("facts")
      .split("\n")
      .map((line) => [line.split(" ", 1)[0] ?? "", line.slice(line.indexOf(" ") + 1)]),
  );
  if (!facts.has("end")) {
    const parts = [
      booted.stdout,
      booted.stderr,
      read("output"),
      read("agent.log"),
      read("server.log"),
    ];
    throw new Error(`systemd did not come to the end: ${parts.join("\n")}`);
  }
}, 200_000);

test("the agent is active, with a status line, as soon as its socket is there", () => {
  expect(facts.get("active")).toBe("active");
  expect(facts.get("status")).toStartWith(
    "Agent of trust domain example.org; server 127.0.0.1:8081 ",
  );
});

test.each(["killed", "hung", "restarted"])(
  "the same SVID is served after it was %s while the server is away",
  (how) => {
    expect(facts.get("first")).toMatch(/^[0-9a-f]{16}$/);
    expect(facts.get(how)).toBe(facts.get("first") ?? "");
  },
);

test("systemd saw a crash and a hang, a reload that did no harm, and a clean end", () => {
  expect(facts.get("reload")).toBe("0");
  expect(facts.get("restart")).toBe("0");
  expect(facts.get("result")).toBe("success");
  expect(facts.get("code")).toBe("0");
  const log = readFileSync(join(directory, "agent.log"), "utf8");
  expect(log.match(/Workload cache restored/g)).toHaveLength(3);
  expect(log).toContain("Agent stopped gracefully");
});

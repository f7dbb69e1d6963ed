/** SVIDs in files by the unit that is there for it: for a service that knows no SPIFFE, runs as a user of its own, and reloads. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { AGENT_SOCKET, MachineNode } from "../support/machine-node.ts";
import { eventually } from "../support/process.ts";

const UNIT = "spire-svid-files@web.service";
const DIRECTORY = "/run/spire/svid-files/web";
const WEB = "spiffe://example.org/web";
const TIMEOUT_MS = 60_000;

const CONFIGURATION = `
agent_address = "${AGENT_SOCKET}"
output "web" {
  spiffe_id = "${WEB}"
  cert_dir = "${DIRECTORY}"
  svid_file_name = "svid.pem"
  svid_key_file_name = "svid_key.pem"
  svid_bundle_file_name = "svid_bundle.pem"
  user = "daemon"
  group = "daemon"
  reload_units = ["web.service"]
  renew_signal = "SIGUSR1"
  signal_units = ["web.service"]
}`;

const SERVICE = `[Unit]
Requires=${UNIT}
After=${UNIT}
[Service]
User=daemon
ExecStartPre=/usr/bin/openssl x509 -noout -in ${DIRECTORY}/svid.pem
ExecStartPre=/bin/cat ${DIRECTORY}/svid_key.pem
ExecStart=/bin/bash -c 'trap "echo signalled" USR1; while :; do sleep 0.1; done'
ExecReload=/bin/echo reloaded
`;

let node: MachineNode;

beforeAll(async () => {
  node = await MachineNode.boot({ plugins: 'WorkloadAttestor "systemd" {}' });
  await node.machine.write("/etc/spire/svid-files/web.conf", CONFIGURATION);
  await node.machine.write("/etc/systemd/system/web.service", SERVICE);
  await node.machine.must("systemctl", "daemon-reload");
}, 120_000);

afterAll(() => node?.close(), TIMEOUT_MS);

test(
  "systemd finds nothing to say about the unit, and little that it might do",
  async () => {
    const verified = await node.machine.run("systemd-analyze", "verify", UNIT);
    expect(verified).toMatchObject({ code: 0, stdout: "", stderr: "" });
    const file = "/etc/systemd/system/spire-svid-files@.service";
    const options = ["--offline=yes", "--no-pager", "--threshold=20"];
    await node.machine.must("systemd-analyze", "security", ...options, file);
  },
  TIMEOUT_MS,
);

test(
  "a service is started when its SVID is there, and told of each new one",
  async () => {
    const { machine } = node;
    await machine.must("systemctl", "start", "--no-block", "web.service");
    await eventually("it waits, and says for what", async () => {
      const { ActiveState, StatusText } = await machine.show(UNIT);
      const waits = StatusText?.startsWith("Waiting for the SVID of web; the agent: ");
      return (ActiveState === "activating" && waits) || undefined;
    });
    await node.register(WEB, [`systemd:id:${UNIT}`], "-x509SVIDTTL", "6");
    await eventually("the service runs", async () => {
      return (await machine.show("web.service"))["ActiveState"] === "active" || undefined;
    });
    await eventually("the status says so", async () => {
      const { StatusText = "" } = await machine.show(UNIT);
      return StatusText.startsWith("1 output written; the next SVID expires 2") || undefined;
    });
    expect(await machine.must("stat", "-L", "--format=%a %U", `${DIRECTORY}/svid_key.pem`)).toBe(
      "600 daemon\n",
    );
    await eventually("it is reloaded and signalled", async () => {
      const journal = await machine.journal("web.service");
      return (/^reloaded$/m.test(journal) && /^signalled$/m.test(journal)) || undefined;
    });
    expect(await machine.journal(UNIT)).not.toContain("level=error");
  },
  TIMEOUT_MS,
);

test(
  "the files outlive it, so that the service goes on",
  async () => {
    await node.machine.must("systemctl", "stop", UNIT);
    await node.machine.must("test", "-s", `${DIRECTORY}/svid.pem`);
  },
  TIMEOUT_MS,
);

import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, openSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";

const directory = mkdtempSync(join(tmpdir(), "journal-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** Listens where a journal would, says that it does, then prints what it gets. */
const LISTENER = `
import socket, sys
listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
listening.bind(sys.argv[1])
print("listening", flush=True)
print(listening.recv(65536).hex(), flush=True)
`;

/** Logs one warning and one information from a process whose standard output is a file. @returns what that file then holds */
async function logLines(name: string, socket: string, stream?: string): Promise<string> {
  const file = join(directory, name);
  const output = openSync(file, "w");
  const { dev, ino } = statSync(file, { bigint: true });
  const script = `
    import { createLog, stdoutSink } from ${JSON.stringify(join(import.meta.dir, "../log/log.ts"))};
    import { openJournal } from ${JSON.stringify(join(import.meta.dir, "journal.ts"))};
    const options = { identifier: "spire-agent", fields: { trust_domain: "example.org" }, socket: ${JSON.stringify(socket)} };
    const sink = openJournal(process.env, options) ?? stdoutSink;
    const log = createLog({ level: "info", format: "text" }, () => 0, sink);
    log.warn("Careful", { spiffe_id: "spiffe://example.org/a", error: "first\\nPRIORITY=0", message: "no", _pid: 1 });
    log.info("Well");
  `;
  const environment = { ...process.env, JOURNAL_STREAM: stream ?? `${dev}:${ino}` };
  const child = Bun.spawn([process.execPath, "-e", script], { stdout: output, env: environment });
  expect(await child.exited).toBe(0);
  return readFileSync(file, "utf8");
}

test("a line goes to the journal with its priority and its fields, and nothing in a value adds another", async () => {
  const socket = join(directory, "socket");
  const listener = Bun.spawn(["python3", "-c", LISTENER, socket], { stdout: "pipe" });
  const lines = createInterface({ input: Readable.from(listener.stdout) })[Symbol.asyncIterator]();
  expect((await lines.next()).value).toBe("listening");
  // The listener takes one message and goes; the next line falls back to the output.
  const rest = await logLines("taken", socket);
  const hex = String((await lines.next()).value);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(16n);
  const line =
    'time="1970-01-01T00:00:00Z" level=warning msg=Careful _pid=1 error="first\\nPRIORITY=0" message=no spiffe_id="spiffe://example.org/a"';
  expect(Buffer.from(hex, "hex").toString("latin1")).toBe(
    [
      `MESSAGE=${line}`,
      "PRIORITY=4",
      "SPIFFE_ID=spiffe://example.org/a",
      `ERROR\n${length.toString("latin1")}first\nPRIORITY=0`,
      "SYSLOG_IDENTIFIER=spire-agent",
      "TRUST_DOMAIN=example.org",
      "",
    ].join("\n"),
  );
  expect(["", '<6>time="1970-01-01T00:00:00Z" level=info msg=Well\n']).toContain(rest);
});

test("what the journal does not take goes to standard output with its priority", async () => {
  const text = await logLines("not-taken", join(directory, "missing"));
  expect(text.split("\n").map((line) => line.slice(0, 3))).toEqual(["<4>", "<6>", ""]);
});

test("an output that is not the journal gets plain lines, whatever the environment says", async () => {
  const text = await logLines("other", join(directory, "missing"), "1:1");
  expect(text).toStartWith("time=");
});

/** Clients of ours, and a server that means them harm. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import {
  createSecureServer,
  createServer,
  type Http2Server,
  type ServerHttp2Stream,
} from "node:http2";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { tlsPolicy } from "#http/tls-policy.ts";
import { EntryClient } from "#proto/spire/api/server/entry/v1/entry.ts";
import { StatusError } from "#spiffe/status-error.ts";
import { privateKeyToPkcs8Pem } from "#x509/keys.ts";
import { certificatesToPem } from "#x509/pem.ts";
import { make } from "#x509/pki.fixture.ts";
import { type Channel, callUnary, readStream, tlsChannel, unixChannel } from "./client.ts";

const MIB = 1024 * 1024;
const directory = mkdtempSync(join(tmpdir(), "hostile-"));
const path = join(directory, "api.sock");
const servers: Http2Server[] = [];
const channels: Record<string, Channel> = {};
/** What the servers answer. */
let answer: Buffer = Buffer.alloc(0);

/** Answers every call with the same compressed message. */
function serve(server: Http2Server, at: { path: string } | { port: number; host: string }) {
  const { promise, resolve } = Promise.withResolvers<void>();
  servers.push(server);
  server.on("stream", (stream: ServerHttp2Stream) => {
    stream.on("error", () => {});
    stream.respond(
      { ":status": 200, "content-type": "application/grpc", "grpc-encoding": "gzip" },
      { waitForTrailers: true },
    );
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
    stream.end(answer);
  });
  server.listen(at, () => resolve());
  return promise;
}

beforeAll(async () => {
  await serve(createServer(), { path });
  const { certificate, key } = await make({ name: "server" });
  const cert = certificatesToPem([certificate.der]);
  const secure = createSecureServer({ key: privateKeyToPkcs8Pem(key), cert });
  await serve(secure, { port: 0, host: "127.0.0.1" });
  channels["this machine"] = unixChannel(path);
  channels["another machine"] = tlsChannel({
    host: "127.0.0.1",
    port: (secure.address() as AddressInfo).port,
    policy: tlsPolicy(false),
    verifyServer: () => {},
  });
});

afterAll(() => {
  for (const server of servers) server.close();
  rmSync(directory, { recursive: true, force: true });
});

function compressed(message: Buffer): Buffer {
  const bytes = gzipSync(message);
  const prefix = Buffer.alloc(5, 1);
  prefix.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([prefix, bytes]);
}

async function refusal(from: string): Promise<string[]> {
  const { address, credentials, options } = channels[from] ?? unixChannel(path);
  const client = new EntryClient(address, credentials, options);
  const request = { filter: undefined, outputMask: undefined, pageSize: 0, pageToken: "" };
  const reading = async (): Promise<void> => {
    for await (const _ of readStream(client.syncAuthorizedEntries()));
  };
  const failures = [callUnary(client, "listEntries", request, { timeoutMs: 30_000 }), reading()];
  const errors = await Promise.all(failures.map((call) => call.then(String, (error) => error)));
  client.close();
  return errors.map((error) => (error instanceof StatusError ? error.message : "no refusal"));
}

test.each([
  ["this machine", 64],
  ["another machine", 16],
])("an answer from %s inflates to %d MiB at most", async (from, mib) => {
  answer = compressed(Buffer.alloc((mib + 1) * MIB));
  const words = expect.stringContaining(`decompresses to a size larger than ${mib * MIB}`);
  expect(await refusal(from)).toEqual([words, words]);
});

test.each(["this machine", "another machine"])(
  "an answer from %s is not made of empty fields alone",
  async (from) => {
    // Two bytes each: an empty entry, and in another message an empty revision.
    answer = compressed(Buffer.alloc(4 * MIB, Buffer.from([0x0a, 0])));
    const words = expect.stringMatching(/more than \d+ fields/);
    expect(await refusal(from)).toEqual([words, words]);
  },
);

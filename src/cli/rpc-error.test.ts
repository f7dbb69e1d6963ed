import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import { codeName, explainDial, explained, failureText } from "./rpc-error.ts";

const directory = mkdtempSync(join(tmpdir(), "rpc-error-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe("what a command prints for an error", () => {
  test("a status in Go's words", () => {
    const error = new StatusError(StatusCode.NOT_FOUND, "entry not found");
    expect(failureText(error)).toBe("rpc error: code = NotFound desc = entry not found");
    expect(codeName(StatusCode.CANCELLED)).toBe("Canceled");
    expect(codeName(99)).toBe("Code(99)");
  });

  test("what is wrong with a SPIFFE ID, without the ID", async () => {
    const words = (): SpiffeId => SpiffeId.parse("x");
    await expect(explained("invalid", words)).rejects.toThrow(
      "invalid: scheme is missing or invalid",
    );
  });
});

describe("a socket that does not answer", () => {
  const unavailable = new StatusError(StatusCode.UNAVAILABLE, "No connection established");
  const daemon = { kind: "server", program: "spire-server", whenSilent: "it is stuck" } as const;
  const told = async (path: string) =>
    failureText(await explainDial(unavailable, path, daemon, undefined));

  test("because it is not there", async () => {
    const path = join(directory, "none");
    expect(await told(path)).toBe(`no server listens on ${path}: is spire-server running?`);
  });

  test("because nobody listens", async () => {
    const path = join(directory, "file");
    writeFileSync(path, "");
    expect(await told(path)).toBe(`no server listens on ${path}: is spire-server running?`);
  });

  test("in time", async () => {
    const late = new StatusError(StatusCode.DEADLINE_EXCEEDED, "Deadline exceeded after 5.001s");
    expect(failureText(await explainDial(late, "/none", daemon, 5000))).toBe(
      "nothing answered on /none within 5 s: it is stuck",
    );
  });

  test("but the server's own UNAVAILABLE stays as it is", async () => {
    const path = join(directory, "live");
    const server = createServer((socket) => socket.destroy());
    const listening = Promise.withResolvers<void>();
    server.listen(path, listening.resolve);
    await listening.promise;
    expect(await explainDial(unavailable, path, daemon, undefined)).toBe(unavailable);
    server.close();
  });
});

/** Entries that the server gives no SVID for. */
import { describe, expect, test } from "bun:test";
import { waitsForSvids } from "#agent/cache/waiting.ts";
import { makeWorkloadEntry as entry } from "#agent/cache/workload-entry.fixture.ts";
import { createLog, type Log } from "#log/log.ts";
import type { BatchNewX509SVIDRequest } from "#proto/spire/api/server/svid/v1/svid.ts";
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import { StatusCode } from "#spiffe/status-error.ts";
import { until } from "./server.fixture.ts";
import { never, pauseOf, selectors, sign, stand } from "./svid-issuer.fixture.ts";

describe("the first answer to a workload", () => {
  /** A workload with an entry that is issued and one that is not. */
  const bad = entry("bad", { selectors: ["unix:user:good"] });
  const mixed = [entry("good"), bad];
  const answering = (code: StatusCode) => (request: BatchNewX509SVIDRequest) =>
    sign(request, (id) => id === "bad", {}, code);

  test("does not wait for an SVID that the server refuses to issue", async () => {
    await using one = await stand(answering(StatusCode.INTERNAL), mixed);
    using workload = one.cache.subscribe(selectors("good"), "x509-svids");
    await until(() => one.cache.hasSvid("good"));
    await until(() => !waitsForSvids(one.cache, workload.identities(), true));
    // Whoever changes the entry is waited for again.
    one.cache.changeEntries([{ ...bad, revisionNumber: 1 }], []);
    expect(waitsForSvids(one.cache, workload.identities(), true)).toBe(true);
  });

  test("tells a stream that waits, when the refusal comes last", async () => {
    await using one = await stand(answering(StatusCode.INTERNAL), mixed);
    using workload = one.cache.subscribe(selectors("good"), "x509-svids");
    while (waitsForSvids(one.cache, workload.identities(), true)) {
      await workload.changedSince(workload.version, never);
    }
    expect(one.cache.hasSvid("good")).toBe(true);
  });

  test("waits where the server does not know the entry yet, and where nothing else is there", async () => {
    await using unknown = await stand(answering(StatusCode.NOT_FOUND), mixed);
    using workload = unknown.cache.subscribe(selectors("good"), "x509-svids");
    await until(() => unknown.issuer.issuanceStatus(bad).failure !== undefined);
    expect(unknown.cache.hasSvid("good")).toBe(true);
    expect(waitsForSvids(unknown.cache, workload.identities(), true)).toBe(true);
    await using nothing = await stand(answering(StatusCode.INTERNAL), [bad]);
    using other = nothing.cache.subscribe(selectors("good"), "x509-svids");
    await until(() => nothing.issuer.issuanceStatus(bad).failure !== undefined);
    expect(waitsForSvids(nothing.cache, other.identities(), true)).toBe(true);
  });
});

describe("an entry that changes while its SVID is issued", () => {
  const levels = (lines: readonly string[]): string[] =>
    lines
      .filter((line) => line.includes("entry_id=") && !line.includes("ing X509-SVID"))
      .map((line) => /level=(\w+)/.exec(line)?.[1] ?? "");
  /** What is logged of it. */
  const logged = (lines: string[]): Log =>
    createLog({ level: "debug", format: "text" }, () => 0, {
      write: (line) => void lines.push(line),
    });

  test("is no error: not in the log, and the next try is soon", async () => {
    const renamed = SpiffeId.parse("spiffe://example.org/new");
    const lines: string[] = [];
    await using one = await stand(
      (request) => sign(request, () => false, { uri: renamed.toString() }),
      [entry("a")],
      { log: logged(lines) },
    );
    expect(await pauseOf(one.clock)).toBe(500);
    one.cache.changeEntries([entry("a", { revisionNumber: 1, spiffeId: renamed })], []);
    await until(() => one.svidOf("a") !== undefined);
    expect(levels(lines)).toEqual(["debug"]);
  });

  test("is none either when it was deleted, whatever the server says", async () => {
    const lines: string[] = [];
    const gate = Promise.withResolvers<void>();
    await using one = await stand(
      async (request) => {
        await gate.promise;
        return sign(request, () => true, {}, StatusCode.INTERNAL);
      },
      [entry("a")],
      { log: logged(lines) },
    );
    await until(() => one.calls.length === 1);
    one.cache.changeEntries([], ["a"]);
    gate.resolve();
    await until(() => levels(lines).length > 0);
    expect(levels(lines)).toEqual(["debug"]);
  });

  test("is an error when no change arrives within half a minute", async () => {
    const lines: string[] = [];
    await using one = await stand((request) => sign(request, () => true), [entry("a")], {
      log: logged(lines),
    });
    await pauseOf(one.clock);
    expect(levels(lines)).toEqual(["debug"]);
    one.clock.pass(30_000);
    await until(() => one.calls.length === 2 && levels(lines).length === 2);
    expect(levels(lines)).toEqual(["debug", "error"]);
  });
});

import type { Command } from "#cli/command.ts";
import { goQuote } from "#cli/go-text.ts";
import type { Io } from "#cli/io.ts";
import { outputFlag, printMessages } from "#cli/printer.ts";
import { codeName, explained } from "#cli/rpc-error.ts";
import type { FederationRelationship } from "#proto/spire/api/types/federationrelationship.ts";
import type { Status } from "#proto/spire/api/types/status.ts";
import { serverCommand } from "#server/commands/server-command.ts";
import { relationshipBlock } from "./relationship-block.ts";
import { RELATIONSHIP_FLAGS, readRelationships } from "./relationship-source.ts";

const flags = { ...RELATIONSHIP_FLAGS, output: outputFlag() };

export const federationCreate: Command = serverCommand({
  synopsis: "Creates federation relationships with other trust domains",
  flags,
  run: async ({ flags: given, io, server }) => {
    const asked = await readRelationships(given, io);
    const { trustDomain } = await server();
    const answer = await explained("request failed", () =>
      trustDomain("batchCreateFederationRelationship", {
        federationRelationships: asked,
        outputMask: undefined,
      }),
    );
    printMessages(io, given.output, [answer], () =>
      printResults(io, answer.results, asked, "create"),
    );
  },
});

export const federationUpdate: Command = serverCommand({
  synopsis: "Replaces federation relationships with other trust domains",
  flags,
  run: async ({ flags: given, io, server }) => {
    const asked = await readRelationships(given, io);
    const { trustDomain } = await server();
    const answer = await explained("request failed", () =>
      trustDomain("batchUpdateFederationRelationship", {
        federationRelationships: asked,
        inputMask: undefined,
        outputMask: undefined,
      }),
    );
    printMessages(io, given.output, [answer], () =>
      printResults(io, answer.results, asked, "update"),
    );
  },
});

interface RelationshipResult {
  readonly status: Status | undefined;
  readonly federationRelationship: FederationRelationship | undefined;
}

/** Those that went well on standard output, then the others on standard error. @throws Error when any failed */
function printResults(
  io: Io,
  results: readonly RelationshipResult[],
  asked: readonly FederationRelationship[],
  verb: string,
): void {
  const failed: string[] = [];
  for (const [index, { status, federationRelationship: made }] of results.entries()) {
    const { code = 0, message = "" } = status ?? {};
    // The server leaves out what it refused.
    const shown = (code === 0 ? made : undefined) ?? asked[index];
    const block = shown === undefined ? "" : relationshipBlock(shown);
    if (code === 0) io.out(`\n${block}`);
    else {
      failed.push(
        `Failed to ${verb} the following federation relationship (code: ${codeName(code)}, msg: ${goQuote(message)}):\n${block}`,
      );
    }
  }
  for (const text of failed) {
    io.out("\n");
    io.err(text);
  }
  if (failed.length > 0) throw new Error(`failed to ${verb} one or more federation relationships`);
}

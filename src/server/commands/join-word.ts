/** Join words for the commands that make join tokens: everything but the token is found out first, so that a failure leaves no token behind. */
import { type Flag, stringFlag, switchFlag } from "#cli/flags.ts";
import type { Io } from "#cli/io.ts";
import { type OutputFormat, printMessages } from "#cli/printer.ts";
import { explained } from "#cli/rpc-error.ts";
import type { JoinToken } from "#proto/spire/api/types/jointoken.ts";
import type { JoinAddress } from "#proto/spire_edge/jointoken/v1/jointoken.ts";
import type { ServerConnection } from "#server/client/connection.ts";
import { formatHostPort, parseHostPort } from "#spiffe/host-port.ts";
import { JoinWord } from "#spiffe/join-word.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";

interface JoinWordFlags extends Record<string, Flag<unknown>> {
  readonly join: Flag<boolean>;
  readonly serverAddress: Flag<string>;
}

export const JOIN_WORD_FLAGS: JoinWordFlags = {
  join: switchFlag(
    "Print one word that is all an agent needs to join (-join, -joinFile): token, server address and trust bundle",
  ),
  serverAddress: stringFlag(
    "With -join: where agents reach the server, HOST or HOST:PORT; join_address of server.conf, or the machine's name, when not given",
  ),
};

/** What a word says beside the token. */
export interface JoinWordMaker {
  readonly address: JoinAddress;
  /** @throws JoinWordError */
  make(token: string): JoinWord;
}

/** @returns undefined without -join. @throws Error or StatusError */
export async function openJoinWordMaker(
  server: ServerConnection,
  flags: { readonly join: boolean; readonly serverAddress: string },
): Promise<JoinWordMaker | undefined> {
  if (!flags.join) {
    if (flags.serverAddress === "") return undefined;
    throw new Error("serverAddress is for a join word: give -join too");
  }
  const { authorityFingerprints } = await import("./authority-fingerprints.ts");
  const address = await addressOf(server, flags.serverAddress);
  const bundle = await explained("failed to fetch the trust bundle", () =>
    server.bundle("getBundle", { outputMask: undefined }),
  );
  const said = {
    trustDomain: TrustDomain.parse(bundle.trustDomain),
    address: { host: address.host, port: address.port },
    fingerprints: authorityFingerprints(bundle),
  };
  // What cannot be put into a word shows now, before there is a token.
  JoinWord.of({ ...said, token: "none" });
  return { address, make: (token) => JoinWord.of({ ...said, token }) };
}

async function addressOf(server: ServerConnection, flag: string): Promise<JoinAddress> {
  const given = flag === "" ? undefined : parseHostPort(flag);
  if (given?.port !== undefined) return { host: given.host, port: given.port, isGuess: false };
  try {
    const own = await server.joinToken("getJoinAddress", {});
    if (given === undefined) return own.isGuess ? { ...own, host: await guess(own.host) } : own;
    return { host: given.host, port: own.port, isGuess: false };
  } catch (error) {
    if (!(error instanceof StatusError) || error.code !== StatusCode.UNIMPLEMENTED) throw error;
    throw new Error(
      "this server does not say where agents reach it: give -serverAddress HOST:PORT",
    );
  }
}

/** The server knows the name of its machine; that with the domain is good in more places. */
async function guess(host: string): Promise<string> {
  const { fullName } = await import("./join-address.ts");
  return fullName(host);
}

/** Prints the word alone, so that it can go into a file; what there is to say of it goes to standard error. */
export async function printJoinWord(
  io: Io,
  output: OutputFormat,
  { expiresAt, value }: JoinToken,
  { address, make }: JoinWordMaker,
): Promise<void> {
  const join = make(value).reveal();
  printMessages(io, output, [{ expiresAt, join }], () => io.out(`${join}\n`));
  const { addressDoubt } = await import("./join-address.ts");
  const doubt = await addressDoubt(address.host);
  if (doubt !== undefined) {
    io.err(`Warning: ${doubt}. Give -serverAddress, or join_address in server.conf.\n`);
    return;
  }
  if (!address.isGuess) return;
  io.err(
    `Agents will look for the server at ${formatHostPort(address)}, by the name of this machine. Where they cannot, give -serverAddress, or join_address in server.conf.\n`,
  );
}

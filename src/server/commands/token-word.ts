import { type Command, defineLeaf } from "#cli/command.ts";
import { stringFlag } from "#cli/flags.ts";
import { readInputFile } from "#cli/input-file.ts";
import type { Io } from "#cli/io.ts";
import { failureText } from "#cli/rpc-error.ts";
import { bundleFormat, formatFlag } from "#server/commands/bundle/format.ts";
import { parseHostPort } from "#spiffe/host-port.ts";
import { JoinWord } from "#spiffe/join-word.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";

interface Parts {
  readonly file: string;
  readonly bundle: string;
  readonly format: string;
  readonly trustDomain: string;
  readonly serverAddress: string;
}

/** For a server of the reference, which makes tokens and no words; also where the server cannot be asked. */
export const tokenWord: Command = defineLeaf({
  synopsis: "Makes a join word of a token and a trust bundle that are there; asks no server",
  flags: {
    file: stringFlag(
      "A file with the token, or with what `token generate` printed; '-' is standard input",
    ),
    bundle: stringFlag("A file with the trust bundle, as `bundle show` prints it"),
    format: formatFlag("What that file holds"),
    trustDomain: stringFlag("The trust domain of the server"),
    serverAddress: stringFlag("Where agents reach the server, HOST:PORT"),
  },
  run: async ({ flags, io }) => {
    try {
      io.out(`${(await makeWord(flags, io)).reveal()}\n`);
      return 0;
    } catch (error) {
      io.err(`Error: ${failureText(error)}\n`);
      return 1;
    }
  },
});

async function makeWord(parts: Parts, io: Io): Promise<JoinWord> {
  for (const name of ["file", "bundle", "trustDomain", "serverAddress"] as const) {
    if (parts[name] === "") throw new Error(`${name} is required`);
  }
  const { host, port } = parseHostPort(parts.serverAddress);
  if (port === undefined) throw new Error("serverAddress must have a port, HOST:PORT");
  const trustDomain = TrustDomain.parse(parts.trustDomain);
  const format = bundleFormat(parts.format);
  const [{ bundleMessage }, { authorityFingerprints }] = await Promise.all([
    import("#server/commands/bundle/bundle-text.ts"),
    import("./authority-fingerprints.ts"),
  ]);
  const bundle = bundleMessage(await readInputFile(parts.bundle, io), format, trustDomain.name);
  const fingerprints = authorityFingerprints(bundle);
  const token = tokenIn(await readInputFile(parts.file, io));
  return JoinWord.of({ trustDomain, address: { host, port }, token, fingerprints });
}

/** The token by itself, or behind `Token: ` in the first line. */
function tokenIn(text: string): string {
  const [line = ""] = text.trim().split("\n");
  return line.replace(/^Token: /, "").trim();
}

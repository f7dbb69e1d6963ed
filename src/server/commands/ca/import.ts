import type { Command } from "#cli/command.ts";
import { stringFlag } from "#cli/flags.ts";
import { utcTime } from "#cli/go-time.ts";
import { readInputFile } from "#cli/input-file.ts";
import type { Io } from "#cli/io.ts";
import { outputFlag, printMessages } from "#cli/printer.ts";
import { explained } from "#cli/rpc-error.ts";
import { serverCommand } from "#server/commands/server-command.ts";
import { authorityText } from "./authority-text.ts";

export const caImport: Command = serverCommand({
  synopsis: "Takes the certificate that was signed for the pending request",
  flags: {
    cert: stringFlag(
      "A PEM file with the certificate and those between it and the root; '-' is standard input",
    ),
    root: stringFlag(
      "A PEM file with the root. Not needed where root_cert_path names it, -cert holds it, or the trust bundle has it already",
    ),
    output: outputFlag(),
  },
  run: async ({ flags, io, server }) => {
    if (flags.cert === "") throw new Error("a certificate is required (-cert)");
    const certificates = await readCertificates(flags.cert, io);
    const roots = flags.root === "" ? [] : await readCertificates(flags.root, io);
    const { ca } = await server();
    const answer = await explained("could not import the X.509 authority", () =>
      ca("importCertificate", { certificates, roots }),
    );
    printMessages(io, flags.output, [answer], () => {
      const { authority, active, warnings } = answer;
      if (authority === undefined) throw new Error("server response missing the authority");
      for (const warning of warnings) io.err(`Warning: ${warning}\n`);
      io.out(`Imported X.509 authority:\n${authorityText(authority)}`);
      io.out(active ? "It signs now.\n" : `It takes over at ${utcTime(authority.activatesAt)}.\n`);
    });
  },
});

async function readCertificates(path: string, io: Io): Promise<Uint8Array[]> {
  const text = await explained("unable to load the certificate", () => readInputFile(path, io));
  const { readCertificatesFromPem } = await import("#x509/pem.ts");
  const { Certificate } = await import("#x509/certificate.ts");
  return await explained(`unable to load the certificate: ${path}`, async () =>
    readCertificatesFromPem(text, (der) => Certificate.parse(der).der),
  );
}

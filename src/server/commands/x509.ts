import { join } from "node:path";
import type { Command } from "#cli/command.ts";
import { durationFlag, repeatedFlag, stringFlag } from "#cli/flags.ts";
import { goQuote } from "#cli/go-text.ts";
import { rfc3339 } from "#cli/go-time.ts";
import { outputFlag, printStruct } from "#cli/printer.ts";
import { explained } from "#cli/rpc-error.ts";
import { systemClock } from "#clock/clock.ts";
import type { X509SVID } from "#proto/spire/api/types/x509svid.ts";
import type { ServerConnection } from "#server/client/connection.ts";
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import { ttlSeconds } from "./int32.ts";
import { serverCommand } from "./server-command.ts";

interface Minted {
  readonly svid: X509SVID;
  readonly privateKey: { readonly der: Uint8Array; readonly pem: string };
  readonly rootCas: readonly Uint8Array[];
}

export const x509Mint: Command = serverCommand({
  synopsis: "Issues an X509-SVID for any SPIFFE ID, without a registration entry",
  flags: {
    spiffeID: stringFlag("The SPIFFE ID of the X509-SVID"),
    ttl: durationFlag("How long it is to live; the server's default when not given"),
    dns: repeatedFlag("A DNS name to put into it. Can be given several times"),
    write: stringFlag("A directory to write the result to instead of printing it"),
    output: outputFlag(),
  },
  run: async ({ flags, io, server }) => {
    if (flags.spiffeID === "") throw new Error("spiffeID must be specified");
    const request = {
      id: SpiffeId.parse(flags.spiffeID),
      ttl: ttlSeconds(flags.ttl),
      dnsNames: flags.dns,
    };
    const minted = await mint(await server(), request);
    if (minted.svid.expiresAt - systemClock.nowMs() / 1000 < flags.ttl) {
      const end = goQuote(rfc3339(minted.svid.expiresAt));
      io.err(`X509-SVID lifetime was capped shorter than specified ttl; expires ${end}\n`);
    }
    const texts = await pemTexts(minted);
    if (flags.write === "") {
      printStruct(io, flags.output, jsonResult(minted), () => {
        io.out(
          `X509-SVID:\n${texts.svid}\nPrivate key:\n${texts.key}\nRoot CAs:\n${texts.bundle}\n`,
        );
      });
      return;
    }
    const { PRIVATE_MODE, PUBLIC_MODE, writeResult } = await import("./write-file.ts");
    const [svidPath, keyPath, bundlePath] = ["svid.pem", "key.pem", "bundle.pem"].map((name) =>
      join(flags.write, name),
    ) as [string, string, string];
    await writeResult(svidPath, texts.svid, PUBLIC_MODE, "SVID");
    io.out(`X509-SVID written to ${svidPath}\n`);
    await writeResult(keyPath, texts.key, PRIVATE_MODE, "key");
    io.out(`Private key written to ${keyPath}\n`);
    await writeResult(bundlePath, texts.bundle, PUBLIC_MODE, "bundle");
    io.out(`Root CAs written to ${bundlePath}\n`);
  },
});

/** Makes a key and has it certified. @throws Error */
async function mint(
  { svid, bundle }: ServerConnection,
  request: { readonly id: SpiffeId; readonly ttl: number; readonly dnsNames: readonly string[] },
): Promise<Minted> {
  const keys = await import("#x509/keys.ts");
  const { createCsr } = await import("#x509/csr.ts");
  const key = await keys.generatePrivateKey("ec-p256");
  const csr = await createCsr({
    signer: keys.signerFromPrivateKey(key),
    uriSan: request.id.toString(),
    dnsSans: [...request.dnsNames],
  });
  const answer = await explained("unable to mint SVID", () =>
    svid("mintX509Svid", { csr, ttl: request.ttl }),
  );
  if (answer.svid === undefined || answer.svid.certChain.length === 0) {
    throw new Error("server response missing SVID chain");
  }
  const { x509Authorities } = await explained("unable to get bundle", () =>
    bundle("getBundle", { outputMask: undefined }),
  );
  if (x509Authorities.length === 0) throw new Error("server response missing X509 Authorities");
  return {
    svid: answer.svid,
    privateKey: { der: keys.privateKeyToPkcs8Der(key), pem: keys.privateKeyToPkcs8Pem(key) },
    rootCas: x509Authorities.map(({ asn1 }) => asn1),
  };
}

async function pemTexts(minted: Minted): Promise<{ svid: string; key: string; bundle: string }> {
  const { certificatesToPem } = await import("#x509/pem.ts");
  return {
    svid: certificatesToPem(minted.svid.certChain),
    key: minted.privateKey.pem,
    bundle: certificatesToPem(minted.rootCas),
  };
}

function jsonResult({ svid, privateKey, rootCas }: Minted): object {
  const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64");
  return {
    x509_svid: svid.certChain.map(base64),
    private_key: base64(privateKey.der),
    root_cas: rootCas.map(base64),
  };
}

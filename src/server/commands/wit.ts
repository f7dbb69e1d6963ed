import { join } from "node:path";
import type { Command } from "#cli/command.ts";
import { durationFlag, stringFlag } from "#cli/flags.ts";
import { outputFlag, printStruct } from "#cli/printer.ts";
import { explained } from "#cli/rpc-error.ts";
import type { WITSVID } from "#proto/spire/api/types/witsvid.ts";
import type { KeyType } from "#x509/signer.ts";
import { idMessage } from "./id-message.ts";
import { ttlSeconds } from "./int32.ts";
import { serverCommand } from "./server-command.ts";
import { tellCap } from "./token-lifetime.ts";

export const witMint: Command = serverCommand({
  synopsis: "Issues a WIT-SVID for any SPIFFE ID, with a new key, without a registration entry",
  flags: {
    spiffeID: stringFlag("The SPIFFE ID of the WIT-SVID"),
    keyType: stringFlag("What key to make: ec-p256, ec-p384, rsa-2048 or rsa-4096", "ec-p256"),
    signingAlgorithm: stringFlag(
      "What the key is to sign with: ES256 or ES384, by the curve; with RSA one of RS256, RS384, RS512, PS256, PS384, PS512",
      "ES256",
    ),
    ttl: durationFlag("How long it is to live; the server's default when not given"),
    write: stringFlag("A directory to write the result to instead of printing it"),
    output: outputFlag(),
  },
  run: async ({ flags, io, server }) => {
    if (flags.spiffeID === "") throw new Error("spiffeID must be specified");
    const request = {
      id: idMessage(flags.spiffeID),
      ttl: ttlSeconds(flags.ttl),
      signingAlgorithm: flags.signingAlgorithm,
    };
    const keyType = checkKeyType(flags.keyType, flags.signingAlgorithm);
    const { generatePrivateKey, signerFromPrivateKey } = await import("#x509/keys.ts");
    const key = await generatePrivateKey(keyType);
    const { publicKeySpki: publicKey } = signerFromPrivateKey(key);
    const { svid } = await server();
    const answer = await explained("unable to mint SVID", () =>
      svid("mintWitsvid", { ...request, publicKey }),
    );
    const minted = answer.svid;
    if (minted === undefined || minted.token === "") {
      throw new Error("server response missing token");
    }
    tellCap("WIT-SVID", minted.token, flags.ttl, io);
    const { privateJwk } = await import("#jwt/jwk.ts");
    const privateKey = JSON.stringify(privateJwk(key));
    if (flags.write === "") {
      printStruct(io, flags.output, jsonResult(minted, privateKey), () =>
        io.out(`${minted.token}\n${privateKey}\n`),
      );
      return;
    }
    const { PRIVATE_MODE, writeResult } = await import("./write-file.ts");
    const tokenPath = join(flags.write, "token");
    const keyPath = join(flags.write, "key");
    await writeResult(tokenPath, minted.token, PRIVATE_MODE, "token");
    io.out(`WIT-SVID written to ${tokenPath}\n`);
    await writeResult(keyPath, privateKey, PRIVATE_MODE, "key");
    io.out(`Private key written to ${keyPath}\n`);
  },
});

const RSA_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"];

/** @throws Error when keys of the type do not sign so */
function checkKeyType(keyType: string, algorithm: string): KeyType {
  if (RSA_ALGORITHMS.includes(algorithm)) {
    if (keyType === "rsa-2048" || keyType === "rsa-4096") return keyType;
    throw new Error(`unsupported key type '${keyType}' for signing algorithm '${algorithm}'`);
  }
  if (algorithm !== "ES256" && algorithm !== "ES384") {
    throw new Error(`unsupported signing algorithm: ${algorithm}`);
  }
  const fitting = algorithm === "ES256" ? "ec-p256" : "ec-p384";
  if (keyType === fitting) return fitting;
  throw new Error(`unsupported key type '${keyType}' for '${algorithm}' signing algorithm`);
}

/** As Go writes its structs: in their own order, without empty fields, numbers as numbers. */
function jsonResult({ token, id, expiresAt, issuedAt, hint }: WITSVID, privateKey: string): object {
  return {
    private_key: privateKey,
    svid: {
      token,
      id: { trust_domain: id?.trustDomain, path: id?.path },
      expires_at: expiresAt,
      issued_at: issuedAt,
      ...(hint === "" ? {} : { hint }),
    },
  };
}

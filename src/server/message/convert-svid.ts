import type { JWTSVID } from "#proto/spire/api/types/jwtsvid.ts";
import type { WITSVID } from "#proto/spire/api/types/witsvid.ts";
import type { X509SVID } from "#proto/spire/api/types/x509svid.ts";
import type { TokenSvid, X509Svid } from "#server/ca/ca-manager.ts";
import type { SpiffeId } from "#spiffe/spiffe-id.ts";
import { idMessage } from "./convert-id.ts";

export function x509SvidMessage(svid: X509Svid): X509SVID {
  return {
    certChain: [...svid.chain],
    id: idMessage(svid.id),
    expiresAt: svid.expiresAt,
    hint: "",
  };
}

export function jwtSvidMessage(id: SpiffeId, svid: TokenSvid): JWTSVID {
  return {
    token: svid.token,
    id: idMessage(id),
    expiresAt: svid.expiresAt,
    issuedAt: svid.issuedAt,
    hint: "",
  };
}

/** Its message has the fields of a JWT-SVID's. */
export function witSvidMessage(id: SpiffeId, svid: TokenSvid): WITSVID {
  return jwtSvidMessage(id, svid);
}

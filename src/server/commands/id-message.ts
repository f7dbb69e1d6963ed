import type { SPIFFEID } from "#proto/spire/api/types/spiffeid.ts";
import { SpiffeId } from "#spiffe/spiffe-id.ts";

/** Reads a SPIFFE ID of the command line. @throws Error naming what is wrong with it */
export function idMessage(text: string): SPIFFEID {
  if (text === "") throw new Error("cannot be empty");
  const id = SpiffeId.parse(text);
  return { trustDomain: id.trustDomain.name, path: id.path };
}

/** As a text again; empty when the server sent none. */
export function idText(id: SPIFFEID | undefined): string {
  return id === undefined ? "" : `spiffe://${id.trustDomain}${id.path}`;
}

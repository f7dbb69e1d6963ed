/** Put in by scripts/build-binary. */
declare const SPIRE_EDGE_VERSION: string;

/** The version that was built in; `dev` when the sources run directly. */
export const VERSION: string =
  typeof SPIRE_EDGE_VERSION === "undefined" ? "dev" : SPIRE_EDGE_VERSION;

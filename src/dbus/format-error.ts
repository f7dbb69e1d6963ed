/** Bytes that are no D-Bus message, or none that we take. */
export class DbusFormatError extends Error {
  override readonly name: string = "DbusFormatError";
}

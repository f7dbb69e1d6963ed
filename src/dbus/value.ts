/** A value of any D-Bus type: arrays of bytes as bytes, other arrays, structures and entries as lists, a variant with its type. */
export type DbusValue =
  | number
  | bigint
  | boolean
  | string
  | Uint8Array
  | readonly DbusValue[]
  | DbusVariant;

export interface DbusVariant {
  /** One single complete type. */
  readonly signature: string;
  readonly value: DbusValue;
}

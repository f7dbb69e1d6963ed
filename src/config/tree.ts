/** A configuration as read: values that remember where they stood. */

export interface Position {
  readonly line: number;
  readonly column: number;
}

export type Value =
  | { readonly kind: "string"; readonly value: string; readonly at: Position }
  /** As it is written: what it stands for depends on who asks. */
  | { readonly kind: "number"; readonly text: string; readonly at: Position }
  | { readonly kind: "boolean"; readonly value: boolean; readonly at: Position }
  | { readonly kind: "null"; readonly at: Position }
  | { readonly kind: "list"; readonly items: readonly Value[]; readonly at: Position }
  | ObjectValue;

export interface ObjectValue {
  readonly kind: "object";
  /** In order; a key may come again. */
  readonly entries: readonly Entry[];
  readonly at: Position;
}

export interface Entry {
  readonly key: string;
  readonly value: Value;
  readonly at: Position;
}

/** The node of the template vectors, with the kinds of values that its certificate gives. */
import type { Fields } from "#config/template/values.ts";

export interface TemplateNode {
  readonly PluginName: string;
  readonly SerialNumber: number;
  readonly Subject: { readonly CommonName: string; readonly Organization: readonly string[] };
  readonly DNSNames: readonly string[];
  readonly URISanSelectors: Readonly<Record<string, string>>;
}

export function nodeFields(node: TemplateNode): Fields {
  return {
    ...node,
    SerialNumber: BigInt(node.SerialNumber),
    URISanSelectors: new Map(Object.entries(node.URISanSelectors)),
  };
}

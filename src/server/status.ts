/** What `systemctl status` shows of the server. */
import { momentText, type StatusSource } from "#notify/status-line.ts";
import type { CaManager } from "./ca/ca-manager.ts";
import type { DataStore, Entries, Nodes } from "./datastore/datastore.ts";
import type { DirectoryKeeper } from "./declared/keep-directory.ts";

export interface ServerStatusParts {
  readonly trustDomain: string;
  /** `host:port` */
  readonly address: string;
  readonly store: Pick<DataStore, "onChange"> & {
    readonly entries: Pick<Entries, "count">;
    readonly nodes: Pick<Nodes, "count">;
  };
  readonly ca: Pick<CaManager, "state" | "waitingFor" | "whenChanged">;
  /** What keeps the entries as files declare them; absent where nothing does. */
  readonly declared: Pick<DirectoryKeeper, "failure" | "whenChanged"> | undefined;
}

export function serverStatus(parts: ServerStatusParts): StatusSource {
  const { trustDomain, address, store, ca, declared } = parts;
  const text = async (): Promise<string> => {
    const [entries, agents] = await Promise.all([store.entries.count({}), store.nodes.count({})]);
    const { rotatesAt, expiresAt, upstream } = ca.state;
    const waiting = ca.waitingFor()?.replace(/^./, (first) => first.toUpperCase());
    const said = [
      waiting ?? `Serving trust domain ${trustDomain} on ${address}`,
      `entries: ${entries}`,
      `agents: ${agents}`,
    ];
    if (waiting === undefined) {
      said.push(`CA rotates ${momentText(rotatesAt)}, expires ${momentText(expiresAt)}`);
    }
    if (upstream !== undefined) {
      said.push(`upstream ${upstream.name}: ${upstream.problem ?? "in order"}`);
    }
    if (declared?.failure !== undefined) {
      const [first, ...more] = declared.failure.split("\n");
      const rest = more.length === 0 ? "" : `, and ${more.length} more`;
      said.push(`declared entries rejected: ${first}${rest}`);
    }
    return said.join("; ");
  };
  const onChange = (listener: () => void): (() => void) => {
    ca.whenChanged(listener);
    declared?.whenChanged(listener);
    return store.onChange(({ entries, nodes }) => {
      const isCounted = [entries, nodes].some(
        ({ stored, removed }) => stored.length + removed.length > 0,
      );
      if (isCounted) listener();
    });
  };
  return { text, onChange };
}

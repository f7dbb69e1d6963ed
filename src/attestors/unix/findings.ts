import type { Omission } from "#attestors/attestor.ts";
import type { Selector } from "#spiffe/selector.ts";

export const NOT_OF_MACHINE =
  "the process is in a namespace in which others than the machine's root choose what is where; discover_container_path of the agent's configuration gives the selector all the same";

/** What was found of a process, and what was not. */
export class Findings {
  readonly selectors: Selector[] = [];
  readonly omissions: Omission[] = [];

  give(name: string, value: string | number): void {
    this.selectors.push({ type: "unix", value: `${name}:${value}` });
  }

  /** @param isTemporary whether another attempt may find it */
  omit(name: string, reason: string, isTemporary = false): void {
    this.omissions.push({ selector: `unix:${name}`, reason, isTemporary });
  }
}

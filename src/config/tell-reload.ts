/** What an operator is told of a configuration that was read again. */
import type { Log } from "#log/log.ts";
import type { Reload } from "./reload.ts";

/** Also what is wrong with a configuration that can be used, as at start. */
export function tellReload(
  log: Log,
  { applied, pending }: Reload<object>,
  { warnings, notes }: { readonly warnings: readonly string[]; readonly notes: readonly string[] },
): void {
  for (const warning of warnings) log.warn(warning);
  for (const note of notes) log.info(note);
  if (applied.length > 0) {
    log.info("Configuration changes took effect", { keys: applied.join(", ") });
  }
  if (pending.length > 0) {
    log.warn("Configuration changes take effect after a restart", {
      keys: pending.join(", "),
    });
  }
}

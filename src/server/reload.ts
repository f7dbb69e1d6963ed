/** A configuration that was read again, taken over by a server that runs; the files that it names are read again with it. */

import { configsByKind } from "#config/plugin.ts";
import type { Reconfigurer } from "#config/reconfigurer.ts";
import type { ConfigInForce } from "#config/reload.ts";
import { tellReload } from "#config/tell-reload.ts";
import type { Log } from "#log/log.ts";
import type { ServerConfig } from "#server/config/config.ts";
import type { BundleRefresher } from "./bundle-endpoint/refresher.ts";
import type { CaManager } from "./ca/ca-manager.ts";
import type { DirectoryKeeper } from "./declared/keep-directory.ts";
import type { ShownBundleEndpoint } from "./federation.ts";
import { SERVER_PLUGINS } from "./plugins.ts";

export interface ReloadParts {
  readonly inForce: ConfigInForce<ServerConfig>;
  readonly reconfigurer: Pick<Reconfigurer, "follow">;
  readonly ca: Pick<CaManager, "lookNow">;
  readonly refresher: Pick<BundleRefresher, "reconfigured">;
  readonly bundleEndpoint: Pick<ShownBundleEndpoint, "lookNow">;
  /** Of declared entries; absent without a directory of them. */
  readonly keeper: Pick<DirectoryKeeper, "reload"> | undefined;
  readonly log: Log;
}

/** Resolves when what changed is in force. Files that are of no use are told of in the log, and what was read of them before stays; so does a plugin that cannot use what is new. */
export async function reloadServer(parts: ReloadParts, next: ServerConfig): Promise<void> {
  const { inForce, reconfigurer, ca, refresher, bundleEndpoint, keeper, log } = parts;
  tellReload(log, inForce.take(next), next);
  await reconfigurer.follow(configsByKind(SERVER_PLUGINS, inForce.config.plugins));
  await Promise.all([
    ca.lookNow(),
    bundleEndpoint.lookNow(),
    keeper?.reload(),
    refresher.reconfigured().catch((error: unknown) => {
      log.error("Failed to reload configs", { error });
    }),
  ]);
}

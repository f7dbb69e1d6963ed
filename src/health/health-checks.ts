/**
 * The health_checks listener: over HTTP, whether the daemon lives and whether it is ready, for supervisors that know no gRPC. The block
 * is the same in both files.
 */
import { Block, type Problems } from "#config/block.ts";
import type { HttpAnswer, HttpListener } from "#http/http-listener.ts";
import type { Log } from "#log/log.ts";
import { unbracketed } from "#spiffe/host-port.ts";
import { errorText } from "#spiffe/status-error.ts";

const DEFAULT_PORT = 80;

export interface HealthChecksConfig {
  readonly host: string;
  readonly port: number;
  readonly livePath: string;
  readonly readyPath: string;
}

/** Reads the block. Undefined unless `listener_enabled` is set. */
export function readHealthChecks(
  block: Block | undefined,
  problems: Problems,
): HealthChecksConfig | undefined {
  const checks = block ?? new Block([], "the health_checks block", problems);
  const enabled = checks.boolean("listener_enabled") ?? false;
  const port = checks.number("bind_port") ?? DEFAULT_PORT;
  if (port < 0 || port > 65_535) {
    problems.add("health_checks.bind_port must be a port number", checks.lineOf("bind_port"));
  }
  const config = {
    host: unbracketed(checks.string("bind_address") || "localhost"),
    port,
    livePath: checks.string("live_path") || "/live",
    readyPath: checks.string("ready_path") || "/ready",
  };
  checks.finish();
  return enabled ? config : undefined;
}

/** What is wrong with a part, by the reference's name of the problem; empty when it works. */
export type HealthCheck = () => Promise<Readonly<Record<string, string>>>;

export interface Health {
  /** By the part's name, for instance `server`. */
  readonly live: Readonly<Record<string, HealthCheck>>;
  readonly ready: Readonly<Record<string, HealthCheck>>;
}

/** @throws Error when the address cannot be listened on */
export async function serveHealthChecks(
  config: HealthChecksConfig,
  health: Health,
  log: Log,
): Promise<HttpListener> {
  const { listenHttp } = await import("#http/http-listener.ts");
  const listener = await listenHttp({
    host: config.host,
    port: config.port,
    answer: async (path) => {
      if (path === config.livePath) return await answer(health.live);
      if (path === config.readyPath) return await answer(health.ready);
      return {
        status: 404,
        contentType: "text/plain; charset=utf-8",
        body: "404 page not found\n",
      };
    },
  });
  log.info("Serving health checks", { address: listener.address });
  return listener;
}

async function answer(checks: Health["live"]): Promise<HttpAnswer> {
  const details = await Promise.all(
    Object.entries(checks).map(async ([name, check]) => [name, await checked(check)] as const),
  );
  const healthy = details.every(([, problems]) => Object.keys(problems).length === 0);
  return {
    status: healthy ? 200 : 500,
    contentType: "application/json",
    body: `${JSON.stringify(Object.fromEntries(details))}\n`,
  };
}

/** A check that throws is a part that does not work. */
async function checked(check: HealthCheck): Promise<Readonly<Record<string, string>>> {
  try {
    return await check();
  } catch (error) {
    return { err: errorText(error) };
  }
}

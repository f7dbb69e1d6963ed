/** The telemetry block, the same in both files. */
import { Block, type Problems } from "#config/block.ts";
import {
  type NeedlessKeys,
  type RefusedKeys,
  refuse,
  takeNeedless,
} from "#config/unsupported-settings.ts";
import { unbracketed } from "#spiffe/host-port.ts";

export interface PrometheusTls {
  readonly certPath: string;
  readonly keyPath: string;
  /** Only clients with a certificate of one of these authorities may read. */
  readonly clientCaPath?: string;
}

export interface TelemetryConfig {
  readonly prometheus?: {
    readonly host: string;
    readonly port: number;
    readonly tls?: PrometheusTls;
  };
  readonly prefix?: string;
  readonly trustDomainLabel: boolean;
  readonly hostnameLabel: boolean;
  /** Names with dots between their parts; the longest that fits decides. */
  readonly allowedPrefixes: readonly string[];
  readonly blockedPrefixes: readonly string[];
  /** Undefined allows all. */
  readonly allowedLabels?: readonly string[];
  readonly blockedLabels: readonly string[];
}

/** Sinks of the reference that are not here, and what does their work. */
const NOT_HERE: RefusedKeys = {
  Statsd: "remove the block, and have the figures read from the Prometheus endpoint",
  DogStatsd:
    "remove the block, and have the Datadog agent read the Prometheus endpoint (its OpenMetrics check)",
  M3: "remove the block, and have the M3 coordinator read the Prometheus endpoint",
};

const NEEDLESS: NeedlessKeys = {
  InMem: ["block", "it has no settings, and figures are read from the Prometheus endpoint"],
};

const TLS_REFUSED: RefusedKeys = {
  use_spire_svid: "give cert_file and key_file",
  authorized_spiffe_ids: "give client_ca_file to limit who may read",
};

/** Reads the block; an absent one measures nothing. */
export function readTelemetry(block: Block | undefined, problems: Problems): TelemetryConfig {
  const telemetry = block ?? new Block([], "the telemetry block", problems);
  refuse(telemetry, NOT_HERE, problems);
  takeNeedless(telemetry, NEEDLESS, problems);
  const prometheus = readPrometheus(telemetry.block("Prometheus"), problems);
  const prefix = telemetry.string("MetricPrefix") ?? "";
  const allowedLabels = telemetry.strings("AllowedLabels");
  const config: TelemetryConfig = {
    ...(prometheus === undefined ? {} : { prometheus }),
    ...(prefix === "" ? {} : { prefix }),
    trustDomainLabel: telemetry.boolean("EnableTrustDomainLabel") ?? false,
    hostnameLabel: telemetry.boolean("EnableHostnameLabel") ?? true,
    allowedPrefixes: telemetry.strings("AllowedPrefixes"),
    blockedPrefixes: telemetry.strings("BlockedPrefixes"),
    ...(allowedLabels.length === 0 ? {} : { allowedLabels }),
    blockedLabels: telemetry.strings("BlockedLabels"),
  };
  telemetry.finish();
  return config;
}

function readPrometheus(
  block: Block | undefined,
  problems: Problems,
): TelemetryConfig["prometheus"] {
  if (block === undefined) return undefined;
  const port = block.number("port") ?? 0;
  if (port < 1 || port > 65_535) {
    problems.add("telemetry.Prometheus.port must be between 1 and 65535", block.lineOf("port"));
  }
  const tls = readTls(block.block("tls"), problems);
  const config = {
    host: unbracketed(block.string("host") || "localhost"),
    port,
    ...(tls === undefined ? {} : { tls }),
  };
  block.finish();
  return config;
}

function readTls(block: Block | undefined, problems: Problems): PrometheusTls | undefined {
  if (block === undefined) return undefined;
  refuse(block, TLS_REFUSED, problems);
  const certPath = block.path("cert_file") ?? "";
  const keyPath = block.path("key_file") ?? "";
  const clientCaPath = block.path("client_ca_file") ?? "";
  const hasFiles = certPath !== "" && keyPath !== "";
  if (!hasFiles && !block.asksFor("use_spire_svid")) {
    problems.add("telemetry.Prometheus.tls: cert_file and key_file must be configured", block.line);
  }
  block.finish();
  return { certPath, keyPath, ...(clientCaPath === "" ? {} : { clientCaPath }) };
}

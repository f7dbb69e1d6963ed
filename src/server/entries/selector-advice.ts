/**
 * What is odd about the selectors of an entry though the API takes them: types and names that no attestor makes, values that it never gives,
 * and executables without their user.
 */
import { didYouMean } from "#config/nearest.ts";
import type { Selector } from "#spiffe/selector.ts";

interface Maker {
  readonly of: "nodes" | "workloads" | "both";
  /** The names before the first colon of a value, where they are known; with the form of what follows, where only one makes sense. */
  readonly names?: Readonly<Record<string, Form>>;
}

interface Form {
  readonly pattern?: RegExp;
  /** What the pattern asks for, to be read behind "must be". */
  readonly wanted?: string;
}

const NUMBER: Form = {
  pattern: /^\d+$/,
  wanted: "a number; a name goes with unix:user or unix:group",
};
const ABSOLUTE: Form = { pattern: /^\//, wanted: "an absolute path" };
const DIGEST: Form = { pattern: /^[0-9a-f]{64}$/, wanted: "64 hexadecimal digits in lower case" };
const UNIT: Form = {
  pattern: /\.[a-z]+$/,
  wanted: "the whole name of a unit, as nginx.service",
};

/** What the attestors of this program and of the reference make. */
const MAKERS: Readonly<Record<string, Maker>> = {
  unix: {
    of: "workloads",
    names: {
      uid: NUMBER,
      user: {},
      gid: NUMBER,
      group: {},
      supplementary_gid: NUMBER,
      supplementary_group: {},
      path: ABSOLUTE,
      sha256: DIGEST,
    },
  },
  systemd: { of: "workloads", names: { id: UNIT, fragment_path: ABSOLUTE } },
  docker: { of: "workloads", names: { label: {}, env: {}, image_id: {}, image_config_digest: {} } },
  k8s: { of: "workloads" },
  windows: { of: "workloads" },
  x509pop: { of: "nodes", names: { subject: {}, ca: {}, serialnumber: {}, san: {} } },
  aws_iid: { of: "nodes" },
  azure_imds: { of: "nodes" },
  azure_msi: { of: "nodes" },
  gcp_iit: { of: "nodes" },
  http_challenge: { of: "nodes" },
  k8s_psat: { of: "nodes" },
  k8s_sat: { of: "nodes" },
  sshpop: { of: "nodes" },
  tpm_devid: { of: "nodes" },
  spiffe_id: { of: "both" },
};

/**
 * @param isForNodes whether the entry's parent is the server: it then gives nodes an alias
 * @returns a sentence for each thing that is odd, without its full stop
 */
export function selectorAdvice(selectors: readonly Selector[], isForNodes: boolean): string[] {
  const odd = selectors.flatMap((selector) => oddity(selector, isForNodes) ?? []);
  return isForNodes ? odd : [...odd, ...unownedExecutable(selectors)];
}

/** Whether it is workload attestors that make selectors of that type, as far as is known. */
export function isOfWorkloads(type: string): boolean {
  return Object.hasOwn(MAKERS, type) && MAKERS[type]?.of === "workloads";
}

function oddity({ type, value }: Selector, isForNodes: boolean): string | undefined {
  const maker = Object.hasOwn(MAKERS, type) ? MAKERS[type] : undefined;
  const shown = JSON.stringify(`${type}:${value}`);
  if (maker === undefined) {
    const near = didYouMean(type, Object.keys(MAKERS));
    return `selector ${shown}: no attestor that is built in makes selectors of type ${JSON.stringify(type)}${near}`;
  }
  if (maker.of !== "both" && (maker.of === "nodes") !== isForNodes) {
    return isForNodes
      ? `selector ${shown} is one of workloads, and the entry is for nodes`
      : `selector ${shown} is one of nodes, and no workload has it; an alias for nodes is made by -node`;
  }
  return oddValue(maker, type, value, shown);
}

function oddValue(
  { names }: Maker,
  type: string,
  value: string,
  shown: string,
): string | undefined {
  if (names === undefined) return undefined;
  const colon = value.indexOf(":");
  const name = colon === -1 ? value : value.slice(0, colon);
  const form = Object.hasOwn(names, name) ? names[name] : undefined;
  if (form === undefined) {
    return `selector ${shown}: the attestor ${type} makes none of that name${didYouMean(name, Object.keys(names))}`;
  }
  if (form.pattern?.test(value.slice(name.length + 1)) !== false) return undefined;
  return `selector ${shown} matches nothing: behind ${type}:${name} there must be ${form.wanted}`;
}

/** Whoever may start the program would be the service: any user may run /usr/bin/python3. */
function unownedExecutable(selectors: readonly Selector[]): string[] {
  const has = (...names: readonly string[]): boolean =>
    selectors.some(
      ({ type, value }) => type === "unix" && names.some((name) => value.startsWith(`${name}:`)),
    );
  const isOwned = has("uid", "user") || selectors.some(({ type }) => type !== "unix");
  if (isOwned || !has("path", "sha256")) return [];
  const name = has("path") ? "unix:path" : "unix:sha256";
  return [
    `${name} without unix:uid or unix:user: every user who may run that program gets this identity`,
  ];
}

/** The secrets that a workload asks for by their names, made from what it is. */
import { goQuote } from "#cli/go-text.ts";
import type { Node } from "#proto/envoy/config/core/v3/core.ts";
import { Secret } from "#proto/envoy/extensions/transport_sockets/tls/v3/secret.ts";
import type { Any } from "#proto/google/protobuf/any.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import { certificatesToPem, encodePem } from "#x509/pem.ts";
import { contextOf, contextOfAll, inline, usesSpiffeValidator } from "./validation-context.ts";
import type { ReadyIdentity, WorkloadState } from "./workload-state.ts";

const SECRET = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
/** Of an error message: it travels in headers, which are held to 64 KiB. */
const MAX_NAMES_TEXT = 4096;

/** Which names stand for what, beside SPIFFE IDs. */
export interface SdsConfig {
  /** The workload's first X509-SVID. */
  readonly defaultSvidName: string;
  /** Our own trust bundle. */
  readonly defaultBundleName: string;
  /** All trust bundles that concern the workload. */
  readonly defaultAllBundlesName: string;
  readonly disableSpiffeCertValidation: boolean;
}

/** What answers a request, and the identities whose keys are in it. */
export interface Secrets {
  readonly resources: Any[];
  readonly identities: readonly ReadyIdentity[];
}

/**
 * @param resourceNames empty for all
 * @param node the Envoy that asks, as it describes itself
 * @throws StatusError INVALID_ARGUMENT when there is a name that the workload has nothing for
 */
export function secretsFor(
  resourceNames: readonly string[],
  node: Node | undefined,
  state: WorkloadState,
  config: SdsConfig,
): Secrets {
  const names = new Set(resourceNames.filter(Boolean));
  const wanted = names.size === 0 ? undefined : names;
  const named = namedIdentities(wanted, state, config);
  const secrets = [
    ...bundleSecrets(wanted, usesSpiffeValidator(node, config.disableSpiffeCertValidation), {
      ...state,
      ...config,
    }),
    ...named.map(certificateSecret),
  ];
  for (const { name } of secrets) names.delete(name);
  if (names.size > 0) throw unauthorized([...names].sort());
  return {
    resources: secrets.map((secret) => ({
      typeUrl: SECRET,
      value: Secret.encode(secret).finish(),
    })),
    identities: named.map(({ identity }) => identity),
  };
}

function bundleSecrets(
  wanted: ReadonlySet<string> | undefined,
  spiffe: boolean,
  { bundle, federatedBundles, ...config }: WorkloadState & SdsConfig,
): Secret[] {
  const secret = (name: string, value: ReturnType<typeof contextOf>): Secret => ({
    name,
    type: { $case: "validationContext", value },
  });
  const known = bundle === undefined ? [] : [bundle];
  const own = known.flatMap((forms): Secret[] => {
    const { id } = forms.bundle.trustDomain;
    // One of its names in a request; another beside it is refused, as the reference does.
    if (wanted === undefined || wanted.has(id)) return [secret(id, contextOf(forms, spiffe))];
    if (wanted.has(config.defaultBundleName)) {
      return [secret(config.defaultBundleName, contextOf(forms, spiffe))];
    }
    if (!wanted.has(config.defaultAllBundlesName)) return [];
    const all = [forms, ...federatedBundles];
    return [secret(config.defaultAllBundlesName, contextOfAll(all, spiffe))];
  });
  const federated = federatedBundles
    .filter(({ bundle: { trustDomain } }) => wanted?.has(trustDomain.id) ?? true)
    .map((forms) => secret(forms.bundle.trustDomain.id, contextOf(forms, spiffe)));
  return [...own, ...federated];
}

interface NamedIdentity {
  readonly name: string;
  readonly identity: ReadyIdentity;
}

function namedIdentities(
  wanted: ReadonlySet<string> | undefined,
  { identities }: WorkloadState,
  { defaultSvidName }: SdsConfig,
): NamedIdentity[] {
  const given = new Set<string>();
  return identities.flatMap((identity, index): NamedIdentity[] => {
    const { spiffeId } = identity;
    const isNamed = wanted === undefined || (wanted.has(spiffeId) && !given.has(spiffeId));
    const isDefault = index === 0 && wanted?.has(defaultSvidName) === true;
    if (!isNamed && !isDefault) return [];
    const name = isNamed ? spiffeId : defaultSvidName;
    given.add(name);
    return [{ name, identity }];
  });
}

function certificateSecret({ name, identity: { svid } }: NamedIdentity): Secret {
  const value = {
    certificateChain: inline(certificatesToPem(svid.chain)),
    privateKey: inline(encodePem("PRIVATE KEY", svid.privateKey)),
  };
  return { name, type: { $case: "tlsCertificate", value } };
}

function unauthorized(names: readonly string[]): StatusError {
  const shown = names.map(goQuote).join(" ");
  const text = shown.length > MAX_NAMES_TEXT ? `${shown.slice(0, MAX_NAMES_TEXT)}…` : shown;
  return new StatusError(
    StatusCode.INVALID_ARGUMENT,
    `workload is not authorized for the requested identities [${text}]`,
  );
}

/**
 * What an Envoy is to believe of its peers' certificates: authorities alone, or, for Envoys that have the SPIFFE validator, each trust
 * domain with the authorities that speak for it.
 */
import type { BundleForms } from "#agent/cache/bundle-forms.ts";
import type { DataSource, Node } from "#proto/envoy/config/core/v3/core.ts";
import {
  type CertificateValidationContext,
  SPIFFECertValidatorConfig,
} from "#proto/envoy/extensions/transport_sockets/tls/v3/secret.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import { certificatesToPem } from "#x509/pem.ts";

const VALIDATOR = "envoy.tls.cert_validator.spiffe";
const VALIDATOR_CONFIG =
  "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig";
/** A key of the node's metadata, with which an Envoy chooses for itself. */
const DISABLE_KEY = "disable_spiffe_cert_validation";
/** What Go's strconv.ParseBool takes, which the reference uses. */
const TRUTHS = ["1", "t", "T", "true", "TRUE", "True"];
const UNTRUTHS = ["0", "f", "F", "false", "FALSE", "False"];

export function inline(pem: string): DataSource {
  return { specifier: { $case: "inlineBytes", value: Buffer.from(pem) } };
}

function authoritiesOf({ bundle }: BundleForms): DataSource {
  return inline(certificatesToPem(bundle.x509Authorities.map(({ certificate }) => certificate)));
}

/** @param disabled what the agent's configuration says of the SPIFFE validator */
export function usesSpiffeValidator(node: Node | undefined, disabled: boolean): boolean {
  return !(chosenBy(node) ?? disabled) && hasSpiffeValidator(node);
}

function chosenBy(node: Node | undefined): boolean | undefined {
  const value: unknown = node?.metadata?.[DISABLE_KEY];
  if (typeof value === "boolean") return value;
  if (typeof value !== "string") return undefined;
  if (TRUTHS.includes(value)) return true;
  return UNTRUTHS.includes(value) ? false : undefined;
}

/** Envoys from 1.18 on say yes, and those that do not tell their version are taken to be of the kind. */
function hasSpiffeValidator(node: Node | undefined): boolean {
  const version = node?.userAgentBuildVersion?.version;
  if (version === undefined) return true;
  const { majorNumber, minorNumber } = version;
  return majorNumber > 1 || (majorNumber === 1 && minorNumber > 17);
}

/** The context for one trust domain. */
export function contextOf(bundle: BundleForms, spiffe: boolean): CertificateValidationContext {
  return spiffe
    ? spiffeContext([bundle])
    : { trustedCa: authoritiesOf(bundle), customValidatorConfig: undefined };
}

/** The context for all of them. @throws StatusError INTERNAL when the Envoy cannot keep trust domains apart */
export function contextOfAll(
  bundles: readonly BundleForms[],
  spiffe: boolean,
): CertificateValidationContext {
  if (spiffe) return spiffeContext(bundles);
  throw new StatusError(
    StatusCode.INTERNAL,
    'unable to use "SPIFFE validator" on Envoy below 1.17',
  );
}

function spiffeContext(bundles: readonly BundleForms[]): CertificateValidationContext {
  const trustDomains = bundles
    .map((forms) => ({
      name: forms.bundle.trustDomain.name,
      trustBundle: authoritiesOf(forms),
    }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  const value = SPIFFECertValidatorConfig.encode({ trustDomains }).finish();
  return {
    trustedCa: undefined,
    customValidatorConfig: { name: VALIDATOR, typedConfig: { typeUrl: VALIDATOR_CONFIG, value } },
  };
}

/** What the RPCs for both kinds of authority have in common: states, and which authority may be activated or tainted. */
import type { AuthorityState } from "#proto/spire/api/server/localauthority/v1/localauthority.ts";
import { type ApiCall, attempt } from "#server/api/call/api-call.ts";
import type { Authority } from "#server/ca/authority/authority.ts";
import type { CaManager } from "#server/ca/ca-manager.ts";
import type { Rotation } from "#server/ca/rotation/rotation.ts";
import type { Bundles } from "#server/datastore/datastore.ts";
import { failure, invalidArgument } from "#server/message/failure.ts";
import type { Bundle } from "#spiffe/bundle.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";

export interface LocalAuthorityParts {
  readonly trustDomain: TrustDomain;
  readonly jwtSvidsDisabled: boolean;
  readonly hasUpstreamAuthority: boolean;
  readonly ca: Pick<CaManager, "authorities">;
  readonly bundles: Bundles;
}

interface AuthorityStates {
  readonly active: AuthorityState;
  readonly prepared: AuthorityState | undefined;
  readonly old: AuthorityState | undefined;
}

export function stateMessage(authority: Authority): AuthorityState {
  return {
    authorityId: authority.authorityId,
    expiresAt: authority.notAfter,
    upstreamAuthoritySubjectKeyId: authority.upstreamAuthorityId,
  };
}

/** An authority of which only the name is told. */
export function nameMessage(authorityId: string): AuthorityState {
  return { authorityId, expiresAt: 0, upstreamAuthoritySubjectKeyId: "" };
}

export function authorityStates<T extends Authority>({ state }: Rotation<T>): AuthorityStates {
  const { prepared, old } = state;
  return {
    active: stateMessage(activeOf(state.active)),
    prepared: prepared === undefined ? undefined : stateMessage(prepared),
    old: old === undefined ? undefined : stateMessage(old),
  };
}

/**
 * @param kind as messages name it
 * @param isSignedByHand whether it only asks for an authority, which is then told as an error: there is none to name yet
 */
export async function prepareAuthority<T extends Authority>(
  rotation: Rotation<T>,
  kind: string,
  isSignedByHand = false,
): Promise<AuthorityState> {
  if (!isSignedByHand) activeOf(rotation.state.active);
  const prepared = await attempt(
    `failed to prepare ${kind} authority`,
    () => rotation.prepare(),
    isSignedByHand ? undefined : StatusCode.INTERNAL,
  );
  return stateMessage(prepared);
}

/** Only the prepared authority can be activated: the fleet knows it already. */
export async function activateAuthority<T extends Authority>(
  rotation: Rotation<T>,
  authorityId: string,
  { audit }: ApiCall,
): Promise<AuthorityState> {
  if (authorityId !== "") audit.add({ local_authority_id: authorityId });
  const { prepared, old } = rotation.state;
  checkGiven(authorityId);
  if (authorityId !== (prepared ?? old)?.authorityId) throw unexpected();
  if (prepared === undefined) {
    throw failure(
      StatusCode.INTERNAL,
      "only Prepared authorities can be activated",
      new StatusError(StatusCode.INTERNAL, "unsupported local authority status: OLD"),
    );
  }
  await rotation.activate(prepared);
  return stateMessage(prepared);
}

/** Only the old authority can be tainted: what signs, or is to sign next, must be replaced first. */
export function authorityToTaint<T extends Authority>(
  { state: { active, prepared, old } }: Rotation<T>,
  authorityId: string,
): Authority {
  checkGiven(authorityId);
  if (authorityId === active?.authorityId) {
    throw invalidArgument("unable to taint current local authority");
  }
  if (authorityId === prepared?.authorityId) {
    throw invalidArgument(
      "only Old local authorities can be tainted",
      new Error("unsupported local authority status: PREPARED"),
    );
  }
  if (old === undefined || authorityId !== old.authorityId) throw unexpected();
  return old;
}

/** Changes the trust domain's bundle. @throws StatusError INTERNAL with the words in front */
export async function changeBundle(
  { bundles, trustDomain }: LocalAuthorityParts,
  words: string,
  change: (bundle: Bundle) => Bundle,
): Promise<void> {
  await attempt(words, () => bundles.update(trustDomain.name, change), StatusCode.INTERNAL);
}

function activeOf<T extends Authority>(active: T | undefined): T {
  if (active === undefined) {
    throw new StatusError(StatusCode.UNAVAILABLE, "server is initializing");
  }
  return active;
}

function checkGiven(authorityId: string): void {
  if (authorityId === "") throw invalidArgument("no authority ID provided");
}

function unexpected(): StatusError {
  return invalidArgument("unexpected authority ID");
}

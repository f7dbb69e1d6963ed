import type { Random } from "#clock/random.ts";
import type { Allowance, CallContext } from "#grpc/bind.ts";
import { sourceOf } from "#grpc/remote-source.ts";
import { BoundedLog, type WindowTimer } from "#log/bounded-log.ts";
import type { Log, LogFields } from "#log/log.ts";
import type { RegistrationEntry } from "#spiffe/registration-entry.ts";
import type { SpiffeId } from "#spiffe/spiffe-id.ts";
import { type PermissionDeniedReason, StatusCode, StatusError } from "#spiffe/status-error.ts";
import type { Certificate } from "#x509/certificate.ts";
import { attachApiCall } from "./api-call.ts";
import { AuditTrail, isRead, localCallerFields } from "./audit-trail.ts";
import { type CallerRole, rolesAllowed } from "./authorization.ts";
import type { CallerIdentities, CallerIdentity } from "./caller-identity.ts";

export interface GuardParts {
  readonly identities: CallerIdentities;
  /** The entries that give a SPIFFE ID out; their admin and downstream flags count. */
  readonly entriesOf: (id: SpiffeId) => Promise<readonly RegistrationEntry[]>;
  /** @throws StatusError when the agent is not in good standing */
  readonly checkAgent: (id: SpiffeId, certificate: Certificate) => Promise<void>;
  /** Hears of each call of an agent that is let in as one. */
  readonly sawAgent: (id: SpiffeId, context: CallContext) => void;
  /** As the configuration has it at this moment. */
  readonly auditLogEnabled: () => boolean;
  readonly auditLogReads: () => boolean;
  readonly random: Random;
  readonly clock: WindowTimer;
  readonly log: Log;
}

export type Guard = (context: CallContext) => Promise<void>;

/** What every service of the API is bound with. */
export interface ServiceOptions {
  readonly guard: Guard;
  readonly allowance: (context: CallContext) => Allowance;
  readonly log: Log;
}

/** As what the caller was let in, and by what. */
interface Admission {
  readonly as: CallerRole;
  readonly via: string;
  readonly downstreamEntries: readonly RegistrationEntry[];
}

/** Makes the guard that every call to every service passes: who is it, may it, and what is written down about it. */
export function createGuard(parts: GuardParts): Guard {
  const failures = new FailureLog(parts);
  return async (context) => {
    const request = { ...methodFields(context.method), request_id: parts.random.uuid() };
    const { identity, admission, ...logs } = await letIn(parts, context, request, failures);
    attachApiCall(context, {
      identity,
      admittedAs: admission.as,
      ...logs,
      downstreamEntries: admission.downstreamEntries,
      checkAgain: async () => {
        const again = await letIn(parts, context, request, failures);
        if (again.admission.as !== admission.as) throw denied(context.method);
      },
    });
  };
}

interface LetIn {
  readonly identity: CallerIdentity;
  readonly admission: Admission;
  readonly log: Log;
  readonly failures: Log;
  readonly audit: AuditTrail;
}

/** @throws StatusError when the caller may not make this call, or is nobody that could */
async function letIn(
  parts: GuardParts,
  context: CallContext,
  request: LogFields,
  failureLog: FailureLog,
): Promise<LetIn> {
  let fields = request;
  let identity: CallerIdentity | undefined;
  try {
    identity = await parts.identities.identify(context.caller);
    fields = { ...fields, ...callerFields(identity) };
    const admission = await admit(parts, identity, rolesAllowed(context.method));
    if (admission === undefined) throw denied(context.method);
    if (identity.kind === "spiffe" && context.caller.kind === "tls") context.caller.isKnown();
    if (identity.kind === "spiffe" && admission.as === "agent") {
      parts.sawAgent(identity.id, context);
    }
    fields = { ...fields, ...admissionFields(admission) };
    const log = parts.log.with(fields);
    const failures = failureLog.of(context, identity, fields);
    const audit = await auditTrail(parts, identity, context.method, { log, failures });
    return { identity, admission, log, failures, audit };
  } catch (thrown) {
    const log = failureLog.of(context, identity, fields);
    log.error(refusalWords(thrown), { error: thrown });
    hangUpOn(thrown, context);
    throw inWordsOfTheMethod(thrown, context.method);
  }
}

/** In the reference's words, which alarms look for. */
const REFUSALS: Partial<Record<PermissionDeniedReason, string>> = {
  AGENT_NOT_ATTESTED: "Agent is not attested",
  AGENT_BANNED: "Agent is banned",
  AGENT_NOT_ACTIVE: "Agent SVID is not active",
  AGENT_EXPIRED: "Agent SVID is expired",
};

function refusalWords(thrown: unknown): string {
  const reason = thrown instanceof StatusError ? thrown.reason : undefined;
  return (reason && REFUSALS[reason]) ?? "Failed to authenticate caller";
}

/**
 * A caller whose certificate is of no use, perhaps any more, may have a better one, which it shows with its next connection only. The
 * reference's servers would otherwise hold on to the old one for minutes.
 */
function hangUpOn(thrown: unknown, { caller }: CallContext): void {
  const isUnknown = thrown instanceof StatusError && thrown.code === StatusCode.UNAUTHENTICATED;
  if (isUnknown && caller.kind === "tls") caller.hangUp();
}

/** The cheap roles first; an operator who happens to be an agent too is let in as an operator. */
async function admit(
  parts: GuardParts,
  identity: CallerIdentity,
  allowed: readonly CallerRole[],
): Promise<Admission | undefined> {
  const admission = (as: CallerRole, via: string): Admission => ({
    as,
    via,
    downstreamEntries: [],
  });
  if (allowed.includes("any")) return admission("any", "");
  if (identity.kind === "local") {
    return allowed.includes("local") ? admission("local", "transport") : undefined;
  }
  if (identity.kind === "anonymous") return undefined;
  const { id, certificate } = identity;
  if (allowed.includes("admin") && parts.identities.isConfiguredAdmin(id)) {
    return admission("admin", "config");
  }
  const byEntries = await admitByEntries(parts, id, allowed);
  if (byEntries !== undefined) return byEntries;
  if (!allowed.includes("agent")) return undefined;
  await parts.checkAgent(id, certificate);
  return admission("agent", "datastore");
}

async function admitByEntries(
  parts: GuardParts,
  id: SpiffeId,
  allowed: readonly CallerRole[],
): Promise<Admission | undefined> {
  if (!allowed.includes("admin") && !allowed.includes("downstream")) return undefined;
  const entries = await parts.entriesOf(id);
  if (allowed.includes("admin") && entries.some(({ admin }) => admin)) {
    return { as: "admin", via: "entries", downstreamEntries: [] };
  }
  const downstreamEntries = entries.filter(({ downstream }) => downstream);
  if (allowed.includes("downstream") && downstreamEntries.length > 0) {
    return { as: "downstream", via: "entries", downstreamEntries };
  }
  return undefined;
}

async function auditTrail(
  parts: GuardParts,
  identity: CallerIdentity,
  method: string,
  { log, failures }: { readonly log: Log; readonly failures: Log },
): Promise<AuditTrail> {
  if (!parts.auditLogEnabled()) return new AuditTrail(undefined);
  const onlyFailures = isRead(method) && !parts.auditLogReads();
  const fields = await localCallerFields(identity);
  return new AuditTrail(
    { successes: log.with(fields), failures: failures.with(fields) },
    onlyFailures,
  );
}

/** An agent has something to say of each of the hundreds of SVIDs it may ask for at once. */
const LINES_OF_KNOWN = 1000;

/** Where failed calls are written. Whoever may call over the network, or may not, has a share of lines; the operators of this machine have all. */
class FailureLog {
  readonly #log: Log;
  readonly #ofStrangers: BoundedLog;
  readonly #ofKnown: BoundedLog;

  constructor(parts: Pick<GuardParts, "log" | "clock">) {
    this.#log = parts.log;
    this.#ofStrangers = new BoundedLog(parts);
    this.#ofKnown = new BoundedLog({ ...parts, lines: LINES_OF_KNOWN });
  }

  /** @param identity undefined when it could not be found out */
  of({ caller }: CallContext, identity: CallerIdentity | undefined, fields: LogFields): Log {
    if (caller.kind === "unix") return this.#log.with(fields);
    return identity?.kind === "spiffe"
      ? this.#ofKnown.from(identity.id.toString(), fields)
      : this.#ofStrangers.from(sourceOf(caller.remoteAddress), fields);
  }
}

/** `service` and `method` as the reference's log has them: `agent.v1.Agent` and `ListAgents`. */
function methodFields(path: string): LogFields {
  const [, service = "", method = ""] = path.split("/");
  return { service: service.replace("spire.api.server.", ""), method };
}

function admissionFields({ as, via }: Admission): LogFields {
  return { authorized_as: as === "any" ? "nobody" : as, authorized_via: via };
}

function callerFields(identity: CallerIdentity): LogFields {
  switch (identity.kind) {
    case "local":
      return {};
    case "anonymous":
      return { caller_addr: identity.address };
    case "spiffe":
      return { caller_addr: identity.address, caller_id: identity.id.toString() };
  }
}

/** A refused caller reads which method refused it, and, when it is an agent, why. */
function inWordsOfTheMethod(thrown: unknown, method: string): unknown {
  if (!(thrown instanceof StatusError) || thrown.code !== StatusCode.PERMISSION_DENIED) {
    return thrown;
  }
  return denied(method, thrown);
}

function denied(method: string, cause?: StatusError): StatusError {
  return new StatusError(
    StatusCode.PERMISSION_DENIED,
    `authorization denied for method ${method}`,
    cause?.reason === undefined ? { cause } : { cause, reason: cause.reason },
  );
}

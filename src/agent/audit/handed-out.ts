/**
 * The record of who was given what: a line for each identity that a process is given for the first time, and for each that takes the place of
 * one. A process that asks for the same again and again is not written down again; a user whose processes come and go without end has a share
 * of lines, and one line counts the rest.
 */
import type { AttestedProcess } from "#agent/attestation/caller.ts";
import type { Identity } from "#agent/cache/subscription.ts";
import type { WorkloadEntry } from "#agent/cache/workload-entry.ts";
import type { WorkloadX509Svid } from "#agent/cache/x509-svids.ts";
import type { Clock } from "#clock/clock.ts";
import { BoundedLog } from "#log/bounded-log.ts";
import { isLogged, type Log, type LogFields } from "#log/log.ts";
import { Certificate } from "#x509/certificate.ts";
import { isoTime } from "#x509/iso-time.ts";

/** Lines a minute of one user. */
const LINES = 100;
/** What processes were given last is remembered of so many, whose connections may be gone. */
const MAX_REMEMBERED = 4096;
const UNIT = "systemd:id:";

export interface HandedOutParts {
  /** `audit_log_enabled`, as the configuration has it at this moment. */
  readonly auditLogEnabled: () => boolean;
  readonly clock: Clock;
  readonly log: Log;
}

type Given = Pick<Identity, "entry" | "svid">;

/** A token without itself: it is a secret. */
export interface TokenFacts {
  readonly audience: readonly string[];
  /** Unix seconds. */
  readonly issuedAt: number;
  readonly expiresAt: number;
}

/** What is told apart, and in which version it was given. */
interface GivenThing {
  readonly kind: "X509-SVID" | "JWT-SVID";
  /** The serial number, or the times of a token. */
  readonly version: string;
  readonly audience?: string;
}

export class HandedOut {
  readonly #parts: HandedOutParts;
  readonly #bounded: BoundedLog;
  /** By connection, then by what was given: the serial number, or the times of a token. */
  readonly #byPeer: WeakMap<object, Map<string, string>> = new WeakMap();
  /** The same by process, in the order in which they were given something. */
  readonly #byProcess: Map<string, string> = new Map();
  readonly #serials: WeakMap<WorkloadX509Svid, string> = new WeakMap();

  constructor(parts: HandedOutParts) {
    this.#parts = parts;
    this.#bounded = new BoundedLog({ ...parts, lines: LINES });
  }

  /**
   * @param identities what was sent; those without an SVID were not
   * @param method what was asked, as on the wire: `/Service/Method`
   */
  x509(caller: AttestedProcess, identities: readonly Given[], method: string): void {
    const { log, auditLogEnabled, clock } = this.#parts;
    const isDebug = isLogged(log.settings, "debug");
    if (!isDebug && !auditLogEnabled()) return;
    for (const { entry, svid } of identities) {
      if (svid === undefined) continue;
      if (isDebug) {
        const ttl = svid.notAfter - clock.nowSeconds();
        log.debug("Fetched X.509 SVID", { ...fetchFields(caller, entry, method), ttl });
      }
      const serial = this.#serialOf(svid);
      this.#write(caller, entry, { kind: "X509-SVID", version: serial }, () => ({
        serial_number: serial,
        expires_at: isoTime(svid.notAfter),
        service: serviceOf(method),
      }));
    }
  }

  /** Tells of one JWT-SVID that was handed out. @param method what was asked, as on the wire */
  jwt(caller: AttestedProcess, entry: WorkloadEntry, token: TokenFacts, method: string): void {
    const { log, auditLogEnabled, clock } = this.#parts;
    const isDebug = isLogged(log.settings, "debug");
    if (!isDebug && !auditLogEnabled()) return;
    if (isDebug) {
      const ttl = token.expiresAt - clock.nowSeconds();
      log.debug("Fetched JWT SVID", { ...fetchFields(caller, entry, method), ttl });
    }
    const audience = token.audience.join(",");
    const version = `${token.issuedAt}-${token.expiresAt}`;
    this.#write(caller, entry, { kind: "JWT-SVID", version, audience }, () => ({
      audience,
      expires_at: isoTime(token.expiresAt),
      service: serviceOf(method),
    }));
  }

  /** @param fields of the line; asked for when there is one, which is seldom: this is called for every fetch */
  #write(
    caller: AttestedProcess,
    entry: WorkloadEntry,
    { kind, version, audience }: GivenThing,
    fields: () => LogFields,
  ): void {
    if (!this.#parts.auditLogEnabled()) return;
    // An audience is the last of it, as it may hold anything.
    const key = `${kind} ${entry.id} ${audience ?? ""}`;
    const given = this.#givenTo(caller.peer);
    if (given.get(key) === version) return;
    given.set(key, version);
    const process = `${caller.peer.instance} ${key}`;
    const before = this.#byProcess.get(process);
    if (before === version) return;
    this.#remember(process, version);
    const what = before === undefined ? "handed out" : "rotated";
    this.#bounded.from(`uid ${caller.peer.uid}`).info(`${kind} ${what}`, {
      ...callerFields(caller),
      ...idFields(entry),
      ...fields(),
      type: "audit",
    });
  }

  #givenTo(peer: object): Map<string, string> {
    const known = this.#byPeer.get(peer);
    if (known !== undefined) return known;
    const given = new Map<string, string>();
    this.#byPeer.set(peer, given);
    return given;
  }

  #remember(process: string, version: string): void {
    this.#byProcess.delete(process);
    this.#byProcess.set(process, version);
    const [oldest] = this.#byProcess.keys();
    if (this.#byProcess.size > MAX_REMEMBERED && oldest !== undefined) {
      this.#byProcess.delete(oldest);
    }
  }

  #serialOf(svid: WorkloadX509Svid): string {
    const known = this.#serials.get(svid);
    if (known !== undefined) return known;
    const [leaf] = svid.chain;
    const serial = leaf === undefined ? "" : Certificate.parse(leaf).serialNumberDecimal;
    this.#serials.set(svid, serial);
    return serial;
  }
}

function callerFields({ peer: { pid, uid }, selectors }: AttestedProcess): LogFields {
  for (const selector of selectors) {
    if (selector.startsWith(UNIT)) return { pid, uid, unit: selector.slice(UNIT.length) };
  }
  return { pid, uid };
}

/** `WorkloadAPI` and `FetchX509SVID`, as the reference has them. */
function fetchFields(caller: AttestedProcess, entry: WorkloadEntry, method: string): LogFields {
  const [, , name = ""] = method.split("/");
  return {
    ...callerFields(caller),
    ...idFields(entry),
    registered: true,
    service: serviceOf(method),
    method: name,
  };
}

function serviceOf(method: string): string {
  const [, service = ""] = method.split("/");
  return service.replace(/^.*\./, "").replace("SpiffeWorkloadAPI", "WorkloadAPI");
}

function idFields({ id, spiffeId }: WorkloadEntry): LogFields {
  return { entry_id: id, spiffe_id: spiffeId.toString() };
}

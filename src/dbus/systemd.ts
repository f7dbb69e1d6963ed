/**
 * What systemd, as process 1, says and does (org.freedesktop.systemd1(5)): over the system bus, or where a machine has none over the
 * socket that systemd keeps for root. Connects when it is first asked, and again after systemd or the bus was started anew. Callers:
 * the workload attestor `systemd`, the agent's credentials socket, and the writer of SVID files.
 */
import { existsSync } from "node:fs";
import type { Clock } from "#clock/clock.ts";
import { FairQueue } from "#clock/fair-queue.ts";
import { DbusConnection, DbusError } from "./connection.ts";
import type { DbusCall } from "./message.ts";
import type { DbusValue, DbusVariant } from "./value.ts";

const BUS_SOCKET = "/run/dbus/system_bus_socket";
/** For root alone, and without a bus in between. */
const PRIVATE_SOCKET = "/run/systemd/private";

const SYSTEMD = "org.freedesktop.systemd1";
const MANAGER = "/org/freedesktop/systemd1";
const BUS = "org.freedesktop.DBus";
const UNIT = `${SYSTEMD}.Unit`;
/** What the bus answers for a destination that is gone. */
const UNDELIVERED: ReadonlySet<string> = new Set([
  `${BUS}.Error.NameHasNoOwner`,
  `${BUS}.Error.ServiceUnknown`,
]);

/** What systemd answers for a process that belongs to no unit of its. */
export const NO_UNIT = "org.freedesktop.systemd1.NoUnitForPID";

/** Questions after units. A bus takes 128 unanswered calls of one connection, and a lookup makes one call at a time. */
const LOOKUPS = { running: 32, runningPerKey: 32, waiting: 32_768, waitingPerKey: 8192 };

/** There on a machine that systemd has started (sd_booted(3)). */
const BOOTED = "/run/systemd/system";
const ARRIVAL_MS = 10_000;
const ARRIVAL_LOOK_MS = 50;

/** A unit that systemd has loaded. */
export interface SystemdUnit {
  /** The unit's own name, for instance `nginx.service`, never an alias. */
  readonly id: string;
  /** The file it was read from; empty when there is none. */
  readonly fragmentPath: string;
  /** Hexadecimal digits, others at each start; empty for a unit that is not started. */
  readonly invocationId: string;
}

/** A process whose number is to be looked up, and its user, who shares the bus with others. */
export interface UnitProcess {
  readonly pid: number;
  readonly uid: number;
  /** Whether the process still has the number. */
  isAlive(): boolean;
}

interface Lookup {
  readonly process: UnitProcess;
  readonly unit: Promise<SystemdUnit>;
  readonly over: AbortController;
  waiting: number;
}

interface Link {
  readonly connection: DbusConnection;
  /** The connection of systemd on the bus; absent without a bus. */
  readonly owner: string | undefined;
}

export class Systemd {
  readonly #clock: Clock;
  readonly #environment: Readonly<Record<string, string | undefined>>;
  readonly #lookups: Map<number, Lookup> = new Map();
  /** Those that are asked for, by object path. */
  readonly #units: Map<string, Promise<SystemdUnit>> = new Map();
  readonly #queue: FairQueue<number> = new FairQueue(LOOKUPS);
  #link: Promise<Link> | undefined;

  /** @param environment for DBUS_SYSTEM_BUS_ADDRESS, which names another bus */
  constructor(clock: Clock, environment: Readonly<Record<string, string | undefined>>) {
    this.#clock = clock;
    this.#environment = environment;
  }

  /**
   * The unit that a process belongs to, by its control group. To be believed when the process is alive afterwards.
   *
   * @param signal ends the waiting
   * @throws Error, DbusError when it belongs to none (NO_UNIT), or the signal's reason
   */
  async unitOf(asked: UnitProcess, signal: AbortSignal): Promise<SystemdUnit> {
    signal.throwIfAborted();
    const lookup = this.#shared(asked) ?? this.#lookUp(asked);
    const { promise, reject } = Promise.withResolvers<never>();
    const leave = (): void => reject(signal.reason);
    signal.addEventListener("abort", leave, { once: true });
    lookup.waiting++;
    try {
      return await Promise.race([lookup.unit, promise]);
    } finally {
      signal.removeEventListener("abort", leave);
      lookup.waiting--;
      if (lookup.waiting === 0) lookup.over.abort(new Error("nobody waits for it any more"));
    }
  }

  /** The lookup of the very same process that is under way: as long as both are alive, one number names one process. */
  #shared(process: UnitProcess): Lookup | undefined {
    const lookup = this.#lookups.get(process.pid);
    if (lookup === undefined || lookup.over.signal.aborted) return undefined;
    return lookup.process.isAlive() && process.isAlive() ? lookup : undefined;
  }

  #lookUp(process: UnitProcess): Lookup {
    const { pid, uid } = process;
    const over = new AbortController();
    const unit = this.#queue.run(uid, over.signal, async () =>
      this.#unitAt(await this.#unitPath("GetUnitByPID", "u", pid)),
    );
    const lookup = { process, unit, over, waiting: 0 };
    this.#lookups.set(pid, lookup);
    const end = (): void => {
      if (this.#lookups.get(pid) === lookup) this.#lookups.delete(pid);
    };
    unit.then(end, end);
    return lookup;
  }

  /** Processes of one unit that are looked up at the same time share the answer. */
  #unitAt(path: string): Promise<SystemdUnit> {
    const known = this.#units.get(path);
    if (known !== undefined) return known;
    const unit = this.#askUnit(path);
    this.#units.set(path, unit);
    const end = (): boolean => this.#units.delete(path);
    unit.then(end, end);
    return unit;
  }

  async #askUnit(path: string): Promise<SystemdUnit> {
    const properties = await this.#properties(path, UNIT);
    const invocationId = properties.get("InvocationID");
    if (!(invocationId instanceof Uint8Array)) throw new Error("systemd's InvocationID is no ID");
    return {
      id: asText(properties.get("Id"), "Id"),
      fragmentPath: asText(properties.get("FragmentPath"), "FragmentPath"),
      invocationId: Buffer.from(invocationId).toString("hex"),
    };
  }

  /** The line that a service says of itself (`STATUS=`); empty when it says nothing. @throws Error, DbusError when it is not loaded */
  async statusOf(unit: string): Promise<string> {
    const path = await this.#unitPath("GetUnit", "s", unit);
    const properties = await this.#properties(path, `${SYSTEMD}.Service`);
    return asText(properties.get("StatusText"), "StatusText");
  }

  async #properties(path: string, type: string): Promise<ReturnType<typeof asProperties>> {
    const [all] = await this.#call({
      path,
      interface: `${BUS}.Properties`,
      member: "GetAll",
      signature: "s",
      body: [type],
    });
    return asProperties(all);
  }

  /** Sends a signal to the main process of a service. @throws Error, DbusError when there is no such service, or it does not run */
  async signal(unit: string, signal: number): Promise<void> {
    await this.#manager("KillUnit", "ssi", [unit, "main", signal]);
  }

  /** Has a unit that runs read its configuration anew. Resolves once systemd has taken that up. @throws Error, DbusError */
  async reload(unit: string): Promise<void> {
    await this.#manager("ReloadUnit", "ss", [unit, "replace"]);
  }

  close(): void {
    void this.#link?.then(
      ({ connection }) => connection.close(),
      () => {},
    );
    this.#link = undefined;
  }

  async #unitPath(member: string, signature: string, argument: DbusValue): Promise<string> {
    const [path] = await this.#manager(member, signature, [argument]);
    return asText(path, member);
  }

  #manager(member: string, signature: string, body: readonly DbusValue[]) {
    return this.#call({ path: MANAGER, interface: `${SYSTEMD}.Manager`, member, signature, body });
  }

  async #call(call: DbusCall): Promise<readonly DbusValue[]> {
    try {
      return await this.#callOnce(call);
    } catch (error) {
      if (!isUndelivered(error)) throw error;
      // Systemd executed itself anew and is on the bus under another number.
      this.close();
      return this.#callOnce(call);
    }
  }

  async #callOnce(call: DbusCall): Promise<readonly DbusValue[]> {
    const { connection, owner: destination } = await this.#connected();
    return connection.call({ ...call, ...(destination === undefined ? {} : { destination }) });
  }

  async #connected(): Promise<Link> {
    const known = this.#link;
    if (known !== undefined) {
      const link = await known.catch(() => undefined);
      if (link?.connection.isOpen) return link;
    }
    // Whoever found the same one broken may have begun already.
    if (this.#link === known) this.#link = this.#open();
    return this.#link ?? this.#open();
  }

  async #open(): Promise<Link> {
    const bus = busPath(this.#environment["DBUS_SYSTEM_BUS_ADDRESS"]);
    if (!existsSync(bus) && existsSync(PRIVATE_SOCKET)) {
      return {
        connection: await DbusConnection.open(PRIVATE_SOCKET, this.#clock),
        owner: undefined,
      };
    }
    const connection = await DbusConnection.open(bus, this.#clock);
    try {
      return { connection, owner: await findSystemd(connection, this.#clock) };
    } catch (error) {
      connection.close();
      throw error;
    }
  }
}

/** The path in the address of a bus, of which only paths on this machine are taken. @throws Error when there is none */
function busPath(address: string | undefined): string {
  if (address === undefined || address === "") return BUS_SOCKET;
  const path = /^unix:path=([^,;%]+)/.exec(address)?.[1];
  if (path === undefined) {
    throw new Error(`DBUS_SYSTEM_BUS_ADDRESS ${JSON.stringify(address)} has no unix:path=`);
  }
  return path;
}

function isUndelivered(error: unknown): boolean {
  return error instanceof DbusError && UNDELIVERED.has(error.errorName);
}

/** Introduces us and finds who has systemd's name; that must be a process of root, whatever the rules of the bus allow. */
async function findSystemd(connection: DbusConnection, clock: Clock): Promise<string> {
  const ask = async (member: string, argument?: string): Promise<DbusValue | undefined> => {
    const [answer] = await connection.call({
      destination: BUS,
      path: "/org/freedesktop/DBus",
      interface: BUS,
      member,
      ...(argument === undefined ? {} : { signature: "s", body: [argument] }),
    });
    return answer;
  };
  const own = asText(await ask("Hello"), "Hello");
  // The numbers of our callers' processes are of our pid namespace: in systemd's they would be other processes.
  if ((await ask("GetConnectionUnixProcessID", own)) !== process.pid) {
    throw new Error("systemd is in another pid namespace, where processes have other numbers");
  }
  const begun = clock.monotonicMs();
  let owner: string | undefined;
  while (owner === undefined) {
    try {
      owner = asText(await ask("GetNameOwner", SYSTEMD), "GetNameOwner");
    } catch (error) {
      // While the machine starts, and after the bus was started anew, systemd takes a moment to come to it.
      const isComing = existsSync(BOOTED) && clock.monotonicMs() - begun < ARRIVAL_MS;
      if (!isUndelivered(error) || !isComing) throw error;
      await clock.sleep(ARRIVAL_LOOK_MS);
    }
  }
  if ((await ask("GetConnectionUnixUser", owner)) !== 0) {
    throw new Error(`${SYSTEMD} on the bus is not of root`);
  }
  return owner;
}

/** What is in a dictionary of variants by name. */
function asProperties(value: DbusValue | undefined): ReadonlyMap<DbusValue, DbusValue> {
  const properties = new Map<DbusValue, DbusValue>();
  for (const entry of Array.isArray(value) ? value : []) {
    const [name, variant] = entry as readonly [DbusValue, DbusVariant];
    properties.set(name, variant.value);
  }
  return properties;
}

function asText(value: DbusValue | undefined, what: string): string {
  if (typeof value === "string") return value;
  throw new Error(`systemd's ${what} is no text`);
}

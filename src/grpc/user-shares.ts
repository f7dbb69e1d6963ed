/**
 * How much of a daemon each local user may take up: connections and calls under way, counted across its Unix sockets. Nobody can keep the
 * others out: a user has a bound, users with many connections leave room for those with few, all of them for the system's users, and these
 * for root. When there is no room left, connections whose caller has no identity make some, those of the user with the most first.
 */
import { openFilesLimit } from "#ffi/open-files.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";

export interface ShareLimits {
  /** Of all users together. */
  readonly connections: number;
  readonly connectionsPerUid: number;
  /** Calls under way, of all users together. A call that is cancelled counts for as long as it is worked on. */
  readonly calls: number;
  readonly callsPerUid: number;
}

const MAX_CONNECTIONS = 10_000;
const MAX_CALLS = 10_000;
/** A socket, and the caller's process. */
const DESCRIPTORS_OF_CONNECTION = 2;
/** Descriptors that a daemon needs for other things; fewer where it may have few. */
const OTHER_DESCRIPTORS = 500;

/** The limits of a process that may have so many descriptors. */
export function limitsWithin(descriptors: number): ShareLimits {
  const others = Math.min(OTHER_DESCRIPTORS, descriptors / 4);
  const most = Math.floor((descriptors - others) / DESCRIPTORS_OF_CONNECTION);
  const connections = Math.min(MAX_CONNECTIONS, most);
  return {
    connections,
    connectionsPerUid: Math.ceil(connections / 4),
    calls: MAX_CALLS,
    callsPerUid: MAX_CALLS / 4,
  };
}

/** Users below are the system's (login.defs(5), UID_MIN). */
const FIRST_ORDINARY_UID = 1000;
/** Whoever has fewer connections or calls is not one of those that take up much. */
const FEW = 10;
/** What each may use of the whole. */
const OF_ROOT = 1;
const OF_SYSTEM = 0.975;
const OF_FEW = 0.9;
const OF_MANY = 0.8;

interface User {
  readonly uid: number;
  connections: number;
  calls: number;
  /** Connections whose caller has no identity so far, the oldest first. */
  readonly nameless: Set<ConnectionShare>;
}

export class UserShares {
  readonly #limits: ShareLimits;
  readonly #users = new Map<number, User>();
  #connections = 0;
  #calls = 0;

  constructor(limits: ShareLimits = limitsWithin(openFilesLimit())) {
    this.#limits = limits;
  }

  /**
   * Counts a connection until its share is closed.
   *
   * @param hangUp closes the connection, to make room for another
   * @throws Error saying why there is no room for it
   */
  connect(uid: number, hangUp: () => void): ConnectionShare {
    const { connections, connectionsPerUid } = this.#limits;
    const count = this.#users.get(uid)?.connections ?? 0;
    if (count >= connectionsPerUid) throw new Error(`user ${uid} has ${count} connections already`);
    const isFull = this.#connections >= connections * partOf(uid, count);
    if (isFull && !this.#makeRoom(count)) {
      throw new Error(`there are ${this.#connections} connections already`);
    }
    const user = this.#user(uid);
    user.connections++;
    this.#connections++;
    const share: ConnectionShare = new ConnectionShare({
      hangUp,
      identified: () => user.nameless.delete(share),
      closed: () => {
        user.nameless.delete(share);
        user.connections--;
        this.#connections--;
        this.#forget(user);
      },
      call: () => this.#call(user),
    });
    user.nameless.add(share);
    return share;
  }

  /** @throws StatusError RESOURCE_EXHAUSTED */
  #call(user: User): () => void {
    const { calls, callsPerUid } = this.#limits;
    if (user.calls >= callsPerUid) {
      throw exhausted(`user ${user.uid} has ${user.calls} calls under way already`);
    }
    if (this.#calls >= calls * partOf(user.uid, user.calls)) {
      throw exhausted(`there are ${this.#calls} calls under way already`);
    }
    user.calls++;
    this.#calls++;
    return () => {
      user.calls--;
      this.#calls--;
      this.#forget(user);
    };
  }

  /** Closes a nameless connection of whoever has the most. @returns false when nobody has one, and more than the given number */
  #makeRoom(count: number): boolean {
    let heaviest: User | undefined;
    for (const user of this.#users.values()) {
      if (user.nameless.size > 0 && user.connections > (heaviest?.connections ?? count + 1)) {
        heaviest = user;
      }
    }
    const [oldest] = heaviest?.nameless ?? [];
    oldest?.hangUp();
    return oldest !== undefined;
  }

  #user(uid: number): User {
    const known = this.#users.get(uid);
    if (known !== undefined) return known;
    const user: User = { uid, connections: 0, calls: 0, nameless: new Set() };
    this.#users.set(uid, user);
    return user;
  }

  #forget(user: User): void {
    if (user.connections === 0 && user.calls === 0) this.#users.delete(user.uid);
  }
}

function partOf(uid: number, count: number): number {
  if (uid === 0) return OF_ROOT;
  if (uid < FIRST_ORDINARY_UID) return OF_SYSTEM;
  return count < FEW ? OF_FEW : OF_MANY;
}

function exhausted(why: string): StatusError {
  return new StatusError(StatusCode.RESOURCE_EXHAUSTED, why);
}

interface ShareParts {
  readonly hangUp: () => void;
  readonly identified: () => void;
  readonly closed: () => void;
  readonly call: () => () => void;
}

/** One connection, as it counts for its user. */
export class ConnectionShare {
  readonly #parts: ShareParts;
  #isClosed = false;

  constructor(parts: ShareParts) {
    this.#parts = parts;
  }

  /** The caller is somebody: its connection is not closed to make room. */
  identified(): void {
    this.#parts.identified();
  }

  /** Counts a call. @returns what ends it, to be called once @throws StatusError RESOURCE_EXHAUSTED when there are too many */
  call(): () => void {
    return this.#parts.call();
  }

  /** The connection is no more. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#parts.closed();
  }

  hangUp(): void {
    this.close();
    this.#parts.hangUp();
  }
}

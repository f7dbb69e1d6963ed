/**
 * The Explain service: why a process gets the identities it gets. The admin socket explains any process to whoever may use that socket, all
 * that the agent knows of it included. The public socket explains its caller to itself: the selectors found, the identities it has, and
 * whether the server can be reached. Of entries that do not match, of other processes and of the node it says nothing there, as a workload
 * could map out a node by it.
 */
import type { CallerTools } from "#agent/attestation/caller.ts";
import { askAttestors } from "#agent/attestation/workload-attestation.ts";
import { requireSecurityHeader } from "#agent/workload-api/security-header.ts";
import { type BoundService, bindService, type CallContext } from "#grpc/bind.ts";
import { openProcess, type UnixPeer } from "#grpc/peer.ts";
import {
  ExplainService,
  type Explanation,
  type NearEntry as NearEntryMessage,
} from "#proto/spire_edge/explain/v1/explain.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import {
  type Audience,
  agentMessage,
  attestorMessage,
  identityMessages,
  type Knowledge,
  serverMessage,
} from "./explanation.ts";
import { nearEntries } from "./near-entries.ts";

const NEAR_ENTRIES = 10;

export type ExplainParts = CallerTools & Knowledge;

/** For the socket whose callers are such an audience. */
export function createExplainService(parts: ExplainParts, audience: Audience): BoundService {
  return bindService(
    ExplainService,
    {
      explainWorkload: async ({ pid }, context) => {
        const { process, done } = processOf(pid, audience, context);
        try {
          return await explain(parts, audience, process, context);
        } finally {
          done();
        }
      },
    },
    {
      log: parts.log,
      ...(audience === "workload" ? { guard: requireSecurityHeader } : {}),
    },
  );
}

/**
 * @returns the process, and what to call when it was looked at
 * @throws StatusError
 */
function processOf(
  pid: number,
  audience: Audience,
  { caller }: CallContext,
): { readonly process: UnixPeer; readonly done: () => void } {
  if (caller.kind !== "unix") {
    throw new StatusError(StatusCode.INTERNAL, "processes are explained on Unix sockets only");
  }
  if (pid === 0) return { process: caller.peer, done: () => {} };
  if (audience === "workload") {
    throw new StatusError(
      StatusCode.PERMISSION_DENIED,
      "the public socket explains to a process nothing but itself; ask for another on the admin socket",
    );
  }
  const process = openProcess(pid);
  if (process === undefined) throw gone(pid);
  return { process, done: () => process.close() };
}

function gone(pid: number): StatusError {
  return new StatusError(
    StatusCode.NOT_FOUND,
    `there is no process ${pid}, or the agent may not see it`,
  );
}

async function explain(
  parts: ExplainParts,
  audience: Audience,
  process: UnixPeer,
  { method, signal }: CallContext,
): Promise<Explanation> {
  const { cache, clock } = parts;
  const answers = await askAttestors(parts.attestors, process, parts, signal);
  // What was found would be another's if the pid is another's by now.
  if (!process.isAlive()) throw gone(process.pid);
  const selectors = new Set(answers.flatMap((answer) => answer.selectors));
  parts.limits.count(method, selectors);
  const told = {
    pid: process.pid,
    attestors: answers.map((answer) => attestorMessage(answer, audience)),
    identities: identityMessages(parts, cache.identitiesFor(selectors), audience),
    server: serverMessage(parts, audience),
  };
  if (audience === "workload") {
    return { ...told, nearEntries: [], entriesCount: 0, agent: undefined };
  }
  const near = await nearEntries(cache.entries.values(), selectors, NEAR_ENTRIES, clock);
  return {
    ...told,
    nearEntries: near.map(
      ({ entry, has, lacks }): NearEntryMessage => ({
        spiffeId: entry.spiffeId.toString(),
        entryId: entry.id,
        has: [...has],
        lacks: [...lacks],
      }),
    ),
    entriesCount: cache.entries.size,
    agent: agentMessage(parts),
  };
}

/** Changes of declared entries as messages of the API. */
import type { Entry } from "#proto/spire/api/types/entry.ts";
import {
  Change_Action as Action,
  Change as ChangeMessage,
  type Summary,
} from "#proto/spire_edge/declared/v1/declared.ts";
import { entryMessage } from "#server/message/convert-entry.ts";
import type { Change } from "./difference.ts";
import { countChanges, type Plan } from "./reconcile.ts";

const ACTIONS: Readonly<Record<Change["kind"], Action>> = {
  create: Action.CREATE,
  update: Action.UPDATE,
  adopt: Action.ADOPT,
  remove: Action.REMOVE,
};

/** @param entryId the one that the server gave a new entry; empty when there is none yet */
export function changeMessage(change: Change, entryId: string): ChangeMessage {
  const action = ACTIONS[change.kind];
  if (change.kind === "remove") {
    return ChangeMessage.fromPartial({
      action,
      entry: entryMessage(change.before.entry, undefined),
    });
  }
  const before = change.kind === "create" ? undefined : change.before;
  return ChangeMessage.fromPartial({
    action,
    entry: declaredMessage(change, entryId),
    ...(before === undefined ? {} : { before: entryMessage(before.entry, undefined) }),
    where: change.declared.where,
    takenFrom: change.kind === "adopt" ? (change.before.set ?? "") : "",
  });
}

function declaredMessage(
  change: Exclude<Change, { readonly kind: "remove" }>,
  entryId: string,
): Entry {
  const before = change.kind === "create" ? undefined : change.before.entry;
  const isSame = change.kind !== "create" && change.fields.length === 0;
  const revisionNumber = before === undefined ? 0 : before.revisionNumber + (isSame ? 0 : 1);
  return entryMessage(
    {
      ...change.declared.fields,
      id: before?.id ?? entryId,
      createdAt: before?.createdAt ?? 0,
      revisionNumber,
    },
    undefined,
  );
}

/** @param isDryRun whether what needs an operator's word is still to come */
export function summaryMessage(plan: Plan, isDryRun: boolean): Summary {
  const { unchanged, expired, loss } = plan;
  return {
    ...countChanges(plan),
    unchanged,
    expired,
    needsAllowRemoval: isDryRun && loss !== undefined,
  };
}

import type { LogFields } from "#log/log.ts";
import type { Change as ChangeMessage } from "#proto/spire_edge/declared/v1/declared.ts";
import { entryAuditFields } from "#server/message/entry-audit.ts";
import { countChanges, type Plan } from "./reconcile.ts";

/** What the audit log says of a change that was made: the fields of an entry written by hand, and where it is declared. */
export function auditFields(set: string, kind: string, { entry, where }: ChangeMessage): LogFields {
  return {
    ...entryAuditFields(entry, undefined),
    declared_set: set,
    change: kind,
    ...(where === "" ? {} : { declared_at: where }),
  };
}

/** What the log says of a reconciliation as a whole. */
export function summaryFields(set: string, plan: Plan): LogFields {
  const { unchanged, expired } = plan;
  return { declared_set: set, ...countChanges(plan), unchanged, expired };
}

/** How `entry plan` and `entry apply` show changes to people: a line with a mark for each entry, and below it what is new about it. */
import { counted } from "#cli/go-text.ts";
import type { Entry } from "#proto/spire/api/types/entry.ts";
import {
  Change_Action as Action,
  type Change,
  type Summary,
} from "#proto/spire_edge/declared/v1/declared.ts";
import { idText } from "#server/commands/id-message.ts";
import { selectorKey } from "#spiffe/selector.ts";

/** The fields by their names in the files, in the order in which they are shown. */
const FIELDS: readonly (readonly [string, (entry: Entry) => string])[] = [
  ["spiffe_id", ({ spiffeId }) => idText(spiffeId)],
  ["parent_id", ({ parentId }) => idText(parentId)],
  ["selectors", ({ selectors }) => selectors.map(selectorKey).join(", ")],
  ["x509_svid_ttl", ({ x509SvidTtl }) => numberText(x509SvidTtl)],
  ["jwt_svid_ttl", ({ jwtSvidTtl }) => numberText(jwtSvidTtl)],
  ["federates_with", ({ federatesWith }) => [...new Set(federatesWith)].sort().join(", ")],
  ["admin", ({ admin }) => flagText(admin)],
  ["downstream", ({ downstream }) => flagText(downstream)],
  ["store_svid", ({ storeSvid }) => flagText(storeSvid)],
  ["entry_expiry", ({ expiresAt }) => numberText(expiresAt)],
  ["dns_names", ({ dnsNames }) => dnsNames.join(", ")],
  ["hint", ({ hint }) => hint],
  [
    "disable_x509_svid_prefetch",
    ({ additionalAttributes }) => flagText(additionalAttributes?.disableX509SvidPrefetch),
  ],
  [
    "jwt_svid_include_jti",
    ({ additionalAttributes }) => flagText(additionalAttributes?.jwtSvidIncludeJti),
  ],
];

interface ActionTexts {
  readonly word: string;
  readonly mark: string;
}

const ACTIONS: ReadonlyMap<Action, ActionTexts> = new Map<Action, ActionTexts>([
  [Action.CREATE, { word: "create", mark: "+" }],
  [Action.UPDATE, { word: "update", mark: "~" }],
  [Action.ADOPT, { word: "adopt", mark: ">" }],
  [Action.REMOVE, { word: "remove", mark: "-" }],
]);

/** The action as JSON has it. */
export function actionWord(action: Action): string {
  return ACTIONS.get(action)?.word ?? String(action);
}

/** @param isPlan whether the changes are still to be made */
export function planText(
  changes: readonly Change[],
  summary: Summary | undefined,
  isPlan: boolean,
): string {
  const blocks = changes.map(changeText).join("");
  const space = changes.length === 0 ? "" : "\n";
  return `${blocks}${space}${summary === undefined ? "" : summaryText(summary, isPlan)}`;
}

function changeText({ action, entry, before, where, takenFrom }: Change): string {
  if (entry === undefined) return "";
  const mark = ACTIONS.get(action)?.mark ?? "?";
  const owner = takenFrom === "" ? "made by hand" : `of the set ${takenFrom}`;
  const notes = [
    where,
    entry.id === "" ? "" : `entry ID ${entry.id}`,
    action === Action.ADOPT ? owner : "",
  ].filter((note) => note !== "");
  const head = `${mark} ${idText((before ?? entry).spiffeId)} (${notes.join(", ")})\n`;
  return head + fieldLines(action, entry, before).join("");
}

function fieldLines(action: Action, entry: Entry, before: Entry | undefined): readonly string[] {
  if (action === Action.REMOVE) return [];
  return FIELDS.flatMap(([name, textOf]) => {
    const after = textOf(entry);
    if (before !== undefined) {
      const old = textOf(before);
      return old === after ? [] : [`    ${name}: ${old || "none"} -> ${after || "none"}\n`];
    }
    return after === "" || name === "spiffe_id" ? [] : [`    ${name}: ${after}\n`];
  });
}

function summaryText(summary: Summary, isPlan: boolean): string {
  const { created, updated, adopted, removed, unchanged, expired } = summary;
  const parts = isPlan
    ? `${created} to create, ${updated} to update, ${adopted} to take over, ${removed} to remove`
    : `${created} created, ${updated} updated, ${adopted} taken over, ${removed} removed`;
  const lines = [`${parts}, ${unchanged} unchanged\n`];
  if (expired > 0) {
    lines.push(`${counted(expired, "declared entry has", "declared entries have")} expired\n`);
  }
  if (summary.needsAllowRemoval) {
    lines.push("So many would be removed that entry apply needs -allowRemoval\n");
  }
  return lines.join("");
}

function numberText(value: number): string {
  return value === 0 ? "" : String(value);
}

function flagText(value: boolean | undefined): string {
  return value === true ? "true" : "";
}

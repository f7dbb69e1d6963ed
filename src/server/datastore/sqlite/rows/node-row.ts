import type { AttestedNode } from "#server/datastore/datastore.ts";
import { parseSelectorSet, selectorSetText } from "./selector-set.ts";

/** An attested node as the tables and the writer thread know it. */
export interface NodeRow {
  spiffeId: string;
  attestationType: string;
  serialNumber: string;
  notAfter: number;
  newSerialNumber: string;
  newNotAfter: number;
  /** 0 or 1. */
  canReattest: number;
  agentVersion: string;
  selectorSet: string;
}

/** Selects nodes as rows, with `seq`; conditions are appended. */
export const SELECT_NODES = `
  SELECT seq, spiffe_id AS spiffeId, attestation_type AS attestationType, serial_number AS serialNumber,
    not_after AS notAfter, new_serial_number AS newSerialNumber, new_not_after AS newNotAfter,
    can_reattest AS canReattest, agent_version AS agentVersion, selector_set AS selectorSet
  FROM nodes`;

export function nodeRow({ selectors, canReattest, ...plain }: AttestedNode): NodeRow {
  return {
    ...plain,
    canReattest: canReattest ? 1 : 0,
    selectorSet: selectorSetText(selectors),
  };
}

export function nodeFromRow(row: NodeRow): AttestedNode {
  return {
    spiffeId: row.spiffeId,
    attestationType: row.attestationType,
    serialNumber: row.serialNumber,
    notAfter: row.notAfter,
    newSerialNumber: row.newSerialNumber,
    newNotAfter: row.newNotAfter,
    canReattest: row.canReattest !== 0,
    agentVersion: row.agentVersion,
    selectors: parseSelectorSet(row.selectorSet),
  };
}

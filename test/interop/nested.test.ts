/** Our servers below the reference's, and the reference's below ours. */
import { describe } from "bun:test";
import { nestedServerTests } from "../support/nested-servers.ts";

const OURS = ["ours", "ours"] as const;
const REFERENCE = ["reference", "reference"] as const;

describe("the reference at the root and at the bottom, ours between them", () =>
  nestedServerTests(REFERENCE, OURS, REFERENCE, REFERENCE));

describe("ours at the root and at the bottom, the reference between them", () =>
  nestedServerTests(OURS, REFERENCE, OURS, OURS));

/** Servers below servers, all of them ours. */
import { describe } from "bun:test";
import { nestedServerTests } from "../support/nested-servers.ts";

const OURS = ["ours", "ours"] as const;

describe("a tree of servers", () => nestedServerTests(OURS, OURS, OURS, OURS));

import { describe } from "bun:test";
import { keyManagerConformance } from "#keymanager/keymanager.conformance.ts";
import { MemoryKeyManager } from "./memory.ts";

describe("MemoryKeyManager", () => keyManagerConformance(async () => new MemoryKeyManager()));

/** Our server and the reference's federate, in both roles. */
import { describe } from "bun:test";
import { federatedWorkloadTests } from "../support/federated-workloads.ts";

describe.each([
  ["ours", "reference"],
  ["reference", "ours"],
] as const)("%s and %s federate", (one, two) => federatedWorkloadTests([one, two]));

/** Two of our servers federate; and what an endpoint that lies, hangs or changes its certificate does to the others. */
import { describe } from "bun:test";
import { federatedWorkloadTests } from "../support/federated-workloads.ts";

describe("two trust domains federate by https_spiffe", () =>
  federatedWorkloadTests(["ours", "ours"]));

import { expect, test } from "bun:test";
import { dialWords } from "./dial-words.ts";

const last = (error: string): string =>
  `No connection established. Last error: ${error}. Resolution note: `;

test.each([
  [
    last("Error: connect ECONNREFUSED 192.0.2.1:8081"),
    "192.0.2.1:8081 refuses connections: no server listens there",
  ],
  [last("Error: connect ETIMEDOUT ::1:8081"), "[::1]:8081 does not answer"],
  [
    last("Error: connect EHOSTUNREACH 192.0.2.1:8081 - Local (0.0.0.0:0)"),
    "192.0.2.1:8081 cannot be reached: no route leads there",
  ],
  [last("Error: connect EMFILE 192.0.2.1:1"), "192.0.2.1:1 cannot be reached: EMFILE"],
  [
    last("Error: error:100000f7:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER"),
    "what answers does not speak TLS",
  ],
  [
    last("Failed to connect (2026-11-30T23:46:28.123Z)"),
    "the server closed the connection before it was secure",
  ],
  [last("Error: proxy p:1: it answered 503"), "proxy p:1: it answered 503"],
  ["Name resolution failed for target dns:vm:8081", "the name vm does not resolve"],
  ["Deadline exceeded after 30.004s,LB pick: 0.1s", "no answer within 30 s"],
  ["what a server says is left as it is", "what a server says is left as it is"],
])("%p means that %s", (details, words) => {
  expect(dialWords(details)).toBe(words);
});

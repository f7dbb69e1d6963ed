import { expect, test } from "bun:test";
import { dnsNameProblem, wildcardOverlap } from "./dns-name.ts";

test.each([
  "a",
  "db.example.org",
  "*.example.org",
  "xn--bcher-kva.example",
  "1.2",
  "my_host.example",
  "_sip._tcp.example",
  "HOST.CORP",
  "*.EXAMPLE.org",
  `${"a".repeat(63)}.b`,
])("%p is a DNS name", (name) => {
  expect(dnsNameProblem(name)).toBeUndefined();
});

test.each([
  ["", "empty or only whitespace"],
  ["*.", "empty or only whitespace"],
  ["bücher.example", "name must be ascii"],
  ["*.*.example", "too many wildcards"],
  ["a.*.example", "wildcard must be first label"],
  ["*", "wildcard must be first label"],
  ["example.org.", "domain ends with dot"],
  ["a..b", 'idna error: invalid label ""'],
  ["-a.b", 'idna error: invalid label "-a"'],
  ["a b.c", 'idna error: invalid label "a b"'],
  ["a-.c", 'idna error: invalid label "a-"'],
  ["XN--BCHER-KVA.c", 'idna error: invalid label "XN--BCHER-KVA"'],
  ["ab--c.d", 'idna error: invalid label "ab--c"'],
  ["a\u0000b", 'idna error: invalid label "a\\u0000b"'],
  [`${"a".repeat(64)}.b`, `idna error: invalid label "${"a".repeat(64)}"`],
  [`${"a.".repeat(127)}a`, "idna error: name is longer than 253 bytes"],
])("%p is refused: %s", (name, problem) => {
  expect(dnsNameProblem(name)).toBe(problem);
});

test("a wildcard covers the names one label below it and no others", () => {
  expect(wildcardOverlap(["a.example.org", "*.example.org"])).toBe("a.example.org");
  expect(wildcardOverlap(["a.b.example.org", "*.example.org", "example.org"])).toBeUndefined();
});

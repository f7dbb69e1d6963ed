import { describe, expect, test } from "bun:test";
import { parseSelector } from "#spiffe/selector.ts";
import { selectorAdvice } from "./selector-advice.ts";

const advice = (isForNodes: boolean, ...texts: string[]): string[] =>
  selectorAdvice(texts.map(parseSelector), isForNodes);

describe("selectors that are in order", () => {
  test.each([
    [["unix:uid:1000"]],
    [["unix:user:db", "unix:path:/usr/bin/db"]],
    [["unix:uid:0", `unix:sha256:${"a".repeat(64)}`]],
    [["systemd:id:nginx.service"]],
    [["systemd:id:nginx.service", "unix:path:/usr/sbin/nginx"]],
    [["docker:label:app:x", "k8s:ns:default"]],
    [["spiffe_id:spiffe://example.org/x"]],
  ])("%p", (texts) => {
    expect(advice(false, ...texts)).toEqual([]);
  });

  test.each([
    "x509pop:subject:cn:n",
    "x509pop:san:a:b",
    "aws_iid:az:x",
    "spiffe_id:spiffe://example.org/spire/agent/x",
  ])("of nodes: %s", (text) => {
    expect(advice(true, text)).toEqual([]);
  });
});

test.each([
  [false, "unix:udi:1000", 'makes none of that name; did you mean "uid"?'],
  [false, "unix:nothing:1", "the attestor unix makes none of that name"],
  [false, "unixx:uid:1000", 'of type "unixx"; did you mean "unix"?'],
  [false, "toString:x", 'no attestor that is built in makes selectors of type "toString"'],
  [false, "unix:toString:x", "makes none of that name"],
  [false, "unix:uid:root", "must be a number"],
  [false, "unix:uid", "must be a number"],
  [false, "unix:path:db", "must be an absolute path"],
  [false, "unix:sha256:ABC", "64 hexadecimal digits in lower case"],
  [false, "systemd:id:nginx", "as nginx.service"],
  [false, "x509pop:subject:cn:n", "is one of nodes"],
  [true, "unix:uid:1000", "is one of workloads"],
])("for nodes: %p, %s: %s", (isForNodes, text, words) => {
  const [first = ""] = advice(isForNodes, text);
  expect(first).toContain(words);
});

test.each([
  [["unix:path:/usr/bin/db"], "unix:path"],
  [[`unix:sha256:${"0".repeat(64)}`, "unix:gid:7"], "unix:sha256"],
])("an executable that anybody may run: %p", (texts, name) => {
  expect(advice(false, ...texts)).toEqual([
    `${name} without unix:uid or unix:user: every user who may run that program gets this identity`,
  ]);
});

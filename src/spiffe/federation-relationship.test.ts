import { expect, test } from "bun:test";
import { parseBundleEndpointUrl } from "./federation-relationship.ts";

test.each([
  ["https://example.org", "https://example.org"],
  ["https://example.org:8443/bundle?x=y", "https://example.org:8443/bundle?x=y"],
  ["HTTPS://example.org/", "https://example.org/"],
  ["https://[::1]:8443/", "https://[::1]:8443/"],
])("§5.2.1.1: %s is the URL of an endpoint", (text, url) => {
  expect(parseBundleEndpointUrl(text)).toBe(url);
});

test.each([
  ["http://example.org", "must use the https scheme"],
  ["", "must use the https scheme"],
  ["example.org", "must use the https scheme"],
  ["https:", "must specify the host"],
  ["https:example.org", "must specify the host"],
  ["https:///path", "must specify the host"],
  ["https://?x", "must specify the host"],
  ["https://user@example.org/", "must not contain user info"],
  ["https://user:secret@example.org/", "must not contain user info"],
  ["https://a\\@example.org/", "backslash"],
  ["https://exa mple.org/", "space"],
  ["ht\ttps://example.org/", "control character"],
  ["https://example.org:99999/", "host or port is not valid"],
  ["https://[::1/", "host or port is not valid"],
])("§5.2.1.1: %s is not", (text, problem) => {
  expect(() => parseBundleEndpointUrl(text)).toThrow(problem);
});

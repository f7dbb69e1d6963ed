import { expect, test } from "bun:test";
import { ttlWarnings } from "./ttl-warnings.ts";

const HOUR = 3600;
const DAY = 24 * HOUR;

test("a sixth of ca_ttl is certain; more is named, with both ways out", () => {
  expect(ttlWarnings(DAY, { agent_ttl: 4 * HOUR, default_jwt_svid_ttl: 300 })).toEqual([]);
  expect(ttlWarnings(DAY, { agent_ttl: 4 * HOUR + 1 })).toEqual([
    "agent_ttl of 4h0m1s can be cut short when the CA rotates: only 4h0m0s are certain. Set agent_ttl to 4h0m0s or less, or ca_ttl to 24h0m6s or more",
  ]);
  expect(ttlWarnings(16, { default_x509_svid_ttl: HOUR })).toEqual([
    "default_x509_svid_ttl of 1h0m0s can be cut short when the CA rotates: only 2s are certain. Set default_x509_svid_ttl to 2s or less, or ca_ttl to 6h0m0s or more",
  ]);
});

test("no ca_ttl makes more than seven days certain", () => {
  expect(ttlWarnings(365 * DAY, { agent_ttl: 7 * DAY })).toEqual([]);
  expect(ttlWarnings(365 * DAY, { agent_ttl: 8 * DAY })).toEqual([
    "agent_ttl of 192h0m0s can be cut short when the CA rotates: only 168h0m0s are certain. Set agent_ttl to 168h0m0s or less",
  ]);
});

import { expect, test } from "bun:test";
import { Entry } from "#proto/spire/api/types/entry.ts";
import { entryBlock } from "./entry-block.ts";

test("an entry with nothing set shows what is always shown", () => {
  expect(entryBlock(Entry.create({}))).toBe(`Entry ID                : (none)
SPIFFE ID               : 
Parent ID               : 
Revision                : 0
X509-SVID TTL           : default
JWT-SVID TTL            : default

`);
});

test("an entry with everything set", () => {
  const entry = Entry.create({
    id: "7f4a",
    spiffeId: { trustDomain: "example.org", path: "/x" },
    parentId: { trustDomain: "example.org", path: "/y" },
    revisionNumber: 3,
    downstream: true,
    x509SvidTtl: 60,
    jwtSvidTtl: 30,
    expiresAt: 2_000_000_000,
    selectors: [
      { type: "unix", value: "uid:1000" },
      { type: "a", value: "b:c" },
    ],
    federatesWith: ["f2.org"],
    dnsNames: ["a.b"],
    admin: true,
    storeSvid: true,
    hint: "h",
    additionalAttributes: { disableX509SvidPrefetch: true, jwtSvidIncludeJti: true },
  });
  expect(entryBlock(entry)).toBe(`Entry ID                : 7f4a
SPIFFE ID               : spiffe://example.org/x
Parent ID               : spiffe://example.org/y
Revision                : 3
Downstream              : true
X509-SVID TTL           : 60
JWT-SVID TTL            : 30
Expiration time         : 2033-05-18 03:33:20 +0000 UTC
Selector                : unix:uid:1000
Selector                : a:b:c
FederatesWith           : f2.org
DNS name                : a.b
Admin                   : true
StoreSvid               : true
Hint                    : h
DisableX509SvidPrefetch : true
JwtSvidIncludeJti       : true

`);
});

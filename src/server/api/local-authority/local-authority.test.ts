/** What the transcripts of the command line (test/cli) cannot show: kinds that are not served, and authorities forgotten here. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import type {
  GetJWTAuthorityStateResponse,
  PrepareJWTAuthorityResponse,
} from "#proto/spire/api/server/localauthority/v1/localauthority.ts";
import type { Bundle } from "#proto/spire/api/types/bundle.ts";
import { refused, startTestServer, type TestServer, unary } from "#server/server.fixture.ts";
import { StatusCode } from "#spiffe/status-error.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({ auditLogEnabled: true });
});
afterAll(() => server.stop());

async function rotateJwt(): Promise<string> {
  const { localAuthority } = server.local;
  const { preparedAuthority } = await unary<PrepareJWTAuthorityResponse>((done) =>
    localAuthority.prepareJwtAuthority({}, done),
  );
  const authorityId = preparedAuthority?.authorityId ?? "";
  await unary((done) => localAuthority.activateJwtAuthority({ authorityId }, done));
  return authorityId;
}

test("a tainted JWT key can be revoked after its slot was used again", async () => {
  const { localAuthority, bundle } = server.local;
  const { active } = await unary<GetJWTAuthorityStateResponse>((done) =>
    localAuthority.getJwtAuthorityState({}, done),
  );
  const first = active?.authorityId ?? "";
  const second = await rotateJwt();
  await unary((done) => localAuthority.taintJwtAuthority({ authorityId: first }, done));
  const third = await rotateJwt();
  await unary((done) => localAuthority.revokeJwtAuthority({ authorityId: first }, done));
  const { jwtAuthorities } = await unary<Bundle>((done) =>
    bundle.getBundle({ outputMask: undefined }, done),
  );
  expect(jwtAuthorities.map(({ keyId }) => keyId)).toEqual([second, third]);
  const audited = server.logged.filter(
    ({ type, local_authority_id }) => type === "audit" && local_authority_id === first,
  );
  expect(audited.map(({ method, status }) => `${method} ${status}`)).toEqual([
    "TaintJWTAuthority success",
    "RevokeJWTAuthority success",
  ]);
});

test("WIT authorities are not served", async () => {
  const { localAuthority } = server.local;
  expect(
    await refused(unary((done) => localAuthority.getWitAuthorityState({}, done))),
  ).toMatchObject({
    code: StatusCode.UNIMPLEMENTED,
    details: "WIT-SVID functionality is not yet implemented",
  });
});

test("nobody but an operator comes near", async () => {
  const { localAuthority } = server.remote();
  expect(
    await refused(unary((done) => localAuthority.prepareX509Authority({}, done))),
  ).toMatchObject({
    code: StatusCode.PERMISSION_DENIED,
  });
});

test("a server without JWT-SVIDs has no JWT authorities", async () => {
  const without = await startTestServer({ disableJwtSvids: true });
  const { localAuthority } = without.local;
  for (const call of [
    refused(unary((done) => localAuthority.getJwtAuthorityState({}, done))),
    refused(unary((done) => localAuthority.prepareJwtAuthority({}, done))),
    refused(unary((done) => localAuthority.revokeJwtAuthority({ authorityId: "x" }, done))),
  ]) {
    expect(await call).toMatchObject({
      code: StatusCode.UNIMPLEMENTED,
      details: "JWT functionality is disabled",
    });
  }
  await without.stop();
});

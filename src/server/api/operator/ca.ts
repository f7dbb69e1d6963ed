/** The CA service: a local operator sees the X.509 authorities, and has them signed by hand where the server is configured so. */
import { type BoundService, bindService, type CallContext } from "#grpc/bind.ts";
import {
  type Authority,
  CAService,
  type ImportCertificateRequest,
  type ImportCertificateResponse,
  type PendingRequest,
  type State,
} from "#proto/spire_edge/ca/v1/ca.ts";
import { type ApiCall, apiCall } from "#server/api/call/api-call.ts";
import { audited } from "#server/api/call/audited.ts";
import type { ServiceOptions } from "#server/api/call/guard.ts";
import { likelyAuthorityId, type X509Ca } from "#server/ca/authority/authority.ts";
import type { CaManager } from "#server/ca/ca-manager.ts";
import type { OfflineCa } from "#server/ca/offline/offline-ca.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";
import { parseCsr } from "#x509/csr.ts";
import { nameText } from "#x509/name.ts";

export interface CaServiceParts {
  readonly trustDomain: TrustDomain;
  readonly ca: Pick<CaManager, "authorities">;
}

export function createCaService(parts: CaServiceParts, options: ServiceOptions): BoundService {
  return bindService(
    CAService,
    audited({
      getState: async () => stateOf(parts),
      getRequest: async () => {
        const offline = offlineOf(parts);
        offline.pendingOrRefuse();
        return requestMessage(parts, offline);
      },
      importCertificate: (request: ImportCertificateRequest, context: CallContext) =>
        importCertificate(parts, request, apiCall(context)),
    }),
    options,
  );
}

function stateOf(parts: CaServiceParts): State {
  const { x509, offline } = parts.ca.authorities;
  const { active, prepared, old } = x509.state;
  const pending = offline?.pending;
  return {
    active: active && authorityMessage(active),
    prepared: prepared && {
      ...authorityMessage(prepared),
      activatesAt: Math.floor(x509.activatesAt ?? 0),
    },
    old: old && {
      authorityId: old.authorityId,
      upstreamAuthorityId: old.upstreamAuthorityId,
      notBefore: 0,
      notAfter: old.notAfter,
      subject: "",
      activatesAt: 0,
    },
    pending: offline && pending && requestMessage(parts, offline),
    nextRequestAt: offline === undefined || pending !== undefined ? 0 : Math.floor(x509.preparesAt),
  };
}

function authorityMessage(ca: X509Ca): Authority {
  const { extensions, notBefore, notAfter, subjectText } = ca.certificate;
  return {
    authorityId: ca.authorityId,
    upstreamAuthorityId: ca.upstreamAuthorityId,
    notBefore,
    notAfter,
    subject: subjectText,
    activatesAt: 0,
    pathLength: extensions.basicConstraints?.pathLength,
  };
}

/** Of an authority that has one. */
function requestMessage({ trustDomain, ca }: CaServiceParts, offline: OfflineCa): PendingRequest {
  const { csr, key, requestedAt } = offline.pendingOrRefuse();
  const { active, prepared } = ca.authorities.x509.state;
  return {
    csr,
    csrPath: offline.csrPath,
    requestedAt,
    authorityId: likelyAuthorityId(key),
    subject: nameText(parseCsr(csr).subjectDer),
    uriSan: trustDomain.id,
    neededBy: (prepared ?? active)?.notAfter ?? 0,
    warnBefore: offline.warnBeforeSeconds,
  };
}

async function importCertificate(
  parts: CaServiceParts,
  { certificates, roots }: ImportCertificateRequest,
  { audit, log }: ApiCall,
): Promise<ImportCertificateResponse> {
  const { ca, warnings } = await offlineOf(parts).import({ certificates, roots });
  const { x509 } = parts.ca.authorities;
  const active = x509.state.active === ca;
  audit.add({ local_authority_id: ca.authorityId });
  log.info("X.509 authority imported", { local_authority_id: ca.authorityId });
  const activatesAt = active ? 0 : Math.floor(x509.activatesAt ?? 0);
  return { authority: { ...authorityMessage(ca), activatesAt }, active, warnings: [...warnings] };
}

function offlineOf({ ca }: CaServiceParts): OfflineCa {
  if (ca.authorities.offline !== undefined) return ca.authorities.offline;
  throw new StatusError(
    StatusCode.FAILED_PRECONDITION,
    'the CA of this server is not signed by hand: UpstreamAuthority "offline" is not configured',
  );
}

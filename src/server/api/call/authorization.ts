/**
 * Who may call what: the one table, for every method of every service on both endpoints. A method without a line is
 * denied. It decides from who the caller is known to be; it never finds that out itself.
 */

/** The kinds of caller a method lets in. */
export type CallerRole = "any" | "local" | "admin" | "downstream" | "agent";

const ANY: readonly CallerRole[] = ["any"];
const AGENT: readonly CallerRole[] = ["agent"];
const DOWNSTREAM: readonly CallerRole[] = ["downstream"];
const LOCAL: readonly CallerRole[] = ["local"];
const OPERATOR: readonly CallerRole[] = ["local", "admin"];
const OPERATOR_AND_AGENT: readonly CallerRole[] = ["local", "admin", "agent"];

const RULES: Readonly<Record<string, Readonly<Record<string, readonly CallerRole[]>>>> = {
  "spire.api.server.agent.v1.Agent": {
    AttestAgent: ANY,
    RenewAgent: AGENT,
    PostStatus: AGENT,
    CountAgents: OPERATOR,
    ListAgents: OPERATOR,
    GetAgent: OPERATOR,
    DeleteAgent: OPERATOR,
    BanAgent: OPERATOR,
    CreateJoinToken: OPERATOR,
  },
  "spire.api.server.entry.v1.Entry": {
    GetAuthorizedEntries: AGENT,
    SyncAuthorizedEntries: AGENT,
    CountEntries: OPERATOR,
    ListEntries: OPERATOR,
    GetEntry: OPERATOR,
    BatchCreateEntry: OPERATOR,
    BatchUpdateEntry: OPERATOR,
    BatchDeleteEntry: OPERATOR,
  },
  "spire.api.server.svid.v1.SVID": {
    BatchNewX509SVID: AGENT,
    NewJWTSVID: AGENT,
    BatchNewWITSVID: AGENT,
    NewDownstreamX509CA: DOWNSTREAM,
    MintX509SVID: OPERATOR,
    MintJWTSVID: OPERATOR,
    MintWITSVID: OPERATOR,
  },
  "spire.api.server.bundle.v1.Bundle": {
    GetBundle: ANY,
    GetFederatedBundle: OPERATOR_AND_AGENT,
    PublishJWTAuthority: DOWNSTREAM,
    PublishWITAuthority: DOWNSTREAM,
    AppendBundle: OPERATOR,
    CountBundles: OPERATOR,
    ListFederatedBundles: OPERATOR,
    BatchCreateFederatedBundle: OPERATOR,
    BatchUpdateFederatedBundle: OPERATOR,
    BatchSetFederatedBundle: OPERATOR,
    BatchDeleteFederatedBundle: OPERATOR,
  },
  "spire.api.server.trustdomain.v1.TrustDomain": {
    ListFederationRelationships: OPERATOR,
    GetFederationRelationship: OPERATOR,
    BatchCreateFederationRelationship: OPERATOR,
    BatchUpdateFederationRelationship: OPERATOR,
    BatchDeleteFederationRelationship: OPERATOR,
    RefreshBundle: OPERATOR,
  },
  "spire.api.server.localauthority.v1.LocalAuthority": {
    GetJWTAuthorityState: OPERATOR,
    PrepareJWTAuthority: OPERATOR,
    ActivateJWTAuthority: OPERATOR,
    TaintJWTAuthority: OPERATOR,
    RevokeJWTAuthority: OPERATOR,
    GetX509AuthorityState: OPERATOR,
    PrepareX509Authority: OPERATOR,
    ActivateX509Authority: OPERATOR,
    TaintX509Authority: OPERATOR,
    TaintX509UpstreamAuthority: OPERATOR,
    RevokeX509Authority: OPERATOR,
    RevokeX509UpstreamAuthority: OPERATOR,
    GetWITAuthorityState: OPERATOR,
    PrepareWITAuthority: OPERATOR,
    ActivateWITAuthority: OPERATOR,
    TaintWITAuthority: OPERATOR,
    RevokeWITAuthority: OPERATOR,
  },
  "spire.api.server.logger.v1.Logger": {
    GetLogger: LOCAL,
    SetLogLevel: LOCAL,
    ResetLogLevel: LOCAL,
  },
  "spire_edge.ca.v1.CA": { GetState: LOCAL, GetRequest: LOCAL, ImportCertificate: LOCAL },
  "spire_edge.jointoken.v1.JoinToken": {
    CreateRejoinToken: OPERATOR,
    DeleteJoinToken: OPERATOR,
    GetJoinAddress: OPERATOR,
  },
  "spire_edge.node.v1.Nodes": { DescribeNodes: OPERATOR, FindNodes: OPERATOR },
  "spire_edge.declared.v1.DeclaredEntries": { ReconcileEntries: OPERATOR, FindSets: OPERATOR },
  "spire.api.server.debug.v1.Debug": { GetInfo: LOCAL },
  "spire_edge.changes.v1.Changes": { WatchChanges: AGENT },
  "grpc.health.v1.Health": { Check: LOCAL, List: LOCAL, Watch: LOCAL },
};

/**
 * The roles that may call a method.
 *
 * @param method as on the wire, `/package.Service/Method`
 * @returns empty for a method nobody wrote a rule for
 */
export function rolesAllowed(method: string): readonly CallerRole[] {
  const [, service = "", name = ""] = method.split("/");
  return ownValue(ownValue(RULES, service), name) ?? [];
}

/** Whether nobody but a local caller ever has business with a method. @param method as on the wire */
export function isLocalOnly(method: string): boolean {
  return rolesAllowed(method).every((role) => role === "local");
}

/** A lookup that the names on Object.prototype do not answer. */
function ownValue<T>(table: Readonly<Record<string, T>> | undefined, key: string): T | undefined {
  return table !== undefined && Object.hasOwn(table, key) ? table[key] : undefined;
}

import { defineGroup, type Group } from "#cli/command.ts";
import { agentCount } from "./agent/count.ts";
import { agentList } from "./agent/list.ts";
import { agentBan, agentEvict, agentShow } from "./agent/one-agent.ts";
import { agentPurge } from "./agent/purge.ts";
import { agentRejoin } from "./agent/rejoin.ts";
import { backupCreate } from "./backup/create.ts";
import { backupRestore } from "./backup/restore.ts";
import { backupVerify } from "./backup/verify.ts";
import { bundleDelete, bundleSet } from "./bundle/change.ts";
import { bundleCount, bundleList, bundleShow } from "./bundle/show.ts";
import { caCsr } from "./ca/csr.ts";
import { caImport } from "./ca/import.ts";
import { caShow } from "./ca/show.ts";
import { debugGetInfo } from "./debug.ts";
import { doctor } from "./doctor.ts";
import { entryCount } from "./entry/count.ts";
import { entryCreate } from "./entry/create.ts";
import { entryApply, entryPlan } from "./entry/declare.ts";
import { entryDelete } from "./entry/delete.ts";
import { entryShow } from "./entry/show.ts";
import { entryUpdate } from "./entry/update.ts";
import { federationDelete, federationRefresh } from "./federation/act.ts";
import { federationList, federationShow } from "./federation/read.ts";
import { federationCreate, federationUpdate } from "./federation/write.ts";
import { healthcheck } from "./healthcheck.ts";
import { jwtMint } from "./jwt.ts";
import { localAuthorityJwt, localAuthorityX509 } from "./localauthority.ts";
import { loggerGet, loggerReset, loggerSet } from "./logger.ts";
import { run, validate } from "./run.ts";
import { tokenDelete, tokenGenerate } from "./token.ts";
import { tokenWord } from "./token-word.ts";
import { upstreamAuthorityRevoke, upstreamAuthorityTaint } from "./upstreamauthority.ts";
import { witMint } from "./wit.ts";
import { x509Mint } from "./x509.ts";

const COMMANDS = {
  agent: defineGroup({
    ban: agentBan,
    count: agentCount,
    evict: agentEvict,
    list: agentList,
    purge: agentPurge,
    rejoin: agentRejoin,
    show: agentShow,
  }),
  backup: defineGroup({ create: backupCreate, restore: backupRestore, verify: backupVerify }),
  bundle: defineGroup({
    count: bundleCount,
    delete: bundleDelete,
    list: bundleList,
    set: bundleSet,
    show: bundleShow,
  }),
  ca: defineGroup({ csr: caCsr, import: caImport, show: caShow }),
  debug: defineGroup({ getinfo: debugGetInfo }),
  doctor,
  entry: defineGroup({
    apply: entryApply,
    count: entryCount,
    create: entryCreate,
    delete: entryDelete,
    plan: entryPlan,
    show: entryShow,
    update: entryUpdate,
  }),
  federation: defineGroup({
    create: federationCreate,
    delete: federationDelete,
    list: federationList,
    refresh: federationRefresh,
    show: federationShow,
    update: federationUpdate,
  }),
  healthcheck,
  jwt: defineGroup({ mint: jwtMint }),
  localauthority: defineGroup({ jwt: localAuthorityJwt, x509: localAuthorityX509 }),
  logger: defineGroup({ get: loggerGet, reset: loggerReset, set: loggerSet }),
  run,
  upstreamauthority: defineGroup({
    revoke: upstreamAuthorityRevoke,
    taint: upstreamAuthorityTaint,
  }),
  token: defineGroup({ delete: tokenDelete, generate: tokenGenerate, word: tokenWord }),
  validate,
  x509: defineGroup({ mint: x509Mint }),
};

/** Commands of features that are switched on before their time, by the names of their feature flags. */
const EXPERIMENTAL = {
  "wit-svid": { wit: defineGroup({ mint: witMint }) },
};

/**
 * All commands of spire-server.
 *
 * @param featureFlags with spaces between, as in SPIRE_SERVER_FFLAGS: commands do not read the server's configuration
 */
export function serverCommands(featureFlags: string = ""): Group {
  const flags = featureFlags.split(" ");
  const experimental = Object.entries(EXPERIMENTAL).flatMap(([flag, commands]) =>
    flags.includes(flag) ? Object.entries(commands) : [],
  );
  return defineGroup({ ...COMMANDS, ...Object.fromEntries(experimental) });
}

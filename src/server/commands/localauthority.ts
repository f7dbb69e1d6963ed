import { type Command, defineGroup, type Group } from "#cli/command.ts";
import { stringFlag } from "#cli/flags.ts";
import { utcTime } from "#cli/go-time.ts";
import { outputFlag, printMessages } from "#cli/printer.ts";
import { explained } from "#cli/rpc-error.ts";
import type {
  AuthorityState,
  GetX509AuthorityStateResponse,
} from "#proto/spire/api/server/localauthority/v1/localauthority.ts";
import type { ServerConnection } from "#server/client/connection.ts";
import { serverCommand } from "./server-command.ts";

/** One kind of authority: its name in texts, and its RPCs. */
interface Kind {
  readonly name: "JWT" | "X.509";
  state(connection: ServerConnection): Promise<GetX509AuthorityStateResponse>;
  readonly steps: Readonly<Record<StepName, Step>>;
}

type StepName = "prepare" | "activate" | "taint" | "revoke";

/** Answers with one message that holds the state of one authority. */
type Step = (connection: ServerConnection, authorityId: string) => Promise<object>;

const JWT: Kind = {
  name: "JWT",
  state: ({ localAuthority }) => localAuthority("getJwtAuthorityState", {}),
  steps: {
    prepare: ({ localAuthority }) => localAuthority("prepareJwtAuthority", {}),
    activate: ({ localAuthority }, authorityId) =>
      localAuthority("activateJwtAuthority", { authorityId }),
    taint: ({ localAuthority }, authorityId) =>
      localAuthority("taintJwtAuthority", { authorityId }),
    revoke: ({ localAuthority }, authorityId) =>
      localAuthority("revokeJwtAuthority", { authorityId }),
  },
};

const X509: Kind = {
  name: "X.509",
  state: ({ localAuthority }) => localAuthority("getX509AuthorityState", {}),
  steps: {
    prepare: ({ localAuthority }) => localAuthority("prepareX509Authority", {}),
    activate: ({ localAuthority }, authorityId) =>
      localAuthority("activateX509Authority", { authorityId }),
    taint: ({ localAuthority }, authorityId) =>
      localAuthority("taintX509Authority", { authorityId }),
    revoke: ({ localAuthority }, authorityId) =>
      localAuthority("revokeX509Authority", { authorityId }),
  },
};

export const localAuthorityJwt: Group = groupOf(JWT);
export const localAuthorityX509: Group = groupOf(X509);

function groupOf(kind: Kind): Group {
  const { name } = kind;
  return defineGroup({
    activate: stepOnOne(kind, "activate", "Activated", `Has the prepared ${name} authority sign`),
    prepare: prepare(kind),
    revoke: stepOnOne(
      kind,
      "revoke",
      "Revoked",
      `Takes a tainted ${name} authority out of the trust bundle`,
    ),
    show: show(kind),
    taint: stepOnOne(
      kind,
      "taint",
      "Tainted",
      `Marks the old ${name} authority as tainted, so that what it signed is replaced`,
    ),
  });
}

function show({ name, state }: Kind): Command {
  return serverCommand({
    synopsis: `Shows the active, the prepared and the old ${name} authority`,
    flags: { output: outputFlag() },
    run: async ({ flags, io, server }) => {
      const connection = await server();
      const answer = await explained(`could not get ${name} authorities`, () => state(connection));
      printMessages(io, flags.output, [answer], () => {
        const part = (title: string, authority: AuthorityState | undefined): string =>
          authority === undefined
            ? `${title} ${name} authority:\n  No ${title.toLowerCase()} ${name} authority found\n`
            : `${title} ${name} authority:\n${authorityText(name, authority)}`;
        const { active, prepared, old } = answer;
        io.out([part("Active", active), part("Prepared", prepared), part("Old", old)].join("\n"));
      });
    },
  });
}

function prepare({ name, steps }: Kind): Command {
  return serverCommand({
    synopsis: `Makes the next ${name} authority and puts it into the trust bundle`,
    flags: { output: outputFlag() },
    run: async ({ flags, io, server }) => {
      const connection = await server();
      const answer = await explained(`could not prepare ${name} authority`, () =>
        steps.prepare(connection, ""),
      );
      printMessages(io, flags.output, [answer], () =>
        io.out(`Prepared ${name} authority:\n${authorityText(name, stateIn(answer))}`),
      );
    },
  });
}

function stepOnOne(
  { name, steps }: Kind,
  verb: "activate" | "taint" | "revoke",
  title: string,
  synopsis: string,
): Command {
  return serverCommand({
    synopsis,
    flags: {
      authorityID: stringFlag("The authority, as `show` names it"),
      output: outputFlag(),
    },
    run: async ({ flags, io, server }) => {
      if (flags.authorityID === "") throw new Error("an authority ID is required");
      const connection = await server();
      const answer = await explained(`could not ${verb} ${name} authority`, () =>
        steps[verb](connection, flags.authorityID),
      );
      printMessages(io, flags.output, [answer], () =>
        io.out(`${title} ${name} authority:\n${authorityText(name, stateIn(answer))}`),
      );
    },
  });
}

/** @throws Error when the answer lacks what it is for */
function stateIn(answer: object): AuthorityState {
  const [state] = Object.values(answer) as readonly (AuthorityState | undefined)[];
  if (state === undefined) throw new Error("server response missing the authority");
  return state;
}

function authorityText(name: Kind["name"], authority: AuthorityState): string {
  const { authorityId, expiresAt, upstreamAuthoritySubjectKeyId } = authority;
  const upstream =
    upstreamAuthoritySubjectKeyId === ""
      ? "  Upstream authority ID: No upstream authority\n"
      : `  Upstream authority Subject Key ID: ${upstreamAuthoritySubjectKeyId}\n`;
  return `  Authority ID: ${authorityId}\n  Expires at: ${utcTime(expiresAt)}\n${
    name === "X.509" ? upstream : ""
  }`;
}

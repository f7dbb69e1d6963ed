/** The join token that the operator gave this agent: as it is, in a file, or in a join word. */
import { readFile } from "node:fs/promises";
import type { AgentConfig } from "#agent/config/config.ts";
import { rereadJoinFile } from "#agent/config/join.ts";
import { CannotAttestError } from "#attestors/attestor.ts";
import { obeyed } from "#files/obeyed.ts";
import type { JoinWord } from "#spiffe/join-word.ts";
import { errorText } from "#spiffe/status-error.ts";

/** Whether there was one at the start. */
export function isTokenGiven({ joinToken, joinTokenFile, joinWord }: AgentConfig): boolean {
  return [joinToken, joinTokenFile, joinWord].some((given) => given !== undefined);
}

/** From a file it is read anew each time: an operator may have put another one there. @throws CannotAttestError */
export async function givenToken(config: AgentConfig): Promise<string> {
  const { joinToken: given, joinTokenFile, joinWord } = config;
  if (joinWord !== undefined) return presentWord(config, joinWord).token;
  const token = joinTokenFile === undefined ? given : await readToken(joinTokenFile);
  if (token !== undefined && token !== "") return token;
  throw new CannotAttestError(
    `the agent has no SVID that is good and no join token: give ${joinTokenFile ?? "-joinToken"} a new one (spire-server token generate prints one)`,
  );
}

/** The word that is in its file now; one that was taken away since the start is still good. @throws CannotAttestError */
function presentWord({ joinFile, trustDomain }: AgentConfig, atStart: JoinWord): JoinWord {
  if (joinFile === undefined) return atStart;
  let word: JoinWord;
  try {
    word = rereadJoinFile(joinFile) ?? atStart;
  } catch (error) {
    throw new CannotAttestError(errorText(error));
  }
  if (word.trustDomain.equals(trustDomain)) return word;
  throw new CannotAttestError(
    `the join word in ${joinFile} is for another trust domain than this agent was started in; start the agent again`,
  );
}

async function readToken(path: string): Promise<string> {
  try {
    return (await readFile(obeyed(path), "utf8")).trim();
  } catch (error) {
    throw new CannotAttestError(`unable to read join token file ${path}: ${errorText(error)}`);
  }
}

/**
 * Credentials of systemd (systemd.exec(5), LoadCredential=): files that only this service can read, handed over at its start. A key that
 * names a file may name one of them, as `credential:NAME`.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";

const PREFIX = "credential:";
/** What systemd takes for a name: what can be a file's, and has no colon. */
const NAME = /^(?!\.{1,2}$)[\x21-\x2e\x30-\x39\x3b-\x7e]{1,255}$/;

/** Whether the text stands for a credential that was not found; only whoever looks at a configuration from outside its unit has such a path. */
export function isCredential(text: string): boolean {
  return text.startsWith(PREFIX);
}

/** There are no credentials at all: this process is none of a unit that has some. */
export class NoCredentialsError extends Error {
  override readonly name: string = "NoCredentialsError";
}

/**
 * The path of a file as a key gives it: the credential's, or the text itself.
 *
 * @throws NoCredentialsError outside of such a unit, or Error saying what the unit lacks
 */
export function filePath(
  text: string,
  environment: Readonly<Record<string, string | undefined>> = process.env,
): string {
  if (!isCredential(text)) return text;
  const name = text.slice(PREFIX.length);
  const quoted = JSON.stringify(name);
  if (!NAME.test(name)) throw new Error(`${quoted} cannot be the name of a credential`);
  const directory = environment["CREDENTIALS_DIRECTORY"] ?? "";
  if (directory === "") {
    throw new NoCredentialsError(
      `there is no credential ${quoted}: $CREDENTIALS_DIRECTORY is not set; systemd sets it for a unit with LoadCredential=${name}:PATH`,
    );
  }
  const path = join(directory, name);
  if (!existsSync(path)) {
    throw new Error(
      `there is no credential ${quoted} in ${directory}: the unit needs LoadCredential=${name}:PATH, and a file there when it starts`,
    );
  }
  return path;
}

import { isThere, type PackagedSocket, unnamedSocket } from "#config/packaged.ts";
import { type Flag, stringFlag } from "./flags.ts";
import { goQuote } from "./go-text.ts";
import type { Io } from "./io.ts";

/** How an executable finds the socket of its API when the command line leaves it open. */
export interface SocketRules {
  readonly defaultPath: string;
  /** Where the packages have it. */
  readonly packaged: PackagedSocket;
  /** Holds a path with `%i` in it, for `-instance`; without `_TEMPLATE`, the variable that holds a plain path. */
  readonly templateVariable: string;
  /** The same for the daemons of the packages that have an instance name, where there are any. */
  readonly packagedTemplate?: string;
  /** What to say when -instance is given without the template. */
  readonly noTemplate: string;
}

/** The flag that names a socket; empty when it is not given, which is not the same as naming the default. */
export function socketFlag(
  help: string,
  { defaultPath, packaged }: Pick<SocketRules, "defaultPath" | "packaged">,
): Flag<string> {
  return {
    ...stringFlag(`${help}; where it is not there, that of the packages, ${packaged.path}`),
    defaultText: goQuote(defaultPath),
  };
}

/**
 * The socket to use: an explicit path other than the default, else the template filled with the instance, else the path in the
 * environment, else an explicit default, else the default or the one of the packages, whichever is there.
 *
 * @param flags `socketPath` is empty when the flag is not given
 * @throws Error when the instance cannot be turned into a path
 */
export function socketPath(
  rules: SocketRules,
  flags: { readonly socketPath: string; readonly instance: string },
  env: Io["env"],
): string {
  const template = env[rules.templateVariable] || packagedTemplate(rules, flags.instance);
  if (flags.instance !== "") {
    if (template === "") throw new Error(rules.noTemplate);
    if (!template.includes("%i")) throw new Error(`failed to find %i in ${rules.templateVariable}`);
  }
  const isNamed = flags.socketPath !== "";
  if (isNamed && flags.socketPath !== rules.defaultPath) return flags.socketPath;
  if (flags.instance !== "") return template.replaceAll("%i", () => flags.instance);
  return variablePath(rules, env) ?? (isNamed ? rules.defaultPath : foundPath(rules));
}

/**
 * Who may listen on the socket that `socketPath` gives, beside root and the caller, where neither flag nor variable named it: then it may be
 * anybody's who came first.
 *
 * @returns undefined where it was named
 */
export function socketOwner(
  rules: SocketRules,
  flags: { readonly socketPath: string; readonly instance: string },
  env: Io["env"],
): string | undefined {
  const isNamed = flags.socketPath !== "" || variablePath(rules, env) !== undefined;
  const isFilled = flags.instance !== "" && (env[rules.templateVariable] ?? "") !== "";
  return isNamed || isFilled ? undefined : rules.packaged.user;
}

/** The socket when nobody names it: the path in the environment, else the default or the one of the packages, whichever is there. */
export function unnamedSocketPath(rules: SocketRules, env: Io["env"]): string {
  return variablePath(rules, env) ?? foundPath(rules);
}

/** Empty when no daemon of the packages has that name. */
function packagedTemplate({ packagedTemplate: template = "" }: SocketRules, name: string): string {
  const isInstance = name !== "" && !name.includes("/");
  return isInstance && isThere(template.replaceAll("%i", () => name)) ? template : "";
}

function variablePath(rules: SocketRules, env: Io["env"]): string | undefined {
  return env[rules.templateVariable.replace(/_TEMPLATE$/, "")] || undefined;
}

function foundPath({ defaultPath, packaged }: SocketRules): string {
  return unnamedSocket(defaultPath, packaged);
}

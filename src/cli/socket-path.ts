import type { Io } from "./io.ts";

/** How an executable finds the socket of its API when the command line leaves it open. */
export interface SocketRules {
  readonly defaultPath: string;
  /** Holds a path with `%i` in it, for `-instance`; without `_TEMPLATE`, the variable that holds a plain path. */
  readonly templateVariable: string;
  /** What to say when -instance is given without the template. */
  readonly noTemplate: string;
}

/**
 * The socket to use: an explicit path other than the default, else the template filled with the instance, else the path in the
 * environment, else the default. Naming the default explicitly is the same as not naming any.
 *
 * @throws Error when the instance cannot be turned into a path
 */
export function socketPath(
  rules: SocketRules,
  flags: { readonly socketPath: string; readonly instance: string },
  env: Io["env"],
): string {
  const template = env[rules.templateVariable] ?? "";
  if (flags.instance !== "") {
    if (template === "") throw new Error(rules.noTemplate);
    if (!template.includes("%i")) throw new Error(`failed to find %i in ${rules.templateVariable}`);
  }
  if (flags.socketPath !== rules.defaultPath) return flags.socketPath;
  if (flags.instance !== "") return template.replaceAll("%i", () => flags.instance);
  return unnamedSocketPath(rules, env);
}

/** The socket when nobody names it: the path in the environment, else the default. */
export function unnamedSocketPath(rules: SocketRules, env: Io["env"]): string {
  const plain = env[rules.templateVariable.replace(/_TEMPLATE$/, "")] ?? "";
  return plain === "" ? rules.defaultPath : plain;
}

/**
 * Replaces `$NAME` and `${NAME}` by the environment's values, as -expandEnv asks for; a name that is not set becomes nothing.
 */
export function expandEnv(
  text: string,
  environment: Readonly<Record<string, string | undefined>>,
): string {
  return text.replace(
    /\$(?:\{([^}]*)\}|([A-Za-z_][A-Za-z0-9_]*|[*#$@!?\-0-9]))/g,
    (_whole, braced: string | undefined, bare: string | undefined) =>
      // As in the reference, two dollar signs stand for one.
      bare === "$" ? "$" : (environment[braced ?? bare ?? ""] ?? ""),
  );
}

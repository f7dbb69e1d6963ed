/**
 * Replaces `$NAME` and `${NAME}` by the environment's values, as -expandEnv asks for and Go's os.Expand does it: a name that is not set
 * becomes nothing, as does a `${` without its end; two dollar signs stand for one.
 */
export function expandEnv(
  text: string,
  environment: Readonly<Record<string, string | undefined>>,
): string {
  return text.replace(
    /\$(?:\{([*#$@!?\-0-9](?=\})|[^}]*)\}|([A-Za-z_][A-Za-z0-9_]*|[*#$@!?\-0-9])|\{)/g,
    (_whole, braced: string | undefined, bare: string | undefined) => {
      const name = braced ?? bare ?? "";
      return name === "$" ? "$" : (environment[name] ?? "");
    },
  );
}

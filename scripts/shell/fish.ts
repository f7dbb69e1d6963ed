import { type FlagInfo, type Place, type Program, placesOf } from "./command-tree.ts";

/** A completion script for fish. */
export function fishCompletion(program: Program): string {
  const places = placesOf(program);
  const name = `__${program.name.replace("-", "_")}`;
  const known = places.slice(1).map(({ words }) => `' ${words}'`);
  const lines = places.flatMap((place) => completions(program.name, `${name}_at`, place));
  return `# Completion for ${program.name} in fish, made from its commands.
function ${name}_at
    set -l place ''
    set -l typed (commandline -opc)
    set -e typed[1]
    for word in $typed
        if test -z "$place" -a "$word" = help
            continue
        end
        switch "$place $word"
            case ${known.join(" ")}
                set place "$place $word"
            case '*'
                break
        end
    end
    test "$place" = "$argv[1]"
end
complete -c ${program.name} -f
${lines.join("\n")}
`;
}

function completions(
  program: string,
  at: string,
  { words, next, flags, takesFiles }: Place,
): string[] {
  const place = words === "" ? "" : ` ${words}`;
  const start = `complete -c ${program} -n '${at} "${place}"'`;
  return [
    ...next.map(({ word, about }) => `${start} -a ${word} -d ${quoted(about)}`),
    ...flags.map((flag) => `${start} -o ${flag.name}${argument(flag)} -d ${quoted(flag.help)}`),
    ...(takesFiles ? [`${start} -F`] : []),
  ];
}

function argument({ isSwitch, values }: FlagInfo): string {
  if (isSwitch) return "";
  if (values === "file") return " -r -F";
  return values === "any" ? " -x" : ` -x -a '${values.join(" ")}'`;
}

function quoted(text: string): string {
  return `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
}

import { type Place, type Program, placesOf } from "./command-tree.ts";

/** A completion script for bash, which needs nothing but bash. */
export function bashCompletion(program: Program): string {
  const places = placesOf(program);
  const name = `_${program.name.replace("-", "_")}`;
  const known = places.slice(1).map(({ words }) => `' ${words}'`);
  return `# Completion for ${program.name} in bash, made from its commands.
${name}() {
  local current=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD-1]} place= i
  for ((i = 1; i < COMP_CWORD; i++)); do
    if [[ $place == '' && \${COMP_WORDS[i]} == help ]]; then continue; fi
    case "$place \${COMP_WORDS[i]}" in
    ${known.join("|")}) place="$place \${COMP_WORDS[i]}" ;;
    *) break ;;
    esac
  done
  local words= files=
  case "$place $before" in
${valueCases(places)}
  *)
    case "$place" in
${places.map(placeCase).join("\n")}
    esac
    ;;
  esac
  COMPREPLY=()
  [[ -z $words ]] || COMPREPLY=($(compgen -W "$words" -- "$current"))
  [[ -z $files || ( -n $words && $current == -* ) ]] || { compopt -o filenames 2>/dev/null; COMPREPLY+=($(compgen -f -- "$current")); }
}
complete -F ${name} ${program.name}
`;
}

function placeCase({ words, next, flags, takesFiles }: Place): string {
  const following = next.map(({ word }) => word).join(" ");
  const named = flags.map(({ name }) => `-${name}`).join(" ");
  const pattern = words === "" ? "''" : `' ${words}'`;
  const choice =
    next.length === 0
      ? `words='${named}'`
      : `words='${following}'; [[ $current != -* ]] || words='${named}'`;
  return `    ${pattern}) ${choice}${takesFiles ? "; files=yes; [[ $current == -* ]] || words=" : ""} ;;`;
}

/** What follows a flag that takes a value. */
function valueCases(places: readonly Place[]): string {
  return places
    .flatMap(({ words, flags }) =>
      flags
        .filter(({ isSwitch }) => !isSwitch)
        .map(({ name, values }) => {
          const result =
            values === "file"
              ? "files=yes"
              : values === "any"
                ? ":"
                : `words='${values.join(" ")}'`;
          return `  ' ${words} -${name}'|' ${words} --${name}') ${result} ;;`;
        }),
    )
    .join("\n");
}

import { type FlagInfo, type Place, type Program, placesOf } from "./command-tree.ts";

/** A completion script for zsh's completion system. */
export function zshCompletion(program: Program): string {
  const places = placesOf(program);
  const known = places.slice(1).map(({ words }) => `' ${words}'`);
  return `#compdef ${program.name}
# Completion for ${program.name} in zsh, made from its commands.
local place= before=\${words[CURRENT-1]} i
local -a following flags
for ((i = 2; i < CURRENT; i++)); do
  if [[ -z $place && \${words[i]} == help ]]; then continue; fi
  case "$place \${words[i]}" in
    (${known.join("|")}) place="$place \${words[i]}" ;;
    (*) break ;;
  esac
done
case "$place $before" in
${places.flatMap(valueCases).join("\n")}
esac
local files=
case "$place" in
${places.map(placeCase).join("\n")}
esac
if [[ \${words[CURRENT]} == -* ]]; then
  _describe -o flag flags
elif (( \${#following} )); then
  _describe command following
elif [[ -n $files ]]; then
  _files
else
  _describe -o flag flags
fi
`;
}

function placeCase({ words, next, flags, takesFiles }: Place): string {
  const lines = next.map(({ word, about }) => quoted(`${word}:${about}`));
  const named = flags.map(({ name, help }) => quoted(`-${name}:${help}`));
  const pattern = words === "" ? "''" : `' ${words}'`;
  return `  (${pattern})
    following=(${lines.join(" ")})
    flags=(${named.join(" ")})
    ${takesFiles ? "files=yes" : ":"}
    ;;`;
}

function valueCases({ words, flags }: Place): string[] {
  return flags
    .filter(({ isSwitch }) => !isSwitch)
    .map(
      ({ name, values }) =>
        `  (' ${words} -${name}'|' ${words} --${name}') ${action(values)}; return ;;`,
    );
}

function action(values: FlagInfo["values"]): string {
  if (values === "file") return "_files";
  return values === "any" ? "_message value" : `compadd -- ${values.join(" ")}`;
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

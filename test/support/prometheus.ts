/** The names and labels of all figures that an exporter of SPIRE's offers, without their values and versions. */
export async function figuresAt(port: number, prefix: string): Promise<Set<string>> {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  const lines = text.split("\n").filter((line) => line.startsWith(prefix));
  return new Set(lines.map((line) => line.slice(0, line.lastIndexOf(" "))).map(sortedLabels));
}

function sortedLabels(series: string): string {
  const [, name, labels] = /^(\w+)\{(.*)\}$/.exec(series) ?? [];
  if (name === undefined || labels === undefined) return series;
  const kept = labels.split(",").map((label) => label.replace(/version="[^"]*"/, 'version="…"'));
  return `${name}{${kept.sort().join(",")}}`;
}

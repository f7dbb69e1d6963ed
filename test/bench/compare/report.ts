/** Rounds of both implementations become a table of ratios and a plot. */
import { FIGURES, type Figure, type Measured } from "./figures.ts";
import { median } from "./load.ts";

export interface Round {
  readonly ours: Measured;
  readonly reference: Measured;
}

/** Ours divided by the reference's: the median over the rounds, and the least and the greatest. */
export interface Ratio {
  readonly figure: Figure;
  readonly median: number;
  readonly least: number;
  readonly greatest: number;
  /** Undefined where there is no aim. */
  readonly met?: boolean;
}

export function ratios(rounds: readonly Round[]): Ratio[] {
  return FIGURES.flatMap((figure) => {
    const all = rounds.flatMap(({ ours, reference }) => {
      const [one, other] = [ours.get(figure.name), figure.bound ?? reference.get(figure.name)];
      return one === undefined || other === undefined ? [] : [one / other];
    });
    if (all.length === 0) return [];
    const middle = median(all);
    const verdict = figure.aim === undefined ? {} : { met: meets(figure.aim, middle) };
    const ends = { least: Math.min(...all), greatest: Math.max(...all) };
    return [{ figure, median: middle, ...ends, ...verdict }];
  });
}

const meets = (aim: NonNullable<Figure["aim"]>, ratio: number): boolean =>
  "min" in aim ? ratio >= aim.min : ratio <= aim.max;

const short = (value: number): string =>
  value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toPrecision(2);

const aimText = ({ aim }: Figure): string =>
  aim === undefined ? "" : "min" in aim ? `≥ ${aim.min}` : `≤ ${aim.max}`;

const verdictText = ({ met }: Ratio): string => (met === undefined ? "" : met ? "yes" : "**no**");

export const markdownTable = (
  header: readonly string[],
  rows: readonly (readonly string[])[],
): string =>
  [header, header.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");

export function ratioTable(all: readonly Ratio[]): string {
  return markdownTable(
    ["figure", "ours ÷ reference", "least – greatest", "aim", "met"],
    all.map((ratio) => [
      ratio.figure.what,
      short(ratio.median),
      `${short(ratio.least)} – ${short(ratio.greatest)}`,
      aimText(ratio.figure),
      verdictText(ratio),
    ]),
  );
}

/** The exponent with which values grow: the slope of the line through the logarithms. */
export function exponent(sizes: readonly number[], values: readonly number[]): number {
  const xs = sizes.map(Math.log);
  const ys = values.map(Math.log);
  const mean = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0) / list.length;
  const [meanX, meanY] = [mean(xs), mean(ys)];
  const over = xs.reduce((sum, x, n) => sum + (x - meanX) * ((ys[n] ?? 0) - meanY), 0);
  return over / xs.reduce((sum, x) => sum + (x - meanX) ** 2, 0);
}

const ROW = 22;
const LEFT = 470;
const WIDTH = 900;

/** How many times better than the reference, on a logarithmic scale; a tick stands where the aim is. */
export function plot(all: readonly Ratio[]): string {
  const rated = all.filter(({ figure }) => figure.aim !== undefined);
  const better = (figure: Figure, ratio: number): number =>
    figure.aim !== undefined && "min" in figure.aim ? ratio : 1 / ratio;
  const aimOf = ({ aim }: Figure): number =>
    aim === undefined ? 1 : "min" in aim ? aim.min : 1 / aim.max;
  const scale = Math.max(
    ...rated.map((one) => Math.abs(Math.log10(better(one.figure, one.median)))),
    1,
  );
  const unit = (WIDTH - LEFT) / 2 / scale;
  const zero = LEFT + (WIDTH - LEFT) / 2;
  const x = (factor: number): string =>
    Math.min(WIDTH - 4, Math.max(LEFT, zero + Math.log10(factor) * unit)).toFixed(1);
  const rows = rated.map((one, n) => {
    const factor = better(one.figure, one.median);
    const y = n * ROW + 30;
    const [from, to] = [Math.min(zero, Number(x(factor))), Math.max(zero, Number(x(factor)))];
    const colour = one.met ? "#2e7d32" : factor >= 1 ? "#f9a825" : "#c62828";
    return [
      `<text x="${LEFT - 8}" y="${y + 11}" text-anchor="end">${one.figure.what}</text>`,
      `<rect x="${from}" y="${y}" width="${Math.max(1, to - from).toFixed(1)}" height="14" fill="${colour}"/>`,
      `<path d="M${x(aimOf(one.figure))} ${y - 2}v18" stroke="#000" stroke-width="2"/>`,
    ].join("");
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${rated.length * ROW + 40}" font-family="sans-serif" font-size="12">
<title>How many times better than the reference, on a logarithmic scale, with the aims</title>
<rect width="100%" height="100%" fill="#fff"/>
<text x="${zero}" y="16" text-anchor="middle">worse ← as the reference → better (logarithmic; black: the aim)</text>
<path d="M${zero} 22V${rated.length * ROW + 34}" stroke="#888"/>
${rows.join("\n")}
</svg>
`;
}

/**
 * Small panels of lines, both axes logarithmic: a straight line is a power, and a dotted one is "in step with the room".
 */

export interface Point {
  readonly members: number;
  readonly value: number;
}

export interface Line {
  readonly label: string;
  readonly points: readonly Point[];
}

export interface Panel {
  readonly title: string;
  readonly unit: string;
  /** The first is drawn full and has its figures beside it, the second dashed. */
  readonly lines: readonly [Line, ...Line[]];
}

const PANEL = { width: 300, height: 232, left: 52, right: 22, top: 58, bottom: 30, columns: 3 } as const;
/** Room for a figure beside its mark. */
const LABEL = { width: 46, height: 14 } as const;

const STYLE = `
  svg { font: 12px system-ui, sans-serif; --ink: #1f2328; --dim: #656d76; --grid: #d8dee4; --line: #0b5cad; --back: #ffffff }
  @media (prefers-color-scheme: dark) {
    svg { --ink: #e6edf3; --dim: #8d96a0; --grid: #30363d; --line: #6cb6ff; --back: #0d1117 }
  }
  .back { fill: var(--back) } text { fill: var(--ink); paint-order: stroke; stroke: var(--back); stroke-width: 3px } .dim { fill: var(--dim) } .title { font-weight: 600 }
  .grid { stroke: var(--grid); fill: none } .line { stroke: var(--line); stroke-width: 2; fill: none }
  .other { stroke: var(--dim); stroke-width: 1.5; stroke-dasharray: 5 3; fill: none } .mark { fill: var(--line) }
  .slope { stroke: var(--dim); stroke-dasharray: 2 4; fill: none }
`;

/** An SVG file. */
export function plotOf(title: string, panels: readonly Panel[]): string {
  const { width, height, columns } = PANEL;
  const size = [columns * width, Math.ceil(panels.length / columns) * height] as const;
  const groups = panels.map((panel, index) => {
    const [x, y] = [(index % columns) * width, Math.floor(index / columns) * height];
    return `<g transform="translate(${x} ${y})">\n${panelOf(panel)}\n</g>`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size.join(" ")}" role="img">`,
    `<title>${title}; both axes logarithmic</title>`,
    `<style>${STYLE}</style>`,
    `<rect class="back" width="${size[0]}" height="${size[1]}"/>`,
    ...groups,
    "</svg>\n",
  ].join("\n");
}

function panelOf({ title, unit, lines }: Panel): string {
  const { width, height, left, right, top, bottom } = PANEL;
  const [first, ...others] = lines;
  const all = lines.flatMap(line => line.points).filter(({ value }) => value > 0);
  const across = scaleOf(
    all.map(({ members }) => members),
    left,
    width - right,
  );
  const [low, high] = decadesAround(all.map(({ value }) => value));
  const up = scaleOf([low, high], height - bottom, top);
  const grid = powersOfTen(low, high).map(power => {
    const y = up(power);
    const label = `<text class="dim" x="${left - 6}" y="${y + 4}" text-anchor="end">${powerText(power)}</text>`;
    return `<path class="grid" d="M${left} ${y}H${width - right}"/>${label}`;
  });
  const path = ({ points }: Line) => points.map(({ members, value }) => `${across(members)} ${up(value)}`).join("L");
  const places = first.points.map(({ members, value }) => ({ x: across(members), y: up(value), members, value }));
  const marks = places.map(({ x, y, members, value }, index) => {
    const next = places[index + 1];
    const anchor = index === 0 ? "start" : next === undefined ? "end" : "middle";
    // Where two figures would cover each other, the last one says enough.
    const isCovered = next !== undefined && next.x - x < LABEL.width && Math.abs(next.y - y) < LABEL.height;
    return [
      `<circle class="mark" cx="${x}" cy="${y}" r="3"/>`,
      isCovered ? "" : `<text x="${x}" y="${y - 8}" text-anchor="${anchor}">${figure(value)}</text>`,
      `<text class="dim" x="${x}" y="${height - 10}" text-anchor="middle">${members}</text>`,
    ].join("");
  });
  const legend = others.map(({ label }) => `, dashed: ${label}`).join("");
  return [
    `<text class="title" x="${left}" y="18">${title}</text>`,
    `<text class="dim" x="${left}" y="33">${unit}${legend}</text>`,
    ...grid,
    slopeOf(first.points, high, across, up),
    ...others.map(line => `<path class="other" d="M${path(line)}"/>`),
    `<path class="line" d="M${path(first)}"/>`,
    ...marks,
  ].join("\n");
}

/** Where a cost would run that grows as the room does, from the first point on, as far as the panel goes. */
function slopeOf(points: readonly Point[], high: number, across: Scale, up: Scale): string {
  const [from, last] = [points[0], points.at(-1)];
  if (from === undefined || last === undefined) return "";
  const members = Math.min(last.members, (from.members * high) / from.value);
  const end = [across(members), up((from.value * members) / from.members)];
  return `<path class="slope" d="M${across(from.members)} ${up(from.value)}L${end.join(" ")}"/>`;
}

type Scale = (value: number) => number;

function scaleOf(values: readonly number[], from: number, to: number): Scale {
  const [low, high] = [Math.log(Math.min(...values)), Math.log(Math.max(...values))];
  return value => Math.round((from + ((Math.log(value) - low) / (high - low || 1)) * (to - from)) * 10) / 10;
}

/** Whole decades, at least two, so that a flat line looks flat. */
function decadesAround(values: readonly number[]): readonly [low: number, high: number] {
  const low = Math.floor(Math.log10(Math.min(...values)));
  const high = Math.ceil(Math.log10(Math.max(...values) * 1.2));
  return [10 ** low, 10 ** Math.max(high, low + 2)];
}

function powersOfTen(low: number, high: number): number[] {
  const powers: number[] = [];
  for (let exponent = Math.round(Math.log10(low)); exponent <= Math.round(Math.log10(high)); exponent += 1)
    powers.push(10 ** exponent);
  return powers;
}

/** Three digits that count. */
export function figure(value: number): string {
  if (value >= 1000) return Math.round(value).toLocaleString("en");
  return value >= 100 ? value.toFixed(0) : value.toPrecision(value < 1 ? 2 : 3);
}

function powerText(power: number): string {
  if (power >= 1e6) return `${power / 1e6}M`;
  return power >= 1e3 ? `${power / 1e3}k` : String(power);
}

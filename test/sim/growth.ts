/**
 * `bun run growth`: what a member costs as the room grows, as a table and a plot (growth.svg beside this file).
 *
 * Every size is played in a process of its own, so that the heap holds one room and nothing else. A row that has been
 * measured is kept in a file if one is named, since a large room takes minutes.
 */
import { appendFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { pick, randomStream } from "./random.ts";
import { World } from "./world.ts";

const HELP = `bun run growth -- [sizes]   members, default 25 100 400 1000
  --rows <file>   keep rows here, and do not measure again those that stand there
  --svg <file>    default test/sim/growth.svg
`;

const SIZES = [25, 100, 400, 1000];
const SEED = 1;
const LATENCY_MS = [10, 100] as const;
const JOIN_EVERY_MS = 20;
/** A mesh that has outgrown its limit thins out by one link every half second. */
const SETTLE_MS = 60_000;
const IDLE_MS = 60_000;
const SENDERS = 10;
const TEXT = "x".repeat(20);
const TEXT_EVERY_MS = 100;
/** Said before anything is counted: trees are to stand. */
const WARM_UP_TEXTS = 100;
const TEXTS = 200;
/** What is under way has arrived, and its digests have been told. */
const CALM_MS = 10_000;

/** All by member: what one of them sends, on the average, or keeps. */
interface Row {
  readonly members: number;
  /** For each text, with what is said about it (digests, prunes, wants), without what goes on anyway. */
  readonly textBytes: number;
  readonly textFrames: number;
  /** A second, when nobody says anything. */
  readonly idleBytes: number;
  readonly idleFrames: number;
  readonly links: number;
  /** From the first join until the mesh has settled. */
  readonly joinBytes: number;
  /** Heap of the whole process, less what it was before, by core. Cores of one process share the bytes of posts. */
  readonly coreBytes: number;
  /** Real time that all this took, s. */
  readonly seconds: number;
}

function main(argv: readonly string[]): number {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      rows: { type: "string" },
      svg: { type: "string", default: join(import.meta.dir, "growth.svg") },
      one: { type: "boolean" },
      help: { type: "boolean", short: "h" },
    },
  });
  if (values.help === true) {
    process.stdout.write(HELP);
    return 0;
  }
  const sizes = positionals.length === 0 ? SIZES : positionals.map(Number);
  if (sizes.some(size => !Number.isInteger(size) || size < 2)) throw new Error("a size is a number of members, from 2");
  if (values.one === true) {
    for (const size of sizes) process.stdout.write(`${JSON.stringify(measure(size))}\n`);
    return 0;
  }
  const known = new Map(readRows(values.rows).map(row => [row.members, row]));
  for (const size of sizes) {
    if (known.has(size)) continue;
    const row = measureApart(size);
    known.set(size, row);
    if (values.rows !== undefined) appendFileSync(values.rows, `${JSON.stringify(row)}\n`);
  }
  const rows = [...known.values()].sort((a, b) => a.members - b.members);
  process.stdout.write(tableOf(rows));
  writeFileSync(values.svg, plotOf(rows));
  return 0;
}

function readRows(path: string | undefined): Row[] {
  if (path === undefined || !existsSync(path)) return [];
  return readFileSync(path, "utf8")
    .split("\n")
    .filter(Boolean)
    .map(line => JSON.parse(line) as Row);
}

function measureApart(size: number): Row {
  const command = [process.execPath, import.meta.path, "--one", String(size)];
  const { stdout, exitCode } = Bun.spawnSync(command, { stdout: "pipe", stderr: "inherit" });
  if (exitCode !== 0) throw new Error(`the room of ${size} could not be played`);
  return JSON.parse(stdout.toString()) as Row;
}

// One room.

function measure(size: number): Row {
  const started = performance.now();
  const heapBefore = heapUsed();
  const world = new World({ seed: SEED, latencyMs: LATENCY_MS });
  const random = randomStream(SEED, "growth");
  const perMember = (total: number) => total / size;

  world.add();
  while (world.nodes.length < size) {
    world.runFor(JOIN_EVERY_MS);
    world.add(
      pick(
        random,
        world.nodes.filter(({ isSynced }) => isSynced),
      ),
    );
  }
  world.runFor(SETTLE_MS);
  const joinBytes = perMember(world.counters.bytes);

  const idle = counted(world, () => world.runFor(IDLE_MS));
  const coreBytes = perMember(heapUsed() - heapBefore);
  const links = perMember(world.nodes.reduce((sum, node) => sum + node.links.size, 0));

  const talk = (texts: number) => {
    for (let text = 0; text < texts; text += 1) {
      pick(random, world.nodes.slice(0, SENDERS))?.say(TEXT);
      world.runFor(TEXT_EVERY_MS);
    }
    world.runFor(CALM_MS);
  };
  talk(WARM_UP_TEXTS);
  const said = counted(world, () => talk(TEXTS));
  const idleShare = (TEXTS * TEXT_EVERY_MS + CALM_MS) / IDLE_MS;
  checkAll(world);
  return {
    members: size,
    textBytes: perMember(said.bytes - idle.bytes * idleShare) / TEXTS,
    textFrames: perMember(said.frames - idle.frames * idleShare) / TEXTS,
    idleBytes: perMember(idle.bytes) / (IDLE_MS / 1000),
    idleFrames: perMember(idle.frames) / (IDLE_MS / 1000),
    links,
    joinBytes,
    coreBytes,
    seconds: (performance.now() - started) / 1000,
  };
}

function counted(world: World, act: () => void): { readonly frames: number; readonly bytes: number } {
  const { frames, bytes } = world.counters;
  act();
  return { frames: world.counters.frames - frames, bytes: world.counters.bytes - bytes };
}

/** Figures of a room that lost something would mean nothing. */
function checkAll(world: World): void {
  for (const { index, heard, core } of world.nodes) {
    if (heard.length !== WARM_UP_TEXTS + TEXTS) throw new Error(`node ${index} has heard ${heard.length} texts`);
    if (core?.members.presentCount !== world.nodes.length) throw new Error(`node ${index} does not see everybody`);
  }
  if (world.violations.length > 0) throw new Error(world.violations.join("; "));
}

function heapUsed(): number {
  Bun.gc(true);
  return process.memoryUsage().heapUsed;
}

// What is shown of it.

interface Series {
  readonly title: string;
  readonly unit: string;
  readonly value: (row: Row) => number;
}

const SERIES: readonly Series[] = [
  { title: "A text", unit: "bytes a member", value: row => row.textBytes },
  { title: "A text", unit: "frames a member", value: row => row.textFrames },
  { title: "Nobody talks", unit: "bytes a second and member", value: row => row.idleBytes },
  { title: "Links", unit: "a member", value: row => row.links },
  { title: "Until all are in", unit: "KB a member", value: row => row.joinBytes / 1000 },
  { title: "Memory of a core", unit: "KB", value: row => row.coreBytes / 1000 },
];

function tableOf(rows: readonly Row[]): string {
  const columns: readonly (readonly [head: string, value: (row: Row) => string])[] = [
    ["members", row => String(row.members)],
    ["a text: bytes a member", row => figure(row.textBytes)],
    ["frames a member", row => figure(row.textFrames)],
    ["idle: bytes a second and member", row => figure(row.idleBytes)],
    ["frames a second and member", row => figure(row.idleFrames)],
    ["links", row => figure(row.links)],
    ["until all are in: KB a member", row => figure(row.joinBytes / 1000)],
    ["memory of a core, KB", row => figure(row.coreBytes / 1000)],
    ["by member it knows, bytes", row => figure(row.coreBytes / row.members)],
    ["played in, s", row => figure(row.seconds)],
  ];
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |\n`;
  return [
    line(columns.map(([head]) => head)),
    line(columns.map(() => "---:")),
    ...rows.map(row => line(columns.map(([, value]) => value(row)))),
  ].join("");
}

/** Three digits that count. */
function figure(value: number): string {
  if (value >= 1000) return Math.round(value).toLocaleString("en");
  return value >= 100 ? value.toFixed(0) : value.toPrecision(value < 1 ? 2 : 3);
}

const PANEL = { width: 300, height: 232, left: 52, right: 22, top: 58, bottom: 30, columns: 3 } as const;

const STYLE = `
  svg { font: 12px system-ui, sans-serif; --ink: #1f2328; --dim: #656d76; --grid: #d8dee4; --line: #0b5cad; --back: #ffffff }
  @media (prefers-color-scheme: dark) {
    svg { --ink: #e6edf3; --dim: #8d96a0; --grid: #30363d; --line: #6cb6ff; --back: #0d1117 }
  }
  .back { fill: var(--back) } text { fill: var(--ink) } .dim { fill: var(--dim) } .title { font-weight: 600 }
  .grid { stroke: var(--grid); fill: none } .line { stroke: var(--line); stroke-width: 2; fill: none }
  .slope { stroke: var(--dim); stroke-dasharray: 2 4; fill: none } circle { fill: var(--line) }
`;

/** Small panels with both axes logarithmic: a straight line is a power, and the dotted one is "in step with the room". */
function plotOf(rows: readonly Row[]): string {
  const { width, height, columns } = PANEL;
  const size = [columns * width, Math.ceil(SERIES.length / columns) * height] as const;
  const panels = SERIES.map((series, index) => {
    const [x, y] = [(index % columns) * width, Math.floor(index / columns) * height];
    return `<g transform="translate(${x} ${y})">\n${panelOf(series, rows)}\n</g>`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size.join(" ")}" role="img">`,
    "<title>What a member costs as the room grows, simulated; both axes logarithmic</title>",
    `<style>${STYLE}</style>`,
    `<rect class="back" width="${size[0]}" height="${size[1]}"/>`,
    ...panels,
    "</svg>\n",
  ].join("\n");
}

function panelOf({ title, unit, value }: Series, rows: readonly Row[]): string {
  const { width, height, left, right, top, bottom } = PANEL;
  const points = rows.map(row => ({ members: row.members, value: value(row) }));
  const across = scaleOf(
    points.map(({ members }) => members),
    left,
    width - right,
  );
  const [low, high] = decadesAround(points.map(point => point.value));
  const up = scaleOf([low, high], height - bottom, top);
  const marks = points.map(point => ({ x: across(point.members), y: up(point.value), point }));
  const gridLines = powersOfTen(low, high).map(power => {
    const y = up(power);
    const label = `<text class="dim" x="${left - 6}" y="${y + 4}" text-anchor="end">${figureShort(power)}</text>`;
    return `<path class="grid" d="M${left} ${y}H${width - right}"/>${label}`;
  });
  const [first] = points;
  const slope = first === undefined ? "" : slopeOf(first, points.at(-1)?.members ?? first.members, high, across, up);
  return [
    `<text class="title" x="${left}" y="18">${title}</text><text class="dim" x="${left}" y="33">${unit}</text>`,
    ...gridLines,
    slope,
    `<path class="line" d="M${marks.map(({ x, y }) => `${x} ${y}`).join("L")}"/>`,
    ...marks.map(({ x, y, point }, index) => {
      const anchor = index === 0 ? "start" : index === marks.length - 1 ? "end" : "middle";
      return [
        `<circle cx="${x}" cy="${y}" r="3"/>`,
        `<text x="${x}" y="${y - 8}" text-anchor="${anchor}">${figure(point.value)}</text>`,
        `<text class="dim" x="${x}" y="${height - 10}" text-anchor="middle">${point.members}</text>`,
      ].join("");
    }),
  ].join("\n");
}

/** Where a cost would run that grows as the room does, from the first point on, as far as the panel goes. */
function slopeOf(
  from: { readonly members: number; readonly value: number },
  last: number,
  high: number,
  across: (members: number) => number,
  up: (value: number) => number,
): string {
  const members = Math.min(last, (from.members * high) / from.value);
  const end = [across(members), up((from.value * members) / from.members)];
  return `<path class="slope" d="M${across(from.members)} ${up(from.value)}L${end.join(" ")}"/>`;
}

function scaleOf(values: readonly number[], from: number, to: number): (value: number) => number {
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

function figureShort(power: number): string {
  if (power >= 1e6) return `${power / 1e6}M`;
  return power >= 1e3 ? `${power / 1e3}k` : String(power);
}

try {
  process.exitCode = main(Bun.argv.slice(2));
} catch (error) {
  process.stderr.write(`growth: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}

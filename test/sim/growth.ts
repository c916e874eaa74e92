/**
 * `bun run growth`: what a member costs as the room grows, as a table and a plot (growth.svg beside this file).
 *
 * Every size is played in a process of its own, so that the heap holds one room and nothing else. A row that has been
 * measured is kept in a file if one is named, since a large room takes minutes.
 */
import { appendFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { figure, type Panel, plotOf } from "../plot.ts";
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
export interface GrowthRow {
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
  /** Of the processor, with the collector's threads, s: that of the clock depends on what else goes on. */
  readonly cpuSeconds: number;
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
  writeFileSync(values.svg, plotOf(TITLE, panelsOf(rows)));
  return 0;
}

function readRows(path: string | undefined): GrowthRow[] {
  if (path === undefined || !existsSync(path)) return [];
  return readFileSync(path, "utf8")
    .split("\n")
    .filter(Boolean)
    .map(line => JSON.parse(line) as GrowthRow);
}

function measureApart(size: number): GrowthRow {
  const command = [process.execPath, import.meta.path, "--one", String(size)];
  const { stdout, exitCode } = Bun.spawnSync(command, { stdout: "pipe", stderr: "inherit" });
  if (exitCode !== 0) throw new Error(`the room of ${size} could not be played`);
  return JSON.parse(stdout.toString()) as GrowthRow;
}

// One room.

function measure(size: number): GrowthRow {
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
  const { user, system } = process.cpuUsage();
  return {
    members: size,
    textBytes: perMember(said.bytes - idle.bytes * idleShare) / TEXTS,
    textFrames: perMember(said.frames - idle.frames * idleShare) / TEXTS,
    idleBytes: perMember(idle.bytes) / (IDLE_MS / 1000),
    idleFrames: perMember(idle.frames) / (IDLE_MS / 1000),
    links,
    joinBytes,
    coreBytes,
    cpuSeconds: (user + system) / 1e6,
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

const TITLE = "What a member costs as the room grows, simulated";

interface Series {
  readonly title: string;
  readonly unit: string;
  readonly value: (row: GrowthRow) => number;
}

const SERIES: readonly Series[] = [
  { title: "A text", unit: "bytes a member", value: row => row.textBytes },
  { title: "A text", unit: "frames a member", value: row => row.textFrames },
  { title: "Nobody talks", unit: "bytes a second and member", value: row => row.idleBytes },
  { title: "Links", unit: "a member", value: row => row.links },
  { title: "Until all are in", unit: "KB a member", value: row => row.joinBytes / 1000 },
  { title: "Memory of a core", unit: "KB", value: row => row.coreBytes / 1000 },
];

function panelsOf(rows: readonly GrowthRow[]): Panel[] {
  return SERIES.map(({ title, unit, value }) => {
    const points = rows.map(row => ({ members: row.members, value: value(row) }));
    return { title, unit, lines: [{ label: "simulated", points }] };
  });
}

function tableOf(rows: readonly GrowthRow[]): string {
  const columns: readonly (readonly [head: string, value: (row: GrowthRow) => string])[] = [
    ["members", row => String(row.members)],
    ["a text: bytes a member", row => figure(row.textBytes)],
    ["frames a member", row => figure(row.textFrames)],
    ["idle: bytes a second and member", row => figure(row.idleBytes)],
    ["frames a second and member", row => figure(row.idleFrames)],
    ["links", row => figure(row.links)],
    ["until all are in: KB a member", row => figure(row.joinBytes / 1000)],
    ["memory of a core, KB", row => figure(row.coreBytes / 1000)],
    ["by member it knows, bytes", row => figure(row.coreBytes / row.members)],
    ["processor time, s", row => figure(row.cpuSeconds)],
  ];
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |\n`;
  return [
    line(columns.map(([head]) => head)),
    line(columns.map(() => "---:")),
    ...rows.map(row => line(columns.map(([, value]) => value(row)))),
  ].join("");
}

try {
  process.exitCode = main(Bun.argv.slice(2));
} catch (error) {
  process.stderr.write(`growth: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}

/**
 * `bun run screenshots`: the pictures of the README (screenshots/*.svg beside this file).
 *
 * The real program is started for three people, some keys are pressed, and what the terminals then show is drawn cell
 * by cell. Names and texts are always the same; ports, times and round trips are those of the run.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Program, portOn, World } from "./e2e/program.ts";
import type { Cell, Terminal } from "./e2e/terminal.ts";

const DIRECTORY = join(import.meta.dir, "screenshots");

const CELL_WIDTH = 9;
const CELL_HEIGHT = 19;
const FONT_SIZE = 15;
/** From the top of a row to the foot of its letters. */
const BASELINE = 14;
const MARGIN = 14;

const BACKGROUND = "#16181d";
const FOREGROUND = "#d5d8de";
/** The 16 colours of a terminal, bright ones last. */
const PALETTE: readonly string[] = [
  ...["#2b2f37", "#e06c75", "#98c379", "#e5c07b", "#61afef", "#c678dd", "#56b6c2", "#c8ccd4"],
  ...["#7f8794", "#f08791", "#b2d992", "#f2d398", "#84c5f7", "#d99bea", "#7fd0da", "#ffffff"],
];

const LINKED_MS = 10_000;

const COLOURS = { NO_COLOR: undefined, FORCE_COLOR: "1", TERM: "xterm-256color" };
/** Lines that must meet those above and below, which no font promises in an SVG: paths in a cell of 9 × 19. */
const BOX: Readonly<Record<string, string>> = {
  "│": "M4.5 0v19",
  "┌": "M9 9.5h-4.5v9.5",
  "└": "M9 9.5h-4.5v-9.5",
  "─": "M0 9.5h9",
};

async function main(): Promise<void> {
  // The program is built there (see `binary`), and nobody's own home is touched.
  const home = mkdtempSync(join(tmpdir(), "p2pchat-screenshots-"));
  Object.assign(process.env, { HOME: home });
  for (const name of ["XDG_DATA_HOME", "P2PCHAT_KEY"]) delete process.env[name];
  try {
    await play();
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}

async function play(): Promise<void> {
  await using world = await World.open();
  const alice = world.terminal(["Alice"], { cols: 80, rows: 24, env: COLOURS });
  const port = await portOn(alice);
  const bob = world.terminal(["Bob", "127.0.0.1", port], { cols: 60, rows: 20, env: COLOURS });
  await bob.until("• Alice is here");
  await alice.until("→ Bob joined");
  const say = async (from: Terminal, line: string, shown: string) => {
    from.type(`${line}\r`);
    for (const each of [alice, bob]) await each.until(shown);
  };
  await say(alice, "morning! tea in ten minutes?", "Alice: morning! tea in ten minutes?");
  await say(bob, "yes 🫖 I bring biscuits", "Bob: yes 🫖 I bring biscuits");

  const carol = world.pipe(["Carol", "127.0.0.1", port, "--json"]);
  for (const each of [alice, bob]) await each.until("→ Carol joined");
  carol.command({ command: "say", text: "count me in, 抹茶 for me please 🍵" });
  for (const each of [alice, bob]) await each.until("Carol: count me in, 抹茶 for me");
  await say(bob, "/me puts the kettle on", "puts the kettle on");
  carol.command({ command: "direct", to: "Alice", text: "is it Bob's birthday?" });
  await alice.until("is it Bob's birthday?");
  alice.type("/reply it is, say nothing <3\r");
  await alice.until("it is, say nothing <3");
  await linked(carol);
  for (const each of [alice, bob]) {
    each.type("/who\r");
    await each.until(/(│ (Alice|Bob|Carol) [\s\S]*){3}/, "the answer to /who");
  }
  await take("alice-80x24", alice, "cups are in the cupb");
  await take("bob-60x20", bob, "on my way, @Al");
}

/** Asks until there is a link to everybody: the second one comes a moment after the first. */
async function linked(program: Program): Promise<void> {
  const answers = () => program.events.filter(event => event["event"] === "members");
  for (const deadline = Date.now() + LINKED_MS; Date.now() < deadline; ) {
    const asked = answers().length;
    program.command({ command: "who" });
    await program.until(() => answers().length > asked, "the answer to who");
    if ((JSON.stringify(answers().at(-1)).match(/"linked":true/g) ?? []).length >= 2) return;
  }
  throw new Error("Carol is not linked to both");
}

/** Leaves a line half typed, and draws the screen with it. */
async function take(name: string, terminal: Terminal, typed: string): Promise<void> {
  terminal.type(typed);
  await terminal.until(screen => screen[terminal.cursor().y]?.endsWith(`› ${typed}`) ?? false, typed);
  mkdirSync(DIRECTORY, { recursive: true });
  const path = join(DIRECTORY, `${name}.svg`);
  writeFileSync(path, svgOf(terminal.cells(), terminal.cursor()));
  process.stdout.write(`${path}\n${terminal}\n`);
}

function svgOf(rows: readonly (readonly Cell[])[], cursor: { x: number; y: number }): string {
  const width = (rows[0]?.length ?? 0) * CELL_WIDTH + 2 * MARGIN;
  const height = rows.length * CELL_HEIGHT + 2 * MARGIN;
  const place = `x="${cursor.x * CELL_WIDTH}" y="${cursor.y * CELL_HEIGHT}"`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}">`,
    `<rect width="${width}" height="${height}" rx="8" fill="${BACKGROUND}"/>`,
    `<g transform="translate(${MARGIN} ${MARGIN})" font-family="ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="${FONT_SIZE}" fill="${FOREGROUND}">`,
    `<rect ${place} width="${CELL_WIDTH}" height="${CELL_HEIGHT}" fill="${FOREGROUND}" fill-opacity="0.7"/>`,
    ...rows.flatMap((row, y) => runsOf(row).flatMap(run => drawRun(run, y))),
    "</g>",
    "</svg>",
    "",
  ].join("\n");
}

/** Neighbours that are drawn at once: a word of one look, or a single character that may come from another font. */
interface Run {
  readonly x: number;
  readonly look: Cell;
  text: string;
  /** In cells. */
  width: number;
}

function runsOf(row: readonly Cell[]): Run[] {
  const runs: Run[] = [];
  let open: Run | undefined;
  for (const [x, cell] of row.entries()) {
    if (cell.width === 0) continue;
    const text = cell.chars === "" ? " " : cell.chars;
    if (text === " " && !cell.inverse) open = undefined;
    else if (open && joins(open, cell, text)) {
      open.text += text;
      open.width += cell.width;
    } else {
      open = { x, look: cell, text, width: cell.width };
      runs.push(open);
    }
  }
  return runs;
}

function joins({ look, text: before }: Run, cell: Cell, text: string): boolean {
  const isPlain = (each: string) => /^[\x21-\x7e]+$/.test(each);
  const isBlank = (each: string) => /^ +$/.test(each);
  return ((isPlain(before) && isPlain(text)) || (isBlank(before) && isBlank(text))) && styleOf(look) === styleOf(cell);
}

function drawRun({ x, look, text, width }: Run, y: number): string[] {
  const left = x * CELL_WIDTH;
  const top = y * CELL_HEIGHT;
  const wide = width * CELL_WIDTH;
  const drawn: string[] = [];
  if (look.inverse)
    drawn.push(
      `<rect x="${left}" y="${top}" width="${wide}" height="${CELL_HEIGHT}" fill="${colorOf(look)}" shape-rendering="crispEdges"/>`,
    );
  if (text.trim() === "") return drawn;
  const line = BOX[text];
  if (line !== undefined) {
    const stroke = `stroke="${colorOf(look)}"${look.dim ? ' stroke-opacity="0.6"' : ""}`;
    return [`<path transform="translate(${left} ${top})" d="${line}" fill="none" ${stroke}/>`];
  }
  // Words are made to fit their cells; a single character keeps its shape and stands in the middle of them.
  const place = /^[\x21-\x7e]+$/.test(text)
    ? `x="${left}" textLength="${wide}" lengthAdjust="spacingAndGlyphs"`
    : `x="${left + wide / 2}" text-anchor="middle"`;
  drawn.push(`<text ${place} y="${top + BASELINE}"${styleOf(look)}>${Bun.escapeHTML(text)}</text>`);
  return drawn;
}

function styleOf(look: Cell): string {
  const { bold, dim, italic, inverse, color } = look;
  return [
    inverse ? ` fill="${BACKGROUND}"` : color === undefined ? "" : ` fill="${colorOf(look)}"`,
    bold ? ' font-weight="bold"' : "",
    italic ? ' font-style="italic"' : "",
    dim ? ' fill-opacity="0.6"' : "",
  ].join("");
}

function colorOf({ color }: Cell): string {
  if (color === undefined) return FOREGROUND;
  return PALETTE[color] ?? `rgb(${[36, 6, 1].map(place => level(Math.floor((color - 16) / place) % 6)).join(" ")})`;
}

/** Of the 216 colours that all terminals paint alike. */
function level(step: number): number {
  return step === 0 ? 0 : 55 + 40 * step;
}

await main();

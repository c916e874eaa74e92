/**
 * The terminal look: colour is applied here and nowhere else.
 *
 * Invariant: everything that others wrote goes through clean.ts on its way. Picocolors itself is only loaded by the
 * terminal front (it asks `process.stdout`, which costs plain mode 13 ms) and handed in.
 */
import type { Colors } from "picocolors/types";
import { cleanLine, cleanText } from "./clean.ts";
import { sentence } from "./format.ts";
import { isolate } from "./spell.ts";
import { memberLines } from "./tables.ts";
import { Times } from "./times.ts";
import type { ChatEvent } from "./view.ts";

export type MessageEvent = Extract<ChatEvent, { event: "message" | "direct" }>;

/**
 * Colours (SGR parameters) that can be read on a dark and on a light ground; red is for errors. Of 256 colours the upper 240 are
 * the same everywhere: these have a contrast (WCAG 2.2, 1.4.3) of 4.1 or more with black and with white, where no colour has
 * more than 4.58 with both. The 16 of old are whatever the user's palette says: these have 2.6 or more in the usual ones.
 */
const palettes = {
  256: { members: ["28", "30", "31", "63", "64", "98", "130", "163"].map(code => `38;5;${code}`), warning: "38;5;130" },
  16: { members: ["35", "94", "95", "39"], warning: "35" },
} as const;
/** Cells that a column of words wants at the least. */
const columnMin = 20;
/** Names in one line about many. */
const namesShown = 3;

export class Look {
  private readonly palette: (typeof palettes)[256 | 16];

  /**
   * `invitation`: what a friend types, where that is more than address and port. `count`: how many colours there are.
   * `goesOn`: the opening has its beginning above it.
   */
  constructor(
    private readonly colors: Colors,
    private readonly times: Times = new Times(),
    private readonly columns: () => number = () => 80,
    private readonly invitation?: () => string,
    count: 256 | 16 = 16,
    private readonly goesOn = false,
  ) {
    this.palette = palettes[count];
  }

  /** A text, in lines. `mentions`: names of the user, which stand out. */
  message(event: MessageEvent, mentions?: RegExp): string[] {
    const { dim, inverse, italic } = this.colors;
    const [first = "", ...more] = cleanText(event.text).split("\n");
    const paint = event.history ? dim : String;
    const look = (line: string) => {
      const text = isolate(line);
      return mentions === undefined ? paint(text) : text.replace(mentions, name => inverse(name));
    };
    const time = this.times.clock(event.at);
    const head = time === "" ? "" : `${dim(time)} `;
    const who = this.name(event.name, event.member);
    const to = event.event === "direct" ? dim(italic(` → ${event.own ? isolate(cleanLine(event.to)) : "you"}`)) : "";
    const start = event.event === "message" && event.action ? `${head}${dim("*")} ${who} ` : `${head}${who}${to}: `;
    const indent = " ".repeat(this.indent);
    return [start + look(first), ...more.map(line => indent + look(line))];
  }

  /** Cells before all but the first row of a text: as wide as the time, so that texts stand apart. */
  get indent(): number {
    return Math.max(2, this.times.clock(0).length + 1);
  }

  /** Anything else that happened. */
  lines(event: Exclude<ChatEvent, MessageEvent>): string[] {
    const { dim } = this.colors;
    switch (event.event) {
      case "listening":
        return this.opening(event);
      case "join":
        return [event.present ? this.present([event.name]) : this.presence([event.name], [], [])];
      case "leave":
        return [event.reason === "lost" ? this.presence([], [], [event.name]) : this.presence([], [event.name], [])];
      case "rename":
      case "topic":
      case "away":
        return [this.sentence("•", sentence(event).replace(/\.$/, ""), dim)];
      case "members":
        return this.block(memberLines(event.members));
      case "error":
        return [this.sentence("■", event.message, this.colors.red)];
      case "notice":
        return event.level === "warning"
          ? [this.sentence("▲", event.message, text => this.paint(this.palette.warning, text))]
          : [this.sentence("•", event.message, dim)];
      case "reached":
        return [];
    }
  }

  /** `→ Bob, Carol joined  ← Dave left`, however many. */
  presence(joined: readonly string[], left: readonly string[], lost: readonly string[]): string {
    const parts = [
      joined.length > 0 ? `→ ${names(joined)} joined` : "",
      left.length > 0 ? `← ${names(left)} left` : "",
      lost.length > 0 ? `← ${names(lost)} ${lost.length === 1 ? "was" : "were"} lost` : "",
    ];
    return this.colors.dim(parts.filter(part => part !== "").join("  "));
  }

  present(here: readonly string[]): string {
    return this.colors.dim(`• ${names(here)} ${here.length === 1 ? "is" : "are"} here`);
  }

  /** A line across, with a word in it. */
  rule(word: string): string {
    return this.colors.dim(`── ${word} ──`);
  }

  /** Instead of what a member wrote faster than anybody can read. `command`: what shows it, where anything does. */
  more(name: string, member: string, lines: number, command?: string): string {
    const count = `${lines.toLocaleString("en")} more ${lines === 1 ? "line" : "lines"}`;
    return `${this.name(name, member)}${this.colors.dim(`: ${count}${command === undefined ? "" : ` (${command})`}`)}`;
  }

  /** Behind a text of one's own: who has it. */
  mark(reached: number, linked: number): string {
    if (linked === 0) return this.colors.dim("  (kept until someone is here)");
    return this.colors.dim(reached === linked ? " ✓" : ` ✓ ${reached}/${linked}`);
  }

  /** The name in its member's colour. */
  name(name: string, member: string): string {
    const { members } = this.palette;
    const color = members[Number.parseInt(member.slice(-4), 16) % members.length] ?? "39";
    return this.colors.bold(this.paint(color, isolate(cleanLine(name))));
  }

  /** A command and its answer. */
  reply(command: string, lines: readonly string[]): string[] {
    return [this.colors.dim(`◇ ${cleanLine(command)}`), ...this.block(lines)];
  }

  /** The opening: where one is, and what a friend should type. */
  opening(event: Extract<ChatEvent, { event: "listening" }>): string[] {
    const { bold, dim, gray, inverse } = this.colors;
    const friend = this.invitation?.() ?? `./p2pchat <name> ${cleanLine(event.address)} ${event.port}`;
    const rail = gray("│");
    // A narrow screen gets two rows, cut where no word, and nothing to be copied, is in two pieces.
    const rows = (sign: string, paint: (text: string) => string, first: string, second: string, below = rail) =>
      3 + Bun.stringWidth(`${first} ${second}`) < this.columns()
        ? [`${gray(sign)}  ${paint(`${first} ${second}`)}`]
        : [`${gray(sign)}  ${paint(first)}`, `${below}  ${paint(second)}`];
    const [who = "", where = ""] = sentence(event).split(/ (?=is listening at )/);
    return [
      ...(this.goesOn ? [] : [`${gray("┌")}  ${inverse(" p2pchat ")}`]),
      rail,
      ...rows("◇", bold, who, where),
      ...rows("│", String, "A friend joins with ", bold(friend)),
      rail,
      ...rows("└", dim, "Type to talk, /help for help,", ":q to leave.", " "),
      "",
    ];
  }

  closing(): string {
    return `${this.colors.gray("└")}  ${this.colors.dim("Left the room.")}`;
  }

  /** Stopped by Ctrl-Z. */
  resting(): string {
    return `${this.colors.gray("└")}  ${this.colors.dim("Stopped: fg goes on; until then you seem lost to others.")}`;
  }

  private paint(color: string, text: string): string {
    return this.colors.isColorSupported ? `\x1b[${color}m${text}\x1b[39m` : text;
  }

  private block(lines: readonly string[]): string[] {
    const rows = lines.flatMap(line => inColumns(isolate(cleanLine(line)), this.columns() - 3));
    return rows.map(row => `${this.colors.dim("│")} ${row}`);
  }

  private sentence(sign: string, text: string, paint: (text: string) => string): string {
    return paint(`${sign} ${isolate(cleanLine(text))}`);
  }
}

/** Rows of a table's line: what does not fit goes below its own column, or where that is narrow below the first one. */
function inColumns(line: string, columns: number): string[] {
  // What somebody said ("Bob: one  two") has no columns.
  const [head = ""] = /^\S(?:(?!: ).)*? {2,}(?=\S)/.exec(line) ?? [];
  const offset = Bun.stringWidth(head);
  if (offset > 0 && columns - offset < columnMin && Bun.stringWidth(line) > columns) {
    const below = wrapped(line.slice(head.length), columns - 2, 0).map(row => `  ${row}`);
    return [...wrapped(head.trimEnd(), columns, 2), ...below];
  }
  // A short cell ("3.9 ms") stays in one piece.
  const glued = line.replace(/(?<= {2})\S{1,8} \S{1,8}(?: \S{1,3})?(?= {2}|$)/g, cell =>
    cell.replaceAll(" ", "\u00a0"),
  );
  return wrapped(glued, columns, offset || 2).map(row => row.replaceAll("\u00a0", " "));
}

/** Rows of a sentence, cut between words; what is not the first is indented. */
function wrapped(line: string, columns: number, indent: number): string[] {
  if (Bun.stringWidth(line) <= columns) return [line];
  const cut = (text: string, width: number) => Bun.wrapAnsi(text, Math.max(8, width), { hard: true }).split("\n");
  const [first = ""] = cut(line, columns);
  const rest = cut(line.slice(first.length).trimStart(), columns - indent);
  return [first, ...rest.map(row => " ".repeat(indent) + row)];
}

/** `Bob, Carol, Dave and 12 others`. */
function names(all: readonly string[]): string {
  const shown = all
    .slice(0, all.length === namesShown + 1 ? all.length : namesShown)
    .map(name => isolate(cleanLine(name)));
  const others = all.length - shown.length;
  return others > 0 ? `${shown.join(", ")} and ${others} others` : shown.join(", ");
}

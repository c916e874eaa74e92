/**
 * The terminal: text scrolls away above, and below it stays the frame (the prompt with what is being typed).
 *
 * Invariants: everything goes out through `draw`, in one write; the cursor rests inside the frame, `#cursorRow` rows
 * below its top; no row of the frame wraps, whatever width the terminal gives a character. So the frame can always be
 * taken away by going up `#cursorRow` rows and erasing downwards, and text above needs no counting at all.
 *
 * After a resize nobody knows what a terminal did to the rows it had (they reflow, or not, each in its way): the screen is
 * painted anew from the text last printed.
 */
import { constants, openSync, writeSync } from "node:fs";
import { codeOf } from "../errors.ts";

/** What is below the text: rows that fit, and where the cursor stands in them. */
export interface Frame {
  readonly rows: readonly string[];
  readonly cursorRow: number;
  /** From 0. */
  readonly cursorColumn: number;
}

export interface Size {
  readonly columns: number;
  readonly rows: number;
}

/** A line that may be written anew while it can be seen, if it has a key. Whoever prints it lets go of it. */
export interface Line {
  text: string;
  readonly key?: string;
  /** Cells before the rows that follow the first, where it does not fit into one. Without it the terminal cuts the line. */
  readonly indent?: number;
}

/** Words are not kept whole on less. */
const wrapMinColumns = 20;
/** Kept to paint the screen anew. */
const recentMaxLines = 1_000;
const recentMaxCharacters = 512 * 1024;
/** What waits for a terminal that reads slower than people write. */
const pendingMaxLines = 20_000;
const retryMs = 1;
/** At the end it has so long to take the last of it. */
const endTimeoutMs = 2_000;

// DEC private modes: 2026 synchronized update, 25 cursor, 7 wrap. Unknown ones are ignored.
const paintStart = "\x1b[?2026h\x1b[?25l";
const paintEnd = "\x1b[?25h\x1b[?2026l";
const wrapOff = "\x1b[?7l";
const wrapOn = "\x1b[?7h";
const eraseDown = "\x1b[J";
const home = "\x1b[H";
// 2004 bracketed paste; 1004 focus reporting: then the bell can be quiet while somebody looks.
export const modesOn = "\x1b[?1004h\x1b[?2004h";
const modesOff = `\x1b[?1004l${wrapOn}\x1b[?2004l`;

export class Screen {
  readonly #output: TerminalOutput;
  readonly #size: () => Size;
  readonly #frame: (size: Size) => Frame;
  readonly #spell: (text: string) => string;
  #cursorRow = 0;
  #cursorColumn = 0;
  #pending: Line[] = [];
  #dropped = 0;
  #recent: Line[] = [];
  #printed = 0;
  /** Rows above the opening are the shell's; once the screen was painted anew all of it is ours. */
  #ownsScreen = false;
  #anew = false;
  /** Something has changed while the terminal did not read. */
  #dirty = false;
  #scheduled = false;
  #open = true;

  /** `spell` is the last thing that happens to what is written: for terminals that do not know all characters. */
  constructor(
    output: TerminalOutput,
    size: () => Size,
    frame: (size: Size) => Frame,
    spell: (text: string) => string = String,
  ) {
    this.#spell = spell;
    this.#output = output;
    this.#size = size;
    this.#frame = frame;
    output.onDrain = () => this.#paintIfDirty();
  }

  /** Lines (already clean) that go above the frame, painted before the loop turns twice. */
  print(lines: readonly (string | Line)[]): void {
    for (const line of lines) this.#pending.push(typeof line === "string" ? { text: line } : line);
    if (this.#pending.length > 2 * pendingMaxLines) {
      this.#dropped += this.#pending.length - pendingMaxLines;
      this.#pending = this.#pending.slice(-pendingMaxLines);
    }
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#paintIfDirty();
    });
  }

  /**
   * Writes the last line of this key anew. False where that does not show: it has scrolled away, or nobody knows in
   * which row it stands, since terminals disagree about the width of what is not ASCII.
   */
  replace(key: string, text: string): boolean {
    const waiting = this.#pending.findLast(line => line.key === key);
    if (waiting !== undefined) {
      waiting.text = text;
      return true;
    }
    const index = this.#recent.findLastIndex(line => line.key === key);
    const line = this.#recent[index];
    if (line === undefined) return false;
    const { columns, rows } = this.#size();
    const height = heightOf(line, columns);
    let up = this.#cursorRow + height;
    for (let below = index + 1; up < rows && below < this.#recent.length; below++)
      up += heightOf(this.#recent[below] as Line, columns);
    line.text = text;
    const same = heightOf(line, columns) === height;
    if (!same || !(up < rows) || this.#output.busy || this.#anew || this.#dirty || !this.#open) return false;
    const down = `\x1b[${up - height + 1}B\x1b[${this.#cursorColumn + 1}G`;
    // Behind the last column some terminals would erase what stands in it.
    const anew = rowsOf(line, columns).map(row => (Bun.stringWidth(row) === columns ? row : `${row}\x1b[K`));
    this.#output.write(this.#spell(`${paintStart}\x1b[${up}A\r${anew.join("\r\n")}${down}${paintEnd}`));
    return true;
  }

  /** An empty screen, but for the frame. */
  clear(): void {
    this.#recent = [];
    this.redraw();
  }

  /** The terminal has changed, or somebody else has written on it. */
  redraw(): void {
    this.#anew = true;
    this.draw();
  }

  /** Puts `line` where the frame was and gives the terminal to the shell for a while: `redraw` takes it back. */
  rest(line: string): void {
    this.#output.write(this.#spell(`${this.#toFrameTop()}${eraseDown}${line}\r\n${modesOff}`));
    // What the shell will write there is not ours to erase.
    this.#ownsScreen = false;
    this.#printed = 0;
    this.#cursorRow = 0;
  }

  /** Puts `lines` where the frame was and leaves the terminal as it was found. */
  close(lines: readonly string[]): void {
    if (!this.#open) return;
    this.#open = false;
    const { columns } = this.#size();
    const rows = [...this.#takePending().flatMap(line => rowsOf(line, columns)), ...lines];
    const text = rows.map(row => `${row}\r\n`).join("");
    this.#output.end(this.#spell(this.#toFrameTop() + eraseDown + text + modesOff));
  }

  #paintIfDirty(): void {
    if (this.#pending.length > 0 || this.#anew || this.#dirty) this.draw();
  }

  /** Paints what waits, and the frame, which may have changed. */
  draw(): void {
    if (!this.#open) return;
    // A terminal that does not read gets the latest state when it reads again, not all the states between.
    this.#dirty = this.#output.busy;
    if (this.#dirty) return;
    const size = this.#size();
    const frame = this.#frame(size);
    const lines = this.#takePending();
    this.#remember(lines);
    let text = this.#toFrameTop() + eraseDown;
    let shown: readonly Line[] = lines;
    if (this.#anew) {
      text = this.#toCleanScreen(size);
      shown = this.#tail(size.columns, size.rows - frame.rows.length);
    }
    this.#anew = false;
    for (const line of shown) text += `${rowsOf(line, size.columns).join("\r\n")}\r\n`;
    text += wrapOff + frame.rows.join("\r\n") + wrapOn;
    const up = frame.rows.length - 1 - frame.cursorRow;
    text += `${up > 0 ? `\x1b[${up}A` : ""}\x1b[${frame.cursorColumn + 1}G`;
    this.#cursorRow = frame.cursorRow;
    this.#cursorColumn = frame.cursorColumn;
    this.#output.write(this.#spell(paintStart + text + paintEnd));
  }

  #toFrameTop(): string {
    return `${this.#cursorRow > 0 ? `\x1b[${this.#cursorRow}A` : ""}\r`;
  }

  /** The first time what the shell has on the screen is scrolled away, not erased. */
  #toCleanScreen({ rows }: Size): string {
    const scroll = !this.#ownsScreen && this.#printed < rows ? `\x1b[${rows};1H${"\n".repeat(rows)}` : "";
    this.#ownsScreen = true;
    return `\x1b[m${scroll}${home}${eraseDown}`;
  }

  #takePending(): Line[] {
    const lines = this.#pending;
    this.#pending = [];
    const text = `… ${this.#dropped} lines are not shown: the terminal was too slow`;
    if (this.#dropped > 0) lines.unshift({ text });
    this.#dropped = 0;
    return lines;
  }

  #remember(lines: readonly Line[]): void {
    if (lines.length === 0) return;
    this.#printed += lines.length;
    const latest = [...this.#recent, ...lines].slice(-recentMaxLines);
    let characters = latest.reduce((sum, { text }) => sum + text.length, 0);
    let first = 0;
    while (characters > recentMaxCharacters && first < latest.length - 1)
      characters -= latest[first++]?.text.length ?? 0;
    this.#recent = latest.slice(first);
  }

  /** As many of the last lines as fit into `rows`. */
  #tail(columns: number, rows: number): Line[] {
    let first = this.#recent.length;
    for (let left = rows; first > 0; first--) {
      const line = this.#recent[first - 1];
      if (line === undefined) break;
      for (const row of rowsOf(line, columns)) left -= Math.max(1, Math.ceil(Bun.stringWidth(row) / columns));
      if (left < 0) break;
    }
    return this.#recent.slice(first);
  }
}

/**
 * A line cut between words, or anywhere where that would tear holes (Chinese has none). One with an address as long as a row
 * is cut by the terminal, which copies it in one piece.
 */
function rowsOf({ text, indent }: Line, columns: number): string[] {
  if (indent === undefined || 2 * text.length <= columns || Bun.stringWidth(text) <= columns) return [text];
  const width = columns - indent;
  if (width < wrapMinColumns) return [text];
  const rest = Bun.sliceAnsi(text, indent);
  const words = rest.split(" ").filter(word => word.length > width / 4);
  const isAscii = (word: string) => /^[\x00-\x7f]*$/.test(word);
  if (words.some(word => isAscii(word) && Bun.stringWidth(word) > width)) return [text];
  const wordWrap = words.every(word => isAscii(word) || Bun.stringWidth(word) <= width / 2);
  const [first = "", ...rows] = Bun.wrapAnsi(rest, width, { hard: !wordWrap, wordWrap }).split("\n");
  return [Bun.sliceAnsi(text, 0, indent) + first, ...rows.map(row => " ".repeat(indent) + row)];
}

function heightOf(line: Line, columns: number): number {
  return rowsOf(line, columns).reduce((sum, row) => sum + heightOfRow(row, columns), 0);
}

/** How many rows of the screen it takes for sure; NaN where that depends on the terminal. */
function heightOfRow(row: string, columns: number): number {
  const text = Bun.stripANSI(row);
  // Where there is room for every character to be wide, it does not matter which of them are.
  if (/^[\x20-\x7e]*$/.test(text)) return Math.max(1, Math.ceil(text.length / columns));
  return 2 * text.length <= columns || widthAtMost(text) <= columns ? 1 : Number.NaN;
}

/** Punctuation and Latin letters are one cell everywhere; anything else may be two. */
function widthAtMost(text: string): number {
  let width = 0;
  for (const character of text)
    width += /[\x20-\x7e\u00a1-\u024f\u2010-\u2027\u2190-\u2193\u2500\u2713]/.test(character) ? 1 : 2;
  return width;
}

/**
 * Writes to the terminal without ever waiting for it. Bun's own writers block on a terminal, and a node whose terminal is
 * paused (a stalled ssh, tmux in copy mode) must not look dead to its room.
 */
export class TerminalOutput {
  readonly #descriptor = openTerminal();
  readonly #closed = Promise.withResolvers<void>();
  #queue: Buffer = Buffer.alloc(0);
  #deadlineMs = Number.POSITIVE_INFINITY;
  /** Called whenever everything has been taken after a wait. */
  onDrain: () => void = () => {};

  /** Settles when the terminal is gone. */
  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  get busy(): boolean {
    return this.#queue.length > 0;
  }

  write(text: string): void {
    const waits = this.busy;
    this.#queue = waits ? Buffer.concat([this.#queue, Buffer.from(text)]) : Buffer.from(text);
    if (!waits) this.#flush();
  }

  /** The last of it: a terminal that does not take it in time must not keep the program from ending. */
  end(text: string): void {
    this.#deadlineMs = performance.now() + endTimeoutMs;
    this.write(text);
  }

  #flush(): void {
    try {
      while (this.#queue.length > 0) this.#queue = this.#queue.subarray(writeSync(this.#descriptor, this.#queue));
    } catch (error) {
      if (codeOf(error) === "EAGAIN" && performance.now() < this.#deadlineMs) {
        setTimeout(() => {
          this.#flush();
          if (!this.busy) this.onDrain();
        }, retryMs);
        return;
      }
      // EIO: the window was closed.
      this.#queue = Buffer.alloc(0);
      this.#closed.resolve();
    }
  }
}

/** Stdout opened once more: non-blocking is a property of the open file, and ours is shared with the shell. */
function openTerminal(): number {
  try {
    const path = process.platform === "linux" ? "/proc/self/fd/1" : "/dev/tty";
    return openSync(path, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch {
    return 1;
  }
}

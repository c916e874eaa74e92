/**
 * The terminal: text scrolls away above, and below it stays the frame (the prompt with what is being typed).
 *
 * Invariants: everything goes out through `#paint`, in one write; the cursor rests inside the frame, `#cursorRow` rows
 * below its top; no row of the frame wraps, whatever width the terminal gives a character. So the frame can always be
 * taken away by going up `#cursorRow` rows and erasing downwards, and text above needs no counting at all.
 *
 * After a resize nobody knows what a terminal did to the rows it had (they reflow, or not, each in its way): the screen is
 * painted anew from the text last printed.
 */
import { constants, openSync, writeSync } from "node:fs";

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

/** Kept to paint the screen anew. */
const recentMaxLines = 1_000;
const recentMaxCharacters = 512 * 1024;
/** What waits for a terminal that reads slower than people write. */
const pendingMaxLines = 20_000;
const retryMs = 1;
/** At the end it has so long to take the last of it. */
const endTimeoutMs = 2_000;

// DEC private modes: 2026 synchronized update, 25 cursor, 7 wrap, 2004 bracketed paste. Unknown ones are ignored.
const paintStart = "\x1b[?2026h\x1b[?25l";
const paintEnd = "\x1b[?25h\x1b[?2026l";
const wrapOff = "\x1b[?7l";
const wrapOn = "\x1b[?7h";
const eraseDown = "\x1b[J";
const home = "\x1b[H";
export const pasteModeOn = "\x1b[?2004h";
export const pasteModeOff = "\x1b[?2004l";

export class Screen {
  readonly #output: TerminalOutput;
  readonly #size: () => Size;
  readonly #frame: (size: Size) => Frame;
  #cursorRow = 0;
  #pending: string[] = [];
  #dropped = 0;
  #recent: string[] = [];
  #recentCharacters = 0;
  #printed = 0;
  /** Rows above the opening are the shell's; once the screen was painted anew all of it is ours. */
  #ownsScreen = false;
  #anew = false;
  #scheduled = false;
  #open = true;

  constructor(output: TerminalOutput, size: () => Size, frame: (size: Size) => Frame) {
    this.#output = output;
    this.#size = size;
    this.#frame = frame;
    output.onDrain = () => this.#paintIfDirty();
  }

  /** Lines (already clean) that go above the frame, painted before the loop turns twice. */
  print(lines: readonly string[]): void {
    for (const line of lines) this.#pending.push(line);
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

  /** The frame has changed. */
  draw(): void {
    this.#paint();
  }

  /** The terminal has changed, or somebody else wrote on it. */
  redraw(): void {
    this.#anew = true;
    this.#paint();
  }

  /** Puts `lines` where the frame was and leaves the terminal as it was found. */
  close(lines: readonly string[]): void {
    if (!this.#open) return;
    this.#open = false;
    const text = [...this.#takePending(), ...lines].map(line => `${line}\r\n`).join("");
    this.#output.end(this.#toFrameTop() + eraseDown + text + wrapOn + pasteModeOff);
  }

  #paintIfDirty(): void {
    if (this.#pending.length > 0 || this.#anew || this.#dirty) this.#paint();
  }

  #dirty = false;

  #paint(): void {
    if (!this.#open) return;
    // A terminal that does not read gets the latest state when it reads again, not all the states between.
    this.#dirty = this.#output.busy;
    if (this.#dirty) return;
    const size = this.#size();
    const frame = this.#frame(size);
    const lines = this.#takePending();
    this.#remember(lines);
    let text = this.#toFrameTop() + eraseDown;
    let shown: readonly string[] = lines;
    if (this.#anew) {
      text = this.#toCleanScreen(size);
      shown = this.#tail(size.columns, size.rows - frame.rows.length);
    }
    this.#anew = false;
    for (const line of shown) text += `${line}\r\n`;
    text += wrapOff + frame.rows.join("\r\n") + wrapOn;
    const up = frame.rows.length - 1 - frame.cursorRow;
    text += `${up > 0 ? `\x1b[${up}A` : ""}\x1b[${frame.cursorColumn + 1}G`;
    this.#cursorRow = frame.cursorRow;
    this.#output.write(paintStart + text + paintEnd);
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

  #takePending(): string[] {
    const lines = this.#pending;
    this.#pending = [];
    if (this.#dropped > 0) lines.unshift(`… ${this.#dropped} lines are not shown: the terminal was too slow`);
    this.#dropped = 0;
    return lines;
  }

  #remember(lines: readonly string[]): void {
    this.#printed += lines.length;
    for (const line of lines) this.#recentCharacters += line.length;
    this.#recent.push(...lines);
    let surplus = Math.max(0, this.#recent.length - recentMaxLines);
    for (let index = 0; index < surplus; index++) this.#recentCharacters -= this.#recent[index]?.length ?? 0;
    while (this.#recentCharacters > recentMaxCharacters && surplus < this.#recent.length - 1) {
      this.#recentCharacters -= this.#recent[surplus++]?.length ?? 0;
    }
    if (surplus > 0) this.#recent.splice(0, surplus);
  }

  /** As many of the last lines as fit into `rows`. */
  #tail(columns: number, rows: number): string[] {
    let first = this.#recent.length;
    for (let left = rows; first > 0; first--) {
      left -= Math.max(1, Math.ceil(Bun.stringWidth(this.#recent[first - 1] ?? "") / columns));
      if (left < 0) break;
    }
    return this.#recent.slice(first);
  }
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
      const full = error instanceof Error && "code" in error && error.code === "EAGAIN";
      if (full && performance.now() < this.#deadlineMs) {
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

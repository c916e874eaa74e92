/**
 * The line prompt: clack's `TextPrompt` with our keys before it and our frame behind it.
 *
 * Clack owns the life of the prompt (raw mode, key -> render, cancel). Its readline steps by UTF-16 unit, submits pastes line
 * by line and counts wrapped rows with a width table of its own, so the editing is `Draft`'s and the painting `Screen`'s:
 * clack's `render` hook paints and hands clack nothing to write.
 */
import { Readable, Writable } from "node:stream";
import type { Colors } from "picocolors/types";
import { cleanLine } from "./clean.ts";
import type { Completion } from "./complete.ts";
import { Draft, graphemes } from "./draft.ts";
import { escapeTimeoutMs, type Key, KeyDecoder } from "./keys.ts";
import type { Frame, Size } from "./screen.ts";

export interface PromptHooks {
  /** Enter. Returns what to complain about: then the line stays. */
  submit(line: string): string | undefined;
  /** The frame has changed. */
  draw(): void;
  /** The user wants the screen painted anew. */
  redraw(): void;
  /** The user wants the shell for a while. */
  suspend(): void;
  /** What Tab offers here. */
  complete(line: string, cursor: number): Completion;
  /** A line that was sent. */
  sent(line: string): void;
  /** The terminal tells whether somebody looks at it. */
  focus(here: boolean): void;
}

/** What stands before the line: who one is, and how many are here or whom alone one talks to. */
export interface Label {
  readonly name: string;
  readonly count: number;
  readonly partner: string | undefined;
}

/** What the prompt needs of `process.stdin`. */
export interface KeyboardInput {
  on(event: "data", listener: (chunk: Uint8Array) => void): unknown;
  on(event: "end" | "close" | "error", listener: () => void): unknown;
  off(event: "data" | "end" | "close" | "error", listener: (chunk: Uint8Array) => void): unknown;
  setRawMode(on: boolean): unknown;
  pause(): unknown;
  resume(): unknown;
}

/** What a search tells of its keys, as there is room. */
const searchKeys = ["  (Ctrl-R older, Enter takes it, Escape ends)", "  (Ctrl-R older)"];
const cancelHint = "Escape again throws it away, Ctrl-Y brings it back";
/** Rows of an error below the line. */
const errorMaxRows = 3;

export class Prompt {
  readonly #draft: Draft;
  readonly #decoder = new KeyDecoder();
  readonly #stop = new AbortController();
  readonly #colors: Colors;
  readonly #hooks: PromptHooks;
  #error = "";
  /** What came of the last key, where that gives the next one another meaning. */
  #last: "refused" | "cancelled" | undefined;
  /** Tab was pressed last: again takes the next candidate. */
  #offer: { readonly completion: Completion; readonly index: number; readonly shown: string } | undefined;
  /** Ctrl-R: the words, the line that was found last, and whether they are in it. */
  #search:
    | { readonly words: string; readonly place: number; readonly found: boolean; readonly draft: string }
    | undefined;
  /** The first row of a tall draft that is shown. */
  #top = 0;

  /** `earlier`: lines of earlier runs. */
  constructor(colors: Colors, hooks: PromptHooks, earlier: readonly string[] = []) {
    this.#draft = new Draft(earlier);
    this.#colors = colors;
    this.#hooks = hooks;
  }

  /** Resolves when the user leaves, or the terminal is gone. */
  async run(input: KeyboardInput): Promise<void> {
    // Behind the first paint: clack takes longer to load than the eye to find where to read.
    await new Promise(setImmediate);
    const { TextPrompt } = await import("@clack/core");
    // Clack listens to key presses; it gets one for each chunk, after the draft has taken in what the chunk says.
    const keys = Object.assign(new Readable({ read() {} }), {
      isTTY: true,
      setRawMode(on: boolean) {
        // A terminal that is gone has no modes.
        try {
          input.setRawMode(on);
        } catch {}
      },
    });
    const clack = new TextPrompt({
      input: keys,
      output: new Writable({ write: (_chunk, _encoding, taken) => taken() }),
      signal: this.#stop.signal,
      render: () => {
        if (!this.#stop.signal.aborted) this.#hooks.draw();
        return undefined;
      },
    });
    const answered = clack.prompt();
    let held: ReturnType<typeof setTimeout> | undefined;
    const take = (pressed: readonly Key[]) => {
      for (const key of pressed) this.#handle(key);
      keys.emit("keypress", undefined, { name: "edited" });
    };
    const onData = (chunk: Uint8Array) => {
      clearTimeout(held);
      this.#error = "";
      take(this.#decoder.decode(chunk, performance.now()));
      if (this.#decoder.holdsEscape) held = setTimeout(() => take(this.#decoder.release()), escapeTimeoutMs);
    };
    const onEnd = () => this.close();
    input.on("data", onData);
    for (const event of ["end", "close", "error"] as const) input.on(event, onEnd);
    // Clack's questions and spinner leave it paused, and then a listener alone does not make it flow again.
    input.resume();
    await answered;
    clearTimeout(held);
    // One by one: Bun's stdin has listeners of its own, without which it keeps the program alive. Ours for errors stays, since
    // a terminal may yet fail (EIO) and nobody else would hear of it.
    input.off("data", onData);
    for (const event of ["end", "close"] as const) input.off(event, onEnd);
    input.pause();
  }

  close(): void {
    this.#stop.abort();
  }

  /** The line with its label, wrapped; an error below it. */
  frame({ columns, rows }: Size, label: Label): Frame {
    // The last column stays empty: there the cursor can wait for the next character, and nothing ever wraps.
    const width = Math.max(1, columns - 1);
    const errorRows = [...this.#hintRows(width, rows), ...this.#errorRows(width, rows)];
    const { lines, cursorRow, cursorColumn } = this.#layout(width, this.#label(label, width));
    // Half of the screen is left to the others.
    const height = Math.min(lines.length, Math.max(1, Math.ceil(rows / 2) - errorRows.length));
    const lowest = Math.min(cursorRow, lines.length - height);
    this.#top = Math.max(Math.min(this.#top, lowest), cursorRow - height + 1);
    const shown = lines.slice(this.#top, this.#top + height);
    return { rows: [...shown, ...errorRows], cursorRow: cursorRow - this.#top, cursorColumn };
  }

  #handle(key: Key): void {
    if (this.#stop.signal.aborted) return;
    if ("action" in key && (key.action === "focus-in" || key.action === "focus-out"))
      return this.#hooks.focus(key.action === "focus-in");
    if (this.#search !== undefined && this.#searched(key)) return;
    if ("action" in key && (key.action === "complete" || key.action === "complete-back"))
      return this.#complete(key.action === "complete" ? 1 : -1);
    this.#offer = undefined;
    const last = this.#last;
    this.#last = undefined;
    if ("text" in key) {
      // The line was kept to be corrected, by whatever may follow it. A sign that begins a command may not: it begins the
      // next one, which is said to all if it ends up behind the old. That one comes back with up.
      if (last === "refused" && /^[/:]/.test(key.text)) this.#draft.remember(this.#draft.text);
      if (!this.#draft.insert(key.text)) this.#error = "that is far too long to be said";
      return;
    }
    switch (key.action) {
      case "enter":
        this.#enter();
        break;
      case "quit":
        this.close();
        break;
      case "delete-or-quit":
        if (this.#draft.text === "") this.close();
        else this.#draft.handle(key.action);
        break;
      case "redraw":
        this.#hooks.redraw();
        break;
      case "cancel":
        // Once may be a slip of who meant to end something else.
        if (last === "cancelled") this.#draft.clear();
        else this.#last = "cancelled";
        break;
      case "suspend":
        this.#hooks.suspend();
        break;
      case "search":
        this.#search = { words: "", place: -1, found: true, draft: this.#draft.text };
        break;
      default:
        this.#draft.handle(key.action);
    }
  }

  #enter(): void {
    const line = this.#draft.text.replace(/\n+$/, "");
    if (line.trim() === "") return;
    const problem = this.#hooks.submit(line);
    if (problem !== undefined) {
      this.#error = problem;
      if (this.#draft.cursor === this.#draft.text.length) this.#last = "refused";
      return;
    }
    this.#draft.remember(line);
    this.#hooks.sent(line);
  }

  /** The next candidate, or the one before. */
  #complete(step: 1 | -1): void {
    const { text, cursor } = this.#draft;
    // The only candidate was taken: what can follow it is next.
    const isNext = this.#offer?.completion.candidates.length === 1;
    const again = this.#offer?.shown === text && !isNext ? this.#offer : undefined;
    const completion = again?.completion ?? this.#hooks.complete(text, cursor);
    const { candidates, from, to } = completion;
    const count = candidates.length;
    const index = again === undefined ? (step > 0 ? 0 : count - 1) : (again.index + step + count) % count;
    const candidate = candidates[index];
    if (candidate !== undefined) {
      const old = again === undefined ? to : from + (candidates[again.index]?.length ?? 0);
      this.#draft.replace(from, old, candidate);
    }
    this.#offer = { completion, index, shown: this.#draft.text };
  }

  /** A key while earlier lines are searched. False where it ends the search and means something by itself. */
  #searched(key: Key): boolean {
    const { words, place, draft } = this.#search ?? { words: "", place: -1, draft: "" };
    if ("text" in key) this.#seek(words + key.text.replaceAll("\n", " "), undefined);
    else if (key.action === "backspace") this.#seek([...words].slice(0, -1).join(""), undefined);
    else if (key.action === "search") this.#seek(words, place < 0 ? undefined : place);
    else {
      this.#search = undefined;
      if (key.action === "cancel" || key.action === "quit") this.#draft.replace(0, this.#draft.text.length, draft);
      return key.action === "enter" || key.action === "cancel" || key.action === "quit";
    }
    return true;
  }

  #seek(words: string, before: number | undefined): void {
    const place = words === "" ? -1 : this.#draft.findEarlier(words, before);
    const found = place >= 0;
    if (found) this.#draft.recall(place);
    const { place: last = -1, draft = "" } = this.#search ?? {};
    this.#search = { words, place: found ? place : last, found: found || words === "", draft };
  }

  /** `Alice ⋅ 3 › `, shortened until half of the row is left to type in. */
  #label({ name, count, partner }: Label, width: number): string {
    const { bold, dim } = this.#colors;
    const other = partner === undefined ? `⋅ ${count}` : `→ ${Bun.sliceAnsi(cleanLine(partner), 0, width >> 2, "…")}`;
    const tail = ` ${other} › `;
    const room = Math.floor(width / 2) - Bun.stringWidth(tail);
    if (room < 3) return width < 8 ? "" : dim("› ");
    return bold(Bun.sliceAnsi(cleanLine(name), 0, room, "…")) + dim(tail);
  }

  #layout(width: number, label: string) {
    const { text, cursor } = this.#draft;
    const lines: string[] = [];
    let filled = Bun.stringWidth(label);
    // The name need not be ASCII, either.
    let row = label + column(filled);
    let offset = 0;
    let [cursorRow, cursorColumn] = [0, 0];
    const newRow = () => {
      lines.push(row);
      row = "";
      filled = 0;
    };
    for (const line of text.split("\n")) {
      if (offset > 0) newRow();
      for (const grapheme of graphemes(line)) {
        const [shown, cells] = drawn(grapheme);
        if (filled + cells > width && filled > 0) newRow();
        if (offset === cursor) [cursorRow, cursorColumn] = [lines.length, filled];
        filled += cells;
        offset += grapheme.length;
        // Terminals disagree about the width of everything but ASCII, so they are told where it ends.
        row += shown === grapheme && cells === 1 && grapheme < "\x7f" ? shown : shown + column(filled);
      }
      if (offset === cursor) [cursorRow, cursorColumn] = [lines.length, filled];
      // Takes away what a wider terminal drew beyond the end.
      row += "\x1b[K";
      offset++;
    }
    lines.push(row);
    return { lines, cursorRow, cursorColumn: Math.min(cursorColumn, width) };
  }

  /** What Tab offers, what is searched for, or what Escape would do. */
  #hintRows(width: number, rows: number): string[] {
    const { bold, dim } = this.#colors;
    if (rows < 4) return [];
    if (this.#search !== undefined) {
      const { words, found } = this.#search;
      const state = `search: ${cleanLine(words)}${found ? "" : ", not found"}`;
      const keys = searchKeys.find(each => Bun.stringWidth(state + each) <= width) ?? "";
      return [dim(Bun.sliceAnsi(state + keys, 0, width, "…"))];
    }
    if (this.#last === "cancelled" && this.#draft.text !== "") return [dim(Bun.sliceAnsi(cancelHint, 0, width, "…"))];
    if (this.#offer === undefined) return [];
    const { completion, index } = this.#offer;
    if (completion.candidates.length < 2)
      return completion.hint === "" ? [] : [dim(Bun.sliceAnsi(completion.hint, 0, width, "…"))];
    const near = completion.candidates.slice(Math.max(0, index - 1));
    const offset = Math.min(1, index);
    const words = near.map((word, at) => (at === offset ? bold(cleanLine(word.trim())) : dim(cleanLine(word.trim()))));
    return [Bun.sliceAnsi(words.join("  "), 0, width, "…")];
  }

  #errorRows(width: number, rows: number): string[] {
    if (this.#error === "") return [];
    const wrapped = Bun.wrapAnsi(`■ ${cleanLine(this.#error)}`, width, { hard: true }).split("\n");
    return wrapped.slice(0, Math.min(errorMaxRows, Math.max(0, rows - 2))).map(this.#colors.red);
  }
}

/** A grapheme as it is shown, and the cells it is given. */
function drawn(grapheme: string): readonly [string, number] {
  if (grapheme === "\t") return ["    ", 4];
  if (grapheme.length === 1 && grapheme < "\x7f") return [grapheme, 1];
  return [grapheme, Bun.stringWidth(grapheme)];
}

/** Puts the cursor into a column, from 0. */
function column(cells: number): string {
  return `\x1b[${cells + 1}G`;
}

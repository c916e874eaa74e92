/**
 * The text being typed, and what the editing keys do to it.
 *
 * Invariants: the cursor never stands inside a grapheme, so an emoji of seven code points is one step and one deletion; the
 * text holds no control character but tabs and line feeds.
 */
import { limits } from "../limits.ts";
import { cleanText } from "./clean.ts";
import type { Action } from "./keys.ts";

/** Room for a text that is too long, so that it can be cut down by hand. */
const draftMaxCharacters = 4 * limits.bodyMaxBytes;
const historyMaxLines = 500;

const segmenter = new Intl.Segmenter(undefined, { granularity: "grapheme" });
/** On one UTF-16 unit: halves of a pair count as letters. */
const isWord = (unit: string) => /[\p{L}\p{N}\p{M}\p{Cs}_]/u.test(unit);
const isBlank = (unit: string) => /\s/.test(unit);

export class Draft {
  #text = "";
  #cursor = 0;
  #killed = "";
  /** The last action killed, too: what is killed now joins it. */
  #killing = false;
  readonly #history: string[];
  /** The place in history, or its length while the draft is a new one. */
  #recalled: number;
  /** The new draft, while an earlier line is shown. */
  #unsent = "";

  get text(): string {
    return this.#text;
  }

  /** UTF-16 units before the cursor. */
  get cursor(): number {
    return this.#cursor;
  }

  /** `earlier`: lines of runs before this one, the oldest first. */
  constructor(earlier: readonly string[] = []) {
    this.#history = earlier.slice(-historyMaxLines);
    this.#recalled = this.#history.length;
  }

  /** The place in the history of the latest line before `before` that holds `words`, in any case; −1 for none. */
  findEarlier(words: string, before: number = this.#history.length): number {
    const wanted = words.toLowerCase();
    return this.#history.findLastIndex((line, index) => index < before && line.toLowerCase().includes(wanted));
  }

  /** False where it does not fit; nothing has changed then. */
  insert(text: string): boolean {
    if (this.#text.length + text.length > draftMaxCharacters) return false;
    this.#killing = false;
    this.replace(this.#cursor, this.#cursor, text.split("\t").map(cleanText).join("\t"));
    return true;
  }

  /** Empties the draft; up brings `line` back. */
  remember(line: string): void {
    if (line !== this.#history.at(-1)) this.#history.push(line);
    if (this.#history.length > historyMaxLines) this.#history.shift();
    this.#begin();
  }

  /** Empties the draft; `yank` brings it back. */
  clear(): void {
    this.#killed = this.#text || this.#killed;
    this.#killing = false;
    this.#begin();
  }

  #begin(): void {
    this.#recalled = this.#history.length;
    this.#show("");
  }

  /** Actions that are none of the draft's (enter, quit, redraw) do nothing. */
  handle(action: Action): void {
    const killing = this.#killing;
    this.#killing = false;
    const at = this.#cursor;
    switch (action) {
      case "left":
        this.#cursor = this.#before(at);
        break;
      case "right":
        this.#cursor = this.#after(at);
        break;
      case "home":
        this.#cursor = this.#lineStart(at);
        break;
      case "end":
        this.#cursor = this.#lineEnd(at);
        break;
      case "word-left":
        this.#cursor = this.#wordLeft(isWord);
        break;
      case "word-right":
        this.#cursor = this.#wordRight();
        break;
      case "up":
        this.#vertical(-1);
        break;
      case "down":
        this.#vertical(1);
        break;
      case "newline":
        this.insert("\n");
        break;
      case "backspace":
        this.replace(this.#before(at), at, "");
        break;
      case "delete":
      case "delete-or-quit":
        this.replace(at, this.#after(at), "");
        break;
      case "yank":
        this.insert(this.#killed);
        break;
      default:
        this.#kill(action, killing);
    }
  }

  #kill(action: Action, joined: boolean): void {
    const at = this.#cursor;
    let [from, to] = [at, at];
    if (action === "kill-to-start") from = this.#lineStart(at) === at ? Math.max(0, at - 1) : this.#lineStart(at);
    else if (action === "kill-to-end")
      to = this.#lineEnd(at) === at ? Math.min(this.#text.length, at + 1) : this.#lineEnd(at);
    else if (action === "kill-word-left") from = this.#wordLeft(isWord);
    else if (action === "kill-blank-word-left") from = this.#wordLeft(unit => !isBlank(unit));
    else if (action === "kill-word-right") to = this.#wordRight();
    else return;
    const killed = this.#text.slice(from, to);
    this.#killed = joined ? (from < at ? killed + this.#killed : this.#killed + killed) : killed || this.#killed;
    this.#killing = true;
    this.replace(from, to, "");
  }

  /** To the line above or below; from the first or last one into history. */
  #vertical(step: 1 | -1): void {
    const start = this.#lineStart(this.#cursor);
    const end = this.#lineEnd(this.#cursor);
    const column = this.#cursor - start;
    if (step < 0 && start > 0) this.#moveTo(this.#lineStart(start - 1), column);
    else if (step > 0 && end < this.#text.length) this.#moveTo(end + 1, column);
    else this.recall(this.#recalled + step);
  }

  /** Shows a line of the history; behind the last one stands the new draft. */
  recall(place: number): void {
    if (place < 0 || place > this.#history.length) return;
    if (this.#recalled === this.#history.length) this.#unsent = this.#text;
    this.#recalled = place;
    this.#show(this.#history[place] ?? this.#unsent);
  }

  #show(text: string): void {
    this.#text = text;
    this.#cursor = text.length;
  }

  /** Puts `text` in the place of what stands there; the cursor behind it. */
  replace(from: number, to: number, text: string): void {
    this.#text = this.#text.slice(0, from) + text + this.#text.slice(to);
    // What stands before the cursor now may have melted with what follows.
    this.#cursor = this.#edge(from + text.length, "after");
  }

  /** The nearest place that is not inside a grapheme. */
  #edge(at: number, side: "before" | "after"): number {
    const start = this.#lineStart(at);
    const grapheme = this.#segments(start).containing(at - start);
    if (!grapheme || start + grapheme.index === at) return at;
    return start + grapheme.index + (side === "after" ? grapheme.segment.length : 0);
  }

  #moveTo(lineStart: number, column: number): void {
    this.#cursor = this.#edge(Math.min(lineStart + column, this.#lineEnd(lineStart)), "before");
  }

  #lineStart(at: number): number {
    return at === 0 ? 0 : this.#text.lastIndexOf("\n", at - 1) + 1;
  }

  #lineEnd(at: number): number {
    const end = this.#text.indexOf("\n", at);
    return end < 0 ? this.#text.length : end;
  }

  #segments(lineStart: number): Intl.Segments {
    return segmenter.segment(this.#text.slice(lineStart, this.#lineEnd(lineStart)));
  }

  #before(at: number): number {
    const start = this.#lineStart(at);
    if (at === start) return Math.max(0, at - 1);
    return start + (this.#segments(start).containing(at - start - 1)?.index ?? 0);
  }

  #after(at: number): number {
    const start = this.#lineStart(at);
    const grapheme = this.#segments(start).containing(at - start);
    return grapheme ? start + grapheme.index + grapheme.segment.length : Math.min(this.#text.length, at + 1);
  }

  #wordLeft(belongs: (unit: string) => boolean): number {
    let at = this.#cursor;
    while (at > 0 && !belongs(this.#text.charAt(at - 1))) at--;
    while (at > 0 && belongs(this.#text.charAt(at - 1))) at--;
    return this.#edge(at, "before");
  }

  #wordRight(): number {
    let at = this.#cursor;
    while (at < this.#text.length && !isWord(this.#text.charAt(at))) at++;
    while (at < this.#text.length && isWord(this.#text.charAt(at))) at++;
    return this.#edge(at, "after");
  }
}

/** The graphemes of one line. Most lines are ASCII, where a character is one. */
export function graphemes(line: string): Iterable<string> {
  if (/^[\x00-\x7f]*$/.test(line)) return line;
  return Iterator.from(segmenter.segment(line)).map(({ segment }) => segment);
}

/**
 * Bytes of a terminal -> what the user did: typed, pasted, or pressed a key that does something.
 *
 * Invariant: a chunk cut anywhere (in a character, an escape sequence, a paste) means the same as in one piece. A paste is
 * always one piece, so nothing in it can press a key.
 */

/** As in a shell; with the dialects of xterm, VT220, rxvt, the Linux console and the newer `CSI u`. */
const bindings = {
  backspace: ["\x7f", "\b"],
  cancel: ["\x07"],
  complete: ["\t"],
  "complete-back": ["\x1b[Z"],
  delete: ["\x1b[3~"],
  "delete-or-quit": ["\x04"],
  down: ["\x1b[B", "\x1bOB", "\x0e"],
  end: ["\x05", "\x1b[F", "\x1bOF", "\x1b[4~", "\x1b[8~"],
  enter: ["\r", "\n", "\x1bOM"],
  "focus-in": ["\x1b[I"],
  "focus-out": ["\x1b[O"],
  home: ["\x01", "\x1b[H", "\x1bOH", "\x1b[1~", "\x1b[7~"],
  "kill-blank-word-left": ["\x17"],
  "kill-to-end": ["\x0b"],
  "kill-to-start": ["\x15"],
  "kill-word-left": ["\x1b\x7f", "\x1b\b", "\x1b[127;5u"],
  "kill-word-right": ["\x1bd", "\x1bD", "\x1b[3;5~", "\x1b[3;3~"],
  left: ["\x1b[D", "\x1bOD", "\x02", "\x1b[1;2D"],
  newline: ["\x1b\r", "\x1b\n", "\x1b[13;3u", "\x1b[13;2u", "\x1b[27;3;13~", "\x1b[27;2;13~"],
  quit: ["\x03"],
  redraw: ["\x0c"],
  right: ["\x1b[C", "\x1bOC", "\x06", "\x1b[1;2C"],
  search: ["\x12"],
  suspend: ["\x1a"],
  up: ["\x1b[A", "\x1bOA", "\x10"],
  "word-left": ["\x1bb", "\x1bB", "\x1b[1;5D", "\x1b[1;3D", "\x1b[5D", "\x1bOd", "\x1b\x1b[D"],
  "word-right": ["\x1bf", "\x1bF", "\x1b[1;5C", "\x1b[1;3C", "\x1b[5C", "\x1bOc", "\x1b\x1b[C"],
  yank: ["\x19"],
} as const satisfies Readonly<Record<string, readonly string[]>>;

export type Action = keyof typeof bindings;
export type Key = { readonly text: string } | { readonly action: Action };

const actions = new Map(
  Object.entries(bindings).flatMap(([action, sequences]) =>
    sequences.map(sequence => [sequence as string, action as Action]),
  ),
);

const pasteStart = "\x1b[200~";
const pasteEnd = "\x1b[201~";
/** More than a text may be, so that it can be refused with its size; the rest of a larger paste is dropped. */
const pasteMaxCharacters = 1024 * 1024;

/** Text as long as there is some, else one key: CSI (the Linux console's function keys too), SS3, Alt and a character, a control. */
const tokens =
  /[^\x00-\x1f\x7f]+|\x1b{0,2}\x1b\[(?:\[[A-E]|[0-?]*[ -/]*[@-~])|\x1bO[ -~]|\x1b[^\x1b[O]|[\x00-\x1f\x7f]/gu;
/** What a chunk may end with in the middle of a key. */
const unfinished = /\x1b{1,2}(?:\[[0-?]*[ -/]*|O)?$/;
/**
 * Several lines, no key among them and no Enter at the end: a paste from a terminal that does not mark pastes. With Enter at
 * the end it looks like lines typed ahead of a busy program, by a script for instance, and each was entered.
 */
const unmarkedPaste = /^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*[\r\n][^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*[^\x00-\x1f\x7f]$/;

/** A lone Escape and then a letter is no Alt-letter when so much time lies between them. */
export const escapeTimeoutMs = 100;

export class KeyDecoder {
  readonly #decoder = new TextDecoder();
  #rest = "";
  #restAtMs = 0;
  #paste: string | undefined;

  /** `nowMs`: any steady clock. */
  decode(chunk: Uint8Array, nowMs: number): Key[] {
    const keys = nowMs - this.#restAtMs < escapeTimeoutMs ? [] : this.release();
    let input = this.#rest + this.#decoder.decode(chunk, { stream: true });
    this.#rest = "";
    while (input !== "") {
      if (this.#paste !== undefined) {
        input = this.#pasted(input, keys);
        continue;
      }
      const start = input.indexOf(pasteStart);
      if (start < 0) {
        this.#restAtMs = nowMs;
        this.#typed(input, keys);
        break;
      }
      this.#typed(input.slice(0, start), keys);
      input = input.slice(start + pasteStart.length);
      this.#paste = "";
    }
    return keys;
  }

  /** What came last is Escape, or the beginning of another key: that of whoever sends no more of it for `escapeTimeoutMs`. */
  get holdsEscape(): boolean {
    return /^\x1b+$/.test(this.#rest);
  }

  /** An Escape that is held was one. */
  release(): Key[] {
    if (!this.holdsEscape) return [];
    const keys = Array.from(this.#rest, () => ({ action: "cancel" }) as const);
    this.#rest = "";
    return keys;
  }

  /** Takes what belongs to the paste; returns what comes after it. */
  #pasted(input: string, keys: Key[]): string {
    const before = this.#paste ?? "";
    const all = before + input;
    // The end mark may have been cut.
    const end = all.indexOf(pasteEnd, Math.max(0, before.length - pasteEnd.length));
    if (end < 0) {
      this.#paste =
        all.length > pasteMaxCharacters ? all.slice(0, pasteMaxCharacters) + all.slice(-pasteEnd.length) : all;
      return "";
    }
    this.#paste = undefined;
    keys.push({ text: withLineFeeds(all.slice(0, end)) });
    return all.slice(end + pasteEnd.length);
  }

  #typed(input: string, keys: Key[]): void {
    if (unmarkedPaste.test(input)) {
      keys.push({ text: withLineFeeds(input) });
      return;
    }
    this.#rest = unfinished.exec(input)?.[0] ?? "";
    for (const [token] of input.slice(0, input.length - this.#rest.length).matchAll(tokens)) {
      const action = actions.get(token);
      if (action !== undefined) keys.push({ action });
      else if (token >= " " && token !== "\x7f") keys.push({ text: token });
    }
  }
}

function withLineFeeds(text: string): string {
  return text.replace(/\r\n?/g, "\n");
}

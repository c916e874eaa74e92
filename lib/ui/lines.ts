/**
 * Lines in, lines out: what the plain and the JSON front share.
 *
 * Invariants: lines that arrive in one piece are handled in one turn of the loop, so that the core bundles them; whatever stdin
 * sends and however slowly stdout is read, sockets and signals get their turn and memory stays bounded; nothing here touches
 * `process.stdin` or `process.stdout`, which cost 13 ms each at start-up.
 */
import { assert, ChatError, codeOf } from "../errors.ts";
import { submit } from "./commands.ts";
import type { Talk } from "./talk.ts";
import type { ChatControl, ChatEvent } from "./view.ts";

/** A full text in JSON, each byte as `\u0000`, and the rest of its command. What is longer cannot be said anyway. */
const lineMaxBytes = 448 * 1024;
/** Input that never pauses, such as `yes` or a file, leaves the loop to sockets and signals after so long … */
const turnMs = 4;
/** … and is looked at in such pieces: a file comes in half a MiB at once, which is as many lines where they are empty. */
const pieceBytes = 64 * 1024;
/** Made into text at once. A history may be of millions of texts. */
const pieceMinCharacters = 1024 * 1024;
/** While so much waits for whoever reads stdout, nothing more is heard … */
const outputHoldCharacters = 4 * 1024 * 1024;
/** … and beyond this it is given up: what this node says itself waits, too. */
const outputMaxCharacters = 64 * 1024 * 1024;
/** Whoever reads stdout has so long to take the last of it. */
const outputEndTimeoutMs = 2_000;
/** The reader has gone: of a pipe, of a socket, or with its terminal. */
const goneCodes: ReadonlySet<string> = new Set(["EPIPE", "ECONNRESET", "EIO"]);

const lineFeed = 10;
const carriageReturn = 13;

/** What `Bun.stdout.writer()` offers of itself; tests hand in their own. */
export interface Sink {
  write(text: string): number | Promise<number>;
  flush(): number | Promise<number>;
}

export interface LineIo {
  /** Go on when the input has ended. */
  readonly stay: boolean;
  /** Default: stdin. */
  readonly input?: ReadableStream<Uint8Array>;
  /** Default: stdout. */
  readonly output?: Sink;
}

/** Returned by a front's `line` to leave. */
export const quit: unique symbol = Symbol("quit");

/** One way of writing a chat down. Each function returns what to print, line feeds included. */
export interface LineFront {
  event(event: ChatEvent): string;
  /** `damaged`: it was not UTF-8 and holds U+FFFD where it was not. */
  line(text: string, damaged: boolean): string | typeof quit;
  overlong(bytes: number): string;
  /** Called first, with the way to print what nothing that comes in is the reason for. */
  begin?(write: (text: string) => void): void;
}

/** Does what a person has typed; the answer in the words of the front. */
export function answerTo(
  talk: Talk,
  line: string,
  shown: (line: string) => string,
  refused: (message: string) => string,
): string | typeof quit {
  try {
    const outcome = submit(talk, line);
    if (outcome.kind === "quit") return quit;
    return outcome.kind === "shown" ? outcome.lines.map(shown).join("") : "";
  } catch (error) {
    if (error instanceof ChatError) return refused(error.message);
    throw error;
  }
}

/**
 * Why a front came to its end: the user left, the input ended, the chat ended, or nobody reads the output any more. Whatever
 * it is, the caller leaves the room.
 */
export type FrontEnd = "quit" | "input" | "chat" | "output";

/** Runs `front` until one of those. Throws what made it impossible to write, where it is not that the reader has gone. */
export async function runLines(chat: ChatControl, io: LineIo, front: LineFront): Promise<FrontEnd> {
  const output = new LineWriter(io.output ?? Bun.stdout.writer({ highWaterMark: 64 * 1024 }));
  front.begin?.(text => output.write(text));
  chat.holdWhile(() => output.isBehind);
  const unsubscribe = chat.subscribe(events => {
    const pieces = textOf(events, front);
    output.write(pieces.next().value ?? "");
    // One at a time: whatever else comes while it is taken counts against what may wait.
    if (output.isLong) for (const text of pieces) output.write(text);
    else output.writeLong(pieces);
  });
  // The first line is out by then: to open stdin takes longer than to write it.
  await new Promise(setImmediate);
  const reader = (io.input ?? Bun.stdin.stream()).getReader();
  let end: FrontEnd;
  try {
    const input = readInput(chat, reader, output, front);
    const ends: Promise<FrontEnd>[] = [chat.ended.then(() => "chat"), output.closed.then(() => "output")];
    end = await Promise.race([input, ...ends]);
    // Who has asked for nothing but the history gets it.
    const told = io.stay ? [] : [output.longTaken.then(() => end)];
    if (end === "input") end = await Promise.race([...told, ...ends]);
  } finally {
    unsubscribe();
    reader.cancel().catch(() => {});
    await output.end();
  }
  if (output.failure !== undefined) throw output.failure;
  return end;
}

function* textOf(events: readonly ChatEvent[], front: LineFront): Generator<string, undefined> {
  let text = "";
  for (const event of events) {
    text += front.event(event);
    if (text.length < pieceMinCharacters) continue;
    yield text;
    text = "";
  }
  yield text;
}

async function readInput(
  chat: ChatControl,
  reader: { read(): Promise<{ value?: Uint8Array | undefined }> },
  output: LineWriter,
  front: LineFront,
): Promise<"quit" | "input"> {
  let replies = "";
  let goesOn = true;
  const splitter = new LineSplitter(
    (text, damaged) => {
      if (!goesOn) return;
      const reply = front.line(text, damaged);
      if (reply === quit) goesOn = false;
      else replies += reply;
    },
    bytes => {
      if (goesOn) replies += front.overlong(bytes);
    },
  );
  const answer = () => {
    output.write(replies);
    replies = "";
  };
  let turnAt = performance.now();
  for (;;) {
    // A terminal that went away is an error for the reader (EIO) and the end for us.
    const { value } = await reader.read().catch(() => ({ value: undefined }));
    if (value === undefined) {
      splitter.end();
      answer();
      return goesOn ? "input" : "quit";
    }
    for (let at = 0; at < value.length; at += pieceBytes) {
      splitter.push(value.subarray(at, at + pieceBytes));
      answer();
      if (!goesOn) return "quit";
      await chat.ready();
      // Promises that are kept already are no turn of the loop.
      if (performance.now() - turnAt > turnMs) {
        await new Promise(setImmediate);
        turnAt = performance.now();
      }
      if (chat.isLeaving) return "input";
    }
  }
}

/**
 * Bytes -> lines. Only whole lines are decoded, so a character cut between two chunks is no special case. Line feed and
 * carriage return + line feed both end a line, and so does the end.
 */
export class LineSplitter {
  readonly #onLine: (text: string, damaged: boolean) => void;
  readonly #onOverlong: (bytes: number) => void;
  readonly #strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  readonly #lenient = new TextDecoder("utf-8", { ignoreBOM: true });
  /** The beginning of a line whose end has not come yet. */
  #held: Uint8Array[] = [];
  /** Its length; beyond the limit nothing is held, only counted. */
  #heldBytes = 0;
  #first = true;

  constructor(onLine: (text: string, damaged: boolean) => void, onOverlong: (bytes: number) => void) {
    this.#onLine = onLine;
    this.#onOverlong = onOverlong;
  }

  push(chunk: Uint8Array): void {
    // No piece is longer than a line may be, so what is too long does not depend on how the bytes were cut.
    for (let at = 0; at < chunk.length; at += lineMaxBytes) this.#push(chunk.subarray(at, at + lineMaxBytes));
  }

  /** No more will come: a last line without a line feed counts too. */
  end(): void {
    if (this.#heldBytes > 0) this.#release();
  }

  #push(chunk: Uint8Array): void {
    const last = chunk.lastIndexOf(lineFeed);
    let start = 0;
    if (last >= 0 && this.#heldBytes > 0) {
      start = chunk.indexOf(lineFeed) + 1;
      this.#hold(chunk.subarray(0, start - 1));
      this.#release();
    }
    if (start <= last) this.#lines(chunk.subarray(start, last));
    this.#hold(chunk.subarray(last + 1));
  }

  #hold(bytes: Uint8Array): void {
    this.#heldBytes += bytes.length;
    if (this.#heldBytes > lineMaxBytes) this.#held = [];
    // A copy of a small piece, so that it does not keep its whole chunk alive.
    else if (bytes.length > 0) this.#held.push(bytes.slice());
  }

  #release(): void {
    const held = this.#held;
    const bytes = this.#heldBytes;
    this.#held = [];
    this.#heldBytes = 0;
    if (bytes > lineMaxBytes) this.#onOverlong(bytes);
    else this.#lines(Buffer.concat(held));
  }

  /** Whole lines, the last one without its line feed. */
  #lines(bytes: Uint8Array): void {
    let text: string;
    try {
      text = this.#strict.decode(bytes);
    } catch {
      this.#damagedLines(bytes);
      return;
    }
    // A byte order mark opens the input of some programs and is no part of their first line.
    let start = this.#first && text.charCodeAt(0) === 0xfeff ? 1 : 0;
    this.#first = false;
    for (;;) {
      const found = text.indexOf("\n", start);
      const end = found < 0 ? text.length : found;
      const cut = end > start && text.charCodeAt(end - 1) === carriageReturn ? end - 1 : end;
      this.#onLine(text.slice(start, cut), false);
      if (found < 0) return;
      start = found + 1;
    }
  }

  /** One line at a time, to know which of them is damaged. */
  #damagedLines(bytes: Uint8Array): void {
    let start = 0;
    for (;;) {
      const found = bytes.indexOf(lineFeed, start);
      const line = bytes.subarray(start, found < 0 ? bytes.length : found);
      if (found < 0 && start === 0) {
        const text = this.#lenient.decode(line);
        this.#onLine(text.endsWith("\r") ? text.slice(0, -1) : text, true);
      } else {
        this.#lines(line);
      }
      if (found < 0) return;
      start = found + 1;
    }
  }
}

/** Writes without ever waiting: what the reader of stdout does not take yet is kept, up to a limit. */
export class LineWriter {
  /** Why nothing can be written, where it is not that nobody reads. */
  failure: Error | undefined;
  readonly #sink: Sink;
  /** Ahead of the queue: each piece is made when the last has been taken. */
  #long: Iterator<string> | undefined;
  #longTaken = Promise.withResolvers<void>();
  #queue = "";
  #busy = false;
  #open = true;
  readonly #closed = Promise.withResolvers<void>();
  #idle: (() => void) | undefined;

  constructor(sink: Sink) {
    this.#sink = sink;
  }

  /** Settles when nobody reads any more. */
  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  write(text: string): void {
    if (text === "" || !this.#open) return;
    this.#queue += text;
    if (this.#queue.length > outputMaxCharacters) {
      this.failure = Object.assign(new Error("nobody takes what waits for it"), { syscall: "write" });
      this.#close();
    } else if (!this.#busy) this.#drain();
  }

  /** Whoever reads does not keep up. */
  get isBehind(): boolean {
    return this.#open && this.#queue.length > outputHoldCharacters;
  }

  /** Writes what would be too much as one text; what is written from now on comes behind it. */
  writeLong(pieces: Iterator<string>): void {
    assert(!this.isLong, "one at a time");
    const first = pieces.next();
    if (first.done === true || !this.#open) return;
    this.#long = after(this.#queue + first.value, pieces);
    this.#queue = "";
    this.#longTaken = Promise.withResolvers();
    if (!this.#busy) this.#drain();
  }

  get isLong(): boolean {
    return this.#long !== undefined;
  }

  /** Resolves when nothing long is left. */
  get longTaken(): Promise<void> {
    return this.isLong ? this.#longTaken.promise : Promise.resolve();
  }

  /** Resolves when everything has been taken, or will not be: what was begun is written to its end. */
  async end(): Promise<void> {
    if (!this.#busy) return;
    const taken = Promise.withResolvers<void>();
    const timer = setTimeout(taken.resolve, outputEndTimeoutMs);
    this.#idle = taken.resolve;
    await taken.promise;
    clearTimeout(timer);
  }

  #take(): string {
    const piece = this.#long?.next();
    if (piece?.done === false) return piece.value;
    this.#endLong();
    const text = this.#queue;
    this.#queue = "";
    return text;
  }

  #drain(): void {
    const text = this.#take();
    if (text === "" && !this.isLong) return;
    try {
      const written = this.#sink.write(text);
      const flushed = written instanceof Promise ? written : this.#sink.flush();
      if (!(flushed instanceof Promise) && !this.isLong) return;
      this.#busy = true;
      // A file takes all at once, which is no reason to do nothing else.
      const taken = flushed instanceof Promise ? flushed : new Promise(setImmediate);
      taken.then(
        () => this.#onTaken(),
        error => this.#onFailed(error),
      );
    } catch (error) {
      this.#onFailed(error);
    }
  }

  #onTaken(): void {
    this.#busy = false;
    if ((this.#queue !== "" || this.isLong) && this.#open) this.#drain();
    if (!this.#busy) this.#idle?.();
  }

  #endLong(): void {
    this.#long = undefined;
    this.#longTaken.resolve();
  }

  #onFailed(error: unknown): void {
    if (error instanceof Error && codeOf(error) !== "" && !goneCodes.has(codeOf(error))) this.failure = error;
    this.#busy = false;
    this.#close();
  }

  #close(): void {
    this.#open = false;
    this.#queue = "";
    this.#endLong();
    this.#closed.resolve();
    if (!this.#busy) this.#idle?.();
  }
}

function* after(first: string, rest: Iterator<string>): Generator<string> {
  yield first;
  for (let piece = rest.next(); !piece.done; piece = rest.next()) yield piece.value;
}

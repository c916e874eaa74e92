/**
 * A program in a real terminal: `Bun.Terminal` is the PTY, `@xterm/headless` the screen.
 *
 * Nothing here sleeps: `until` looks again whenever the program has written and xterm has drawn it, and fails with the whole
 * screen once its deadline is over. It looks between frames only: what a terminal hands over may end within one, anywhere.
 */
import { type IBufferCell, Terminal as Xterm } from "@xterm/headless";

export interface TerminalSetup {
  readonly cols?: number;
  readonly rows?: number;
  /** Added to the environment; undefined takes away. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
}

/** One place on the screen, as drawn. */
export interface Cell {
  /** "" in the right half of a wide character, and where nothing was ever written. */
  readonly chars: string;
  /** 0 in the right half of a wide character. */
  readonly width: number;
  /** A number in the palette; undefined is the default colour. */
  readonly color: number | undefined;
  readonly bold: boolean;
  readonly dim: boolean;
  readonly italic: boolean;
  readonly inverse: boolean;
}

/** `wanted`: what the screen must show. A pattern is tried on the rows joined by line feeds. */
export type Wanted = RegExp | string | ((screen: string[]) => boolean);

const untilTimeoutMs = 10_000;

export class Terminal {
  readonly #xterm: Xterm;
  readonly #process: Bun.Subprocess;
  readonly #argv: readonly string[];
  readonly #decoder = new TextDecoder();
  #watchers = new Set<() => void>();
  #raw = "";

  /** Starts `argv` in a terminal of its own. */
  static start(argv: readonly string[], setup: TerminalSetup = {}): Terminal {
    return new Terminal(argv, setup);
  }

  private constructor(argv: readonly string[], { cols = 80, rows = 24, env = {}, cwd }: TerminalSetup) {
    this.#argv = argv;
    this.#xterm = new Xterm({ cols, rows, allowProposedApi: true, scrollback: 20_000 });
    this.#process = Bun.spawn([...argv], {
      env: { ...process.env, TERM: "xterm-256color", NO_COLOR: "1", CI: undefined, ...env },
      ...(cwd !== undefined && { cwd }),
      terminal: {
        cols,
        rows,
        data: (_terminal, bytes) => {
          this.#raw = (this.#raw + this.#decoder.decode(bytes, { stream: true })).slice(-100_000);
          this.#xterm.write(bytes, () => this.#changed());
        },
      },
    });
    // What the terminal answers by itself (reports) goes to the program, as in life.
    this.#xterm.onData(answer => this.type(answer));
    void this.#process.exited.then(() => this.#changed());
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** The exit status, or 128 + the signal. */
  get exited(): Promise<number> {
    return this.#process.exited;
  }

  /** Keys as the terminal sends them: Enter is "\r". */
  type(keys: string): void {
    if (!this.#pty.closed) this.#pty.write(keys);
  }

  /** A paste as a terminal sends it while bracketed paste is on. */
  paste(text: string): void {
    this.type(`\x1b[200~${text.replaceAll("\n", "\r")}\x1b[201~`);
  }

  /** The visible rows, without trailing blanks. */
  screen(): string[] {
    return this.#rows(this.#xterm.buffer.active.baseY, this.#xterm.rows);
  }

  /** The visible rows, cell by cell, with their looks. */
  cells(): Cell[][] {
    const buffer = this.#xterm.buffer.active;
    return Array.from({ length: this.#xterm.rows }, (_, y) => {
      const line = buffer.getLine(buffer.baseY + y);
      return Array.from({ length: this.#xterm.cols }, (_, x) => lookOf(line?.getCell(x)));
    });
  }

  /** Everything, what has scrolled away included; without the empty rows at the end. */
  scrollback(): string[] {
    const rows = this.#rows(0, this.#xterm.buffer.active.length);
    while (rows.at(-1) === "") rows.pop();
    return rows;
  }

  /** From 0, in the visible rows. */
  cursor(): { x: number; y: number } {
    const { cursorX: x, cursorY: y } = this.#xterm.buffer.active;
    return { x, y };
  }

  /** The last bytes the program wrote, undrawn. */
  raw(): string {
    return this.#raw;
  }

  /** The window is resized: the screen first, then the program hears of it. */
  resize(cols: number, rows: number): void {
    this.#xterm.resize(cols, rows);
    this.#pty.resize(cols, rows);
  }

  /** Does the program get each key at once, as it set the terminal? */
  isRaw(): boolean {
    const ICANON = process.platform === "darwin" ? 0x100 : 0x2;
    return (this.#pty.localFlags & ICANON) === 0;
  }

  kill(signal: NodeJS.Signals = "SIGKILL"): void {
    this.#process.kill(signal);
  }

  /** The window is closed: the program gets SIGHUP, and its reads and writes fail. */
  close(): void {
    this.#pty.close();
  }

  /** Is the screen as wanted now? */
  shows(wanted: Wanted): boolean {
    const screen = this.screen();
    if (typeof wanted === "function") return wanted(screen);
    const text = screen.join("\n");
    return typeof wanted === "string" ? text.includes(wanted) : wanted.test(text);
  }

  /** Resolves as soon as the screen is as wanted; rejects with the whole screen when it does not become so. */
  async until(wanted: Wanted, what: string = String(wanted), timeoutMs: number = untilTimeoutMs): Promise<void> {
    // More may be drawn before whoever waits goes on.
    do await this.#sees(wanted, what, timeoutMs);
    while (!this.#isWhole);
  }

  #sees(wanted: Wanted, what: string, timeoutMs: number): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const seen = () => this.#isWhole && this.shows(wanted);
    const fail = (why: string) => {
      finish();
      reject(new Error(`${this.#argv.join(" ")}: ${why} while waiting for ${what}\n${this.toString()}`));
    };
    const look = () => {
      if (seen()) {
        finish();
        resolve();
      } else if (this.#process.exitCode !== null && this.#pty.closed) fail(`exited with ${this.#process.exitCode}`);
    };
    const timer = setTimeout(() => fail(`${timeoutMs} ms have passed`), timeoutMs);
    const finish = () => {
      clearTimeout(timer);
      this.#watchers.delete(look);
    };
    this.#watchers.add(look);
    look();
    return promise;
  }

  /** The screen in a box, for failures. */
  toString(): string {
    const { x, y } = this.cursor();
    const rows = this.screen().map((row, index) => `${index === y ? "›" : "│"}${row}`);
    return [`┌${"─".repeat(this.#xterm.cols)} cursor ${x},${y}`, ...rows, `└${"─".repeat(this.#xterm.cols)}`].join(
      "\n",
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill("SIGKILL");
    await this.#process.exited;
    this.#pty.close();
    this.#xterm.dispose();
  }

  get #pty(): Bun.Terminal {
    const { terminal } = this.#process;
    if (!terminal) throw new Error("the program has no terminal");
    return terminal;
  }

  /** No frame is half drawn: the program says where each begins and ends (DEC private mode 2026). */
  get #isWhole(): boolean {
    return !this.#xterm.modes.synchronizedOutputMode;
  }

  #rows(first: number, count: number): string[] {
    const buffer = this.#xterm.buffer.active;
    return Array.from(
      { length: count },
      (_, row) =>
        buffer
          .getLine(first + row)
          ?.translateToString()
          .trimEnd() ?? "",
    );
  }

  #changed(): void {
    for (const look of [...this.#watchers]) look();
  }
}

function lookOf(cell: IBufferCell | undefined): Cell {
  return {
    chars: cell?.getChars() ?? "",
    width: cell?.getWidth() ?? 1,
    color: cell?.isFgPalette() ? cell.getFgColor() : undefined,
    bold: Boolean(cell?.isBold()),
    dim: Boolean(cell?.isDim()),
    italic: Boolean(cell?.isItalic()),
    inverse: Boolean(cell?.isInverse()),
  };
}

/**
 * The compiled program as its users have it: on a terminal, or between two pipes. Nothing it does leaves loopback, and
 * nothing of it is left when the test is over.
 *
 * Nothing here sleeps: a wait looks again whenever the program has written, and fails with all it has written once its
 * deadline is over.
 */
import { createSocket } from "node:dgram";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { scripts } from "../../package.json";
import { Terminal, type TerminalSetup, type Wanted } from "./terminal.ts";

const ROOT = join(import.meta.dir, "..", "..");
const DEADLINE_MS = 20_000;

let built: Promise<string> | undefined;

/** The path of the program, built from the sources as they are now, once a run. */
export function binary(): Promise<string> {
  built ??= build();
  return built;
}

async function build(): Promise<string> {
  // That which test/preload.ts makes, and removes when all tests are over.
  const { HOME = tmpdir() } = process.env;
  const path = join(mkdtempSync(join(HOME, "e2e-")), "p2pchat");
  // As `bun run build` does it, but for where it goes: a later `--outfile` wins.
  const command = [process.execPath, ...scripts.build.split(" ").slice(1), `--outfile=${path}`];
  const child = Bun.spawn(command, { cwd: ROOT, stdout: "ignore", stderr: "pipe" });
  const errors = await child.stderr.text();
  if ((await child.exited) !== 0) throw new Error(`the program does not build: ${errors}`);
  return path;
}

export interface Setup {
  /** Whose disk it is: programs on one machine share a data directory. */
  readonly machine?: string;
  readonly env?: Readonly<Record<string, string | undefined>>;
}

/** Some machines with their disks, and all that runs on them, until the test is over. */
export class World {
  /** Every machine's disk is a directory in it. */
  readonly directory = mkdtempSync(join(tmpdir(), "p2pchat-e2e-"));
  readonly #running: AsyncDisposable[] = [];

  static async open(): Promise<World> {
    return new World(await binary());
  }

  private constructor(readonly program: string) {}

  /** `p2pchat <words>` on a terminal. */
  terminal(words: readonly string[], setup: Setup & TerminalSetup = {}): Terminal {
    return this.#track(Terminal.start(this.#argv(words), { ...setup, env: this.#env(setup) }));
  }

  /** `p2pchat <words>` with a pipe on each side. */
  pipe(words: readonly string[], setup: Setup = {}): Program {
    return this.#track(new Program(this.#argv(words), this.#env(setup)));
  }

  /** Any other command, with the same environment; `$P2PCHAT` is the program. */
  shell(script: string, setup: Setup = {}): Program {
    return this.#track(new Program(["sh", "-c", script], { ...this.#env(setup), P2PCHAT: this.program }));
  }

  /** A shell on a terminal, which knows of jobs; `$P2PCHAT` is the program. */
  jobs(setup: Setup & TerminalSetup = {}): Terminal {
    const env = { ...this.#env(setup), P2PCHAT: this.program, PS1: "$ ", ENV: undefined };
    return this.#track(Terminal.start(["sh", "-i"], { ...setup, env }));
  }

  /** Where a machine keeps what belongs to p2pchat, unless told otherwise. */
  disk(machine = "here"): string {
    return join(this.directory, machine);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#running.map(each => each[Symbol.asyncDispose]()));
    rmSync(this.directory, { recursive: true, force: true });
  }

  #argv(words: readonly string[]): string[] {
    return [this.program, ...words, "--host", "127.0.0.1"];
  }

  #env({ machine, env }: Setup): Record<string, string | undefined> {
    const disk = this.disk(machine);
    mkdirSync(disk, { recursive: true });
    return {
      ...process.env,
      NO_COLOR: "1",
      HOME: disk,
      XDG_DATA_HOME: disk,
      P2PCHAT_DISCOVERY: "off",
      CI: undefined,
      ...env,
    };
  }

  #track<T extends AsyncDisposable>(started: T): T {
    this.#running.push(started);
    return started;
  }
}

/** A network of this test's own: the beacon on loopback, at a UDP port that nobody else uses. */
export async function ownNetwork(): Promise<{ readonly env: Readonly<Record<string, string>> }> {
  const socket = createSocket("udp4");
  const bound = Promise.withResolvers<void>();
  socket.bind(0, "127.0.0.1", bound.resolve);
  await bound.promise;
  const { port } = socket.address();
  const closed = Promise.withResolvers<void>();
  socket.close(closed.resolve);
  await closed.promise;
  return { env: { P2PCHAT_DISCOVERY: `loopback:${port}` } };
}

/**
 * Somebody who looks round near by and finds what is there. A beacon begins a moment after its room, and a look is over after
 * 300 ms, whoever has not answered on a busy machine: then it is begun anew.
 */
export async function looking(start: () => Terminal, found: Wanted): Promise<Terminal> {
  for (;;) {
    const terminal = start();
    const isOver = () => terminal.shows(found) || terminal.shows(/Open a new room|listening\s*at/);
    await terminal.until(isOver, `${found}, or that a look is over without it`);
    if (terminal.shows(found)) return terminal;
    terminal.type("\x03");
    await terminal.exited;
  }
}

/** Waits until somebody on a terminal is in the room; resolves with the port of that node. */
export async function portOn(terminal: Terminal): Promise<string> {
  // A narrow screen breaks the sentence anywhere.
  const pattern = /listening\s*at\s*(\d+)\./;
  await terminal.until(screen => pattern.test(screen.join("")), "the port");
  const [, port = ""] = pattern.exec(terminal.screen().join("")) ?? [];
  return port;
}

/** What has been said, as the screen and all above it show it, without the times. */
export function talkOn(terminal: Terminal): string[] {
  return terminal.scrollback().flatMap(row => /^\d\d:\d\d (\S+: .*?)(?: ✓.*| {2}\(kept.*)?$/.exec(row)?.[1] ?? []);
}

export type Fields = Readonly<Record<string, unknown>>;

/** A program with a pipe on each side, and what it has written. */
export class Program {
  readonly lines: string[] = [];
  readonly #child: Bun.Subprocess<"pipe", "pipe", "pipe">;
  readonly #watchers = new Set<() => void>();
  readonly #ended: Promise<unknown>;
  #complaints = "";
  #over = false;

  constructor(
    private readonly argv: readonly string[],
    env: Readonly<Record<string, string | undefined>>,
  ) {
    this.#child = Bun.spawn([...argv], { env: { ...env }, stdin: "pipe", stdout: "pipe", stderr: "pipe" });
    const { stdout, stderr } = this.#child;
    const complaints = readText(stderr, text => {
      this.#complaints += text;
    });
    this.#ended = Promise.all([this.#readLines(stdout), complaints]).then(() => {
      this.#over = true;
      this.#look();
    });
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** The exit status once all that it wrote has been read. */
  get exited(): Promise<number> {
    return this.#ended.then(() => this.#child.exited);
  }

  /** All of stderr so far. */
  get complaints(): string {
    return this.#complaints;
  }

  /** What came in JSON, so far. */
  get events(): Fields[] {
    return this.lines.map(line => JSON.parse(line) as Fields);
  }

  write(input: string | Uint8Array): void {
    this.#child.stdin.write(input);
    this.#child.stdin.flush();
  }

  command(fields: Fields): void {
    this.write(`${JSON.stringify(fields)}\n`);
  }

  /** Ends stdin. */
  end(): void {
    this.#child.stdin.end();
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** The first line that is as wanted, among those that have come and those to come. */
  async line(wanted: string | RegExp | ((line: string) => boolean), timeoutMs: number = DEADLINE_MS): Promise<string> {
    const fits =
      typeof wanted === "function"
        ? wanted
        : (line: string) => (typeof wanted === "string" ? line === wanted : wanted.test(line));
    let next = 0;
    return await this.#until(timeoutMs, String(wanted), () => {
      for (; next < this.lines.length; next += 1) if (fits(this.lines[next] ?? "")) return this.lines[next];
      return undefined;
    });
  }

  /** Waits until something holds that only what it writes can change. */
  async until(holds: () => boolean, what: string, timeoutMs: number = DEADLINE_MS): Promise<void> {
    await this.#until(timeoutMs, what, () => (holds() ? true : undefined));
  }

  /** The first event that has these fields. */
  async event(wanted: Fields, timeoutMs?: number): Promise<Fields> {
    const fits = (line: string) => {
      const fields = JSON.parse(line) as Fields;
      return Object.entries(wanted).every(([name, value]) => Bun.deepEquals(fields[name], value));
    };
    return JSON.parse(await this.line(fits, timeoutMs).catch(error => fail(error, wanted))) as Fields;
  }

  /** The port that its first line tells, plain or JSON. */
  async port(): Promise<string> {
    const line = await this.line(/listening/);
    return /listening at (\d+)\.$/.exec(line)?.[1] ?? /"port":(\d+)/.exec(line)?.[1] ?? "";
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.exited;
  }

  #until<T>(timeoutMs: number, what: string, find: () => T | undefined): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const giveUp = (why: string) =>
      reject(new Error(`${this.argv.join(" ")}: ${why} while waiting for ${what}\n${this.#tail()}`));
    const look = () => {
      const found = find();
      if (found !== undefined) resolve(found);
      else if (this.#over) giveUp("it has ended");
    };
    const timer = setTimeout(() => giveUp(`${timeoutMs} ms have passed`), timeoutMs);
    this.#watchers.add(look);
    look();
    return promise.finally(() => {
      clearTimeout(timer);
      this.#watchers.delete(look);
    });
  }

  #tail(): string {
    return [`${this.lines.length} lines, the last of them:`, ...this.lines.slice(-30), this.#complaints].join("\n");
  }

  #look(): void {
    for (const look of [...this.#watchers]) look();
  }

  async #readLines(stream: ReadableStream<Uint8Array>): Promise<void> {
    let rest = "";
    await readText(stream, text => {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) this.lines.push(line);
      this.#look();
    });
    if (rest !== "") this.lines.push(rest);
  }
}

async function readText(stream: ReadableStream<Uint8Array>, take: (text: string) => void): Promise<void> {
  const decoder = new TextDecoder();
  for await (const chunk of stream) take(decoder.decode(chunk, { stream: true }));
}

function fail(error: unknown, wanted: Fields): never {
  throw error instanceof Error ? new Error(`${JSON.stringify(wanted)}: ${error.message}`) : error;
}

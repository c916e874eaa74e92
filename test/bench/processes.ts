/**
 * Processes of the bench: started, asked, looked at, and ended by their id.
 *
 * Every wait has a deadline. `endAll` ends whatever is left, so that a failing case leaves nothing behind.
 */
import { dlopen, FFIType, ptr } from "bun:ffi";
import { closeSync, fsyncSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Answer, Question, Questions } from "./actors/ipc.ts";

const ANSWER_TIMEOUT_MS = 60_000;
const LINE_TIMEOUT_MS = 30_000;
export const BENCH = import.meta.dir;
export const ROOT = join(BENCH, "..", "..");

const running = new Set<Bun.Subprocess>();
let scratch: string | undefined;

/** A new directory for one process, gone when the bench ends. */
export function scratchDirectory(name: string): string {
  scratch ??= mkdtempSync(join(tmpdir(), "p2pchat-bench-"));
  mkdirSync(join(scratch, "data"), { recursive: true });
  return mkdtempSync(join(scratch, "data", `${name}-`));
}

/** Ends every process that is left, and removes what was written. */
export async function endAll(): Promise<void> {
  const left = [...running];
  for (const child of left) child.kill("SIGKILL");
  await Promise.all(left.map(child => child.exited));
  if (scratch !== undefined) rmSync(scratch, { recursive: true, force: true });
}

/** Ends one process and waits until it is gone. */
export async function end(child: Bun.Subprocess, signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
  child.kill(signal);
  await child.exited;
  running.delete(child);
}

export function track<T extends Bun.Subprocess>(child: T): T {
  running.add(child);
  void child.exited.then(() => running.delete(child));
  return child;
}

/** The environment of every process: no colours, no state of the user's own, and nothing said beyond this machine. */
export function environment(more: Readonly<Record<string, string>> = {}): Record<string, string | undefined> {
  const ours = { NO_COLOR: "1", FORCE_COLOR: undefined, P2PCHAT_KEY: undefined, P2PCHAT_DISCOVERY: "off" };
  return { ...process.env, ...ours, ...more };
}

/** A process that answers questions (actors/ipc.ts). */
export class Actor<Q extends Questions> {
  private readonly child: Bun.Subprocess;
  private readonly waiting = new Map<number, PromiseWithResolvers<unknown>>();
  private readonly started = Promise.withResolvers<unknown>();
  private nextId = 1;
  private errors = "";

  private constructor(script: string, env: Readonly<Record<string, string>>) {
    this.waiting.set(0, this.started);
    this.child = track(
      Bun.spawn([process.execPath, script], {
        env: environment(env),
        stdio: ["ignore", "ignore", "pipe"],
        ipc: (answer: Answer) => this.onAnswer(answer),
      }),
    );
    void this.collectErrors();
    void this.child.exited.then(code => this.onExit(code));
  }

  /** Resolves when it is ready to be asked. */
  static async start<Q extends Questions>(
    script: string,
    env: Readonly<Record<string, string>> = {},
  ): Promise<Actor<Q>> {
    const actor = new Actor<Q>(script, env);
    await withDeadline(actor.started.promise, ANSWER_TIMEOUT_MS, `${script} did not start`);
    return actor;
  }

  get pid(): number {
    return this.child.pid;
  }

  async ask<K extends keyof Q & string>(type: K, ask: Q[K]["ask"]): Promise<Q[K]["answer"]> {
    const id = this.nextId;
    this.nextId += 1;
    const answer = Promise.withResolvers<unknown>();
    this.waiting.set(id, answer);
    const question: Question = { id, type, ask };
    this.child.send(question);
    return (await withDeadline(answer.promise, ANSWER_TIMEOUT_MS, `no answer to "${type}"`)) as Q[K]["answer"];
  }

  /** Stops it as it is (SIGSTOP), or lets it go on. */
  signal(signal: "SIGSTOP" | "SIGCONT"): void {
    this.child.kill(signal);
  }

  end(): Promise<void> {
    return end(this.child);
  }

  /** Lets it exit by itself, so that what it writes at exit is written. */
  async quit(): Promise<void> {
    this.child.disconnect();
    await withDeadline(this.child.exited, ANSWER_TIMEOUT_MS, "it did not exit");
  }

  private onAnswer({ id, answer, error }: Answer): void {
    const waiting = this.waiting.get(id);
    this.waiting.delete(id);
    if (error === undefined) waiting?.resolve(answer);
    else waiting?.reject(new Error(error));
  }

  private onExit(code: number): void {
    const lastLine = this.errors.trim().split("\n").at(-1) ?? "";
    for (const { reject, promise } of this.waiting.values()) {
      promise.catch(() => {});
      reject(new Error(`the process ended with ${code}: ${lastLine}`));
    }
    this.waiting.clear();
  }

  private async collectErrors(): Promise<void> {
    const { stderr } = this.child;
    if (!(stderr instanceof ReadableStream)) return;
    const decoder = new TextDecoder();
    for await (const chunk of stderr) this.errors = (this.errors + decoder.decode(chunk)).slice(-4_000);
  }
}

/** A program with a pipe on either side. */
export class Program {
  private readonly child: Bun.Subprocess<"pipe", "pipe", "ignore">;
  private readonly watchers = new Set<() => void>();
  /** Lines read so far; of a program that says much only what `onLines` is not given. */
  private readonly lines: string[] = [];
  private rest = "";
  readonly startedAt = performance.now();

  constructor(
    argv: readonly string[],
    env: Readonly<Record<string, string>> = {},
    /** Takes the lines, which are not kept then. */
    private readonly onLines?: (lines: readonly string[]) => void,
  ) {
    this.child = track(
      Bun.spawn([...argv], { env: environment(env), stdin: "pipe", stdout: "pipe", stderr: "ignore" }),
    );
    void this.read();
  }

  get pid(): number {
    return this.child.pid;
  }

  get stdin(): Bun.FileSink {
    return this.child.stdin;
  }

  get exited(): Promise<number> {
    return this.child.exited;
  }

  /** The first line that `matches`, among those to come and those that have come. */
  line(matches: (line: string) => boolean): Promise<string> {
    const { promise, resolve } = Promise.withResolvers<string>();
    let next = 0;
    const look = () => {
      for (; next < this.lines.length; next += 1) {
        const line = this.lines[next] ?? "";
        if (!matches(line)) continue;
        this.watchers.delete(look);
        resolve(line);
        return;
      }
    };
    this.watchers.add(look);
    look();
    return withDeadline(promise, LINE_TIMEOUT_MS, "an expected line did not come");
  }

  end(signal?: NodeJS.Signals): Promise<void> {
    return end(this.child, signal);
  }

  private async read(): Promise<void> {
    const decoder = new TextDecoder();
    for await (const chunk of this.child.stdout) {
      const lines = (this.rest + decoder.decode(chunk, { stream: true })).split("\n");
      this.rest = lines.pop() ?? "";
      if (this.onLines !== undefined) this.onLines(lines);
      else this.lines.push(...lines);
      for (const look of this.watchers) look();
    }
  }
}

/** The flags of `bun run build`. */
export const BUILD_FLAGS = [
  "--compile",
  "--minify",
  "--bytecode",
  "--splitting",
  "--format=esm",
  "--compile-jit-policy=64",
] as const;

/** Compiles a source file to one binary. */
export async function compile(source: string, name: string, flags: readonly string[] = BUILD_FLAGS): Promise<string> {
  scratch ??= mkdtempSync(join(tmpdir(), "p2pchat-bench-"));
  const outfile = join(scratch, name);
  const argv = [process.execPath, "build", ...flags, "--log-level=warn", `--outfile=${outfile}`, source];
  const child = track(Bun.spawn(argv, { cwd: ROOT, stdout: "ignore", stderr: "pipe" }));
  const errors = await new Response(child.stderr).text();
  if ((await child.exited) !== 0) throw new Error(`${name} does not build: ${errors.trim().split("\n").at(-1)}`);
  // Pages of a file that is not on the disk yet would count as dirty memory of whoever runs it.
  const file = openSync(outfile, "r+");
  fsyncSync(file);
  closeSync(file);
  return outfile;
}

const binaries = new Map<string, Promise<string>>();

/** Ours, or one of programs/: compiled once a run. */
export function binary(name: "p2pchat" | "hello" | "bare-hello" | "listen" | "listen-tls" | "prompt"): Promise<string> {
  let built = binaries.get(name);
  if (built === undefined) {
    built = compile(name === "p2pchat" ? join(ROOT, "index.ts") : join(BENCH, "programs", `${name}.ts`), name);
    binaries.set(name, built);
  }
  return built;
}

export interface MemoryUse {
  /** KiB. */
  readonly rss: number;
  /** Pages of its own that it has written to, KiB. */
  readonly dirty: number;
}

/** What the kernel says a process holds (Linux). */
export function memoryOf(pid: number): MemoryUse {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  const field = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(text)?.[1] ?? Number.NaN);
  return { rss: field("Rss"), dirty: field("Private_Dirty") };
}

/** The same once it has settled: when two looks agree, or after a while. */
export async function settledMemoryOf(pid: number): Promise<MemoryUse> {
  const lookEveryMs = 100;
  const looksMax = 20;
  let last = memoryOf(pid);
  for (let look = 0; look < looksMax; look += 1) {
    await Bun.sleep(lookEveryMs);
    const next = memoryOf(pid);
    if (look > 1 && Math.abs(next.rss - last.rss) < 64) return next;
    last = next;
  }
  return last;
}

/**
 * The same once the process is quiet: its collector has run of its own and given back what it gives back. Bun looks once a
 * second whether to collect, and compiles for some seconds more what has run often.
 */
export async function quietMemoryOf(pid: number): Promise<MemoryUse> {
  const lookEveryMs = 1_000;
  const looksMax = 40;
  const steadyLooks = 8;
  const steadyKiB = 128;
  const looks: MemoryUse[] = [];
  do {
    await Bun.sleep(lookEveryMs);
    looks.push(memoryOf(pid));
    const latest = looks.slice(-steadyLooks).map(({ rss }) => rss);
    if (latest.length === steadyLooks && Math.max(...latest) - Math.min(...latest) < steadyKiB) break;
  } while (looks.length < looksMax);
  return memoryOf(pid);
}

let libc: ReturnType<typeof openLibc> | undefined;

function openLibc() {
  return dlopen("libc.so.6", { clock_gettime: { args: [FFIType.i32, FFIType.ptr], returns: FFIType.i32 } }).symbols;
}

/** CPU time that a process has used so far, over all its threads, those that have ended too, ms (Linux). */
export function cpuMsOf(pid: number): number {
  libc ??= openLibc();
  const time = new BigInt64Array(2);
  // A process's clock is named by its id and CPUCLOCK_SCHED (clock_getcpuclockid(3), posix-timers.h).
  if (libc.clock_gettime((~pid << 3) | 2, ptr(time)) !== 0) throw new Error(`no such process: ${pid}`);
  const [seconds = 0n, nanoseconds = 0n] = time;
  return Number(seconds) * 1e3 + Number(nanoseconds) / 1e6;
}

export async function withDeadline<T>(promise: Promise<T>, timeoutMs: number, what: string): Promise<T> {
  const deadline = Promise.withResolvers<never>();
  const timer = setTimeout(() => deadline.reject(new Error(`${what} within ${timeoutMs / 1000} s`)), timeoutMs);
  try {
    return await Promise.race([promise, deadline.promise]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * 100,000 lines piped into one compiled node of three, and whether they arrive whole at both others.
 */
import { type Case, interleaved, type Options, type Row, type Sample } from "../measure.ts";
import { binary, Program, withDeadline } from "../processes.ts";
import { BARE_TLS, firstOf, flood, inRoom, LINE_BYTES } from "../rooms.ts";

const LINES = 100_000;
const TIMEOUT_MS = 60_000;

function lineOf(index: number): string {
  return `${String(index).padStart(6, "0")} `.padEnd(LINE_BYTES, ".");
}

/** Counts lines as long as they come whole and in order. */
class Listener {
  readonly all = Promise.withResolvers<void>();
  whole = 0;
  wrong = 0;

  hear(lines: readonly string[]): void {
    for (const line of lines) {
      if (!line.startsWith("Alice: ")) continue;
      if (line === `Alice: ${lineOf(this.whole)}`) this.whole += 1;
      else this.wrong += 1;
    }
    if (this.whole + this.wrong >= LINES) this.all.resolve();
  }
}

async function poured(): Promise<Sample> {
  const ours = await binary("p2pchat");
  const common = ["--plain", "--volatile", "--host", "127.0.0.1"];
  const alice = new Program([ours, "Alice", ...common]);
  const programs = [alice];
  try {
    const port = /listening at (\d+)/.exec(await alice.line(line => line.includes("listening at")))?.[1] ?? "";
    const listeners = [new Listener(), new Listener()];
    for (const [index, listener] of listeners.entries()) {
      const argv = [ours, ["Bob", "Carol"][index] ?? "", "127.0.0.1", port, ...common];
      programs.push(new Program(argv, {}, lines => listener.hear(lines)));
      await alice.line(line => line.includes(`${["Bob", "Carol"][index]} joined`));
    }
    const text = Array.from({ length: LINES }, (_, index) => `${lineOf(index)}\n`).join("");
    const start = performance.now();
    // Not awaited: the pipe takes it as fast as the room does.
    const writing = Promise.resolve(alice.stdin.write(text)).then(() => alice.stdin.flush());
    await withDeadline(Promise.all(listeners.map(({ all }) => all.promise)), TIMEOUT_MS, "not all lines came");
    const elapsedMs = performance.now() - start;
    await writing;
    const whole = listeners.reduce((sum, listener) => sum + listener.whole, 0);
    return { perSecond: (LINES / elapsedMs) * 1000, whole };
  } finally {
    await Promise.all(programs.map(program => program.end()));
  }
}

async function bare(): Promise<Sample> {
  return inRoom(BARE_TLS, 3, async cast => {
    const { perSecond } = await flood(cast, [firstOf(cast)], { texts: LINES });
    return { perSecond, whole: LINES * 2 };
  });
}

export const pourCase: Case = {
  name: "pour",
  title: "100,000 lines piped into one of three, compiled",
  async run({ runs }: Options): Promise<readonly Row[]> {
    const measured = await interleaved(runs, { poured, bare });
    const row = (what: string, unit: string, figure: string, goal?: Row["goal"]): Row => ({
      case: "pour",
      what,
      unit,
      ours: measured.figure("poured", figure),
      beside: "bare TLS mesh, said by the program itself",
      limit: measured.figure("bare", figure),
      ...(goal !== undefined && { goal }),
    });
    return [
      row("from the pipe to the stdout of both others", "lines/s", "perSecond"),
      row("whole and in order at both others together", "lines", "whole", {
        text: "200,000",
        of: "ours",
        atLeast: LINES * 2,
        atMost: LINES * 2,
      }),
    ];
  },
};

/**
 * From the start of a process until it is of use: listening, and hearing the first text.
 */
import type { RoomQuestions } from "../actors/room.ts";
import { type Case, interleaved, type Options, type Row, type Sample } from "../measure.ts";
import { peersFor } from "../peers.ts";
import { Actor, binary, environment, Program, scratchDirectory, track, withDeadline } from "../processes.ts";
import { BARE_TLS, type Contender, OURS } from "../rooms.ts";

/** Starts are short and noisy: each round takes the median of a few. */
const STARTS_PER_ROUND = 5;
const FIRST_TEXT_STARTS_PER_ROUND = 3;
/** While somebody joins, the other one speaks all the time. */
const SPOKEN_EVERY_MS = 2;
const SPOKEN_TEXTS = 10_000;
const TIMEOUT_MS = 20_000;
const LISTENING = "listening";
const MESSAGE = '"event":"message"';

export async function medianOf(count: number, measure: () => Promise<number>): Promise<Sample> {
  const times: number[] = [];
  for (let i = 0; i < count; i += 1) times.push(await measure());
  times.sort((a, b) => a - b);
  return { ms: times[Math.floor(count / 2)] ?? Number.NaN };
}

/** ms until the first line that has the word, on a pipe. */
export async function untilLine(argv: readonly string[], word: string): Promise<number> {
  const program = new Program(argv);
  try {
    await program.line(line => line.includes(word));
    return performance.now() - program.startedAt;
  } finally {
    await program.end();
  }
}

/** ms until the word is written, on a terminal. */
async function untilShown(argv: readonly string[], word: string): Promise<number> {
  const shown = Promise.withResolvers<number>();
  const decoder = new TextDecoder();
  let written = "";
  const startedAt = performance.now();
  const child = track(
    Bun.spawn([...argv], {
      env: environment({ TERM: "xterm-256color", CI: "", P2PCHAT_DISCOVERY: "loopback" }),
      terminal: {
        cols: 80,
        rows: 24,
        data: (_terminal, bytes) => {
          written += decoder.decode(bytes, { stream: true });
          if (written.includes(word)) shown.resolve(performance.now() - startedAt);
        },
      },
    }),
  );
  try {
    return await withDeadline(shown.promise, TIMEOUT_MS, `"${word}" was not shown`);
  } finally {
    child.kill("SIGKILL");
    await child.exited;
    child.terminal?.close();
  }
}

/** A node that has been here before: its identity is on the disk. */
async function oursAgain(): Promise<readonly string[]> {
  const argv = [await binary("p2pchat"), "Alice", "--host", "127.0.0.1", "--data", scratchDirectory("alice")];
  await untilLine([...argv, "--plain"], LISTENING);
  return argv;
}

export const startCase: Case = {
  name: "start",
  title: "Cold start, compiled, until it listens",
  async run({ runs }: Options): Promise<readonly Row[]> {
    const ours = await binary("p2pchat");
    const [bareHello, hello, listen, prompt] = [
      await binary("bare-hello"),
      await binary("hello"),
      await binary("listen"),
      await binary("prompt"),
    ];
    const again = await oursAgain();
    const starts = (measure: () => Promise<number>) => () => medianOf(STARTS_PER_ROUND, measure);
    const fresh = () => [ours, "Alice", "--host", "127.0.0.1", "--plain", "--data", scratchDirectory("fresh")];
    const measured = await interleaved(runs, {
      plain: starts(() => untilLine([...again, "--plain"], LISTENING)),
      listen: starts(() => untilLine([listen], LISTENING)),
      hello: starts(() => untilLine([hello], "hello")),
      bareHello: starts(() => untilLine([bareHello], "hello")),
      volatile: starts(() => untilLine([ours, "Alice", "--host", "127.0.0.1", "--plain", "--volatile"], LISTENING)),
      fresh: starts(() => untilLine(fresh(), LISTENING)),
      terminal: starts(() => untilShown([...again, "--new"], LISTENING)),
      looking: starts(() => untilShown(again, LISTENING)),
      prompt: starts(() => untilShown([prompt], LISTENING)),
    });
    const row = (what: string, name: string, beside: string, limit: string, goal?: Row["goal"]): Row => ({
      case: "start",
      what,
      unit: "ms",
      ours: measured.figure(name, "ms"),
      beside,
      limit: measured.figure(limit, "ms"),
      ...(goal !== undefined && { goal }),
    });
    return [
      row("plain", "plain", "listening, with nothing else", "listen", { text: "≤ 2.5 ×", atMost: 2.5 }),
      row("plain (issue 2)", "plain", "hello with the same packages", "hello", { text: "≤ 1.5 ×", atMost: 1.5 }),
      row("plain, --volatile", "volatile", "listening, with nothing else", "listen"),
      row("plain, the very first start", "fresh", "listening, with nothing else", "listen"),
      row("on a terminal, --new", "terminal", "clack imported and listening", "prompt", { text: "≤ 2 ×", atMost: 2 }),
      row("on a terminal, after a look round for other rooms", "looking", "clack imported and listening", "prompt"),
      row("hello with the same packages", "hello", "hello without any", "bareHello"),
    ];
  },
};

/** Somebody is there and speaks; ms from the start of another process until it hears the first of it. */
async function firstText(
  contender: Contender,
  argv: (port: number) => readonly string[],
  word: string,
): Promise<Sample> {
  const server = await contender.serve?.();
  const speaker = await Actor.start<RoomQuestions>(contender.script);
  try {
    const ports = server === undefined ? [] : [server.port];
    const { port } = await speaker.ask("open", { name: "Speaker", ports, variant: contender.variant });
    return await medianOf(FIRST_TEXT_STARTS_PER_ROUND, async () => {
      const speaking = speaker.ask("pace", { texts: SPOKEN_TEXTS, everyMs: SPOKEN_EVERY_MS, afterMs: 0 });
      const time = await untilLine(argv(server?.port ?? port), word);
      await speaker.ask("hush", undefined);
      await speaking;
      return time;
    });
  } finally {
    await speaker.end();
    await server?.end();
  }
}

export const joinCase: Case = {
  name: "join",
  title: "A join, from the start of the process to the first text",
  async run(options: Options): Promise<readonly Row[]> {
    const peers = peersFor(options);
    const compiled = await binary("p2pchat");
    const byBun = (contender: Contender) => (port: number) =>
      [process.execPath, contender.script, "--first-text", contender.variant, String(port)] as const;
    // A name of its own each time: those before it were killed, and their names are not free yet.
    let starts = 0;
    const joiner = (port: number) => {
      starts += 1;
      return [compiled, `Bob${starts}`, "127.0.0.1", String(port), "--json", "--host", "127.0.0.1"];
    };
    const stored = (port: number) => [...joiner(port), "--data", scratchDirectory("bob")];
    const measured = await interleaved(options.runs, {
      compiled: () => firstText(OURS, port => [...joiner(port), "--volatile"], MESSAGE),
      stored: () => firstText(OURS, stored, MESSAGE),
      [OURS.name]: () => firstText(OURS, byBun(OURS), "text"),
      ...Object.fromEntries(
        [BARE_TLS, ...peers].map(contender => [contender.name, () => firstText(contender, byBun(contender), "text")]),
      ),
    });
    const row = (what: string, name: string, goal?: Row["goal"]): Row => ({
      case: "join",
      what,
      unit: "ms",
      ours: measured.figure(name, "ms"),
      beside: `${BARE_TLS.name}, bun run`,
      limit: measured.figure(BARE_TLS.name, "ms"),
      ...(goal !== undefined && { goal }),
      ...(peers.length > 0 && {
        others: Object.fromEntries(peers.map(peer => [peer.name, measured.figure(peer.name, "ms")])),
      }),
    });
    return [
      row("compiled, --volatile", "compiled", { text: "≤ 40 ms", of: "ours", atMost: 40 }),
      row("compiled, very first start, with store", "stored"),
      row("bun run, as a library", OURS.name),
    ];
  },
};

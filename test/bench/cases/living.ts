/**
 * What a person feels: how soon a key is on the screen while others talk, whether the prompt is of use in a burst, how soon a
 * search over a million texts is answered, and how much later a program with so many starts.
 */
import { FREQUENT, fill, HAN_WORD, RARE, wordOf } from "../library.ts";
import { type Case, interleaved, missing, type Options, quantile, type Row, type Sample } from "../measure.ts";
import { binary, end, environment, Program, scratchDirectory, track, withDeadline } from "../processes.ts";

const HOST = ["--host", "127.0.0.1"];
const TIMEOUT_MS = 60_000;
const OPENED = "Type to talk";

/** 200 texts a second, by so many that none of them is folded. */
const TALKERS = 4;
const TALK_EVERY_MS = 20;
const KEYS = 100;
const KEY_EVERY_MS = 41;
/** As long as the line becomes. */
const LINE_MAX = 20;

const BURST_TALKERS = 10;
const BURST_TEXTS = 1_000;

const STARTS_PER_ROUND = 5;
const SEARCHES_PER_ROUND = 5;
const QUERIES = {
  rare: RARE,
  frequent: FREQUENT,
  two: `${FREQUENT} ${wordOf(300)}`,
  han: HAN_WORD,
  prefix: `${wordOf(300).slice(0, 3)}*`,
};

/** The program on a terminal, and when it has written what. */
class Window {
  readonly startedAt = performance.now();
  private readonly decoder = new TextDecoder();
  private readonly child: Bun.Subprocess;
  private readonly watchers = new Set<() => void>();
  private written = "";

  constructor(argv: readonly string[]) {
    const data = (_terminal: unknown, bytes: Uint8Array) => {
      this.written += this.decoder.decode(bytes, { stream: true });
      for (const look of this.watchers) look();
    };
    const env = environment({ TERM: "xterm-256color", CI: "" });
    this.child = track(Bun.spawn([...argv], { env, terminal: { cols: 80, rows: 24, data } }));
  }

  press(keys: string): void {
    this.child.terminal?.write(keys);
  }

  /** When `word` was written, from now on unless `from` says otherwise. */
  sees(word: string, from: number = this.written.length): Promise<number> {
    const { promise, resolve } = Promise.withResolvers<number>();
    let next = from;
    const look = () => {
      if (this.written.includes(word, next)) {
        this.watchers.delete(look);
        resolve(performance.now());
      } else next = Math.max(next, this.written.length - word.length);
    };
    this.watchers.add(look);
    look();
    return withDeadline(promise, TIMEOUT_MS, `${JSON.stringify(word)} was not shown`);
  }

  /** From a key to the line that it makes, ms. */
  async echo(key: string, line: string): Promise<number> {
    const shown = this.sees(`G${line}\x1b[K`);
    const at = performance.now();
    this.press(key);
    return (await shown) - at;
  }

  async port(): Promise<string> {
    await this.sees(OPENED, 0);
    return /listening at (\d+)/.exec(this.written)?.[1] ?? "";
  }

  async end(): Promise<void> {
    await end(this.child);
    this.child.terminal?.close();
  }
}

/** Alice on a terminal, and others who can be made to talk. */
async function inRoom(
  talkers: number,
  run: (alice: Window, others: readonly Program[]) => Promise<Sample>,
): Promise<Sample> {
  const ours = await binary("p2pchat");
  const alice = new Window([ours, "Alice", "--volatile", ...HOST]);
  const others: Program[] = [];
  try {
    const port = await alice.port();
    for (let index = 0; index < talkers; index += 1) {
      const joined = alice.sees(`⋅ ${index + 2} ›`);
      const argv = [ours, `Talker${index}`, "127.0.0.1", port, "--plain", "--volatile", ...HOST];
      others.push(new Program(argv, {}, () => {}));
      await joined;
    }
    return await run(alice, others);
  } finally {
    await Promise.all([alice, ...others].map(each => each.end()));
  }
}

function say(talker: Program, text: string): void {
  talker.stdin.write(text);
  talker.stdin.flush();
}

function keys(talks: boolean): Promise<Sample> {
  return inRoom(talks ? TALKERS : 1, async (alice, others) => {
    let said = 0;
    const talk = (other: Program) => say(other, `a text as long as people write them, and this is number ${said++}\n`);
    const timers = talks ? others.map(other => setInterval(() => talk(other), TALK_EVERY_MS)) : [];
    const times: number[] = [];
    const startedAt = performance.now();
    try {
      for (let key = 0; key < KEYS; key += 1) {
        const length = (key % LINE_MAX) + 1;
        if (length === 1) await alice.echo("\x15", "");
        times.push(await alice.echo("k", "k".repeat(length)));
        await Bun.sleep(KEY_EVERY_MS);
      }
    } finally {
      for (const timer of timers) clearInterval(timer);
    }
    const rate = (said / (performance.now() - startedAt)) * 1000;
    return { p50: quantile(times, 0.5), p99: quantile(times, 0.99), rate };
  });
}

/** Everybody says everything at once; a key is pressed when the first of it is on the screen. */
function burst(): Promise<Sample> {
  return inRoom(BURST_TALKERS, async (alice, others) => {
    const first = alice.sees("burst 0 ");
    const last = others.map((_, index) => alice.sees(`burst ${index} ${BURST_TEXTS - 1}.`));
    const startedAt = performance.now();
    for (const [index, other] of others.entries())
      say(other, Array.from({ length: BURST_TEXTS }, (_, text) => `burst ${index} ${text}.\n`).join(""));
    await first;
    const key = await alice.echo("k", "k");
    return { key, all: Math.max(...(await Promise.all(last))) - startedAt };
  });
}

/** Directories with a million texts of Alice, and with none; she was here before in both. */
async function stores(): Promise<{ readonly full: string; readonly empty: string }> {
  const [full, empty] = [scratchDirectory("full"), scratchDirectory("empty")];
  fill(full, "alice");
  for (const directory of [full, empty]) await startPlain(directory);
  return { full, empty };
}

/** ms until it listens. */
async function startPlain(data: string): Promise<number> {
  const program = new Program([await binary("p2pchat"), "Alice", "--plain", "--data", data, ...HOST]);
  await program.line(line => line.includes("listening"));
  const ms = performance.now() - program.startedAt;
  await program.end("SIGTERM");
  return ms;
}

async function startOnTerminal(data: string): Promise<number> {
  const window = new Window([await binary("p2pchat"), "Alice", "--new", "--data", data, ...HOST]);
  const ms = (await window.sees(OPENED, 0)) - window.startedAt;
  await window.end();
  return ms;
}

async function starts(data: string): Promise<Sample> {
  const [plain, terminal]: [number[], number[]] = [[], []];
  for (let start = 0; start < STARTS_PER_ROUND; start += 1) {
    plain.push(await startPlain(data));
    terminal.push(await startOnTerminal(data));
  }
  return { plain: quantile(plain, 0.5), terminal: quantile(terminal, 0.5) };
}

/** From the command to its answer, in JSON mode. */
async function searches(data: string): Promise<Sample> {
  const program = new Program([await binary("p2pchat"), "Alice", "--json", "--data", data, ...HOST]);
  let asked = 0;
  const search = async (text: string): Promise<number> => {
    // Lines are alike: what comes behind the answer tells which one it was.
    asked += 1;
    const answered = program.line(line => line.includes(`called nobody${asked}"`));
    const at = performance.now();
    const commands = [
      { command: "search", text },
      { command: "whois", name: `nobody${asked}` },
    ];
    say(program, commands.map(command => `${JSON.stringify(command)}\n`).join(""));
    await answered;
    return performance.now() - at;
  };
  const sample: Record<string, number> = {};
  try {
    await program.line(line => line.includes("listening"));
    sample["first"] = await search("fox");
    for (const [name, text] of Object.entries(QUERIES)) {
      const times: number[] = [];
      for (let turn = 0; turn < SEARCHES_PER_ROUND; turn += 1) times.push(await search(text));
      sample[name] = quantile(times, 0.5);
    }
  } finally {
    await program.end("SIGTERM");
  }
  return sample;
}

export const keysCase: Case = {
  name: "keys",
  title: "A terminal, compiled: keys while others talk",
  async run({ runs }: Options): Promise<readonly Row[]> {
    const measured = await interleaved(runs, { talk: () => keys(true), quiet: () => keys(false), burst });
    const row = (what: string, unit: string, name: string, figure: string, goal?: Row["goal"]): Row => ({
      case: "keys",
      what,
      unit,
      ours: measured.figure(name, figure),
      beside: name === "talk" && figure !== "rate" ? "the same, nobody talks" : "nothing",
      limit: measured.figure("quiet", figure),
      ...(goal !== undefined && { goal }),
    });
    return [
      row("texts a second while the keys were pressed", "texts/s", "talk", "rate"),
      row("from a key to the screen, p50", "ms", "talk", "p50", { text: "≤ 5 ms", of: "ours", atMost: 5 }),
      row("from a key to the screen, p99", "ms", "talk", "p99"),
      row("a key pressed in a burst of 10,000 texts, until it is on the screen", "ms", "burst", "key"),
      row("until all 10,000 texts are on the screen", "ms", "burst", "all"),
    ];
  },
};

export const millionCase: Case = {
  name: "million",
  title: "A million texts stored, compiled",
  async run({ runs }: Options): Promise<readonly Row[]> {
    const { full, empty } = await stores();
    const measured = await interleaved(runs, {
      full: () => starts(full),
      empty: () => starts(empty),
      search: () => searches(full),
    });
    const search = (what: string, figure: string): Row => ({
      case: "million",
      what: `a search, ${what}`,
      unit: "ms",
      ours: measured.figure("search", figure),
      beside: "nothing",
      limit: missing("there is nothing beside it"),
      goal: { text: "< 50 ms", of: "ours", atMost: 50 },
    });
    const start = (what: string, figure: string): Row => ({
      case: "million",
      what: `a start, ${what}`,
      unit: "ms",
      ours: measured.figure("full", figure),
      beside: "the same with none stored",
      limit: measured.figure("empty", figure),
      goal: { text: "≤ 30 ms more", of: "more", atMost: 30 },
    });
    return [
      search("the first of a run", "first"),
      search("a word in 20 texts", "rare"),
      search("a word in many", "frequent"),
      search("two words", "two"),
      search("Chinese, three letters", "han"),
      search("the first three letters of words", "prefix"),
      start("plain", "plain"),
      start("on a terminal", "terminal"),
    ];
  },
};

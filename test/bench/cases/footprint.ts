/**
 * What a node takes while nothing happens, and what links, members and texts add: memory and CPU time.
 */
import type { PuppetQuestions } from "../actors/puppets.ts";
import {
  type Case,
  figureOf,
  type Measured,
  missing,
  type Options,
  type Row,
  type Sample,
  sideBySide,
} from "../measure.ts";
import { Actor, BENCH, binary, cpuMsOf, Program, quietMemoryOf } from "../processes.ts";

/** What each costs is the slope between two counts, so that what the first ones load is not in it. */
const LINKS = [8, 40] as const;
const MEMBERS = [1_000, 3_000] as const;
/** So many links has a node of a room that has outgrown a full mesh. */
const LINKS_OF_A_MEMBER = 8;
/** No JIT: what remains is what is kept for each, without the code that is compiled when it has run often enough. */
const UNCOMPILED = { BUN_JSC_useJIT: "0" };
const TEXTS = 100_000;
const TEXT = `${".".repeat(99)}\n`;
/** Five pings of every link fall into it, and one collection, once Bun has come to rest. */
const IDLE_WINDOW_MS = 30_000;
/** Bun collects once a second until nothing has grown for 30 s, and compiles what runs often. */
const IDLE_AFTER_MS = 75_000;
/** Links of the idle nodes; one node keeps 48 at most. */
const IDLE_LINKS = [0, 1, 10, 48] as const;
const PUPPETS = `${BENCH}/actors/puppets.ts`;

const portIn = (line: string) => Number(/listening at (\d+)/.exec(line)?.[1]);

type Environment = Readonly<Record<string, string>>;

async function startOurs(name: string, env: Environment = {}): Promise<Listening> {
  const node = new Program([await binary("p2pchat"), name, "--plain", "--volatile", "--host", "127.0.0.1"], env);
  return { node, port: portIn(await node.line(line => line.includes("listening at"))) };
}

interface Listening {
  readonly node: Program;
  readonly port: number;
}

async function startBaseline(name: "listen" | "listen-tls"): Promise<Listening> {
  const node = new Program([await binary(name)]);
  return { node, port: portIn(await node.line(line => line.includes("listening at"))) };
}

/** With somebody to link to it; both are ended afterwards. */
async function withPuppets<T>(
  started: Promise<Listening>,
  work: (node: Program, port: number, puppets: Actor<PuppetQuestions>) => Promise<T>,
): Promise<T> {
  const { node, port } = await started;
  const puppets = await Actor.start<PuppetQuestions>(PUPPETS);
  try {
    return await work(node, port, puppets);
  } finally {
    await Promise.all([node.end(), puppets.end()]);
  }
}

/** KiB each, from the first count to the second, both times quiet. */
async function slope(node: Program, counts: readonly [number, number], raise: (by: number) => Promise<unknown>) {
  const [few, many] = counts;
  await raise(few);
  const before = await quietMemoryOf(node.pid);
  await raise(many - few);
  const after = await quietMemoryOf(node.pid);
  return { rss: (after.rss - before.rss) / (many - few), dirty: (after.dirty - before.dirty) / (many - few) };
}

const links = (env: Environment) => (): Promise<Sample> =>
  withPuppets(startOurs("Alice", env), (node, port, puppets) =>
    slope(node, LINKS, more => puppets.ask("link", { port, links: more })),
  );

const members = (env: Environment) => (): Promise<Sample> =>
  withPuppets(startOurs("Alice", env), async (node, port, puppets) => {
    await puppets.ask("link", { port, links: LINKS_OF_A_MEMBER });
    let known = 0;
    return slope(node, MEMBERS, async more => {
      known += more;
      await puppets.ask("introduce", { members: more });
      await node.line(line => line.includes(`Member${known - 1} joined`));
    });
  });

function bareLinks(): Promise<Sample> {
  return withPuppets(startBaseline("listen-tls"), (node, port, puppets) =>
    slope(node, LINKS, more => puppets.ask("connect", { port, links: more })),
  );
}

const alone = (started: () => Promise<Listening>) => async (): Promise<Sample> => {
  const { node } = await started();
  try {
    const { rss, dirty } = await quietMemoryOf(node.pid);
    return { rss: rss / 1024, dirty: dirty / 1024 };
  } finally {
    await node.end();
  }
};

/** One pipes in 100,000 lines, the other has printed them all: what each holds then. */
async function talkative(): Promise<Sample> {
  const { node: speaker, port } = await startOurs("Alice");
  let come = 0;
  const all = Promise.withResolvers<void>();
  const argv = [
    await binary("p2pchat"),
    "Bob",
    "127.0.0.1",
    String(port),
    "--plain",
    "--volatile",
    "--host",
    "127.0.0.1",
  ];
  const listening = Promise.withResolvers<void>();
  const hearer = new Program(argv, {}, lines => {
    for (const line of lines) if (line.startsWith("Alice: ")) come += 1;
    if (come >= TEXTS) all.resolve();
    listening.resolve();
  });
  try {
    await listening.promise;
    await speaker.line(line => line.includes("Bob joined"));
    await speaker.stdin.write(TEXT.repeat(TEXTS));
    await speaker.stdin.flush();
    await all.promise;
    const [spoken, heard] = await Promise.all([quietMemoryOf(speaker.pid), quietMemoryOf(hearer.pid)]);
    return { speaker: spoken.rss / 1024, hearer: heard.rss / 1024, hearerDirty: heard.dirty / 1024 };
  } finally {
    await Promise.all([speaker.end(), hearer.end()]);
  }
}

export const memoryCase: Case = {
  name: "memory",
  title: "Memory, compiled, plain, --volatile",
  async run({ runs }: Options): Promise<readonly Row[]> {
    // Programs are compiled first, so that no round waits for it.
    await Promise.all([binary("p2pchat"), binary("listen"), binary("listen-tls")]);
    const measured = await sideBySide(runs, {
      ours: alone(() => startOurs("Alice")),
      listening: alone(() => startBaseline("listen")),
      links: links({}),
      linksUncompiled: links(UNCOMPILED),
      bareLinks,
      members: members({}),
      membersUncompiled: members(UNCOMPILED),
      talkative,
    });
    const row = (
      what: string,
      unit: string,
      ours: Figured,
      beside: string,
      limit: Figured,
      goal?: Row["goal"],
    ): Row => ({
      case: "memory",
      what,
      unit,
      ours: figured(measured, ours),
      beside,
      limit: figured(measured, limit),
      ...(goal !== undefined && { goal }),
    });
    const bare = "listening, with nothing else";
    const socket = "a TLS socket and nothing else";
    const idle: Figured = ["listening", "rss"];
    return [
      row("idle, RSS", "MiB", ["ours", "rss"], bare, idle, { text: "+ ≤ 12 MB", of: "more", atMost: 12e6 / 2 ** 20 }),
      row("idle, RSS (issue 2)", "MiB", ["ours", "rss"], bare, idle, {
        text: "+ ≤ 15 MB",
        of: "more",
        atMost: 15e6 / 2 ** 20,
      }),
      row("idle, private and dirty", "MiB", ["ours", "dirty"], bare, ["listening", "dirty"]),
      row("each link, RSS", "KiB", ["links", "rss"], socket, ["bareLinks", "rss"], {
        text: "+ ≤ 40 KB",
        of: "more",
        atMost: 40e3 / 1024,
      }),
      row("each link, private and dirty", "KiB", ["links", "dirty"], socket, ["bareLinks", "dirty"]),
      row("each link, nothing compiled, RSS", "KiB", ["linksUncompiled", "rss"], socket, ["bareLinks", "rss"]),
      row("each member without a link, RSS", "KiB", ["members", "rss"], "nothing", undefined, {
        text: "≤ 1 KB",
        of: "ours",
        atMost: 1e3 / 1024,
      }),
      row("each member, nothing compiled, RSS", "KiB", ["membersUncompiled", "rss"], "nothing", undefined),
      row("after 100,000 texts, who heard them, RSS", "MiB", ["talkative", "hearer"], bare, idle),
      row("after 100,000 texts, who heard them, dirty", "MiB", ["talkative", "hearerDirty"], bare, [
        "listening",
        "dirty",
      ]),
      row("after 100,000 texts, who said them, RSS", "MiB", ["talkative", "speaker"], bare, idle),
    ];
  },
};

/** Whose figure, and which; undefined where there is nothing beside it. */
type Figured = readonly [contender: string, figure: string] | undefined;

function figured(measured: Measured, from: Figured): Row["ours"] {
  return from === undefined ? missing("there is nothing beside it") : measured.figure(...from);
}

export const idleCase: Case = {
  name: "idle",
  title: "CPU while nothing happens, compiled, plain",
  async run({ runs }: Options): Promise<readonly Row[]> {
    const nodes: Program[] = [];
    const puppets: Actor<PuppetQuestions>[] = [];
    const start = async (started: Promise<Listening>, question: "link" | "connect", links: number) => {
      const { node, port } = await started;
      nodes.push(node);
      const puppet = await Actor.start<PuppetQuestions>(PUPPETS);
      puppets.push(puppet);
      await puppet.ask(question, { port, links });
    };
    try {
      for (const links of IDLE_LINKS) {
        await start(startOurs("Alice"), "link", links);
        await start(startBaseline("listen-tls"), "connect", links);
      }
      const startedAt = performance.now();
      // All at once: they do not disturb each other.
      const [early = []] = await sharesOf(nodes, 1);
      await Bun.sleep(startedAt + IDLE_AFTER_MS - performance.now());
      const quiet = await sharesOf(nodes, runs);
      const row = (what: string, at: number, rounds: readonly (readonly number[])[], goal?: Row["goal"]): Row => ({
        case: "idle",
        what,
        unit: "% of a core",
        ours: figureOf(rounds.map(shares => shares[at] ?? Number.NaN)),
        beside: "as many TLS sockets and nothing else",
        limit: figureOf(rounds.map(shares => shares[at + 1] ?? Number.NaN)),
        ...(goal !== undefined && { goal }),
      });
      const goal = { text: "< 0.1 %", of: "ours", atMost: 0.1 } as const;
      const rows = IDLE_LINKS.flatMap((links, index) => [
        row(`${links} links, quiet for more than a minute`, 2 * index, quiet, links === 10 ? goal : undefined),
        row(`${links} links, the first half minute`, 2 * index, [early]),
      ]);
      const hundred = missing("a node keeps 48 links at most, of whatever size the room is");
      const nothing = missing("there is nothing beside it");
      return [...rows, { case: "idle", what: "100 links", unit: "", ours: hundred, beside: "nothing", limit: nothing }];
    } finally {
      await Promise.all([...nodes.map(node => node.end()), ...puppets.map(one => one.end())]);
    }
  },
};

/** What each program takes of a core in so many windows, in %. */
async function sharesOf(nodes: readonly Program[], windows: number): Promise<number[][]> {
  const rounds: number[][] = [];
  for (let round = 0; round < windows; round += 1) {
    const before = nodes.map(({ pid }) => cpuMsOf(pid));
    const start = performance.now();
    await Bun.sleep(IDLE_WINDOW_MS);
    const elapsedMs = performance.now() - start;
    rounds.push(nodes.map(({ pid }, index) => ((cpuMsOf(pid) - (before[index] ?? 0)) / elapsedMs) * 100));
  }
  return rounds;
}

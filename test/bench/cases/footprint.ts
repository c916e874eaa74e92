/**
 * What a node takes while nothing happens, and what links, members and texts add: memory and CPU time.
 */
import type { PuppetQuestions } from "../actors/puppets.ts";
import {
  type Case,
  figureOf,
  interleaved,
  type Measured,
  missing,
  type Options,
  type Row,
  type Sample,
} from "../measure.ts";
import { Actor, BENCH, binary, cpuMsOf, Program, settledMemoryOf } from "../processes.ts";

/** The first ones load and compile what all need; what each costs is told by those after them. */
const FIRST_LINKS = 10;
const LINKS = 30;
const FIRST_MEMBERS = 1_000;
const MEMBERS = 2_000;
const TEXTS = 100_000;
const TEXT = `${".".repeat(99)}\n`;
/** One ping of every link falls into it. */
const IDLE_WINDOW_MS = 5_000;
/** Links of the idle nodes; one node keeps 48 at most. */
const IDLE_LINKS = [0, 1, 10, 48] as const;
const PUPPETS = `${BENCH}/actors/puppets.ts`;

const portIn = (line: string) => Number(/listening at (\d+)/.exec(line)?.[1]);

async function startOurs(name: string, ...more: readonly string[]): Promise<{ node: Program; port: number }> {
  const argv = [await binary("p2pchat"), name, ...more, "--plain", "--volatile", "--host", "127.0.0.1"];
  const node = new Program(argv);
  return { node, port: portIn(await node.line(line => line.includes("listening at"))) };
}

async function startBaseline(name: "listen" | "listen-tls"): Promise<{ node: Program; port: number }> {
  const node = new Program([await binary(name)]);
  return { node, port: portIn(await node.line(line => line.includes("listening at"))) };
}

/** Idle, then with links, then with members. */
async function ours(): Promise<Sample> {
  const { node, port } = await startOurs("Alice");
  const puppets = await Actor.start<PuppetQuestions>(PUPPETS);
  try {
    const idle = await settledMemoryOf(node.pid);
    await puppets.ask("link", { port, links: FIRST_LINKS });
    const few = await settledMemoryOf(node.pid);
    await puppets.ask("link", { port, links: LINKS });
    const linked = await settledMemoryOf(node.pid);
    const introduce = async (members: number, last: number) => {
      await puppets.ask("introduce", { members });
      await node.line(line => line.includes(`Member${last} joined`));
      return settledMemoryOf(node.pid);
    };
    const met = await introduce(FIRST_MEMBERS, FIRST_MEMBERS - 1);
    const crowded = await introduce(MEMBERS, FIRST_MEMBERS + MEMBERS - 1);
    return {
      rss: idle.rss / 1024,
      dirty: idle.dirty / 1024,
      perLink: (linked.rss - few.rss) / LINKS,
      perMember: (crowded.rss - met.rss) / MEMBERS,
    };
  } finally {
    await Promise.all([node.end(), puppets.end()]);
  }
}

async function listening(): Promise<Sample> {
  const { node } = await startBaseline("listen");
  try {
    const { rss, dirty } = await settledMemoryOf(node.pid);
    return { rss: rss / 1024, dirty: dirty / 1024 };
  } finally {
    await node.end();
  }
}

async function listeningWithTls(): Promise<Sample> {
  const { node, port } = await startBaseline("listen-tls");
  const puppets = await Actor.start<PuppetQuestions>(PUPPETS);
  try {
    await puppets.ask("connect", { port, links: FIRST_LINKS });
    const few = await settledMemoryOf(node.pid);
    await puppets.ask("connect", { port, links: LINKS });
    return { perLink: ((await settledMemoryOf(node.pid)).rss - few.rss) / LINKS };
  } finally {
    await Promise.all([node.end(), puppets.end()]);
  }
}

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
    const [spoken, heard] = [await settledMemoryOf(speaker.pid), await settledMemoryOf(hearer.pid)];
    return { speaker: spoken.rss / 1024, hearer: heard.rss / 1024, hearerDirty: heard.dirty / 1024 };
  } finally {
    await Promise.all([speaker.end(), hearer.end()]);
  }
}

export const memoryCase: Case = {
  name: "memory",
  title: "Memory, compiled, plain, --volatile",
  async run({ runs }: Options): Promise<readonly Row[]> {
    const measured = await interleaved(runs, { ours, listening, listeningWithTls, talkative });
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
    const idle: Figured = ["listening", "rss"];
    return [
      row("idle, RSS", "MiB", ["ours", "rss"], bare, idle, { text: "+ ≤ 12 MB", of: "more", atMost: 12e6 / 2 ** 20 }),
      row("idle, RSS (issue 2)", "MiB", ["ours", "rss"], bare, idle, {
        text: "+ ≤ 15 MB",
        of: "more",
        atMost: 15e6 / 2 ** 20,
      }),
      row("idle, private and dirty", "MiB", ["ours", "dirty"], bare, ["listening", "dirty"]),
      row("each link", "KiB", ["ours", "perLink"], "a TLS socket and nothing else", ["listeningWithTls", "perLink"], {
        text: "+ ≤ 40 KB",
        of: "more",
        atMost: 40e3 / 1024,
      }),
      row("each member without a link", "KiB", ["ours", "perMember"], "nothing", undefined, {
        text: "≤ 1 KB",
        of: "ours",
        atMost: 1e3 / 1024,
      }),
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
    const nodes: { readonly links: number; readonly node: Program }[] = [];
    const puppets: Actor<PuppetQuestions>[] = [];
    const baseline = await startBaseline("listen");
    try {
      for (const links of IDLE_LINKS) {
        const { node, port } = await startOurs("Alice");
        nodes.push({ links, node });
        const puppet = await Actor.start<PuppetQuestions>(PUPPETS);
        puppets.push(puppet);
        await puppet.ask("link", { port, links });
      }
      const watched = [...nodes.map(({ node }) => node.pid), baseline.node.pid];
      // All at once: they do not disturb each other.
      const shares: number[][] = watched.map(() => []);
      for (let round = 0; round < runs; round += 1) {
        const before = watched.map(cpuMsOf);
        const start = performance.now();
        await Bun.sleep(IDLE_WINDOW_MS);
        const elapsedMs = performance.now() - start;
        for (const [index, pid] of watched.entries())
          shares[index]?.push(((cpuMsOf(pid) - (before[index] ?? 0)) / elapsedMs) * 100);
      }
      const limit = figureOf(shares.at(-1) ?? []);
      const rows = nodes.map(
        ({ links }, index): Row => ({
          case: "idle",
          what: `${links} links`,
          unit: "% of a core",
          ours: figureOf(shares[index] ?? []),
          beside: "listening, with nothing else",
          limit,
          ...(links === 10 && { goal: { text: "< 0.1 %", of: "ours", atMost: 0.1 } }),
        }),
      );
      const hundred = missing("a node keeps 48 links at most, of whatever size the room is");
      return [...rows, { case: "idle", what: "100 links", unit: "", ours: hundred, beside: "nothing", limit }];
    } finally {
      await Promise.all([
        ...nodes.map(({ node }) => node.end()),
        ...puppets.map(one => one.end()),
        baseline.node.end(),
      ]);
    }
  },
};

/**
 * One simulated room from the first member to the verdict: people join, talk, and suffer faults; then the faults stop,
 * and everyone must come to have the same texts, the same roster and the same names.
 */
import { type Post, PostKind } from "../../lib/codec/post.ts";
import { byClock, keyOf, type Log } from "../../lib/room/log.ts";
import { between, pick, type Random, randomStream } from "./random.ts";
import { type Counters, NOTED, type SimNode, World } from "./world.ts";

export interface Scenario {
  readonly nodes: number;
  /** One-way delay of a link, ms: low and high. */
  readonly latency: readonly [low: number, high: number];
  readonly jitter: number;
  /** Texts a second, over all senders. */
  readonly rate: number;
  readonly seconds: number;
  readonly seed: number;
  /** How many members talk; 0 for all. */
  readonly senders: number;
  /** Bytes of a text. */
  readonly size: number;
  /** ms between two joins. */
  readonly joinEvery: number;
  /** Faults a second, each of a random allowed kind; all are over when talking ends. */
  readonly faultRate: number;
  readonly faults: readonly FaultKind[];
  /** Part of the members who cannot be dialled. */
  readonly undialable: number;
  /** Quiet time after the last join, ms. */
  readonly settle: number;
  /** Part of the operations that only read: they cost nothing here, and count as operations. */
  readonly reads: number;
  /** Part of the members who crash at one instant, in the middle of the talk. */
  readonly massCrash: number;
  /** The network is cut in two halves while they talk. */
  readonly split: boolean;
}

export const FAULT_KINDS = [
  "crash",
  "vanish",
  "restart",
  "amnesia",
  "partition",
  "one_way",
  "slow",
  "sleep",
  "skew",
  "leave",
  "join",
] as const;
export type FaultKind = (typeof FAULT_KINDS)[number];

export const DEFAULTS: Scenario = {
  nodes: 25,
  latency: [10, 100],
  jitter: 0,
  rate: 10,
  seconds: 20,
  seed: 1,
  senders: 0,
  size: 20,
  joinEvery: 100,
  faultRate: 0,
  faults: FAULT_KINDS,
  undialable: 0,
  settle: 5_000,
  reads: 0,
  massCrash: 0,
  split: false,
};

export interface Report {
  readonly seed: number;
  readonly members: number;
  readonly texts: number;
  /** Of a text, from being said until the last member there had it, ms. */
  readonly latencyMs: { readonly median: number; readonly p99: number; readonly max: number };
  /** Hops to the last member: mean and maximum over texts. */
  readonly hops: { readonly mean: number; readonly max: number };
  /** Frames of any kind for each operation, while they went on; and for each text. */
  readonly framesPerOperation: number;
  readonly framesPerText: number;
  readonly bytesPerText: number;
  /** Copies beyond the one that each member needs (relative message redundancy): in all, and in the second half. */
  readonly redundancy: number;
  readonly redundancyWarm: number;
  /** From the end of the faults until everybody had every text, and until they agreed on all else too, ms; −1: never. */
  readonly textsMs: number;
  readonly convergedMs: number;
  readonly linksMean: number;
  /** What the simulator had to play: frames, timers, joins. */
  readonly events: number;
  readonly traceHash: string;
  readonly violations: readonly string[];
}

/** How long a room may take to agree once all is well again, ms of its own time. */
const CONVERGENCE_LIMIT_MS = 120_000;
const STEP_MS = 250;
/** Until a person starts a program again that has told of its trouble. */
const PERSON_MS = 10_000;

interface Said {
  readonly at: number;
  lastAt: number;
  hops: number;
}

export class Run {
  readonly world: World;
  private readonly random: Random;
  private readonly said = new Map<string, Said>();
  /** Hops that each node's first copy of a post took, by node; 0 where it has none. All copies are one object. */
  private readonly hops = new WeakMap<Post, Uint8Array>();
  private operations = 0;

  constructor(private readonly scenario: Scenario) {
    const { seed, latency, jitter } = scenario;
    this.world = new World({ seed, latencyMs: latency, jitterMs: jitter });
    this.random = randomStream(seed, "scenario");
    this.world.onFrame = (from, to, message) => {
      if (message.type === "post") this.onCopy(from, to, message.post);
    };
    this.world.onNews = (node, news) => {
      if (news.type !== "said") return;
      const said = this.said.get(postKey(news.post));
      if (said !== undefined && !news.history) {
        said.lastAt = Math.max(said.lastAt, this.world.now);
        said.hops = Math.max(said.hops, this.hops.get(news.post)?.[node.index] ?? 0);
      }
    };
  }

  play(): Report {
    this.gather();
    return this.talk();
  }

  /** People talk and suffer, and come to agree. */
  talk(): Report {
    const { world, scenario } = this;
    const before = structuredClone(world.counters);
    const start = world.now;
    const end = start + scenario.seconds * 1000;
    this.scheduleTalk(start, end);
    this.scheduleFaults(start, end);
    if (scenario.split) world.cut(node => node.index % 2);
    world.runUntil((start + end) / 2);
    const middle = structuredClone(world.counters);
    const crashed = this.crashMany();
    if (crashed) world.runUntilTrue(() => this.textsDiffer() === undefined, CONVERGENCE_LIMIT_MS, STEP_MS);
    const textsAfterCrashMs = world.now - (start + end) / 2;
    world.runUntil(Math.max(end, world.now));
    const after = structuredClone(world.counters);
    const { textsMs, convergedMs } = this.converge();
    return this.report({ before, middle, after, textsMs: crashed ? textsAfterCrashMs : textsMs, convergedMs });
  }

  /** A part of the members dies at one instant. Returns whether any did. */
  private crashMany(): boolean {
    const { scenario, world } = this;
    const doomed = this.alive().filter(node => node.index > 0 && this.random() < scenario.massCrash);
    for (const node of doomed) node.crash();
    world.note(NOTED.massCrash, doomed.length);
    return doomed.length > 0;
  }

  /** The faults end; runs until all agree. */
  private converge(): { readonly textsMs: number; readonly convergedMs: number } {
    const { world } = this;
    const start = world.now;
    this.mend();
    world.at(start + PERSON_MS, () => this.startAgain());
    const hasTexts = world.runUntilTrue(() => this.textsDiffer() === undefined, CONVERGENCE_LIMIT_MS, STEP_MS);
    const textsMs = hasTexts ? world.now - start : -1;
    const agrees = world.runUntilTrue(() => this.disagreement() === undefined, CONVERGENCE_LIMIT_MS, STEP_MS);
    const convergedMs = agrees ? world.now - start : -1;
    const problem = this.disagreement();
    if (problem !== undefined) world.violations.push(`no agreement after ${CONVERGENCE_LIMIT_MS} ms: ${problem}`);
    return { textsMs, convergedMs };
  }

  /** Everybody joins, each through somebody who is there, and the room comes to rest. */
  gather(): void {
    const { world, scenario } = this;
    for (let index = 0; index < scenario.nodes; index += 1) {
      const node = world.add(this.door());
      node.isDialable = index === 0 || this.random() >= scenario.undialable;
      world.runFor(scenario.joinEvery);
    }
    world.runFor(scenario.settle);
  }

  private alive(): SimNode[] {
    return this.world.nodes.filter(node => node.core !== undefined && !node.hasLeft && node.isSynced);
  }

  private scheduleTalk(start: number, end: number): void {
    const { world, scenario } = this;
    const talk = () => {
      this.operations += 1;
      if (this.random() >= scenario.reads) this.sayOne();
      const next = world.now + 1000 / scenario.rate;
      if (next < end) world.at(next, talk);
    };
    if (scenario.rate > 0) world.at(start, talk);
  }

  private sayOne(): void {
    const { world, scenario } = this;
    const alive = this.alive();
    const senders = scenario.senders === 0 ? alive : alive.slice(0, scenario.senders);
    const speaker = pick(
      this.random,
      senders.filter(node => !node.isAsleep),
    );
    if (speaker?.core !== undefined) {
      speaker.say("x".repeat(scenario.size));
      const stream = speaker.ownStream;
      const post = stream?.get(stream.head);
      if (post !== undefined) this.said.set(postKey(post), { at: world.now, lastAt: world.now, hops: 0 });
    }
  }

  // Faults.

  private scheduleFaults(start: number, end: number): void {
    const { world, scenario } = this;
    if (scenario.faultRate === 0) return;
    const strike = () => {
      const kind = pick(this.random, scenario.faults);
      if (kind !== undefined) this.strike(kind, Math.min(end, world.now + between(this.random, 500, 30_000)));
      const next = world.now + between(this.random, 0, 2000 / scenario.faultRate);
      if (next < end) world.at(next, strike);
    };
    world.at(start + between(this.random, 0, 1000), strike);
  }

  /** Does something bad to somebody until `until`. */
  private strike(kind: FaultKind, until: number): void {
    const { world, random } = this;
    const victim = pick(random, this.alive());
    world.note(NOTED.fault, victim?.index ?? -1, FAULT_KINDS.indexOf(kind));
    if (victim === undefined) return;
    const staysWhole = this.alive().length > 3 && this.alive().some(node => node !== victim && node.isDialable);
    switch (kind) {
      case "crash":
      case "vanish":
        if (staysWhole) victim.crash(kind === "vanish");
        return;
      case "restart":
      case "amnesia":
        if (!staysWhole) return;
        victim.crash(random() < 0.5);
        if (kind === "amnesia") victim.disk = [];
        world.at(until, () => this.revive(victim));
        return;
      case "leave":
        if (staysWhole) victim.handle({ type: "leave" });
        return;
      case "join":
        world.add(this.door());
        return;
      case "partition":
      case "one_way":
        return this.cut(kind, until);
      case "slow":
        victim.bytesPerMs = between(random, 0.2, 5);
        world.at(until, () => {
          victim.bytesPerMs = Number.POSITIVE_INFINITY;
        });
        return;
      case "sleep":
        victim.sleep();
        world.at(until, () => victim.wake());
        return;
      case "skew":
        victim.skewMs += between(random, -100_000, 100_000);
        return;
    }
  }

  private cut(kind: "partition" | "one_way", until: number): void {
    const { world, random } = this;
    if (world.isCut) return;
    const groups = world.nodes.map(() => Math.floor(random() * 2));
    world.cut(node => groups[node.index] ?? 0, kind === "one_way");
    world.at(until, () => world.heal());
  }

  private revive(node: SimNode): void {
    if (node.core !== undefined) return;
    const through = this.door();
    if (through !== undefined) node.start(through);
  }

  /** Somebody by whom one can come in. */
  private door(): SimNode | undefined {
    return pick(
      this.random,
      this.alive().filter(node => node.isDialable),
    );
  }

  /** All faults end; whoever could not come back does now. */
  private mend(): void {
    const { world } = this;
    world.heal();
    for (const node of world.nodes) {
      node.bytesPerMs = Number.POSITIVE_INFINITY;
      if (node.isAsleep) node.wake();
    }
  }

  private startAgain(): void {
    const { world } = this;
    // Whoever dialled into a cut, or knows nobody who is left, says so on the screen; a person starts it again.
    const living = new Map(this.alive().map(node => [node.member, node]));
    const knowsOthers = (node: SimNode) =>
      living.size === 1 ||
      [...(node.core?.members.all() ?? [])].some(({ id }) => {
        const other = living.get(id);
        return other !== undefined && other !== node && (other.isDialable || node.isDialable);
      });
    for (const node of world.nodes)
      if (node.core !== undefined && !node.hasLeft && !(node.isSynced && knowsOthers(node))) {
        node.crash();
        this.revive(node);
      }
  }

  // The verdict.

  /** What two members disagree about, or undefined when all is well. */
  disagreement(): string | undefined {
    const all = this.world.nodes.filter(node => node.core !== undefined && !node.hasLeft);
    const [first] = all;
    if (first === undefined) return undefined;
    const members = all.map(node => node.member);
    const names = members.map(id => first.core?.members.displayName(id));
    for (const { core, index } of all) {
      if (core === undefined) continue;
      if (core.members.presentCount !== members.length || !members.every(id => core.members.get(id)?.present)) {
        const roster = Array.from(core.members.present(), ({ id }) => id);
        return `node ${index} sees ${difference(roster, members, this.world)} of ${members.length}`;
      }
      if (members.some((id, at) => core.members.displayName(id) !== names[at]))
        return `node ${index} has other names than node ${first.index}`;
    }
    return this.textsDiffer();
  }

  private textsDiffer(): string | undefined {
    const all = this.world.nodes.filter(node => node.core !== undefined && !node.hasLeft);
    const [first] = all;
    const want = first === undefined ? [] : textKeys(first);
    for (const node of all) {
      const isSame = node.core !== undefined && first?.core !== undefined && sameRanges(node.core.log, first.core.log);
      const have = isSame ? want : textKeys(node);
      if (!isSame && have.join() !== want.join()) {
        const lacking = want.filter(key => !have.includes(key)).length;
        const extra = have.filter(key => !want.includes(key)).length;
        return `node ${node.index} has ${have.length} texts, node ${first?.index} ${want.length} (−${lacking} +${extra})`;
      }
      if (have.length > 1000) continue;
      const heard = new Set(node.heard.map(postKey));
      const unheard = have.filter(key => !heard.has(key));
      if (unheard.length > 0) return `node ${node.index} was not told ${unheard.length} texts such as ${unheard[0]}`;
    }
    return undefined;
  }

  private onCopy(from: SimNode, to: SimNode, post: Post): void {
    const { counters } = this.world;
    let hops = this.hops.get(post);
    if (hops === undefined || hops.length <= Math.max(from.index, to.index)) {
      const larger = new Uint8Array(2 * this.world.nodes.length);
      larger.set(hops ?? []);
      hops = larger;
      this.hops.set(post, hops);
    }
    counters.postCopies += 1;
    if (hops[to.index] !== 0 || post.author === to.member) return;
    counters.postFirsts += 1;
    hops[to.index] = Math.min(255, (hops[from.index] ?? 0) + 1);
  }

  private report(measured: {
    readonly before: Counters;
    readonly middle: Counters;
    readonly after: Counters;
    readonly textsMs: number;
    readonly convergedMs: number;
  }): Report {
    const { before, middle, after, textsMs, convergedMs } = measured;
    const { world, operations } = this;
    const texts = [...this.said.values()];
    const latencies = texts.map(({ at, lastAt }) => lastAt - at).sort((a, b) => a - b);
    const quantile = (q: number) =>
      round(latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * q))] ?? 0);
    const alive = this.alive();
    const frames = after.frames - before.frames;
    return {
      seed: this.scenario.seed,
      members: alive.length,
      texts: texts.length,
      latencyMs: { median: quantile(0.5), p99: quantile(0.99), max: quantile(1) },
      hops: {
        mean: round(texts.reduce((sum, { hops }) => sum + hops, 0) / Math.max(1, texts.length)),
        max: texts.reduce((most, { hops }) => Math.max(most, hops), 0),
      },
      framesPerOperation: round(frames / Math.max(1, operations)),
      framesPerText: round(frames / Math.max(1, texts.length)),
      bytesPerText: round((after.bytes - before.bytes) / Math.max(1, texts.length)),
      redundancy: redundancy(before, after),
      redundancyWarm: redundancy(middle, after),
      textsMs,
      convergedMs,
      linksMean: round(alive.reduce((sum, node) => sum + node.links.size, 0) / Math.max(1, alive.length)),
      events: world.counters.events,
      traceHash: world.traceHash,
      violations: world.violations,
    };
  }
}

function redundancy(from: Counters, to: Counters): number {
  return round((to.postCopies - from.postCopies) / Math.max(1, to.postFirsts - from.postFirsts) - 1);
}

const postKeys = new WeakMap<Post, string>();

export function postKey(post: Post): string {
  let key = postKeys.get(post);
  if (key === undefined) {
    key = `${keyOf(post)} ${post.seq}`;
    postKeys.set(post, key);
  }
  return key;
}

/** Whether both hold the same numbers of the same sessions: the same texts then, and in the same order. */
function sameRanges(one: Log, other: Log): boolean {
  if (one.posts !== other.posts) return false;
  for (const { author, session, floor, head, retained } of one.all()) {
    if (retained === 0) continue;
    const stream = other.get(author, session);
    if (stream?.floor !== floor || stream.head !== head) return false;
  }
  return true;
}

function textKeys(node: SimNode): string[] {
  const texts = [...(node.core?.log.views() ?? [])].filter(({ kind }) => kind === PostKind.text);
  return texts.sort(byClock).map(postKey);
}

function difference(has: readonly string[], should: readonly string[], world: World): string {
  const index = (id: string) => world.nodes.find(node => node.member === id)?.index;
  const missing = should.filter(id => !has.includes(id)).map(index);
  const ghosts = has.filter(id => !should.includes(id)).map(index);
  return `missing [${missing}] ghosts [${ghosts}]`;
}

function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}

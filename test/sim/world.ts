/**
 * A simulated world: many cores, one virtual clock, links as TCP is, faults on demand. No sockets, no waiting.
 *
 * Everything that happens is an event on one heap, ordered by time and then by number, and all chance comes from seeded
 * streams; so a seed is a world, and the hash over its events is the same in every run (TigerBeetle's VOPR and
 * FoundationDB's simulation are the models). Links are FIFO with latency and bandwidth; a cut holds bytes back as TCP
 * would, and the ends find out by silence.
 */
import { FRAME_HEADER_BYTES } from "../../lib/codec/frame.ts";
import { type ByeReason, decode, encode, type LinkId, type Message, type PeerInfo } from "../../lib/codec/message.ts";
import { type MemberId, memberIdOf, type Post, type RoomId } from "../../lib/codec/post.ts";
import { limits } from "../../lib/limits.ts";
import type { Effect, News, RoomEvent } from "../../lib/room/event.ts";
import { Heap } from "../../lib/room/heap.ts";
import { keyOf, type Stream } from "../../lib/room/log.ts";
import { RoomNode } from "../../lib/room/node.ts";
import { seal, sealsIn } from "../stand-in.ts";
import { between, type Random, randomStream } from "./random.ts";

export interface WorldOptions {
  readonly seed: number;
  /** One-way delay between two nodes, ms; drawn once per link. */
  readonly latencyMs: readonly [low: number, high: number];
  /** Of every frame, ms, on top; order is kept. */
  readonly jitterMs?: number;
}

/** One direction of a link. */
interface Pipe {
  /** When the last byte sent arrives, ms. */
  arrivesAt: number;
  /** When the last byte sent has left the sender, ms. */
  leavesAt: number;
  drainScheduled: boolean;
  /** Bytes since the sender heard last that all has left. */
  undrained: number;
}

interface SimLink {
  readonly ends: readonly [SimNode, SimNode];
  readonly ids: readonly [LinkId, LinkId];
  readonly latencyMs: number;
  readonly pipes: readonly [Pipe, Pipe];
  /** Ends that still think it is there. */
  readonly open: [boolean, boolean];
}

export interface Counters {
  events: number;
  frames: number;
  bytes: number;
  byType: Record<string, number>;
  /** Copies of posts that arrived, and how many of them were new to who got them. */
  postCopies: number;
  postFirsts: number;
}

const ROOM: RoomId = "00112233445566778899aabbccddeeff";
/** Numbers that are hashed in one go, since there are some for every frame. */
const NOTES_MAX = 4096;
export const NOTED = { frame: 0, fault: 1, massCrash: 2 } as const;
/** Far less than a link's credit, so that nothing waits for it. */
const DRAIN_BYTES = limits.linkCreditBytes / 16;

export class World {
  now = 0;
  readonly nodes: SimNode[] = [];
  readonly counters: Counters = { events: 0, frames: 0, bytes: 0, byType: {}, postCopies: 0, postFirsts: 0 };
  /** What went against the rules, if anything. */
  readonly violations: string[] = [];
  readonly random: Random;
  readonly verify = sealsIn(ROOM);
  /** What each node is told. */
  onNews: (node: SimNode, news: News) => void = () => {};
  onFrame: (from: SimNode, to: SimNode, message: Message) => void = () => {};
  private readonly latency: Random;
  /** By time, then by order of scheduling. */
  private readonly heap = new Heap<Scheduled>(isBefore);
  private order = 0;
  private readonly decoded = new WeakMap<Uint8Array, Message>();
  private readonly streams = new Map<string, number>();
  private readonly streamsOf = new WeakMap<Post, number>();
  private trace = 0n;
  /** Not in the hash yet. */
  private readonly notes = new Float64Array(NOTES_MAX);
  private notesCount = 0;
  /** What arrived at the cut, oldest first: TCP sends it again until it gets through. */
  private held: Flight[] = [];
  /** Group of each node while the network is cut; nodes of different groups do not hear each other. */
  private groups: ((node: SimNode) => number) | undefined;
  /** Only what goes to a higher group is lost. */
  private isOneWay = false;

  constructor(readonly options: WorldOptions) {
    this.random = randomStream(options.seed, "world");
    this.latency = randomStream(options.seed, "latency");
  }

  get traceHash(): string {
    this.hashNotes();
    return this.trace.toString(16).padStart(16, "0");
  }

  /** A node that opens the room, or joins through `through`. */
  add(through?: SimNode): SimNode {
    const node = new SimNode(this, this.nodes.length, this.nodes.length);
    this.nodes.push(node);
    node.start(through);
    return node;
  }

  /** A number for each stream, found without making its key for every member that hears of it. */
  streamOf(post: Post): number {
    let stream = this.streamsOf.get(post);
    if (stream === undefined) {
      const key = keyOf(post);
      stream = this.streams.get(key) ?? this.streams.size;
      this.streams.set(key, stream);
      this.streamsOf.set(post, stream);
    }
    return stream;
  }

  at(time: number, run: () => void): void {
    this.schedule({ at: 0, order: 0, run }, time);
  }

  private schedule(event: Scheduled, time: number): void {
    event.at = Math.max(time, this.now);
    event.order = this.order;
    this.order += 1;
    this.heap.push(event);
  }

  /** Runs all events up to `time`. */
  runUntil(time: number): void {
    for (let event = this.heap.first; event !== undefined && event.at <= time; event = this.heap.first) {
      this.heap.pop();
      this.now = event.at;
      this.counters.events += 1;
      event.run();
    }
    this.now = time;
  }

  runFor(ms: number): void {
    this.runUntil(this.now + ms);
  }

  /** Runs until `done`, looking every `stepMs`; returns whether it came true within `limitMs`. */
  runUntilTrue(done: () => boolean, limitMs: number, stepMs = 100): boolean {
    const end = this.now + limitMs;
    while (!done()) {
      if (this.now >= end) return false;
      this.runFor(stepMs);
    }
    return true;
  }

  /** Takes something that happened into the hash. */
  note(what: number, whom: number, where = 0, kind = 0, bytes = 0): void {
    if (this.notesCount + 6 > NOTES_MAX) this.hashNotes();
    const { notes, notesCount: at } = this;
    notes[at] = this.now;
    notes[at + 1] = what;
    notes[at + 2] = whom;
    notes[at + 3] = where;
    notes[at + 4] = kind;
    notes[at + 5] = bytes;
    this.notesCount = at + 6;
  }

  private hashNotes(): void {
    this.trace = Bun.hash.wyhash(this.notes.subarray(0, this.notesCount), this.trace);
    this.notesCount = 0;
  }

  // The network.

  /** Cuts the network into groups. What is under way is held, as TCP would. */
  cut(groupOf: (node: SimNode) => number, oneWay = false): void {
    this.groups = groupOf;
    this.isOneWay = oneWay;
  }

  get isCut(): boolean {
    return this.groups !== undefined;
  }

  heal(): void {
    this.groups = undefined;
    const { held } = this;
    this.held = [];
    for (const flight of held) this.schedule(flight, this.now + flight.link.latencyMs);
  }

  /** Whether bytes from one node reach the other now. */
  reaches(from: SimNode, to: SimNode): boolean {
    if (this.groups === undefined) return true;
    const [here, there] = [this.groups(from), this.groups(to)];
    return here === there || (this.isOneWay && here > there);
  }

  dial(from: SimNode, id: LinkId, host: string): void {
    const to = this.nodes[Number(host)];
    const oneWay = between(this.latency, ...this.options.latencyMs);
    const { run } = from;
    const fail = (delay: number) =>
      this.at(this.now + delay, () => {
        if (from.run === run) from.handle({ type: "dialFailed", link: id });
      });
    if (to === undefined || !this.reaches(from, to) || !this.reaches(to, from) || !to.isDialable)
      return fail(limits.connectTimeoutMs);
    if (to.core === undefined) return fail(2 * oneWay);
    const link = this.newLink(from, to, id, oneWay);
    // TCP and TLS and hello: two round trips and a half.
    this.at(this.now + 5 * oneWay, () => {
      if (from.run !== run || to.core === undefined || !this.reaches(from, to)) return fail(oneWay);
      if (to.isAsleep) return fail(limits.handshakeTimeoutMs);
      to.onKnock(link, from.info(true));
    });
  }

  private newLink(from: SimNode, to: SimNode, id: LinkId, latencyMs: number): SimLink {
    const pipe = (): Pipe => ({ arrivesAt: 0, leavesAt: 0, drainScheduled: false, undrained: 0 });
    return { ends: [from, to], ids: [id, to.nextAcceptedId()], latencyMs, pipes: [pipe(), pipe()], open: [true, true] };
  }

  admit(link: SimLink): void {
    const [dialler, listener] = link.ends;
    const [dialId, acceptId] = link.ids;
    listener.links.set(acceptId, link);
    const { run } = dialler;
    this.carry(link, 1, () => {
      if (dialler.run !== run) return this.reset(link, 1);
      dialler.links.set(dialId, link);
      dialler.onUp(dialId, listener.info(false), true);
    });
    listener.onUp(acceptId, dialler.info(false), false);
  }

  refuse(link: SimLink, effect: Extract<Effect, { type: "refuse" }>): void {
    const [dialler] = link.ends;
    const { run } = dialler;
    this.carry(link, 1, () => {
      if (dialler.run === run) dialler.onRefused(link.ids[0], effect.refusal);
    });
  }

  /** Puts a frame on the way in one direction, or something that weighs nothing and runs when it is there. */
  private carry(link: SimLink, side: 0 | 1, cargo: Cargo): void {
    const pipe = link.pipes[side];
    const [from, to] = side === 0 ? link.ends : [link.ends[1], link.ends[0]];
    const rate = Math.min(from.bytesPerMs, to.bytesPerMs);
    pipe.leavesAt = Math.max(pipe.leavesAt, this.now) + (typeof cargo === "function" ? 0 : cargo.length / rate);
    const jitter = this.options.jitterMs === undefined ? 0 : this.latency() * this.options.jitterMs;
    pipe.arrivesAt = Math.max(pipe.arrivesAt, pipe.leavesAt + link.latencyMs + jitter);
    this.schedule(new Flight(this, link, side, cargo), pipe.arrivesAt);
  }

  send(from: SimNode, id: LinkId, frame: Buffer): void {
    const link = from.links.get(id);
    if (link === undefined) return;
    const side = link.ends[0] === from && link.ids[0] === id ? 0 : 1;
    this.carry(link, side, frame);
    const pipe = link.pipes[side];
    pipe.undrained += frame.length;
    // Where bytes leave at once, to say so after each frame would be half of all events.
    if (pipe.leavesAt > this.now || pipe.undrained >= DRAIN_BYTES) this.scheduleDrain(from, id, pipe);
  }

  private scheduleDrain(from: SimNode, id: LinkId, pipe: Pipe): void {
    if (pipe.drainScheduled) return;
    pipe.drainScheduled = true;
    const { run } = from;
    const check = () => {
      if (pipe.leavesAt > this.now) return this.at(pipe.leavesAt, check);
      pipe.drainScheduled = false;
      pipe.undrained = 0;
      if (from.run === run && from.links.has(id)) from.handle({ type: "drained", link: id });
    };
    this.at(pipe.leavesAt, check);
  }

  /** What was on its way is there, or has come to where the network is cut. */
  land(flight: Flight): void {
    const { link, side, cargo } = flight;
    const [from, to] = side === 0 ? link.ends : [link.ends[1], link.ends[0]];
    // In the order in which it was sent: the heap keeps that for equal times.
    if (!this.reaches(from, to)) this.held.push(flight);
    else if (typeof cargo === "function") cargo();
    else this.deliver(link, from, to, side === 0 ? link.ids[1] : link.ids[0], cargo);
  }

  private deliver(link: SimLink, from: SimNode, to: SimNode, id: LinkId, frame: Buffer): void {
    if (to.links.get(id) !== link) return;
    let message = this.decoded.get(frame);
    if (message === undefined) {
      message = decode(frame);
      this.decoded.set(frame, message);
      // A post is handed on in a frame of its own: to the next member it is the same post.
      if (message.type === "post") this.decoded.set(message.post.frame, message);
    }
    this.counters.frames += 1;
    this.counters.bytes += frame.length;
    this.counters.byType[message.type] = (this.counters.byType[message.type] ?? 0) + 1;
    this.note(NOTED.frame, to.index, id, frame[FRAME_HEADER_BYTES], frame.length);
    this.onFrame(from, to, message);
    // Every fourth promises that more follows at once: what waits for that is checked with whatever comes.
    to.handle({ type: "message", link: id, message, more: (this.counters.frames & 3) === 0 });
  }

  /** One end closes: the other learns of it behind what was sent, and why if it is told. */
  close(from: SimNode, id: LinkId, reason?: ByeReason): void {
    const link = from.links.get(id);
    if (link === undefined) return;
    if (reason !== undefined) this.send(from, id, encode({ type: "bye", reason }));
    from.links.delete(id);
    const side = link.ends[0] === from && link.ids[0] === id ? 0 : 1;
    this.reset(link, side);
  }

  /** The end `side` is gone; the other hears of it. */
  private reset(link: SimLink, side: 0 | 1): void {
    const to = link.ends[1 - side] as SimNode;
    const toId = link.ids[1 - side] as LinkId;
    this.carry(link, side, () => {
      if (to.links.get(toId) !== link) return;
      to.links.delete(toId);
      to.handle({ type: "down", link: toId });
    });
  }
}

/** A member with its core, its disk and its place in the network. */
export class SimNode {
  core: RoomNode | undefined;
  readonly links = new Map<LinkId, SimLink>();
  readonly member: MemberId;
  /** Counts starts, so that what was meant for an earlier run is not taken for this one. */
  run = 0;
  name: string;
  /** Behind a NAT: it can dial and cannot be dialled. */
  isDialable = true;
  bytesPerMs = Number.POSITIVE_INFINITY;
  /** Wall clock less true time, ms. */
  skewMs = 0;
  /** The process is stopped (SIGSTOP) or the machine asleep: events wait. */
  isAsleep = false;
  /** Everything persisted, for a restart with its disk. */
  disk: Post[] = [];
  /** What this run was told of texts, in order. */
  heard: Post[] = [];
  /** By stream, as the world numbers them: the last post that was told. */
  private newest = new Map<number, number>();
  isSynced = false;
  hasLeft = false;
  private waiting: RoomEvent[] = [];
  private readonly publicKey: Uint8Array;
  private session = 0;
  private acceptedIds = 1;
  private wakeAt = Number.POSITIVE_INFINITY;

  constructor(
    private readonly world: World,
    readonly index: number,
    identity: number,
  ) {
    const random = randomStream(world.options.seed, `key ${identity}`);
    this.publicKey = Buffer.from(Array.from({ length: 32 }, () => Math.floor(random() * 256)));
    this.member = memberIdOf(this.publicKey);
    this.name = `n${index}`;
  }

  /** Starts a run: opens the room, or dials `through` until it is in. */
  start(through: SimNode | undefined): void {
    this.run += 1;
    this.session = Math.max(this.session + 1, Math.floor(this.world.now + this.skewMs) + 1);
    this.heard = [];
    this.newest = new Map();
    this.isSynced = through === undefined;
    this.hasLeft = false;
    const random = randomStream(this.world.options.seed, `node ${this.index} run ${this.run}`);
    this.core = new RoomNode({
      room: ROOM,
      identity: {
        member: this.member,
        publicKey: this.publicKey,
        sealKey: this.publicKey,
        sign: bytes => seal(this.publicKey, bytes),
      },
      verify: this.world.verify,
      // One half stores nothing, and shows what an author said to it before the check.
      isVolatile: this.index % 2 === 1,
      random,
      session: this.session,
      name: this.name,
      hosts: [String(this.index)],
      port: 1,
      entry: through === undefined ? undefined : { host: String(through.index), port: 1 },
    });
    this.handle({ type: "start", restored: this.disk, joining: through !== undefined });
    if (through !== undefined) this.world.dial(this, 0, String(through.index));
  }

  /** The stream of this run. */
  get ownStream(): Stream | undefined {
    return this.core?.log.get(this.member, this.session);
  }

  say(text: string): void {
    this.handle({ type: "say", texts: [text] });
  }

  /** The process dies. `silently`: the machine with it, so that no link is reset. */
  crash(silently = false): void {
    const { world } = this;
    if (!silently) for (const id of [...this.links.keys()]) world.close(this, id);
    this.links.clear();
    this.core = undefined;
    this.waiting = [];
    this.run += 1;
    this.wakeAt = Number.POSITIVE_INFINITY;
  }

  sleep(): void {
    this.isAsleep = true;
  }

  wake(): void {
    this.isAsleep = false;
    const { waiting } = this;
    this.waiting = [];
    for (const event of waiting) this.handle(event);
    this.handle({ type: "tick" });
  }

  handle(event: RoomEvent): void {
    if (this.core === undefined) return;
    if (this.isAsleep) {
      this.waiting.push(event);
      return;
    }
    const { world } = this;
    for (const effect of this.core.handle(event, world.now, world.now + this.skewMs)) this.perform(effect);
    this.armTimer();
  }

  info(joining: boolean): PeerInfo {
    const { member, publicKey, session, name } = this;
    return { member, publicKey, session, name, host: String(this.index), joining: joining && !this.isSynced };
  }

  nextAcceptedId(): LinkId {
    this.acceptedIds += 2;
    return this.acceptedIds;
  }

  onKnock(link: SimLink, peer: PeerInfo): void {
    this.knocks.set(link.ids[1], link);
    this.handle({ type: "knock", link: link.ids[1], peer });
  }

  onUp(link: LinkId, peer: PeerInfo, dialled: boolean): void {
    this.handle({ type: "up", link, peer, dialled });
  }

  onRefused(link: LinkId, refusal: Extract<Effect, { type: "refuse" }>["refusal"]): void {
    const next = link <= 0 ? refusal.addresses[0] : undefined;
    if (next !== undefined) this.world.dial(this, link - 2, next.host);
    else this.handle({ type: "dialFailed", link, refusal });
  }

  private readonly knocks = new Map<LinkId, SimLink>();

  private perform(effect: Effect): void {
    const { world } = this;
    switch (effect.type) {
      case "send":
        for (const link of effect.links) world.send(this, link, effect.frame);
        return;
      case "admit":
      case "refuse": {
        const link = this.knocks.get(effect.link);
        this.knocks.delete(effect.link);
        if (link === undefined) return;
        if (effect.type === "admit") world.at(world.now, () => world.admit(link));
        else world.refuse(link, effect);
        return;
      }
      case "close":
        return world.close(this, effect.link, effect.reason);
      case "dial":
        return world.dial(this, effect.link, effect.addresses[0]?.host ?? "");
      case "persist":
        this.disk.push(effect.post);
        return;
      case "blame":
        world.violations.push(`node ${this.index} blames an honest peer: ${effect.fault.message}`);
        return;
      case "tell":
        return this.onNews(effect.news);
    }
  }

  private onNews(news: News): void {
    if (news.type === "said") this.hear(news.post);
    if (news.type === "synced") {
      this.isSynced = news.complete;
      // As the program does: the person is told that the room does not answer, and tries again or not.
      if (!news.complete) this.world.at(this.world.now, () => this.crash());
    }
    if (news.type === "ended") {
      this.hasLeft = true;
      // The process goes when it has said goodbye; what it sent before arrives.
      this.world.at(this.world.now, () => this.crash());
    }
    this.world.onNews(this, news);
  }

  /** Every text once, every author in order. */
  hear(post: Post): void {
    const stream = this.world.streamOf(post);
    const last = this.newest.get(stream) ?? -1;
    if (post.seq <= last)
      this.world.violations.push(`node ${this.index} was told ${keyOf(post)} ${post.seq} after ${last}`);
    this.newest.set(stream, post.seq);
    this.heard.push(post);
  }

  private armTimer(): void {
    const at = this.core?.wakeAt ?? Number.POSITIVE_INFINITY;
    if (at === this.wakeAt || at === Number.POSITIVE_INFINITY) return;
    this.wakeAt = at;
    const { run } = this;
    this.world.at(at, () => {
      if (this.run !== run || this.wakeAt !== at) return;
      this.wakeAt = Number.POSITIVE_INFINITY;
      this.handle({ type: "tick" });
    });
  }
}

interface Scheduled {
  at: number;
  order: number;
  run(): void;
}

type Cargo = Buffer | (() => void);

/** Something on its way along a link. */
class Flight implements Scheduled {
  at = 0;
  order = 0;

  constructor(
    private readonly world: World,
    readonly link: SimLink,
    readonly side: 0 | 1,
    readonly cargo: Cargo,
  ) {}

  run(): void {
    this.world.land(this);
  }
}

function isBefore(a: Scheduled, b: Scheduled): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

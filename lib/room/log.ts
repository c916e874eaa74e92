/**
 * All posts a node holds: one stream per session, and the retention over all of them.
 *
 * Invariants: a stream holds post 0 and every post from `floor` to `head`, nothing else; a number once passed by `head`
 * is never accepted again, so no post is delivered twice. Where room is short, the oldest go of whoever holds most, within
 * a factor of two, so that nobody can talk others out of the log; what remains of an ended stream then is its head, as the
 * memory that it was here.
 */
import type { StreamKey } from "../codec/message.ts";
import { type MemberId, Post } from "../codec/post.ts";
import { assert } from "../errors.ts";
import { limits } from "../limits.ts";
import { bucketOf, Digest } from "./digest.ts";
import { introductionOf } from "./members.ts";
import type { Peer } from "./peer.ts";
import { Run, Spares } from "./run.ts";
import { Tree } from "./trees.ts";

const NO_LOSSES: readonly number[] = [];
/** To copy a shorter one costs less than to make a view of where it will lie. */
const PLACED_FROM_BYTES = 4 * 1024;

export class Stream {
  readonly author: MemberId;
  readonly session: number;
  /** In which part of the digest it is counted. */
  readonly bucket: number;
  /** The session of the same member that was opened next. */
  later: Stream | undefined;
  /** The lowest post held, post 0 aside. */
  floor: number;
  /** The member was linked to us in this session. */
  isMet = false;
  /** Heads at which somebody missed this member: it is lost while its head is one of them, back with any further post. */
  private losses: readonly number[] = NO_LOSSES;
  private isEnded = false;
  readonly tree = new Tree();
  readonly publicKey: Uint8Array;
  /** When the session began: the clock of post 0, µs since the epoch. */
  readonly openedAt: number;
  /** The frame of post 0. Of most of some thousands of sessions a node holds nothing else, so it is made a post when it is needed. */
  private readonly beginning: Uint8Array;
  /** Two different posts with one number were seen. */
  equivocated = false;
  /** Posts behind the first that we had were lost for good. */
  hasMissed = false;
  /** Whoever has more than we do has told that what comes next is gone for good. */
  isGapFinal = false;
  /** A graft timer is armed. */
  graftArmed = false;
  /** Somebody handed on more of it than we take (fairness.ts): what is missing is asked for when that timer fires. */
  isPassedOver = false;
  /** Whom we asked last for what is missing, and where we stood then. */
  asked: { readonly peer: Peer; readonly head: number } | undefined;
  /** From `floor` to `head`; most streams hold none. */
  private run: Run | undefined;
  /** An unbroken part of it whose own signatures were checked. */
  private signedFrom = 1;
  private signedTo = 0;
  private ahead: Map<number, { readonly post: Post; readonly from: Peer }> | undefined;
  aheadBytes = 0;

  constructor(
    /** The author's `add`. */
    first: Post,
    /** A small number that no other stream of this log has. */
    readonly slot: number,
    private readonly digest: Digest,
    /** The highest post of an unbroken run; all up to it were delivered. */
    public head: number,
    /** By whose link it came. */
    readonly bringer: MemberId | undefined,
  ) {
    this.author = first.author;
    this.session = first.session;
    this.openedAt = first.clock;
    this.beginning = new Uint8Array(first.frame);
    this.bucket = bucketOf(first.author);
    this.floor = head + 1;
    const introduction = introductionOf(first);
    assert(introduction !== undefined, "a session begins with an add");
    this.publicKey = introduction.publicKey;
    digest.note(this);
  }

  /** Post 0. */
  get first(): Post {
    return new Post(Buffer.from(this.beginning));
  }

  /** The member has left this session, or runs a newer one. */
  get ended(): boolean {
    return this.isEnded;
  }

  end(): void {
    this.isEnded = true;
    this.digest.note(this);
  }

  get live(): boolean {
    return !this.isEnded && !this.losses.includes(this.head);
  }

  /** Somebody missed this member when its session stood at `head`, which may lie ahead of what we have. */
  missAt(head: number): void {
    const known = this.losses.filter(past => past >= this.head && past !== head);
    if (head >= this.head && known.length < limits.lossesPerSessionMax) known.push(head);
    this.losses = known;
    this.digest.note(this);
  }

  /** Whether others are told that we hold it. */
  get isOffered(): boolean {
    return this.live || this.retained > 0;
  }

  /** Posts held besides post 0. */
  get retained(): number {
    return this.head + 1 - this.floor;
  }

  /** What these take. */
  get memoryBytes(): number {
    return this.run?.memoryBytes ?? 0;
  }

  /** A post to be looked at before anything else happens. */
  view(seq: number): Post | undefined {
    return seq === 0 ? this.first : this.run?.view(seq);
  }

  /** A post to be kept or sent. */
  get(seq: number): Post | undefined {
    return this.view(seq)?.owned;
  }

  /** Whether this post's own signature was checked. For others a later one vouches. */
  isSigned(seq: number): boolean {
    return seq === 0 || (seq >= this.signedFrom && seq <= this.signedTo);
  }

  noteSigned(seq: number): void {
    if (this.isSigned(seq)) return;
    if (seq !== this.signedTo + 1) this.signedFrom = seq;
    this.signedTo = seq;
  }

  /** Takes the next post, or, where none is held, one further on: nobody has what lies between. */
  append(post: Post, spares: Spares): void {
    assert(post.seq > this.head, "a head only rises");
    this.runFrom(post.seq, spares).push(post);
    this.head = post.seq;
    this.isGapFinal = false;
    this.digest.note(this);
  }

  /** Memory for the frame of the next post, where it will be kept. */
  reserve(bytes: number, spares: Spares): Buffer {
    const seq = this.head + 1;
    return this.runFrom(seq, spares).reserve(bytes, seq);
  }

  /** Begins with `seq`, where nothing is held. */
  private runFrom(seq: number, spares: Spares): Run {
    if (this.run !== undefined) return this.run;
    this.floor = seq;
    this.run = new Run(spares, seq);
    return this.run;
  }

  /** Drops the lowest post. */
  shift(): void {
    this.run?.shift();
    this.floor += 1;
    if (this.retained === 0) this.run = undefined;
    this.digest.note(this);
  }

  /** Keeps a post that came before the ones it follows. Past the cap it is dropped: it can be asked for again. */
  stash(post: Post, from: Peer): void {
    this.ahead ??= new Map();
    const full = this.ahead.size >= limits.aheadMaxPosts || this.aheadBytes + post.size > limits.aheadMaxBytes;
    if (full || this.ahead.has(post.seq)) return;
    this.ahead.set(post.seq, { post: post.owned, from });
    this.aheadBytes += post.size;
  }

  /** Takes the stashed post that follows `head`, and forgets any that `head` has passed. */
  unstash(): { readonly post: Post; readonly from: Peer } | undefined {
    if (this.ahead === undefined) return undefined;
    const next = this.ahead.get(this.head + 1);
    for (const [seq, { post }] of this.ahead) {
      if (seq > this.head + 1) continue;
      this.ahead.delete(seq);
      this.aheadBytes -= post.size;
    }
    if (this.ahead.size === 0) this.ahead = undefined;
    return next;
  }
}

/** What a post weighs beside its bytes, so that neither of the two limits is used up by one author. */
const POST_WEIGHT = Math.ceil(limits.logMaxBytes / limits.logMaxPosts);

/** What is held of one author besides posts 0. */
interface Shelf {
  readonly author: MemberId;
  /** Bytes, and `POST_WEIGHT` each. */
  weight: number;
}

export class Log {
  private readonly streams = new Set<Stream>();
  /** By author: its sessions in the order in which they were opened, as a chain. */
  private readonly earliest = new Map<MemberId, Stream>();
  private readonly shelves = new Map<MemberId, Shelf>();
  /** Shelves with something on them, by the number of bits in their weight. */
  private readonly byWeight: Set<Shelf>[] = [];
  private readonly spares = new Spares();
  private bytes = 0;
  private postCount = 0;
  /** Of all posts kept ahead of a hole, over all streams. */
  aheadBytes = 0;
  private readonly freeSlots: number[] = [];
  readonly digest = new Digest();
  /** Heads of sessions that were forgotten alive, so that none of their posts is told twice; the oldest first. */
  private readonly passed = new Map<string, number>();

  constructor(
    /** Hears of a stream whose slot will be given away. */
    private readonly onForget: (stream: Stream) => void,
    /** Whether a member has a link to us at this moment, or is ourselves. */
    private readonly isLinked: (member: MemberId) => boolean,
    /** Whether the lowest post of a stream is still to be handed over to somebody, and must not make room. */
    private readonly isOwed: (stream: Stream) => boolean,
    private readonly random: () => number,
  ) {}

  get posts(): number {
    return this.postCount;
  }

  /** What these take, posts 0 aside. */
  get memoryBytes(): number {
    return this.bytes;
  }

  get sessions(): number {
    return this.streams.size;
  }

  get(author: MemberId, session: number): Stream | undefined {
    let stream = this.earliest.get(author);
    while (stream !== undefined && stream.session !== session) stream = stream.later;
    return stream;
  }

  /** In the order in which they were opened. */
  sessionsOf(author: MemberId): Stream[] {
    const sessions: Stream[] = [];
    for (let stream = this.earliest.get(author); stream !== undefined; stream = stream.later) sessions.push(stream);
    return sessions;
  }

  /** In the order in which they were opened. */
  all(): SetIterator<Stream> {
    return this.streams.values();
  }

  /** Opens a stream with its post 0, come by the link of `bringer`. Undefined where there is no room for one more. */
  open(first: Post, bringer?: MemberId): Stream | undefined {
    const { sessionsMax, sessionsPerMemberMax } = limits;
    const { author } = first;
    let sessions = this.sessionsOf(author);
    const isFull = () => this.sessions >= sessionsMax || sessions.length >= sessionsPerMemberMax;
    if (isFull()) {
      if (sessions.length >= sessionsPerMemberMax) this.forgetOne(sessions);
      if (this.sessions >= sessionsMax) this.forgetOne(this.all());
      if (this.sessions >= sessionsMax) this.forgetMany();
      sessions = this.sessionsOf(author);
      if (isFull()) return undefined;
    }
    const head = this.passed.size === 0 ? 0 : (this.passed.get(keyOf(first)) ?? 0);
    const stream = new Stream(first, this.freeSlots.pop() ?? this.sessions, this.digest, head, bringer);
    const last = sessions.at(-1);
    if (last === undefined) this.earliest.set(author, stream);
    else last.later = stream;
    this.streams.add(stream);
    return stream;
  }

  /**
   * Memory where the next post of a stream will be kept, for who is about to make it; none for a small one, and none for post 0.
   * Its frame is good for the turn of the loop (`endTurn`).
   */
  placeFor(stream: Stream | undefined, bytes: number): Buffer | undefined {
    if (stream === undefined || bytes < PLACED_FROM_BYTES) return undefined;
    const { memoryBytes } = stream;
    const place = stream.reserve(bytes, this.spares);
    this.weigh(stream, 0, stream.memoryBytes - memoryBytes);
    return place;
  }

  /** What was sent in this turn of the loop is written, or copied. */
  endTurn(): void {
    this.spares.endTurn();
  }

  append(stream: Stream, post: Post): void {
    // Nobody has what lies between.
    if (post.seq !== stream.head + 1) this.dropAll(stream);
    const { memoryBytes } = stream;
    stream.append(post, this.spares);
    this.weigh(stream, 1, stream.memoryBytes - memoryBytes);
    while ((this.posts > limits.logMaxPosts || this.bytes > limits.logMaxBytes) && this.evict());
  }

  /** Keeps a post ahead of a hole, where there is room for it. */
  stash(stream: Stream, post: Post, from: Peer): void {
    if (this.aheadBytes + post.size > limits.aheadTotalMaxBytes) return;
    this.aheadBytes -= stream.aheadBytes;
    stream.stash(post, from);
    this.aheadBytes += stream.aheadBytes;
  }

  /** Takes out the post that comes next in a stream, if it was kept. */
  unstash(stream: Stream): ReturnType<Stream["unstash"]> {
    this.aheadBytes -= stream.aheadBytes;
    const next = stream.unstash();
    this.aheadBytes += stream.aheadBytes;
    return next;
  }

  /** What this node can give to others. */
  offered(): Stream[] {
    return [...this.streams].filter(({ isOffered }) => isOffered);
  }

  /** All posts that are held, to be looked at before anything else happens; posts 0 aside. */
  *views(): Generator<Post, void> {
    for (const stream of this.all())
      for (let seq = stream.floor; seq <= stream.head; seq += 1) {
        const post = stream.view(seq);
        if (post !== undefined) yield post;
      }
  }

  /** Drops what is held of a stream up to a post, all but post 0 if none is named; its head stays. */
  dropAll(stream: Stream, to = stream.head): void {
    while (stream.retained > 0 && stream.floor <= to) this.drop(stream);
  }

  /** Drops what was said before `clock`, µs since the epoch; posts 0 stay. */
  expire(clock: number): void {
    for (const stream of this.streams)
      while (stream.retained > 0 && (stream.view(stream.floor)?.clock ?? clock) < clock) this.drop(stream);
  }

  /** Drops the oldest post of whoever holds most, if it may go. Returns whether there was one. */
  private evict(): boolean {
    for (let bits = this.byWeight.length - 1; bits > 0; bits -= 1)
      for (const { author } of this.byWeight[bits] ?? [])
        for (const stream of this.sessionsOf(author))
          if (stream.retained > 0 && !this.isOwed(stream)) {
            this.drop(stream);
            return true;
          }
    return false;
  }

  private drop(stream: Stream): void {
    const { memoryBytes } = stream;
    stream.shift();
    this.weigh(stream, -1, stream.memoryBytes - memoryBytes);
  }

  /** Counts posts, and what they take, in or out. */
  private weigh({ author }: Stream, posts: 1 | 0 | -1, bytes: number): void {
    this.postCount += posts;
    this.bytes += bytes;
    const shelf = this.shelves.get(author) ?? { author, weight: 0 };
    const before = bitsOf(shelf.weight);
    shelf.weight += bytes + posts * POST_WEIGHT;
    const after = bitsOf(shelf.weight);
    if (before === after) return;
    this.byWeight[before]?.delete(shelf);
    while (this.byWeight.length <= after) this.byWeight.push(new Set());
    if (after > 0) this.byWeight[after]?.add(shelf);
    if (before === 0) this.shelves.set(author, shelf);
    if (after === 0) this.shelves.delete(author);
  }

  /** Forgets the first stream that is over and holds nothing. */
  private forgetOne(candidates: Iterable<Stream>): void {
    for (const stream of candidates) if (!stream.live && stream.retained === 0) return this.forget(stream);
  }

  /**
   * Where all sessions look alive, somebody may have made them up. So some are forgotten of those that one neighbour has
   * brought, whoever has brought most, all that have gone counted as one: at random, but first those that never said
   * anything, and last whom we have met.
   */
  private forgetMany(): void {
    const others = [...this.all()].filter(({ author }) => !this.isLinked(author));
    const brought = Map.groupBy(others, ({ bringer = "" }) => (this.isLinked(bringer) ? bringer : ""));
    const most = [...brought.values()].reduce<Stream[]>((a, b) => (b.length > a.length ? b : a), []);
    const rank = (stream: Stream) => (stream.isMet ? 2 : stream.head > 0 ? 1 : 0) + this.random();
    const ranked = most.map(stream => ({ stream, rank: rank(stream) })).sort((a, b) => a.rank - b.rank);
    for (const { stream } of ranked.slice(0, limits.forgottenAtOnce)) {
      if (stream.head > 0) this.passed.set(keyOf(stream), stream.head);
      this.dropAll(stream);
      stream.end();
      this.forget(stream);
    }
    for (const key of this.passed.keys()) {
      if (this.passed.size <= limits.sessionsMax) break;
      this.passed.delete(key);
    }
  }

  private forget(stream: Stream): void {
    const { author, later } = stream;
    const before = this.sessionsOf(author).find(other => other.later === stream);
    if (before !== undefined) before.later = later;
    else if (later === undefined) this.earliest.delete(author);
    else this.earliest.set(author, later);
    this.streams.delete(stream);
    this.aheadBytes -= stream.aheadBytes;
    this.freeSlots.push(stream.slot);
    this.onForget(stream);
  }
}

function bitsOf(weight: number): number {
  return 32 - Math.clz32(weight);
}

export function keyOf(stream: StreamKey): string {
  return `${stream.author} ${stream.session}`;
}

type Moment = Pick<Post, "clock" | "author" | "session" | "seq">;

/** The order of display: clock first, and what makes it total. */
export function byClock(a: Moment, b: Moment): number {
  if (a.clock !== b.clock) return a.clock - b.clock;
  if (a.author !== b.author) return a.author < b.author ? -1 : 1;
  return a.session - b.session || a.seq - b.seq;
}

/** Where the beginning of a session stands in it. */
export function openingOf({ openedAt, author, session }: Stream): Moment {
  return { clock: openedAt, author, session, seq: 0 };
}

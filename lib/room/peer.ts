/**
 * What the core keeps of one link that is up: who is there, what it has told us, what we still owe it.
 */
import { Bucket } from "../bucket.ts";
import { encode, type LinkId, type PeerInfo, type StreamKey, type WantEntry } from "../codec/message.ts";
import { limits } from "../limits.ts";
import { type BucketSet, withSlot } from "./digest.ts";
import type { Stream } from "./log.ts";

/** Posts of one stream that a peer is to get as its link takes them, `end` included. */
export interface Cursor {
  next: number;
  readonly end: number;
}

interface Ping {
  readonly token: number;
  readonly sentAt: number;
  /** Of our own posts, and of all that were sent here, what it was sent behind. */
  readonly head: number;
  readonly cost: number;
}

export class Peer {
  lastHeardAt: number;
  /** Smoothed round trip, ms; undefined until the first pong. */
  roundTripMs: number | undefined;
  /** The newest ping, and those that wait for their pongs, in order. */
  lastPing: Ping | undefined;
  private pings: Ping[] = [];
  /** It had handled our own posts up to here when it answered a ping: frames keep their order. */
  confirmed = -1;
  /** To be pinged again until it has confirmed all we have sent it. */
  confirming = false;
  /** Bytes that may still be pushed before the link has to drain. */
  creditBytes: number = limits.linkCreditBytes;
  /** What it gets as the link takes it, stream by stream in turns. */
  readonly cursors = new Map<Stream, Cursor>();
  /** Collected during one event, sent as one message each. */
  wants: WantEntry[] = [];
  prunes: StreamKey[] = [];
  readonly claims = new Claims();
  /** It has said goodbye and waits until we have all it said. */
  leaving = false;
  /** It has let this link go, as a duplicate or one too many: no sign that it is lost. */
  dismissed = false;
  /** We have said goodbye on this link. */
  byeSent = false;
  /** The buckets of which it was asked, by a `compare` or `list`, what it holds, and has not told yet. */
  awaited: BucketSet | undefined;
  /** The digest that it was sent last. */
  compared: Buffer | undefined;
  /** What the posts cost that were sent here, and how much of it was handled when the last ping was answered. */
  sentCost = 0;
  handledCost = 0;
  /** The same by stream, since the last answer. */
  private readonly underWay = new Map<Stream, number>();
  private readonly compares = new Bucket(1_000 / limits.compareAgainMs, limits.comparesBurst);

  constructor(
    readonly link: LinkId,
    readonly info: PeerInfo,
    readonly dialled: boolean,
    readonly upAt: number,
  ) {
    this.lastHeardAt = upAt;
  }

  /**
   * Whether it may be sent one more post of `stream`: not where that would only wait in the network, in front of what
   * others say next. Frames keep their order, so the answer to a ping tells that all before it were handled. Who has
   * little under way does not wait for those who fill the window (the sparse flows of RFC 8290).
   */
  mayPush(stream: Stream): boolean {
    const isQuiet = (this.underWay.get(stream) ?? 0) < limits.quietBytes;
    return this.hasRoom && this.sentCost - this.handledCost < limits.windowBytes * (isQuiet ? 2 : 1);
  }

  /** Whether it may be sent a post of anybody. */
  get hasRoom(): boolean {
    return this.creditBytes > 0 && this.sentCost - this.handledCost < limits.windowBytes * 2;
  }

  /** A post was sent. Returns whether to ask by a ping how far it has got. */
  onPosted(stream: Stream, bytes: number): boolean {
    const cost = bytes + limits.postCostBytes;
    this.creditBytes -= bytes;
    this.sentCost += cost;
    this.underWay.set(stream, (this.underWay.get(stream) ?? 0) + cost);
    return this.isPingDue;
  }

  /** A ping is to be sent behind all that was. Returns its token. */
  onPing(sentAt: number, head: number): number {
    const token = ((this.lastPing?.token ?? 0) + 1) % 2 ** 32;
    this.lastPing = { token, sentAt, head, cost: this.sentCost };
    // One that does not answer keeps its link by other words, and no more pings than these.
    this.pings = [...this.pings.slice(1 - limits.pingsUnderWayMax), this.lastPing];
    return token;
  }

  /** It has handled all that was sent before the ping, which is returned, unless nobody waits for such a pong. */
  onPong(token: number): Ping | undefined {
    const index = this.pings.findIndex(ping => ping.token === token);
    const ping = this.pings[index];
    if (ping === undefined) return undefined;
    this.pings.splice(0, index + 1);
    this.handledCost = ping.cost;
    // To clear a map costs more than to see that it is empty.
    if (this.underWay.size > 0) this.underWay.clear();
    return ping;
  }

  /** Several under way, so that the window slides on and does not wait to be emptied. */
  get isPingDue(): boolean {
    const { pingsUnderWayMax, windowBytes } = limits;
    const isTime = this.sentCost - (this.lastPing?.cost ?? 0) >= windowBytes / pingsUnderWayMax;
    return isTime && this.pings.length < pingsUnderWayMax;
  }

  /** Whether it may have one more `compare` or `list` answered. */
  mayCompare(now: number): boolean {
    return this.compares.take(now);
  }

  /** The frames of the wants and prunes collected, if any. */
  takeRequests(): Buffer[] {
    const frames: Buffer[] = [];
    for (let at = 0; at < this.prunes.length; at += limits.digestEntriesMax)
      frames.push(encode({ type: "prune", streams: this.prunes.slice(at, at + limits.digestEntriesMax) }));
    for (let at = 0; at < this.wants.length; at += limits.digestEntriesMax)
      frames.push(encode({ type: "want", entries: this.wants.slice(at, at + limits.digestEntriesMax) }));
    if (frames.length > 0) {
      this.wants = [];
      this.prunes = [];
    }
    return frames;
  }
}

/** What a peer says it holds, by stream: flat numbers, since a large room has many of them. */
export class Claims {
  private heads = new Uint32Array(0);
  private floors = new Uint32Array(0);

  /** The highest post the peer is known to have, −1 where nothing is known. */
  head(stream: Stream): number {
    return (this.heads[stream.slot] ?? 0) - 1;
  }

  /** The lowest it said it can give. */
  floor(stream: Stream): number {
    return this.floors[stream.slot] ?? 0;
  }

  /** The peer has, or was sent, this post. */
  raise(stream: Stream, head: number): void {
    if (head > this.head(stream)) {
      this.heads = withSlot(this.heads, stream.slot);
      this.heads[stream.slot] = head + 1;
    }
  }

  set(stream: Stream, floor: number, head: number): void {
    this.raise(stream, head);
    if (floor === this.floor(stream)) return;
    this.floors = withSlot(this.floors, stream.slot);
    this.floors[stream.slot] = floor;
  }

  /** The slot is free again and may be given to another stream. */
  clear(stream: Stream): void {
    // Beyond their end nothing is written.
    this.heads[stream.slot] = 0;
    this.floors[stream.slot] = 0;
  }
}

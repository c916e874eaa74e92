/**
 * One node of a room, sans-IO: events in, effects out, nothing else.
 *
 * `handle` is the only door. It never reads a clock, draws a random number, opens a socket, awaits or prints; what it
 * needs of these is handed in. So a thousand nodes run in one test, and a run with the same events and seeds is the same.
 */
import { type ByeReason, encode, type LinkId, type Message, type PeerInfo } from "../codec/message.ts";
import { type Body, bodiesOf, isSaid, type MemberId, type Post, PostKind, sealPost } from "../codec/post.ts";
import { assert, PeerError, unreachable } from "../errors.ts";
import { limits } from "../limits.ts";
import { Clock } from "./clock.ts";
import { Compare } from "./compare.ts";
import type { Context, RoomConfig } from "./context.ts";
import type { Effect, News, RoomEvent } from "./event.ts";
import { Log, type Stream } from "./log.ts";
import { Members } from "./members.ts";
import { Mesh } from "./mesh.ts";
import { Peer } from "./peer.ts";
import { Spread } from "./spread.ts";
import { Sync } from "./sync.ts";
import { type Timer, Timers } from "./timers.ts";

export class RoomNode {
  readonly members: Members;
  readonly log: Log;
  private readonly context: Context;
  private readonly spread: Spread;
  private readonly compare: Compare;
  private readonly mesh: Mesh;
  private readonly sync: Sync;
  private effects: Effect[] = [];
  private self: Stream | undefined;
  /** The imprint of our newest post, for the next one. */
  private newest: Uint8Array | undefined;
  /** Wall clock less monotonic clock, at the last event. */
  private skewMs: number | undefined;
  private isIsolated = false;
  private leaving = false;
  /** Posts of ours that peers had when the leave timer was last armed, over all of them. */
  private handedOver = 0;
  private hasEnded = false;

  constructor(config: RoomConfig) {
    const node = this;
    const { member } = config.identity;
    this.log = new Log(
      stream => this.onForgotten(stream),
      id => id === member || this.context.linked.has(id),
      stream => this.isOwed(stream),
      config.random,
    );
    this.context = {
      config,
      timers: new Timers(),
      clock: new Clock(),
      log: this.log,
      peers: new Map(),
      linked: new Map(),
      now: 0,
      wall: 0,
      get self() {
        assert(node.self !== undefined, "a node is started first");
        return node.self;
      },
      get isFullMesh() {
        return node.members.presentCount - 1 <= limits.fullMeshLinksMax;
      },
      get isJoining() {
        return node.sync.isHolding;
      },
      emit: effect => this.effects.push(effect),
      tell: news => this.tell(news),
      send: (peer, frame) => {
        peer.creditBytes -= frame.length;
        this.effects.push({ type: "send", links: [peer.link], frame });
      },
      publish: (kind, body) => this.publish(kind, { body }),
      ping: peer => this.ping(peer),
      drop: (peer, fault) => this.drop(peer, fault),
    };
    this.members = new Members(this.context, member => this.mesh.onRoster(member));
    this.mesh = new Mesh(this.context, this.members, peer => this.dismiss(peer));
    this.spread = new Spread(this.context, (stream, post) => this.onAccepted(stream, post));
    this.compare = new Compare(this.context);
    this.sync = new Sync(this.context, this.members);
  }

  /** When `handle` wants a `tick`, in the time of its `now`; infinity for never. */
  get wakeAt(): number {
    return this.hasEnded ? Number.POSITIVE_INFINITY : this.context.timers.nextAt;
  }

  /** The link to a member, if there is one. */
  linkTo(member: MemberId): Peer | undefined {
    return this.context.linked.get(member);
  }

  /** How many of those linked to us have confirmed our post `seq`, and how many there are. */
  confirmedBy(seq: number): { readonly reached: number; readonly linked: number } {
    const peers = [...this.context.linked.values()];
    return { reached: peers.filter(peer => peer.confirmed >= seq).length, linked: peers.length };
  }

  /** No view of any message is kept: what they lie in may be used for other things. */
  get isSettled(): boolean {
    return this.spread.isSettled;
  }

  /** Somebody is so far behind what we say that a script had better wait. */
  get isBacklogged(): boolean {
    const { peers, self } = this.context;
    for (const { cursors } of peers.values()) {
      const cursor = cursors.get(self);
      if (cursor !== undefined && self.head - cursor.next > limits.backlogMaxPosts) return true;
    }
    return false;
  }

  /** `now` is monotonic and drives the timers; `wall` is the wall clock, which stamps posts. Both in ms. */
  handle(event: RoomEvent, now: number, wall: number = now): Effect[] {
    this.context.now = now;
    this.context.wall = wall;
    this.noticeSleep(wall - now);
    if (!this.isTakenAtOnce(event)) {
      // What we say ourselves hands on nothing of others, and an answer is not to wait either.
      if (event.type !== "say") this.spread.settle(isAboutPosts(event));
      this.dispatch(event);
    }
    this.spread.flush();
    const { effects } = this;
    this.effects = [];
    return effects;
  }

  /** What was sent in this turn of the loop is written, or copied: what it lay in may be used again. */
  endTurn(): void {
    this.log.endTurn();
  }

  /** Whether the event was a post that could be checked later. */
  private isTakenAtOnce(event: RoomEvent): boolean {
    if (event.type !== "message" || event.message.type !== "post" || this.hasEnded) return false;
    const peer = this.context.peers.get(event.link);
    if (peer === undefined || !this.spread.takesLater(peer, event.message.post, event.more === true)) return false;
    peer.lastHeardAt = this.context.now;
    return true;
  }

  private dispatch(event: RoomEvent): void {
    if (this.hasEnded) return;
    switch (event.type) {
      case "start":
        return this.onStart(event.restored, event.joining);
      case "knock":
        return this.onKnock(event.link, event.peer);
      case "up":
        return this.onUp(event.link, event.peer, event.dialled);
      case "down":
        return this.onDown(event.link);
      case "message":
        return this.onMessage(event.link, event.message);
      case "drained":
        return this.onDrained(event.link);
      case "dialFailed":
        return this.mesh.onDialFailed(event.link, event.refusal);
      case "tick":
        return this.onTick();
      case "say":
        return this.onSay(event.texts);
      case "publish":
        this.publish(event.kind, { body: event.body });
        return;
      case "confirm":
        for (const peer of this.context.peers.values()) this.confirm(peer);
        return;
      case "rename":
        return this.members.introduce(event.name);
      case "leave":
        return this.onLeave();
      default:
        return unreachable(event);
    }
  }

  // The user.

  private onStart(restored: readonly Post[], joining: boolean): void {
    const { timers, now } = this.context;
    this.sync.begin(joining);
    for (const post of restored) this.context.clock.observe(post.clock, this.context.wall);
    this.members.introduce(this.context.config.name);
    this.restore(restored);
    this.compare.arm();
    if (joining) timers.arm({ type: "sync" }, now + limits.syncTimeoutMs);
  }

  /** Takes up posts that this node has checked in an earlier run. */
  private restore(posts: readonly Post[]): void {
    for (const post of posts.toSorted((a, b) => a.session - b.session || a.seq - b.seq)) {
      const known = this.log.get(post.author, post.session);
      if (known !== undefined && post.seq <= known.head) continue;
      if (known === undefined && post.seq !== 0) continue;
      const stream = known ?? this.log.open(post);
      if (stream === undefined) continue;
      if (known !== undefined) this.log.append(stream, post);
      this.members.onPost(stream, post);
    }
  }

  /** What is said within one turn goes into as few posts as it fits. */
  private onSay(texts: readonly string[]): void {
    const { textsPerPostMax } = limits;
    for (let at = 0; at < texts.length; at += textsPerPostMax)
      for (const body of bodiesOf(texts.slice(at, at + textsPerPostMax))) this.publish(PostKind.text, body);
  }

  private publish(kind: number, body: Body): Post {
    const { config, clock, wall } = this.context;
    const { member, sign } = config.identity;
    const { session } = config;
    const seq = this.self === undefined ? 0 : this.self.head + 1;
    const head = { author: member, session, seq, clock: clock.next(wall), kind, before: this.newest };
    const post = sealPost(config.room, { ...head, ...body }, sign, bytes => this.log.placeFor(this.self, bytes));
    this.newest = post.imprint;
    if (this.self === undefined) this.self = this.log.open(post);
    else this.log.append(this.self, post);
    this.spread.onOwn(this.context.self, post);
    return post;
  }

  private onLeave(): void {
    if (this.leaving) return;
    this.leaving = true;
    this.publish(PostKind.remove, { body: "" });
    this.handedOver = this.countHandedOver();
    this.context.timers.arm({ type: "leave" }, this.context.now + limits.leaveTimeoutMs);
    for (const peer of this.context.peers.values()) this.sayBye(peer);
    if (this.context.peers.size === 0) this.end();
  }

  /** Goodbye comes behind all that the peer is still to get from us. */
  private sayBye(peer: Peer): void {
    if (!this.leaving || peer.byeSent || peer.cursors.has(this.context.self)) return;
    peer.byeSent = true;
    const frame = encode({ type: "bye", reason: "leaving" });
    this.context.emit({ type: "send", links: [peer.link], frame });
  }

  private end(): void {
    this.hasEnded = true;
    this.context.emit({ type: "tell", news: { type: "ended" } });
  }

  // Links.

  private onKnock(link: LinkId, peer: PeerInfo): void {
    const refusal = this.leaving
      ? { reason: "full" as const, suggestion: "", addresses: [] }
      : this.mesh.refusalFor(peer);
    this.context.emit(refusal === undefined ? { type: "admit", link } : { type: "refuse", link, refusal });
  }

  private onUp(link: LinkId, info: PeerInfo, dialled: boolean): void {
    const { peers, linked, now } = this.context;
    if (dialled) this.mesh.onDialled(link);
    if (this.isOutdated(info)) return this.turnAway(link, info.member);
    const peer = new Peer(link, info, dialled, now);
    const other = linked.get(info.member);
    if (other !== undefined) {
      if (this.keeps(other, peer)) return this.close(link, "duplicate");
      // An older session learns from the newer one's post 0 that it is over; until that is here its link stays.
      if (other.info.session === info.session) this.detach(other, "duplicate");
    }
    peers.set(link, peer);
    linked.set(info.member, peer);
    this.spread.onUp(peer);
    this.compare.onUp(peer);
    this.members.refresh(info.member, "lost");
    this.ping(peer);
    this.armLink(peer);
    if (this.isIsolated) {
      this.isIsolated = false;
      this.tell({ type: "linked" });
    }
    if (this.leaving) this.sayBye(peer);
  }

  /** The same key runs a newer session, so this one is over and does not know it yet. */
  private isOutdated({ member, session }: PeerInfo): boolean {
    const newest = this.members.get(member)?.stream.session;
    return newest !== undefined && newest > session;
  }

  /** Shows an outdated session the beginning of the one that replaced it. */
  private turnAway(link: LinkId, member: MemberId): void {
    const first = this.members.get(member)?.stream.first;
    if (first !== undefined) this.context.emit({ type: "send", links: [link], frame: first.frame });
    this.close(link, "duplicate");
  }

  private turnAwayOutdated(member: MemberId): void {
    for (const peer of this.context.peers.values()) {
      if (peer.info.member !== member || !this.isOutdated(peer.info)) continue;
      this.turnAway(peer.link, peer.info.member);
      this.forget(peer);
    }
  }

  /**
   * Of two links between the same two nodes both ends keep the same one: that dialled by the lower id. When one node
   * has dialled twice, the first link is dead for it, so the second stays.
   */
  private keeps(old: Peer, fresh: Peer): boolean {
    if (old.info.session !== fresh.info.session) return old.info.session > fresh.info.session;
    if (old.dialled === fresh.dialled) return false;
    const { member } = this.context.config.identity;
    return old.dialled === member < old.info.member;
  }

  private onDown(link: LinkId): void {
    const peer = this.context.peers.get(link);
    if (peer === undefined) return;
    this.forget(peer);
    this.mesh.onDown(peer);
    // Let go is not lost, unless the link was all that spoke for it.
    if (peer.dismissed) this.members.refresh(peer.info.member, "lost");
    else this.members.onDown(peer);
    this.noticeIsolation();
  }

  private dismiss(peer: Peer): void {
    peer.dismissed = true;
    this.close(peer.link, "full");
    this.onDown(peer.link);
  }

  /** Takes a peer out of all state; the link itself is closed by who calls. */
  private forget(peer: Peer): void {
    const { peers, linked } = this.context;
    peers.delete(peer.link);
    if (linked.get(peer.info.member) === peer) linked.delete(peer.info.member);
    this.spread.onDown(peer);
    this.sync.onDown();
    if (this.leaving && peers.size === 0) this.end();
  }

  private detach(peer: Peer, reason: ByeReason): void {
    this.forget(peer);
    this.close(peer.link, reason);
  }

  private close(link: LinkId, reason: ByeReason): void {
    this.context.emit({ type: "close", link, reason });
  }

  private drop(peer: Peer, fault: PeerError): void {
    if (this.context.peers.get(peer.link) !== peer) return;
    this.close(peer.link, "fault");
    this.context.emit({ type: "blame", link: peer.link, fault });
    this.onDown(peer.link);
  }

  private noticeIsolation(): void {
    if (this.context.peers.size > 0 || this.isIsolated || this.leaving) return;
    this.isIsolated = this.members.presentCount > 1;
    if (this.isIsolated) this.tell({ type: "isolated" });
  }

  private onMessage(link: LinkId, message: Message): void {
    const peer = this.context.peers.get(link);
    if (peer === undefined) return;
    peer.lastHeardAt = this.context.now;
    switch (message.type) {
      case "post":
        return this.spread.onPost(peer, message.post);
      case "have":
        this.sync.onHave(message.scope, message.entries);
        this.spread.onHave(peer, message.scope, message.entries);
        return this.compare.onHave(peer, message.scope);
      case "want":
        return this.spread.onWant(peer, message.entries);
      case "prune":
        return this.spread.onPrune(peer, message.streams);
      case "compare":
        return this.compare.onCompare(peer, message.digest);
      case "buckets":
        return this.compare.onBuckets(peer, message.digests);
      case "list":
        return this.compare.onList(peer, message.buckets);
      case "ping":
        return this.context.emit({
          type: "send",
          links: [link],
          frame: encode({ type: "pong", token: message.token }),
        });
      case "pong":
        return this.onPong(peer, message.token);
      case "bye":
        return this.onBye(peer, message.reason);
      case "hello":
      case "welcome":
      case "refuse":
        return this.drop(peer, new PeerError("out_of_turn", "a second handshake"));
      default:
        return unreachable(message);
    }
  }

  private onBye(peer: Peer, reason: ByeReason): void {
    if (reason === "fault") return;
    if (reason === "leaving") {
      peer.leaving = true;
      this.answerBye(peer);
    } else peer.dismissed = true;
  }

  /** A leaver waits until we have all it said, its `remove` among it. */
  private answerBye(peer: Peer): void {
    const stream = this.log.get(peer.info.member, peer.info.session);
    if (stream !== undefined && !stream.ended) return;
    this.close(peer.link, "leaving");
    this.onDown(peer.link);
  }

  private onDrained(link: LinkId): void {
    const peer = this.context.peers.get(link);
    if (peer === undefined) return;
    peer.creditBytes = limits.linkCreditBytes;
    this.onRoom(peer);
  }

  /** There is room for what the peer is to get. */
  private onRoom(peer: Peer): void {
    this.spread.onRoom(peer);
    this.sayBye(peer);
  }

  private ping(peer: Peer): void {
    const token = peer.onPing(this.context.now, peer.claims.head(this.context.self));
    this.context.emit({ type: "send", links: [peer.link], frame: encode({ type: "ping", token }) });
  }

  private onPong(peer: Peer, token: number): void {
    const { handledCost } = peer;
    const ping = peer.onPong(token);
    if (ping === undefined) return;
    const sample = this.context.now - ping.sentAt;
    const isBusy = ping.cost - handledCost >= limits.windowBytes / 4;
    // The smoothing of RFC 6298. A ping behind many posts measures these, not the way.
    if (peer.roundTripMs === undefined) peer.roundTripMs = sample;
    else if (!isBusy) peer.roundTripMs = peer.roundTripMs * 0.875 + sample * 0.125;
    this.onRoom(peer);
    this.onConfirmed(peer, ping.head);
  }

  private onConfirmed(peer: Peer, head: number): void {
    if (head <= peer.confirmed) return;
    peer.confirmed = head;
    if (!peer.confirming) return;
    peer.confirming = false;
    this.confirm(peer);
    this.tell({ type: "confirmed" });
  }

  /** One ping at a time: the next goes out with the answer to the last. */
  private confirm(peer: Peer): void {
    if (peer.claims.head(this.context.self) <= peer.confirmed || peer.confirming) return;
    peer.confirming = true;
    if (peer.lastPing === undefined || peer.lastPing.head <= peer.confirmed) this.ping(peer);
  }

  private onLinkTimer(link: LinkId): void {
    const { now, peers } = this.context;
    const peer = peers.get(link);
    if (peer === undefined) return;
    if (silenceEndsAt(peer) <= now) {
      this.close(link, "fault");
      return this.onDown(link);
    }
    if (pingDueAt(peer) <= now) this.pingWith(peer);
    this.armLink(peer);
  }

  /** Pings a link, and others whose turn would come soon: from then on all of them at one moment. */
  private pingWith(peer: Peer): void {
    const { now, peers } = this.context;
    for (const other of peers.values())
      if (other === peer || (other.dialled && pingDueAt(other) - now <= limits.pingIdleMs / 2)) this.ping(other);
  }

  private armLink(peer: Peer): void {
    this.context.timers.arm({ type: "link", link: peer.link }, Math.min(silenceEndsAt(peer), pingDueAt(peer)));
  }

  // Posts.

  /** What we said ourselves stays until all who are linked to us have told that they have it. */
  private isOwed(stream: Stream): boolean {
    if (stream !== this.self || stream.memoryBytes > limits.owedMaxBytes) return false;
    for (const peer of this.context.peers.values()) if (peer.confirmed < stream.floor) return true;
    return false;
  }

  private onForgotten(stream: Stream): void {
    for (const peer of this.context.peers.values()) {
      peer.claims.clear(stream);
      peer.cursors.delete(stream);
    }
    this.spread.forget(stream);
    this.members.forget(stream);
  }

  private onAccepted(stream: Stream, post: Post): void {
    // Last words come before the news that somebody is gone, and who is back is told of before what it says.
    const wasPresent = this.members.get(stream.author)?.present === true;
    if (!wasPresent) this.members.onPost(stream, post);
    if (isSaid(post)) this.tell({ type: "said", post, history: false });
    if (wasPresent) this.members.onPost(stream, post);
    this.sync.onPost(stream);
    if (stream.ended) {
      const peer = this.context.linked.get(stream.author);
      if (peer?.leaving === true && peer.info.session === stream.session) this.answerBye(peer);
    }
    if (post.seq > 0) return;
    this.turnAwayOutdated(stream.author);
    const { identity, session } = this.context.config;
    if (stream.author === identity.member && stream.session > session)
      this.context.emit({ type: "tell", news: { type: "replaced" } });
  }

  // Time.

  private onTick(): void {
    const { timers, now } = this.context;
    for (let timer = timers.due(now); timer !== undefined; timer = timers.due(now)) this.onTimer(timer);
  }

  private onTimer(timer: Timer): void {
    switch (timer.type) {
      case "link":
        return this.onLinkTimer(timer.link);
      case "check":
        return this.spread.settle(true);
      case "have":
        return this.spread.onHaveTimer();
      case "compare":
        return this.compare.onTimer();
      case "graft":
        return this.spread.onGraftTimer(timer.stream);
      case "flood":
        return this.spread.onFloodTimer(timer.stream);
      case "mesh":
        return this.mesh.onTimer();
      case "suspect":
        return this.members.onSuspectTimer(timer.member);
      case "refute":
        return this.members.refute();
      case "sync":
        return this.sync.end();
      case "leave":
        return this.onLeaveTimer();
      default:
        return unreachable(timer);
    }
  }

  /** Slow peers are waited for as long as they take something. */
  private onLeaveTimer(): void {
    const { timers, now } = this.context;
    const handedOver = this.countHandedOver();
    if (handedOver <= this.handedOver) return this.end();
    this.handedOver = handedOver;
    timers.arm({ type: "leave" }, now + limits.leaveTimeoutMs);
  }

  private countHandedOver(): number {
    const { peers, self } = this.context;
    let count = 0;
    for (const peer of peers.values()) count += peer.claims.head(self);
    return count;
  }

  /**
   * The wall clock ran on while the monotonic one stood still: the machine slept. Every link may be dead, or alive and
   * only waiting for us; each is asked before it is judged.
   */
  private noticeSleep(skewMs: number): void {
    const slept = skewMs - (this.skewMs ?? skewMs) > limits.pingIdleMs;
    this.skewMs = skewMs;
    if (!slept) return;
    for (const peer of this.context.peers.values()) {
      peer.lastHeardAt = this.context.now - limits.pingIdleMs;
      this.ping(peer);
    }
  }

  private tell(news: News): void {
    if (!this.sync.isHolding) this.context.emit({ type: "tell", news });
  }
}

/** Whether what was told already is checked before it, too: it is about the same posts, or nobody will get them from us later. */
function isAboutPosts(event: RoomEvent): boolean {
  if (event.type !== "message") return event.type === "leave";
  return event.message.type === "post" || event.message.type === "want";
}

/** On the grid at which a node looks at its links, so that it wakes once for all: nobody is given up too early. */
function silenceEndsAt({ lastHeardAt }: Peer): number {
  const { linkSilenceTimeoutMs, linkTimerGridMs } = limits;
  return Math.ceil((lastHeardAt + linkSilenceTimeoutMs) / linkTimerGridMs) * linkTimerGridMs;
}

/** Rather early than late: the look that would show that the last ping was answered sends the next one. */
function pingDueAt({ dialled, lastHeardAt, lastPing }: Peer): number {
  const { pingIdleMs, pingYieldMs, linkTimerGridMs } = limits;
  const dueAt = Math.max(lastHeardAt, lastPing?.sentAt ?? 0) + pingIdleMs + (dialled ? 0 : pingYieldMs);
  return Math.floor(dueAt / linkTimerGridMs) * linkTimerGridMs;
}

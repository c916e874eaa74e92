/**
 * How posts reach everyone, once: pushed along the author's tree, announced to the rest, asked for where one is missing.
 *
 * One door for a post from outside, `onPost`: known, next, or ahead of a hole. One door for what a peer is to get:
 * pushed at once where the link has credit, else by a cursor that moves as the link drains. So a slow reader costs a
 * number per stream, never a queue, and nothing is sent twice on a link.
 */
import { encode, type HaveEntry, type HaveScope, OPEN_END, type StreamKey, type WantEntry } from "../codec/message.ts";
import { isSaid, type MemberId, type Post } from "../codec/post.ts";
import { PeerError } from "../errors.ts";
import { limits } from "../limits.ts";
import { Checks } from "./checks.ts";
import { type Context, jitter, randomBelow, sample, sendEntries } from "./context.ts";
import { Fairness } from "./fairness.ts";
import { keyOf, type Stream } from "./log.ts";
import { introductionOf } from "./members.ts";
import type { Peer } from "./peer.ts";

export class Spread {
  private haveArmed = false;
  /** Streams with a new head, and in how many more rounds it is told. */
  private readonly news = new Map<Stream, number>();
  /** Peers with wants or prunes to send at the end of this event. */
  private readonly requesting = new Set<Peer>();
  /** Streams nobody has opened for us yet, and until when we wait for whom we asked: those asked for lately, and before. */
  private opening = new Map<string, number>();
  private openingBefore = new Map<string, number>();
  private readonly checks: Checks;
  private readonly fairness = new Fairness();

  /** `onAccepted` interprets a post that is new, checked and in its turn. */
  constructor(
    private readonly context: Context,
    private readonly onAccepted: (stream: Stream, post: Post) => void,
  ) {
    this.checks = new Checks(context, {
      told: (peer, stream, post) => {
        context.log.append(stream, post);
        this.onFirstCopy(peer, stream, post);
        this.take(stream, post);
      },
      checked: (peer, stream, seq) => {
        const post = stream.view(seq);
        if (post !== undefined) this.push(stream, post, peer);
      },
      genuine: (peer, stream, post, isSigned) => {
        this.charge(peer, post);
        this.accept(peer, stream, post, isSigned);
      },
    });
  }

  // Links.

  onUp(peer: Peer): void {
    const { self } = this.context;
    this.fairness.onUp(peer, this.context.now);
    self.tree.feed(peer);
    if (self.head >= 0) this.context.send(peer, encode({ type: "have", scope: "news", entries: [self] }));
    this.preferDirect(peer);
  }

  /** The author itself feeds us from now on; whoever did so far need not. */
  private preferDirect(peer: Peer): void {
    const stream = this.context.log.get(peer.info.member, peer.info.session);
    if (stream === undefined) return;
    stream.isMet = true;
    stream.isPassedOver = false;
    const { parent } = stream.tree;
    stream.tree.onGraft(peer);
    if (parent !== undefined && parent !== peer) this.prune(parent, stream);
  }

  onDown(peer: Peer): void {
    this.requesting.delete(peer);
    this.fairness.onDown(peer, this.context.now);
    for (const stream of this.context.log.all()) {
      const orphaned = stream.tree.onDown(peer);
      if (stream.asked?.peer === peer) stream.asked = undefined;
      // Who has said nothing yet needs no feed where its first words flood.
      if (orphaned && stream.live && (stream.tree.isProven || this.context.isFullMesh)) this.adopt(stream);
    }
  }

  /** The peer can take more. */
  onRoom(peer: Peer): void {
    this.pump(peer);
    if (peer.isPingDue) this.context.ping(peer);
  }

  // Posts.

  /** Spreads a post of our own. */
  onOwn(stream: Stream, post: Post): void {
    stream.noteSigned(post.seq);
    this.persist(post);
    this.push(stream, post, undefined);
    this.take(stream, post);
  }

  /** Takes a post that could be checked later. Returns whether it was one; else it is for `onPost`. */
  takesLater(peer: Peer, post: Post, more: boolean): boolean {
    const stream = this.context.log.get(post.author, post.session);
    if (stream === undefined || stream.isPassedOver || !this.mayHear(peer, stream, post)) return false;
    return this.checks.take(peer, stream, post, more);
  }

  get isSettled(): boolean {
    return this.checks.isSettled;
  }

  /** Checks what waits; without `toldToo` only if some of it is still to be told. */
  settle(toldToo: boolean): void {
    this.checks.settle(toldToo);
  }

  onPost(peer: Peer, post: Post): void {
    const stream = this.context.log.get(post.author, post.session);
    if (stream === undefined) {
      // Without post 0 there is no key to check it with; a digest will tell of the stream again.
      if (post.seq === 0 && this.mayOpen(peer, post.author)) this.open(peer, post);
      return;
    }
    peer.claims.raise(stream, post.seq);
    if (post.seq <= stream.head) return this.onDuplicate(peer, stream, post);
    if (!this.mayHear(peer, stream, post)) return this.passOver(peer, stream);
    this.charge(peer, post);
    // Before it is kept: what nobody signed may neither fill the memory nor stand in the way of what was signed.
    const fault = this.checks.faultOf(stream, post);
    if (fault !== undefined) return this.context.drop(peer, fault);
    const { log } = this.context;
    if (post.seq > stream.head + 1 && !this.mayJump(peer, stream, post)) {
      log.stash(stream, post, peer);
      return this.armGraft(stream, this.graftDelay(peer));
    }
    this.accept(peer, stream, post);
    for (let next = log.unstash(stream); next !== undefined; next = log.unstash(stream))
      this.accept(next.from, stream, next.post);
  }

  /** What its author tells us itself is slowed down by its link, and what we were told on coming in was asked for. */
  private isAtHand(peer: Peer, author: MemberId): boolean {
    return peer.info.member === author || this.context.isJoining;
  }

  private mayOpen(peer: Peer, author: MemberId): boolean {
    return this.isAtHand(peer, author) || this.fairness.mayOpen(peer, author, this.context.now);
  }

  private mayHear(peer: Peer, stream: Stream, post: Post): boolean {
    if (this.isAtHand(peer, stream.author)) return true;
    // Behind one that was let pass.
    if (stream.isPassedOver && post.seq > stream.head + 1) return false;
    return this.fairness.mayHear(peer, stream.author, this.context.now);
  }

  private charge(peer: Peer, post: Post): void {
    if (!this.isAtHand(peer, post.author)) this.fairness.charge(peer, post, this.context.now);
  }

  /** The peer hands on too much: of this author we go on later, with what it has said by then. */
  private passOver(peer: Peer, stream: Stream): void {
    if (stream.tree.onUnwanted(peer)) this.prune(peer, stream);
    // It gave what it was asked for.
    stream.asked = undefined;
    stream.isPassedOver = true;
    this.armGraft(stream, jitter(this.context, limits.haveIntervalMs));
  }

  /** The log has no room for it any more. */
  forget(stream: Stream): void {
    this.news.delete(stream);
  }

  private open(peer: Peer, post: Post): void {
    const { log } = this.context;
    const introduction = introductionOf(post);
    if (introduction === undefined)
      return this.context.drop(peer, new PeerError("malformed", "a session without a proper beginning"));
    for (const other of log.sessionsOf(post.author))
      if (Buffer.compare(other.publicKey, introduction.publicKey) !== 0)
        return this.context.drop(peer, new PeerError("bad_signature", "two keys with one hash"));
    if (!this.context.config.verify(introduction.publicKey, post))
      return this.context.drop(peer, new PeerError("bad_signature", "a forged post"));
    const stream = log.open(post, peer.info.member);
    if (stream === undefined) return;
    this.charge(peer, post);
    if (this.context.linked.get(post.author)?.info.session === post.session) stream.isMet = true;
    const key = keyOf(post);
    this.opening.delete(key);
    this.openingBefore.delete(key);
    this.plant(stream, peer);
    peer.claims.raise(stream, 0);
    this.handOn(peer, stream, post);
    this.take(stream, post);
  }

  /** A new author's tree is that of whoever stands where it enters the mesh. */
  private plant(stream: Stream, peer: Peer): void {
    const { log, self, peers } = this.context;
    const direct = peer.info.member === stream.author;
    const like = direct ? self : log.get(peer.info.member, peer.info.session);
    if (like !== undefined) stream.tree.startLike(like.tree, peer);
    else for (const other of peers.values()) if (other !== peer) stream.tree.feed(other);
  }

  private accept(peer: Peer, stream: Stream, post: Post, isSigned = true): void {
    if (post.seq > stream.head + 1) this.noteMissed(stream);
    this.context.log.append(stream, post);
    if (isSigned) stream.noteSigned(post.seq);
    this.handOn(peer, stream, post);
    this.take(stream, post);
  }

  /** Whoever came after it was said, or has heard nothing of this session yet, misses nothing. */
  private noteMissed(stream: Stream): void {
    if (stream.head === 0 || stream.hasMissed) return;
    stream.hasMissed = true;
    this.context.tell({ type: "missed", member: stream.author });
  }

  private take(stream: Stream, post: Post): void {
    this.fairness.heard(post, this.context.now);
    this.onAccepted(stream, post);
  }

  private handOn(peer: Peer, stream: Stream, post: Post): void {
    const mayImprove = this.onFirstCopy(peer, stream, post);
    this.persist(post);
    this.push(stream, post, peer);
    if (mayImprove) this.tryAnotherFeed(stream, peer);
  }

  /** Returns whether it is time to look for a shorter way. */
  private onFirstCopy(peer: Peer, stream: Stream, post: Post): boolean {
    const { clock, wall } = this.context;
    clock.observe(post.clock, wall);
    // Its news was under way when we pruned it, and came first all the same. Without it we might be fed in a circle.
    if (stream.tree.isPruned(peer)) this.graft(peer, stream, post.seq + 1);
    return stream.tree.onFirst(peer) && peer.info.member !== stream.author;
  }

  private persist(post: Post): void {
    if (!this.context.config.isVolatile) this.context.emit({ type: "persist", post });
  }

  /** The first copy shows the shortest way; so now and then a second one is asked for, at random. */
  private tryAnotherFeed(stream: Stream, parent: Peer): void {
    const others = [...this.context.peers.values()].filter(
      peer => peer !== parent && !stream.tree.eager.includes(peer),
    );
    const other = others[randomBelow(this.context, others.length)];
    if (other !== undefined) this.tryFeed(other, stream);
  }

  private onDuplicate(peer: Peer, stream: Stream, post: Post): void {
    const kept = stream.view(post.seq);
    if (kept !== undefined && Buffer.compare(kept.signature, post.signature) !== 0) {
      // That was told, and to check each of what follows would cost us more than whoever sends it.
      if (stream.equivocated) return;
      if (!this.context.config.verify(stream.publicKey, post))
        return this.context.drop(peer, new PeerError("bad_signature", "a forged post"));
      stream.equivocated = true;
      return this.context.tell({ type: "equivocated", member: stream.author });
    }
    const pruned = stream.tree.onDuplicate(peer, stream.author);
    if (pruned !== undefined) this.prune(pruned, stream);
  }

  private prune(peer: Peer, stream: Stream): void {
    stream.tree.onPruned(peer);
    peer.prunes.push({ author: stream.author, session: stream.session });
    this.requesting.add(peer);
  }

  /** Nobody we asked has what lies before this post any more: the stream goes on from here. */
  private mayJump(peer: Peer, stream: Stream, post: Post): boolean {
    return stream.isGapFinal && peer.claims.floor(stream) === post.seq && this.authorWithNext(stream) === undefined;
  }

  /** The link to the author itself, where it may still bring what comes next: it keeps for us what we have not confirmed. */
  private authorWithNext(stream: Stream): Peer | undefined {
    const author = this.context.linked.get(stream.author);
    if (author === undefined || author.info.session !== stream.session) return undefined;
    return author.claims.floor(stream) <= stream.head + 1 ? author : undefined;
  }

  private push(stream: Stream, post: Post, from: Peer | undefined): void {
    const { peers, isFullMesh } = this.context;
    // Where not everybody is linked to everybody, the first thing an author says finds the shortest ways by a flood.
    if (post.seq > 0 && !stream.tree.isProven && !isFullMesh) this.flood(stream, post, from);
    if (isSaid(post)) stream.tree.isProven = true;
    let frame: Buffer | undefined;
    const links: number[] = [];
    const asked: Peer[] = [];
    for (const peer of stream.tree.eager) {
      if (peer === from || peer.cursors.has(stream) || peer.claims.head(stream) >= post.seq) continue;
      if (!peer.mayPush(stream)) {
        peer.cursors.set(stream, { next: post.seq, end: OPEN_END });
        continue;
      }
      if (frame === undefined && !this.checks.mayHandOn(stream, post)) return;
      // Our own lies where it may be sent from.
      frame ??= encode({ type: "post", post: from === undefined ? post : post.owned });
      if (peer.onPosted(stream, frame.length)) asked.push(peer);
      peer.claims.raise(stream, post.seq);
      links.push(peer.link);
    }
    if (frame !== undefined) this.context.emit({ type: "send", links, frame });
    for (const peer of asked) this.context.ping(peer);
    if (peers.size > links.length) this.announce(stream);
  }

  /**
   * The first copy that comes shows each its way. Whoever hands one on waits a little, so that a way of few hops beats
   * one of many that is hardly quicker, and whoever has it by then is spared ours. News of the roster, of which there is
   * one for each member after a split, is not followed by more, so it needs to arrive and not to find the best way.
   */
  private flood(stream: Stream, post: Post, from: Peer | undefined): void {
    const peers = [...this.context.peers.values()];
    const fanOut = isSaid(post) ? limits.floodFanOut : limits.rosterFanOut;
    for (const peer of sample(this.context, peers, fanOut)) stream.tree.feed(peer);
    if (from === undefined) return;
    for (const peer of stream.tree.eager)
      if (peer !== from && !peer.cursors.has(stream)) peer.cursors.set(stream, { next: post.seq, end: OPEN_END });
    const meanMs = peers.reduce((sum, peer) => sum + roundTrip(peer), 0) / peers.length;
    const { now, timers } = this.context;
    timers.arm({ type: "flood", stream }, now + meanMs / limits.floodStepsPerRoundTrip);
  }

  onFloodTimer(stream: Stream): void {
    for (const peer of stream.tree.eager) {
      if (!peer.cursors.has(stream)) continue;
      if (peer.claims.head(stream) < stream.head) this.pump(peer);
      else this.cease(peer, stream);
    }
  }

  /** The peer has the stream from somebody else. */
  private cease(peer: Peer, stream: Stream): void {
    stream.tree.starve(peer);
    peer.cursors.delete(stream);
  }

  /** Those who do not get the stream from us shall hear of its head. */
  private announce(stream: Stream): void {
    this.news.set(stream, limits.haveRounds);
    if (this.haveArmed) return;
    this.haveArmed = true;
    this.context.timers.arm({ type: "have" }, this.context.now + jitter(this.context, limits.haveIntervalMs));
  }

  // Digests.

  /**
   * Tells a few random neighbours, several times over, instead of everybody once: each hears of a head from several
   * sides all the same, and the cost is that of a few links however many there are.
   */
  onHaveTimer(): void {
    this.haveArmed = false;
    for (const peer of sample(this.context, [...this.context.peers.values()], limits.haveFanOut)) {
      const isNews = (stream: Stream) =>
        peer.info.member !== stream.author &&
        !stream.tree.eager.includes(peer) &&
        peer.claims.head(stream) < stream.head;
      sendEntries(this.context, peer, [...this.news.keys()].filter(isNews), "news");
    }
    for (const [stream, rounds] of this.news) {
      if (rounds === 1) this.news.delete(stream);
      else this.news.set(stream, rounds - 1);
    }
    if (this.news.size === 0) return;
    this.haveArmed = true;
    this.context.timers.arm({ type: "have" }, this.context.now + jitter(this.context, limits.haveIntervalMs));
  }

  onHave(peer: Peer, scope: HaveScope, entries: readonly HaveEntry[]): void {
    const { log, self } = this.context;
    for (const entry of entries) {
      const stream = log.get(entry.author, entry.session);
      if (stream === undefined) {
        if (this.mayOpen(peer, entry.author)) this.askToOpen(peer, entry);
      } else if (stream !== self) {
        peer.claims.set(stream, entry.floor, entry.head);
        if (entry.head > stream.head) this.armGraft(stream, scope === "news" ? this.graftDelay(peer) : 0);
      } else if (entry.head <= self.head) peer.claims.set(self, entry.floor, entry.head);
    }
  }

  private askToOpen(peer: Peer, entry: HaveEntry): void {
    const { now } = this.context;
    const key = keyOf(entry);
    if ((this.opening.get(key) ?? this.openingBefore.get(key) ?? 0) > now) return;
    // Sessions that do not exist may fill this; whoever is pushed out is asked for once more. Half of them at a time:
    // to look for the oldest of a map that has lost many is to walk past all those.
    if (this.opening.size >= limits.sessionsMax / 2) {
      this.openingBefore = this.opening;
      this.opening = new Map();
    }
    this.opening.set(key, now + limits.graftDelayRoundTrips * roundTrip(peer) + limits.haveIntervalMs);
    this.want(peer, { author: entry.author, session: entry.session, from: 0, to: OPEN_END });
  }

  // Wants.

  onWant(peer: Peer, entries: readonly WantEntry[]): void {
    for (const { author, session, from, to } of entries) {
      const stream = this.context.log.get(author, session);
      if (stream === undefined) continue;
      if (to === OPEN_END) stream.tree.feed(peer);
      if (from <= stream.head) peer.cursors.set(stream, { next: from, end: to });
    }
    this.pump(peer);
  }

  onPrune(peer: Peer, streams: readonly StreamKey[]): void {
    for (const { author, session } of streams) {
      const stream = this.context.log.get(author, session);
      if (stream !== undefined) this.cease(peer, stream);
    }
  }

  /** Sends what the cursors point at, one post per stream in turns, while the link has credit. */
  private pump(peer: Peer): void {
    // Whoever was served goes to the end, where this loop meets it again, and so does the next pump.
    for (const [stream, cursor] of peer.cursors) {
      if (!peer.hasRoom) return;
      if (!peer.mayPush(stream)) continue;
      peer.cursors.delete(stream);
      if (cursor.next > 0 && cursor.next < stream.floor) {
        cursor.next = stream.floor;
        this.context.send(peer, encode({ type: "have", scope: "news", entries: [stream] }));
      }
      const post = cursor.next <= cursor.end ? stream.get(cursor.next) : undefined;
      if (post === undefined) continue;
      if (!this.checks.mayHandOn(stream, post)) {
        peer.cursors.set(stream, cursor);
        continue;
      }
      const frame = encode({ type: "post", post });
      this.context.emit({ type: "send", links: [peer.link], frame });
      if (peer.onPosted(stream, frame.length)) this.context.ping(peer);
      peer.claims.raise(stream, cursor.next);
      cursor.next += 1;
      peer.cursors.set(stream, cursor);
    }
  }

  private armGraft(stream: Stream, delayMs: number): void {
    if (stream.graftArmed) return;
    stream.graftArmed = true;
    const { now, timers } = this.context;
    const isFedByNobody = stream.tree.parent === undefined && !stream.isPassedOver;
    timers.arm({ type: "graft", stream }, now + (isFedByNobody ? 0 : delayMs));
  }

  /** What should have come has not, or was let pass: ask somebody who has it. */
  onGraftTimer(stream: Stream): void {
    stream.graftArmed = false;
    if (this.context.log.get(stream.author, stream.session) !== stream) return;
    const { asked } = stream;
    stream.asked = undefined;
    // Whoever was asked and gave nothing has claimed what it does not have, or is too slow to wait for.
    if (asked?.head === stream.head) asked.peer.claims.clear(stream);
    const knowing = [...this.context.peers.values()].filter(peer => peer.claims.head(stream) > stream.head);
    if (knowing.length === 0) return;
    const able = knowing.filter(peer => peer.claims.floor(stream) <= stream.head + 1);
    stream.isGapFinal = able.length === 0;
    const author = stream.isGapFinal ? this.authorWithNext(stream) : undefined;
    // What its author pushes is on the way, or waits here for its turn.
    if (author !== undefined && asked?.head !== stream.head && !stream.tree.isPruned(author))
      return this.awaitNext(author, stream);
    const others = stream.isGapFinal ? knowing : able;
    const givers = author === undefined ? others : [author];
    const giver = nearest(givers);
    if (giver === undefined) return;
    if (stream.isPassedOver) this.askAgain(stream, givers);
    else this.ask(giver, stream);
  }

  /** Asks whoever may hand on so much for some of what was let pass; once that is all of it, for what follows, too. */
  private askAgain(stream: Stream, givers: readonly Peer[]): void {
    const { now } = this.context;
    const mayAsk = (peer: Peer) => this.isAtHand(peer, stream.author) || this.fairness.mayAsk(peer, now);
    const giver = nearest(givers.filter(mayAsk));
    if (giver === undefined) return this.armGraft(stream, jitter(this.context, limits.haveIntervalMs));
    const to = stream.head + limits.askAgainPosts;
    stream.isPassedOver = giver.claims.head(stream) > to;
    this.ask(giver, stream, stream.isPassedOver ? to : OPEN_END);
  }

  private ask(giver: Peer, stream: Stream, to = OPEN_END): void {
    this.graft(giver, stream, stream.head + 1, to);
    this.awaitNext(giver, stream);
  }

  /** Looks again, a while later, whether it has come. */
  private awaitNext(giver: Peer, stream: Stream): void {
    stream.asked = { peer: giver, head: stream.head };
    this.armGraft(stream, this.graftDelay(giver) + limits.haveIntervalMs);
  }

  /**
   * The stream has lost its feed: ask some neighbours that do not get it from us. One of them may be fed by us in a
   * roundabout way; several hardly are, and whoever brings the next post first stays.
   */
  private adopt(stream: Stream): void {
    const peers = [...this.context.peers.values()];
    const strangers = peers.filter(peer => !stream.tree.eager.includes(peer));
    const [giver, ...others] = sample(this.context, strangers.length > 0 ? strangers : peers, limits.adoptFanOut);
    if (giver !== undefined) this.graft(giver, stream);
    for (const other of others) this.tryFeed(other, stream);
  }

  private graft(giver: Peer, stream: Stream, from = stream.head + 1, to = OPEN_END): void {
    stream.tree.onGraft(giver);
    this.want(giver, { author: stream.author, session: stream.session, from, to });
  }

  /** Has `peer` feed us beside the parent: with the next post one of the two is pruned. */
  private tryFeed(peer: Peer, stream: Stream): void {
    stream.tree.onTrial(peer);
    this.want(peer, { author: stream.author, session: stream.session, from: stream.head + 1, to: OPEN_END });
  }

  private want(peer: Peer, entry: WantEntry): void {
    peer.wants.push(entry);
    this.requesting.add(peer);
  }

  private graftDelay(peer: Peer): number {
    return Math.max(limits.graftDelayMinMs, limits.graftDelayRoundTrips * roundTrip(peer));
  }

  // Sending.

  /** Sends the wants and prunes that this event has collected. */
  flush(): void {
    if (this.requesting.size === 0) return;
    for (const peer of this.requesting) for (const frame of peer.takeRequests()) this.context.send(peer, frame);
    this.requesting.clear();
  }
}

function roundTrip(peer: Peer): number {
  return peer.roundTripMs ?? limits.roundTripGuessMs;
}

function nearest(peers: readonly Peer[]): Peer | undefined {
  let best: Peer | undefined;
  for (const peer of peers) if (best === undefined || roundTrip(peer) < roundTrip(best)) best = peer;
  return best;
}

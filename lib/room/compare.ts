/**
 * How two nodes find out where they differ, without their whole lists: a hash of all that each offers, then of each
 * bucket of sessions, then the sessions of the buckets that differ.
 *
 * Whoever asks is told; whatever it was not told of, the other lacks, and hears of it. To answer is to go through the
 * whole log for a few bytes, so each peer is answered as often as a neighbour needs it, no oftener.
 */
import { encode, type HaveScope } from "../codec/message.ts";
import { limits } from "../limits.ts";
import { type Context, jitter, randomBelow, sendEntries } from "./context.ts";
import { ALL_BUCKETS, type BucketSet, isIn } from "./digest.ts";
import type { Stream } from "./log.ts";
import type { Peer } from "./peer.ts";

export class Compare {
  constructor(private readonly context: Context) {}

  /**
   * One of the two asks: its list shows the other what both lack. Who is coming in asks in any case: its own dial may have
   * crossed the other's, and been let go.
   */
  onUp(peer: Peer): void {
    if (peer.dialled || this.context.isJoining) this.ask(peer);
  }

  arm(): void {
    const { context } = this;
    context.timers.arm({ type: "compare" }, context.now + jitter(context, limits.compareIntervalMs));
  }

  /** All with one random neighbour, so that whatever went wrong before ends here. */
  onTimer(): void {
    const { log, wall, peers } = this.context;
    log.expire((wall - limits.logMaxAgeMs) * 1000);
    const peer = [...peers.values()][randomBelow(this.context, peers.size)];
    if (peer !== undefined) this.ask(peer);
    this.arm();
  }

  onCompare(peer: Peer, digest: Uint8Array): void {
    const { log, now } = this.context;
    if (!peer.mayCompare(now)) return;
    const same = log.digest.whole().equals(digest);
    if (same) this.context.send(peer, encode({ type: "have", scope: "same", entries: [] }));
    else if (log.sessions <= limits.wholeListSessions) sendEntries(this.context, peer, log.offered(), "last");
    else this.context.send(peer, encode({ type: "buckets", digests: log.digest.byBucket() }));
  }

  onBuckets(peer: Peer, digests: Uint8Array): void {
    // Once for each compare.
    if (peer.compared === undefined || peer.awaited === undefined) return;
    peer.compared = undefined;
    const buckets = this.context.log.digest.differing(digests);
    this.onEqual(peer, stream => !isIn(buckets, stream));
    if (buckets.some(bits => bits !== 0)) this.askForList(peer, buckets);
    else peer.awaited = undefined;
  }

  onList(peer: Peer, buckets: BucketSet): void {
    const { log, now } = this.context;
    if (!peer.mayCompare(now)) return;
    const within = log.offered().filter(stream => isIn(buckets, stream));
    sendEntries(this.context, peer, within, "last");
  }

  /** A `have` of the peer was read. */
  onHave(peer: Peer, scope: HaveScope): void {
    if (scope !== "last" && scope !== "same") return;
    const { log } = this.context;
    const { awaited } = peer;
    peer.awaited = undefined;
    // A whole list that nobody asked for is news, and needs no answer.
    if (awaited === undefined) return;
    if (scope === "same") {
      // Unless something has come since we asked.
      if (peer.compared?.equals(log.digest.whole())) this.onEqual(peer, () => true);
      return;
    }
    const isLacking = (stream: Stream) => peer.claims.head(stream) < stream.head && isIn(awaited, stream);
    sendEntries(this.context, peer, log.offered().filter(isLacking), "news");
  }

  private ask(peer: Peer): void {
    // Whoever has just come lacks nearly everything.
    if (this.context.isJoining) return this.askForList(peer, ALL_BUCKETS);
    peer.awaited = ALL_BUCKETS;
    peer.compared = this.context.log.digest.whole();
    this.context.send(peer, encode({ type: "compare", digest: peer.compared }));
  }

  private askForList(peer: Peer, buckets: BucketSet): void {
    peer.awaited = buckets;
    this.context.send(peer, encode({ type: "list", buckets }));
  }

  /** The peer holds what we hold of these: nothing of it is news to it. */
  private onEqual(peer: Peer, has: (stream: Stream) => boolean): void {
    for (const stream of this.context.log.offered()) if (has(stream)) peer.claims.raise(stream, stream.head);
  }
}

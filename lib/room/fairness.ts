/**
 * Of the posts that a peer hands on for others, which are taken: nobody gets more of this node's time through the hands of
 * others than by a link of its own, however many members it makes up.
 *
 * A link can be slowed down (net/turns.ts), but then all that comes by it waits, and who hands on must not pay for what it was
 * told. So each peer has an allowance for what it hands on. Where it has none left, and others talk, it is heard of those who
 * have said little; the posts of all others are let pass and asked for again, a few at a time and perhaps of another peer.
 */
import { Allowances, Conversation, costOfPost, isTalk } from "../allowances.ts";
import { Buckets } from "../bucket.ts";
import type { MemberId, Post } from "../codec/post.ts";
import { limits } from "../limits.ts";
import type { Peer } from "./peer.ts";

/** All times are in ms, by one clock. */
export class Fairness {
  private readonly relays = new Allowances<Peer>(limits.relayedStartMs, limits.relayedMaxMs);
  /** What each author may say in any case; who has said nothing lately is not in it. */
  private readonly quiet = new Buckets<MemberId>(limits.quietPerSecondMs, limits.quietMaxMs, limits.allowancesMax);
  private readonly conversation = new Conversation();

  /** A post was taken, whoever brought it. */
  heard(post: Post, now: number): void {
    if (isTalk(post)) this.conversation.heard(post.author, now);
  }

  /** Whether `peer` may open one more session, of `author`. */
  mayOpen(peer: Peer, author: MemberId, now: number): boolean {
    return !this.relays.isInDebt(peer, now) || !this.conversation.isAmongOthers(author, now);
  }

  /** Whether one more post of `author` is taken from `peer`, who hands it on. */
  mayHear(peer: Peer, author: MemberId, now: number): boolean {
    if (!this.relays.isInDebt(peer, now) || !this.conversation.isAmongOthers(author, now)) return true;
    return this.relays.level(peer, now) > -limits.quietDebtMs && this.quiet.level(author, now) > 0;
  }

  /** Whether `peer` may be asked for posts that were let pass. */
  mayAsk(peer: Peer, now: number): boolean {
    return this.relays.level(peer, now) >= limits.askAgainMs;
  }

  /** `peer` has handed on a post, which is checked, and most likely taken. */
  charge(peer: Peer, { author, kind, seq, size }: Post, now: number): void {
    const costUs = costOfPost(kind, size);
    this.relays.charge(peer, seq === 0 ? costUs + limits.openingCostUs : costUs, now);
    this.quiet.of(author, now).spend(costUs / 1_000);
  }

  onUp(peer: Peer, now: number): void {
    this.relays.begin(peer, now);
  }

  onDown(peer: Peer, now: number): void {
    this.relays.end(peer, now);
  }
}

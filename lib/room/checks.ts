/**
 * Whether posts are genuine, and those few that wait to be checked together.
 *
 * Of posts in a row of which each bears the imprint of the one before, one signature is checked, that of the last (PROTOCOL.md,
 * "Posts"). Invariants: nothing is handed on before its own signature was checked; nothing is kept before it is known to be
 * genuine, but what its author itself says to us where nothing is stored. That is told at once and checked when nobody waits for
 * anything else (`checkWithinMs`); what is not told yet is checked with the next event that is not one more of it.
 */
import { isSaid, Post, PostKind, type Proof } from "../codec/post.ts";
import { PeerError } from "../errors.ts";
import { limits } from "../limits.ts";
import type { Context } from "./context.ts";
import type { Stream } from "./log.ts";
import { introductionOf } from "./members.ts";
import type { Peer } from "./peer.ts";

/** A post that is the next of its stream and not checked yet. */
interface Waiting {
  readonly peer: Peer;
  readonly stream: Stream;
  /** Only the proof of one that is in the log already, and told. */
  readonly post: Post | Proof;
  /** If it is genuine, so is the one before it, which waits as well. */
  readonly isVouching: boolean;
}

/** What a check has found. Not `isSigned`: a later post vouches for it. */
interface Checked {
  readonly fault: PeerError | undefined;
  readonly isSigned: boolean;
}

export interface CheckHandlers {
  /** To be told ahead of its check, and `checked` when that is done: it may be handed on. */
  told(peer: Peer, stream: Stream, post: Post): void;
  checked(peer: Peer, stream: Stream, seq: number): void;
  /** Genuine, and not told yet. */
  genuine(peer: Peer, stream: Stream, post: Post, isSigned: boolean): void;
}

export class Checks {
  /** In the order in which they came. */
  private readonly waiting: Waiting[] = [];

  constructor(
    private readonly context: Context,
    private readonly handlers: CheckHandlers,
  ) {}

  /** No post that came in is looked at any more. */
  get isSettled(): boolean {
    return this.waiting.every(isTold);
  }

  /**
   * Takes a post that may be checked a moment later, together with those that come behind it (`more`). Returns whether it was
   * such a post.
   */
  take(peer: Peer, stream: Stream, post: Post, more: boolean): boolean {
    if (stream.aheadBytes > 0) return false;
    const last = this.waiting.findLast(waiting => waiting.stream === stream);
    // Whoever sent what comes behind must not be blamed for what another sent before.
    if (last !== undefined && last.peer !== peer) return false;
    const isBehindUntold = last !== undefined && !isTold(last);
    const head = isBehindUntold ? last.post.seq : stream.head;
    if (post.seq !== head + 1) return false;
    const mayTell = !isBehindUntold && this.mayTell(peer, stream, post);
    // A lone one is checked at once.
    if (!mayTell && !more && this.waiting.length === 0) return false;
    const isVouching = last !== undefined && post.vouchesFor(last.post);
    if (!this.hasRoom(isVouching)) return false;
    peer.claims.raise(stream, post.seq);
    if (mayTell) this.handlers.told(peer, stream, post);
    const { timers, now } = this.context;
    const isFirst = mayTell ? this.waiting.length === 0 : this.isSettled;
    if (isFirst) timers.arm({ type: "check" }, now + (mayTell ? limits.checkWithinMs : 0));
    this.waiting.push({ peer, stream, post: mayTell ? post.proof : post, isVouching });
    if (!mayTell && !more) this.settle();
    return true;
  }

  /** Checks what waits; without `toldToo` only if some of it is still to be told. */
  settle(toldToo = true): void {
    if (toldToo ? this.waiting.length === 0 : this.isSettled) return;
    const waiting = this.waiting.splice(0);
    const found = this.checkTogether(waiting);
    for (const [index, { peer, stream, post }] of waiting.entries()) {
      const { fault, isSigned } = found[index] as Checked;
      const untold = post instanceof Post ? post : undefined;
      if (untold !== undefined && this.context.peers.get(peer.link) !== peer) continue;
      if (fault !== undefined) {
        if (untold === undefined) this.context.log.dropAll(stream);
        this.context.drop(peer, fault);
      } else if (untold === undefined) {
        // One that fails takes along those that were told before and behind it.
        if (stream.floor > post.seq) continue;
        if (isSigned) stream.noteSigned(post.seq);
        this.handlers.checked(peer, stream, post.seq);
      } else if (post.seq === stream.head + 1) this.handlers.genuine(peer, stream, untold, isSigned);
    }
  }

  /** What is wrong with a post; whoever hands one on has checked it, so it is that peer's fault. */
  faultOf(stream: Stream, post: Post | Proof): PeerError | undefined {
    if (!this.context.config.verify(stream.publicKey, post)) return new PeerError("bad_signature", "a forged post");
    return contentFaultOf(stream, post);
  }

  /**
   * Whether a post may be handed on: whoever gets it may get nothing that vouches for it, and will check its own signature. Where
   * an author has signed a later one and not this one, nobody gets it from us.
   */
  mayHandOn(stream: Stream, post: Post): boolean {
    if (stream.isSigned(post.seq)) return true;
    if (!this.context.config.verify(stream.publicKey, post)) {
      this.context.log.dropAll(stream, post.seq);
      return false;
    }
    stream.noteSigned(post.seq);
    return true;
  }

  /**
   * Whether a post may be told before it is checked: it came from its author itself, so the link has proved who said it, and
   * nobody waits for us to hand it on.
   */
  private mayTell(peer: Peer, stream: Stream, post: Post): boolean {
    if (!this.context.config.isVolatile || peer.info.member !== post.author || !isSaid(post)) return false;
    // An id finds an entry in a table and proves nothing.
    if (Buffer.compare(peer.info.publicKey, stream.publicKey) !== 0) return false;
    return stream.tree.eager.every(other => other === peer);
  }

  /** What waits takes so many checks at most, whatever somebody makes up. */
  private hasRoom(isVouching: boolean): boolean {
    if (this.waiting.length >= limits.uncheckedMaxPosts) return false;
    return isVouching || this.waiting.filter(waiting => !waiting.isVouching).length < limits.uncheckedMaxRows;
  }

  /** From the last to the first: one for which a genuine one vouches is genuine. */
  private checkTogether(waiting: readonly Waiting[]): Checked[] {
    const found: Checked[] = [];
    const behind = new Map<Stream, Checked & { readonly isVouching: boolean }>();
    for (const { stream, post, isVouching } of waiting.toReversed()) {
      const next = behind.get(stream);
      let checked: Checked;
      // Who hands on a forged one is not heard any more, so what came before it is not worth a check.
      if (next?.fault !== undefined) checked = { fault: next.fault, isSigned: false };
      else if (next?.isVouching === true) checked = { fault: contentFaultOf(stream, post), isSigned: false };
      else checked = { fault: this.faultOf(stream, post), isSigned: true };
      found.unshift(checked);
      behind.set(stream, { ...checked, isVouching });
    }
    return found;
  }
}

function isTold({ post }: Waiting): boolean {
  return !(post instanceof Post);
}

/** What was told ahead is something said, whatever it says. */
function contentFaultOf(stream: Stream, post: Post | Proof): PeerError | undefined {
  if (!(post instanceof Post) || post.kind !== PostKind.add) return undefined;
  const introduction = introductionOf(post);
  const isRight = introduction !== undefined && Buffer.compare(stream.publicKey, introduction.publicKey) === 0;
  return isRight ? undefined : new PeerError("malformed", "an add with another key");
}

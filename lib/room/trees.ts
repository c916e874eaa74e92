/**
 * How the posts of one stream spread: which links get them at once (eager), and which only hear of them (lazy).
 *
 * Plumtree (Leitão et al., "Epidemic Broadcast Trees", 2007) with one tree per author instead of one for all, since a
 * shared tree thrashes when several people talk. Invariant: a node never prunes the last link that feeds it, so a
 * `prune` and a change of parent that cross on the wire leave no hole that waits for a digest.
 */
import type { MemberId } from "../codec/post.ts";
import type { Peer } from "./peer.ts";

const PRUNE_AGAIN_POSTS = 8;
const TRIAL_POSTS_MIN = 64;
/** Most trees of a large room end where a node stands; they share one list. */
const NOBODY: readonly Peer[] = [];

export class Tree {
  /** They get every new post from us at once: a list, since each tree has few links, and made anew at each change. */
  eager: readonly Peer[] = NOBODY;
  /** We have asked them not to send this stream, and so many posts came all the same. */
  private pruned: Map<Peer, number> | undefined;
  /** Who gave us the newest post first. */
  parent: Peer | undefined;

  /** Posts received since the feed was last in doubt. */
  private received = 0;
  /** A text has shown which ways are short. */
  isProven = false;

  /** A tree for a new author that enters where `like` does: the mesh below is the same, so its tree is too. */
  startLike(like: Tree, except: Peer): void {
    this.eager = like.eager.includes(except) ? without(like.eager, except) : like.eager;
  }

  /** `peer` gets every new post from us. */
  feed(peer: Peer): void {
    if (!this.eager.includes(peer)) this.eager = [...this.eager, peer];
  }

  /** `peer` only hears of them. */
  starve(peer: Peer): void {
    if (this.eager.includes(peer)) this.eager = without(this.eager, peer);
  }

  /**
   * A new post came from `peer` first. Returns whether it is time to try another feed beside it: after 64, 128, 256 …
   * posts, so that a tree follows the network and costs next to nothing.
   */
  onFirst(peer: Peer): boolean {
    this.parent = peer;
    this.received += 1;
    return this.received >= TRIAL_POSTS_MIN && (this.received & (this.received - 1)) === 0;
  }

  /**
   * A post that we had already came again from `peer`. Returns the peer to prune, if any.
   * The author's own link is kept before all others: one hop is the shortest way there is.
   */
  onDuplicate(peer: Peer, author: MemberId): Peer | undefined {
    const { parent } = this;
    if (parent === undefined || parent === peer) return undefined;
    // The parent was pruned while its posts were still under way: it will fall silent, so `peer` must go on.
    const keepsPeer = this.isPruned(parent) || (peer.info.member === author && parent.info.member !== author);
    if (keepsPeer) this.onGraft(peer);
    const drop = keepsPeer ? parent : peer;
    return this.onUnwanted(drop) ? drop : undefined;
  }

  /** A post came from `peer` that we do not want from it. Returns whether to prune it. */
  onUnwanted(peer: Peer): boolean {
    this.pruned ??= new Map();
    const posts = this.pruned.get(peer) ?? 0;
    this.pruned.set(peer, posts + 1);
    // A few may have been under way; if they do not end, the prune was lost on a peer that changed its mind.
    return posts % PRUNE_AGAIN_POSTS === 0;
  }

  isPruned(peer: Peer): boolean {
    return this.pruned?.has(peer) === true;
  }

  /** We have asked `peer` not to send this stream. */
  onPruned(peer: Peer): void {
    this.pruned ??= new Map();
    if (!this.pruned.has(peer)) this.pruned.set(peer, 1);
  }

  /** We ask `peer` to feed us this stream. */
  onGraft(peer: Peer): void {
    this.pruned?.delete(peer);
    this.parent = peer;
    this.received = 0;
  }

  /** We ask `peer` to feed us beside the parent: whoever of the two is first with the next post stays. */
  onTrial(peer: Peer): void {
    this.pruned?.delete(peer);
  }

  /** The link is gone. Returns whether the stream has lost its feed. */
  onDown(peer: Peer): boolean {
    this.starve(peer);
    this.pruned?.delete(peer);
    if (this.parent !== peer) return false;
    this.parent = undefined;
    return true;
  }
}

function without(peers: readonly Peer[], peer: Peer): readonly Peer[] {
  return peers.length === 1 ? NOBODY : peers.filter(other => other !== peer);
}

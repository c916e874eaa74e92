/**
 * How the posts of one stream spread: which links get them at once (eager), and which only hear of them (lazy).
 *
 * Plumtree (Leitão et al., "Epidemic Broadcast Trees", 2007) with one tree per author instead of one for all, since a
 * shared tree thrashes when several people talk. Invariant: a node never prunes the last link that feeds it, so a
 * `prune` and a change of parent that cross on the wire leave no hole that waits for a digest.
 */
import type { MemberId } from "../codec/post.ts";
import type { Peer } from "./peer.ts";

export class Tree {
  /** They get every new post from us at once. */
  readonly eager = new Set<Peer>();
  /** We have asked them not to send this stream. */
  readonly pruned = new Set<Peer>();
  /** Who gave us the newest post first. */
  parent: Peer | undefined;

  /** A tree for a new author that enters where `like` does: the mesh below is the same, so its tree is too. */
  startLike(like: Tree, except: Peer): void {
    for (const peer of like.eager) if (peer !== except) this.eager.add(peer);
    for (const peer of like.pruned) if (peer !== except) this.pruned.add(peer);
  }

  /** A new post came from `peer` first. */
  onFirst(peer: Peer): void {
    this.parent = peer;
  }

  /**
   * A post that we had already came again from `peer`. Returns the peer to prune, if any.
   * The author's own link is kept before all others: one hop is the shortest way there is.
   */
  onDuplicate(peer: Peer, author: MemberId): Peer | undefined {
    const { parent } = this;
    if (parent === undefined || parent === peer) return undefined;
    // The parent was pruned while its posts were still under way: it will fall silent, so `peer` must go on.
    const keepPeer = this.pruned.has(parent) || (peer.info.member === author && parent.info.member !== author);
    const drop = keepPeer ? parent : peer;
    if (keepPeer) this.onGraft(peer);
    if (this.pruned.has(drop)) return undefined;
    this.pruned.add(drop);
    return drop;
  }

  /** We ask `peer` to feed us this stream. */
  onGraft(peer: Peer): void {
    this.pruned.delete(peer);
    this.parent = peer;
  }

  /** The link is gone. Returns whether the stream has lost its feed. */
  onDown(peer: Peer): boolean {
    this.eager.delete(peer);
    this.pruned.delete(peer);
    if (this.parent !== peer) return false;
    this.parent = undefined;
    return true;
  }
}

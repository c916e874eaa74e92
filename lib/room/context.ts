/**
 * What the parts of the core share: the time of the event at hand, the log, the links, and the way out for effects.
 */
import { encode, type HaveEntry, type LinkId } from "../codec/message.ts";
import type { Address, MemberId, Post, Proof, RoomId } from "../codec/post.ts";
import type { PeerError } from "../errors.ts";
import type { Identity } from "../identity.ts";
import { limits } from "../limits.ts";
import type { Clock } from "./clock.ts";
import type { Effect, News } from "./event.ts";
import type { Log, Stream } from "./log.ts";
import type { Peer } from "./peer.ts";
import type { Timers } from "./timers.ts";

/** All that a node is given from outside; randomness and signatures among it, so that a run can be repeated. */
export interface RoomConfig {
  readonly room: RoomId;
  readonly identity: Pick<Identity, "member" | "publicKey" | "sealKey" | "sign">;
  /** Whether the holder of the key has signed the post, for this room. */
  readonly verify: (publicKey: Uint8Array, post: Proof) => boolean;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  /** Start of this run, ms; larger than that of any run before. */
  readonly session: number;
  readonly name: string;
  readonly hosts: readonly string[];
  readonly port: number;
  /** Nothing is stored: no post is to be persisted, and what an author said to us itself may be told before its signature is checked. */
  readonly isVolatile: boolean;
  /** The address by which this node came into the room. */
  readonly entry: Address | undefined;
}

export interface Context {
  readonly config: RoomConfig;
  readonly timers: Timers;
  readonly clock: Clock;
  readonly log: Log;
  /** Links that are up. */
  readonly peers: Map<LinkId, Peer>;
  /** The same, by member: one link each. */
  readonly linked: Map<MemberId, Peer>;
  /** Monotonic, ms: for timers. */
  now: number;
  /** Wall clock, ms since the epoch: for post clocks. */
  wall: number;
  /** Our own session's stream. */
  readonly self: Stream;
  /** Whether the room is small enough for everybody to be linked to everybody. */
  readonly isFullMesh: boolean;
  /** Whether the first comparison with the room is still to end. */
  readonly isJoining: boolean;
  emit(effect: Effect): void;
  tell(news: News): void;
  /** Counts against the credit of the link. */
  send(peer: Peer, frame: Buffer): void;
  /** Signs and spreads a post of our own. */
  publish(kind: number, body: Uint8Array): Post;
  /** Asks whether the peer is there, and how far it has got. */
  ping(peer: Peer): void;
  /** The peer is at fault: its link ends here. */
  drop(peer: Peer, fault: PeerError): void;
}

/** Tells the peer of these, in as many frames as it takes; "last" where it has asked for them. */
export function sendEntries(context: Context, peer: Peer, entries: readonly HaveEntry[], scope: "news" | "last"): void {
  if (entries.length === 0 && scope === "news") return;
  let start = 0;
  do {
    const slice = entries.slice(start, start + limits.digestEntriesMax);
    start += slice.length;
    const isLast = start >= entries.length;
    context.send(peer, encode({ type: "have", scope: scope === "last" && !isLast ? "part" : scope, entries: slice }));
  } while (start < entries.length);
}

/** A random whole number below `bound`. */
export function randomBelow(context: Context, bound: number): number {
  return Math.floor(context.config.random() * bound);
}

/** `ms` give or take half of it, so that nodes do not act in step. */
export function jitter(context: Context, ms: number): number {
  return ms * (0.5 + context.config.random());
}

/** Up to `count` different ones at random (Floyd's algorithm: the rest of a long list is not touched). */
export function sample<T>(context: Context, list: readonly T[], count: number): T[] {
  const chosen = new Set<number>();
  for (let last = Math.max(0, list.length - count); last < list.length; last += 1) {
    const index = randomBelow(context, last + 1);
    chosen.add(chosen.has(index) ? last : index);
  }
  return Array.from(chosen, index => list[index] as T);
}

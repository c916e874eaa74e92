/**
 * What goes into the core and what comes out: plain values, no behaviour.
 *
 * `RoomNode.handle(event, now)` takes one `RoomEvent` and returns the `Effect`s to perform, in order. The outside
 * (chat.ts on sockets, test/sim on a virtual clock) performs them; the core never does.
 */
import type { ByeReason, LinkId, Message, PeerInfo, RefusalInfo } from "../codec/message.ts";
import type { Address, MemberId, Post } from "../codec/post.ts";
import type { PeerError } from "../errors.ts";

export type RoomEvent =
  /** The first event, once: posts of this room from the store (not checked again), and whether others are there. */
  | { readonly type: "start"; readonly restored: readonly Post[]; readonly joining: boolean }
  /** A dialler has proved who it is and asks to be let in. Answered with `admit` or `refuse`. */
  | { readonly type: "knock"; readonly link: LinkId; readonly peer: PeerInfo }
  /** Both ends are proved and let in: messages may flow. */
  | { readonly type: "up"; readonly link: LinkId; readonly peer: PeerInfo; readonly dialled: boolean }
  /** The link is gone, whoever ended it. */
  | { readonly type: "down"; readonly link: LinkId }
  /** `more`: another one of this link follows at once. */
  | { readonly type: "message"; readonly link: LinkId; readonly message: Message; readonly more?: boolean }
  /** What was sent on this link has left for the kernel: there is room again. */
  | { readonly type: "drained"; readonly link: LinkId }
  | { readonly type: "dialFailed"; readonly link: LinkId; readonly refusal?: RefusalInfo }
  /** The time in `RoomNode.wakeAt` has come. Early or late ones do no harm. */
  | { readonly type: "tick" }
  | { readonly type: "say"; readonly texts: readonly string[] }
  /** A post of ours of another kind; the core does not look into it. */
  | { readonly type: "publish"; readonly kind: number; readonly body: Uint8Array }
  /** Somebody wants to see who has what we said: ask, by a ping behind it on each link. */
  | { readonly type: "confirm" }
  | { readonly type: "rename"; readonly name: string }
  | { readonly type: "leave" };

export type Effect =
  | { readonly type: "send"; readonly links: readonly LinkId[]; readonly frame: Buffer }
  | { readonly type: "admit"; readonly link: LinkId }
  | { readonly type: "refuse"; readonly link: LinkId; readonly refusal: RefusalInfo }
  /** Flush, then close. */
  | { readonly type: "close"; readonly link: LinkId; readonly reason: ByeReason }
  /** Try these addresses in order; `expect` says who must answer, if that matters. */
  | {
      readonly type: "dial";
      readonly link: LinkId;
      readonly addresses: readonly Address[];
      readonly expect: MemberId | undefined;
    }
  /** The peer of this link was at fault; for the log of a developer, and to be counted. */
  | { readonly type: "blame"; readonly link: LinkId; readonly fault: PeerError }
  | { readonly type: "persist"; readonly post: Post }
  | { readonly type: "tell"; readonly news: News };

/** What the user is to know. Names are resolved when it is shown. */
export type News =
  | { readonly type: "joined"; readonly member: MemberId; readonly present: boolean }
  | { readonly type: "left"; readonly member: MemberId; readonly name: string; readonly reason: "quit" | "lost" }
  | { readonly type: "renamed"; readonly member: MemberId; readonly from: string; readonly to: string }
  | { readonly type: "said"; readonly post: Post; readonly history: boolean }
  /** A peer has answered a ping that was sent behind posts of ours (see `RoomNode.confirmedBy`). */
  | { readonly type: "confirmed" }
  /** Every link is gone though members are there; and: there is one again. */
  | { readonly type: "isolated" }
  | { readonly type: "linked" }
  /** The author signed two different posts with one number. */
  | { readonly type: "equivocated"; readonly member: MemberId }
  /** Some of what it said did not come, and nobody here has it any more. Once for a session. */
  | { readonly type: "missed"; readonly member: MemberId }
  /** The first comparison with the room is over. Not `complete`: nobody has told us what there is. */
  | { readonly type: "synced"; readonly complete: boolean }
  /** The same key runs a newer session elsewhere: this one is over. */
  | { readonly type: "replaced" }
  /** Goodbye is said everywhere. */
  | { readonly type: "ended" };

/**
 * Timers as values on a binary heap. There is no way to cancel one: whoever handles it looks whether it still means
 * something, and a stale timer is a no-op.
 */
import type { LinkId } from "../codec/message.ts";
import type { MemberId } from "../codec/post.ts";
import { Heap } from "./heap.ts";
import type { Stream } from "./log.ts";

export type Timer =
  | { readonly type: "link"; readonly link: LinkId }
  | { readonly type: "have" }
  | { readonly type: "compare" }
  | { readonly type: "check" }
  | { readonly type: "graft"; readonly stream: Stream }
  | { readonly type: "flood"; readonly stream: Stream }
  | { readonly type: "mesh" }
  | { readonly type: "suspect"; readonly member: MemberId }
  | { readonly type: "refute" }
  | { readonly type: "sync" }
  | { readonly type: "leave" };

interface Entry {
  readonly at: number;
  readonly timer: Timer;
}

export class Timers {
  private readonly heap = new Heap<Entry>((one, other) => one.at < other.at);

  arm(timer: Timer, at: number): void {
    this.heap.push({ at, timer });
  }

  /** When the next one is due; infinity where there is none. */
  get nextAt(): number {
    return this.heap.first?.at ?? Number.POSITIVE_INFINITY;
  }

  /** Takes the next timer that is due. */
  due(now: number): Timer | undefined {
    return this.nextAt <= now ? this.heap.pop()?.timer : undefined;
  }
}

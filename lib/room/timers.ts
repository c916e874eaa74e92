/**
 * Timers as values on a binary heap. There is no way to cancel one: whoever handles it looks whether it still means
 * something, and a stale timer is a no-op.
 */
import type { LinkId } from "../codec/message.ts";
import type { MemberId } from "../codec/post.ts";
import type { Stream } from "./log.ts";

export type Timer =
  | { readonly type: "link"; readonly link: LinkId }
  | { readonly type: "have" }
  | { readonly type: "compare" }
  | { readonly type: "graft"; readonly stream: Stream }
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
  private readonly heap: Entry[] = [];

  arm(timer: Timer, at: number): void {
    const { heap } = this;
    const entry = { at, timer };
    let index = heap.length;
    heap.push(entry);
    for (let parent = (index - 1) >> 1; index > 0; parent = (index - 1) >> 1) {
      const above = heap[parent];
      if (above === undefined || above.at <= at) break;
      heap[index] = above;
      index = parent;
    }
    heap[index] = entry;
  }

  /** When the next one is due; infinity where there is none. */
  get nextAt(): number {
    return this.heap[0]?.at ?? Number.POSITIVE_INFINITY;
  }

  /** Takes the next timer that is due. */
  due(now: number): Timer | undefined {
    const { heap } = this;
    const first = heap[0];
    if (first === undefined || first.at > now) return undefined;
    const last = heap.pop();
    if (last !== undefined && heap.length > 0) this.sink(last);
    return first.timer;
  }

  private sink(entry: Entry): void {
    const { heap } = this;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      const left = heap[child];
      if (left === undefined) break;
      const right = heap[child + 1];
      const least = right !== undefined && right.at < left.at ? right : left;
      if (least === right) child += 1;
      if (least.at >= entry.at) break;
      heap[index] = least;
      index = child;
    }
    heap[index] = entry;
  }
}

/**
 * Turns: what a peer sends faster than it can be handled waits, and nobody else waits behind it.
 *
 * A link handles what comes in at once for as long as its slice; the rest is put aside, its socket is read no further, and
 * it takes turns with all others that are behind, between which the event loop serves everybody else. So a flood gets what
 * time is left over, its sender feels it in its own full buffers, and a friend's line waits for a turn or two. While nobody
 * else talks nobody is slowed down: an honest torrent runs as fast as ever.
 *
 * Every link has an allowance of time, a token bucket; of those that are behind, whoever has most of it left goes first, so
 * an honest neighbour that hands on what many say does not wait for those who fill its hands. Where nobody else says
 * anything, or only those who have overdrawn theirs, it may be overdrawn as long as one likes: scripts that pour do so at full
 * speed, one or many, until somebody talks. Else whoever has none left gets what the bucket gains, and not all the
 * time there is: what it says is handed on, and costs every node of the room as much as this one. A script that is slowed
 * down so says more in a post, and hardly less in a second; a flood of small things becomes a trickle. Already
 * when half of its allowance is gone its turns are followed by a rest. (By deficit round robin over measured time, as it was,
 * a link whose slice met a pause of 18 ms paid for it with 17 turns.)
 */
import { Allowances, Conversation } from "../allowances.ts";
import type { MemberId } from "../codec/post.ts";
import { limits } from "../limits.ts";

/** Whoever takes turns. Everything here is by `performance.now()`. */
export interface Worker {
  /** Who is at the other end. */
  readonly peer: MemberId | undefined;
  /** Works until then, or until it has nothing left to do; returns whether something is left. */
  work(until: number): boolean;
}

export class Turns {
  /** Those that are behind; whoever was served last is last. */
  private readonly waiting = new Set<Worker>();
  private readonly allowances = new Allowances<Worker>(limits.allowanceStartMs, limits.allowanceMaxMs);
  private readonly conversation = new Conversation();
  private hurryUntil = Number.NEGATIVE_INFINITY;
  private restUntil = Number.NEGATIVE_INFINITY;
  private isHeld = () => false;
  private isDue = false;
  private timer: ReturnType<typeof setTimeout> | undefined;

  /** Gives `worker` turns until it has nothing left to do. */
  add(worker: Worker): void {
    this.waiting.add(worker);
    this.schedule();
  }

  isBehind(worker: Worker): boolean {
    return this.waiting.has(worker);
  }

  /** Whether one that is behind may keep so many bytes waiting here. */
  mayHold(bytes: number): boolean {
    return bytes <= Math.max(limits.heldPerLinkBytes, limits.heldMaxBytes / this.waiting.size);
  }

  /** It is up, and has an allowance from now on: of many that come at once each has little. */
  begin(worker: Worker, now: number): void {
    this.allowances.begin(worker, now);
  }

  remove(worker: Worker, now: number): void {
    this.waiting.delete(worker);
    this.allowances.end(worker, now);
  }

  /** What comes before then was asked for: nobody is slowed down. */
  hurry(until: number): void {
    this.hurryUntil = until;
  }

  /** As long as this holds nobody is heard, but who is still to be let in: what we are told is not taken from us. */
  holdWhile(isHeld: () => boolean): void {
    this.isHeld = isHeld;
  }

  /** Talk by `author` came in, and was charged. For who is in debt itself nobody else is slowed down. */
  said(author: MemberId, now: number): void {
    if (!this.allowances.isAnyInDebt(({ peer }) => peer === author, now)) this.conversation.heard(author, now);
  }

  /** What `worker` has used, in µs. */
  charge(worker: Worker, costUs: number, now: number): void {
    this.allowances.charge(worker, costUs, now);
  }

  /** Whether nobody is heard, or others talk and `worker` is in debt, or has little left and it is a time of rest. */
  mustWait(worker: Worker, now: number): boolean {
    if (worker.peer !== undefined && this.isHeld()) return true;
    if (!this.isLavish(worker, now)) return false;
    return now < this.restUntil || this.allowances.isInDebt(worker, now);
  }

  /** It has used up half of what it may ask for, while others talk and nobody asked for it. */
  private isLavish(worker: Worker, now: number): boolean {
    if (now < this.hurryUntil || this.allowances.level(worker, now) > limits.allowanceMaxMs / 2) return false;
    return this.conversation.isAmongOthers(worker.peer, now);
  }

  private schedule(): void {
    clearTimeout(this.timer);
    if (this.isDue || this.waiting.size === 0) return;
    const now = performance.now();
    if ([...this.waiting].every(worker => this.mustWait(worker, now))) {
      this.timer = setTimeout(() => this.run(), limits.restMs);
      return;
    }
    this.isDue = true;
    setImmediate(() => this.run());
  }

  private run(): void {
    this.isDue = false;
    const began = performance.now();
    const end = began + limits.turnMs;
    const able = [...this.waiting].filter(worker => !this.mustWait(worker, began));
    able.sort((a, b) => this.allowances.level(b, began) - this.allowances.level(a, began));
    for (const worker of able) {
      const now = performance.now();
      if (now >= end) break;
      this.waiting.delete(worker);
      if (worker.work(end)) this.waiting.add(worker);
      if (this.isLavish(worker, now)) this.restUntil = performance.now() + limits.restMs;
    }
    this.schedule();
  }
}

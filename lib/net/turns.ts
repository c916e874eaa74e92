/**
 * Turns: what a peer sends faster than it can be handled waits, and nobody else waits behind it.
 *
 * A link handles what comes in at once for as long as its slice; the rest is put aside, its socket is read no further, and
 * it takes turns with all others that are behind, a slice each, between which the event loop serves everybody else. So a
 * flood gets what time is left over, its sender feels it in its own full buffers, and a friend's line waits for a few
 * slices at most. Nobody is slowed down while there is time: an honest torrent runs as fast as ever.
 *
 * Every link has an allowance of time, a token bucket; of those that are behind, whoever has most of it left goes first, so
 * an honest neighbour that hands on what many say does not wait for those who fill its hands. Where nobody else says
 * anything it may be overdrawn as long as one likes. Else whoever has none left gets what the bucket gains, and not all the
 * time there is: what it says is handed on, and costs every node of the room as much as this one. A script that is slowed
 * down so says more in a post, and hardly less in a second; a flood of small things becomes a trickle. What a message costs
 * is reckoned, not measured: on a busy machine everything takes long, and nobody here is to blame. (By deficit round robin
 * over measured time, as it was, a link whose slice met a pause of 18 ms paid for it with 17 turns.)
 */
import { Bucket } from "../bucket.ts";
import type { MemberId } from "../codec/post.ts";
import { limits } from "../limits.ts";

/** Whoever takes turns. Everything here is by `performance.now()`. */
export interface Worker {
  /** Who is at the other end. */
  readonly peer: MemberId | undefined;
  /** Of work that it may ask for, in ms. */
  readonly allowance: Bucket;
  /** Works until then, or until it has nothing left to do; returns whether something is left. */
  work(until: number): boolean;
}

export function allowanceOf(ms: number, now: number): Bucket {
  return new Bucket(limits.allowancePerSecondMs, limits.allowanceMaxMs, ms, now);
}

export class Turns {
  /** Those that are behind; whoever was served last is last. */
  private readonly waiting = new Set<Worker>();
  /** All that have handed us a post, by whom the newest was, and when; and when the newest came by anybody else. */
  private readonly speakers = new Map<Worker, { author: MemberId; at: number; othersAt: number }>();
  /** Those that have spent more time than they had and not gained it back. */
  private readonly debtors = new Set<Worker>();
  /** What newcomers begin with comes out of this. */
  private readonly pot = allowanceOf(limits.allowanceMaxMs, 0);
  private hurryUntil = Number.NEGATIVE_INFINITY;
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

  /** What it owes is taken from those who come next, or to come again would be cheaper than to wait. */
  remove(worker: Worker, now: number): void {
    if (this.debtors.has(worker)) this.pot.spend(Math.max(0, -worker.allowance.level(now)));
    this.waiting.delete(worker);
    this.speakers.delete(worker);
    this.debtors.delete(worker);
  }

  /** What a link that is up begins with: many that come at once have little each. */
  newcomer(now: number): Bucket {
    const ms = Math.max(0, Math.min(limits.allowanceStartMs, this.pot.level(now) / 2));
    this.pot.spend(ms);
    return allowanceOf(ms, now);
  }

  /** What comes before then was asked for: nobody is slowed down. */
  hurry(until: number): void {
    this.hurryUntil = until;
  }

  /** As long as this holds nobody is heard, but who is still to be let in: what we are told is not taken from us. */
  holdWhile(isHeld: () => boolean): void {
    this.isHeld = isHeld;
  }

  /** `worker` has handed us a post by `author`. */
  said(worker: Worker, author: MemberId, now: number): void {
    const known = this.speakers.get(worker);
    if (known === undefined) {
      this.speakers.set(worker, { author, at: now, othersAt: Number.NEGATIVE_INFINITY });
      return;
    }
    if (known.author !== author) {
      known.author = author;
      known.othersAt = known.at;
    }
    known.at = now;
  }

  /** What `worker` has used, in µs. Where many are in debt, they share what one of them gains. */
  charge(worker: Worker, costUs: number, now: number): void {
    const { allowance } = worker;
    const many = this.debtors.has(worker) ? this.debtors.size : 1;
    allowance.spend((costUs / 1_000) * many);
    if (allowance.level(now) < 0) this.debtors.add(worker);
    else this.debtors.delete(worker);
    if (many > 1) for (const debtor of this.debtors) if (debtor.allowance.level(now) >= 0) this.debtors.delete(debtor);
  }

  /** Whether nobody is heard, or `worker` is in debt while others talk. What it has said itself may come from others, too. */
  mustWait(worker: Worker, now: number): boolean {
    if (worker.peer !== undefined && this.isHeld()) return true;
    if (!this.debtors.has(worker) || now < this.hurryUntil) return false;
    if (worker.allowance.level(now) >= 0) return false;
    for (const [other, { author, at, othersAt }] of this.speakers) {
      const saidAt = author === worker.peer ? othersAt : at;
      if (other !== worker && now - saidAt < limits.conversationMs) return true;
    }
    return false;
  }

  private schedule(): void {
    clearTimeout(this.timer);
    if (this.isDue || this.waiting.size === 0) return;
    const now = performance.now();
    if ([...this.waiting].every(worker => this.mustWait(worker, now))) {
      this.timer = setTimeout(() => this.run(), limits.debtPauseMs);
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
    able.sort((a, b) => b.allowance.level(began) - a.allowance.level(began));
    for (const worker of able) {
      const now = performance.now();
      if (now >= end) break;
      this.waiting.delete(worker);
      if (worker.work(now + limits.sliceMs)) this.waiting.add(worker);
    }
    this.schedule();
  }
}

/**
 * How much of a node's time each of many may ask for, and what nobody gains by being many.
 *
 * Each has a token bucket of work. Newcomers begin with what one pot has left, and those in debt together gain what one of
 * them would: a new key, a new link or a hundred of either get no more than one that was here all the time. What a message
 * costs is reckoned, not measured: on a busy machine everything takes long, and nobody here is to blame.
 */
import { Bucket } from "./bucket.ts";
import { isSaid, type MemberId, type Post, PostKind } from "./codec/post.ts";
import { limits } from "./limits.ts";

/** What it costs to handle a post that takes so many bytes, and whose own signature is checked, µs. */
export function costOfPost(kind: Post["kind"], bytes: number): number {
  const byteCostNs = kind === PostKind.text ? limits.textByteCostNs : limits.entryByteCostNs;
  return limits.checkCostUs + (bytes * byteCostNs) / 1_000;
}

/** Whether it is what people say to each other: others are slowed down for it. News of the roster are not, and what is larger pours. */
export function isTalk(post: Post): boolean {
  return isSaid(post) && post.size <= limits.talkMaxBytes;
}

/** All times are in ms, by one clock. */
export class Allowances<Who> {
  private readonly buckets = new Map<Who, Bucket>();
  private readonly debtors = new Set<Who>();
  /** What newcomers begin with comes out of this. */
  private readonly pot: Bucket;

  /** What each has at first, and after a silence, which is what the pot holds, too. */
  constructor(
    private readonly startMs: number,
    private readonly maxMs: number,
  ) {
    this.pot = this.bucket(maxMs, 0);
  }

  /** Takes part from now on; whoever was first has to begin anew where there are too many. */
  begin(who: Who, now: number): Bucket {
    const ms = Math.max(0, Math.min(this.startMs, this.pot.level(now) / 2));
    this.pot.spend(ms);
    const bucket = this.bucket(ms, now);
    this.buckets.set(who, bucket);
    const [first] = this.buckets.keys();
    if (first !== undefined && this.buckets.size > limits.allowancesMax) this.end(first, now);
    return bucket;
  }

  /** What it owes is taken from those who come next, or to come again would be cheaper than to wait. */
  end(who: Who, now: number): void {
    this.pot.spend(Math.max(0, -this.level(who, now)));
    this.buckets.delete(who);
    this.debtors.delete(who);
  }

  /** Of work it may still ask for, ms; less than none is debt. */
  level(who: Who, now: number): number {
    return this.buckets.get(who)?.level(now) ?? 0;
  }

  isInDebt(who: Who, now: number): boolean {
    return this.debtors.has(who) && !this.isPaid(who, now);
  }

  /** Whether any of those in debt is such a one. */
  isAnyInDebt(match: (who: Who) => boolean, now: number): boolean {
    return this.debtors.values().some(who => match(who) && !this.isPaid(who, now));
  }

  charge(who: Who, costUs: number, now: number): void {
    const bucket = this.buckets.get(who) ?? this.begin(who, now);
    bucket.spend((costUs / 1_000) * this.share(who, now));
    if (bucket.level(now) < 0) this.debtors.add(who);
  }

  /** By how much faster it goes down: where many are in debt, they share what one of them gains. */
  private share(who: Who, now: number): number {
    if (!this.isInDebt(who, now)) return 1;
    for (const debtor of this.debtors) this.isPaid(debtor, now);
    return this.debtors.size;
  }

  private bucket(ms: number, now: number): Bucket {
    return new Bucket(limits.allowancePerSecondMs, this.maxMs, ms, now);
  }

  private isPaid(debtor: Who, now: number): boolean {
    if (this.level(debtor, now) < 0) return false;
    return this.debtors.delete(debtor);
  }
}

/** Who has said something lately. */
export class Conversation {
  private author: MemberId | undefined;
  private at = Number.NEGATIVE_INFINITY;
  /** When anybody but `author` said something. */
  private othersAt = Number.NEGATIVE_INFINITY;

  heard(author: MemberId, now: number): void {
    if (author !== this.author) this.othersAt = this.at;
    this.author = author;
    this.at = now;
  }

  /** Whether anybody but `member` talks; what it says itself may come by way of others, too. */
  isAmongOthers(member: MemberId | undefined, now: number): boolean {
    const saidAt = member === this.author ? this.othersAt : this.at;
    return now - saidAt < limits.conversationMs;
  }
}

/**
 * A token bucket: so much at once, and so much a second after that. What is spent beyond it is debt, which is never deeper
 * than the bucket.
 */

/** Tokens that come back with time; `now` in ms. */
export class Bucket {
  constructor(
    private readonly perSecond: number,
    private readonly burst: number,
    private tokens = burst,
    private at = 0,
  ) {}

  /** What there is at `now`; less than none is debt. */
  level(now: number): number {
    this.tokens = Math.min(this.burst, this.tokens + ((now - this.at) * this.perSecond) / 1_000);
    this.at = now;
    return this.tokens;
  }

  spend(tokens: number): void {
    this.tokens = Math.max(-this.burst, this.tokens - tokens);
  }

  /** Takes one, if there is one. */
  take(now: number): boolean {
    if (this.level(now) < 1) return false;
    this.spend(1);
    return true;
  }
}

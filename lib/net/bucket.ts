/**
 * A token bucket: so much at once, and so much a second after that.
 */

/** Tokens that come back with time; `now` in ms. */
export class Bucket {
  private tokens: number;
  private at = 0;
  constructor(
    private readonly perSecond: number,
    private readonly burst: number,
  ) {
    this.tokens = burst;
  }

  take(now: number): boolean {
    this.tokens = Math.min(this.burst, this.tokens + ((now - this.at) * this.perSecond) / 1000);
    this.at = now;
    if (this.tokens < 1) return false;
    this.tokens--;
    return true;
  }
}

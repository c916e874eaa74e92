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

/** A bucket for each of so many. Whoever was silent longest is forgotten first, and begins with a full one again. */
export class Buckets<Key> {
  private readonly buckets = new Map<Key, Bucket>();

  constructor(
    private readonly perSecond: number,
    private readonly burst: number,
    private readonly most: number,
  ) {}

  /** The bucket of `key`, which is remembered from now on. */
  of(key: Key, now: number): Bucket {
    const bucket = this.buckets.get(key) ?? new Bucket(this.perSecond, this.burst, this.burst, now);
    // To the end of the map: its first is who was silent longest.
    this.buckets.delete(key);
    this.buckets.set(key, bucket);
    const [silent] = this.buckets.keys();
    if (silent !== undefined && this.buckets.size > this.most) this.buckets.delete(silent);
    return bucket;
  }

  /** What there is at `now` for `key`. */
  level(key: Key, now: number): number {
    return this.buckets.get(key)?.level(now) ?? this.burst;
  }
}

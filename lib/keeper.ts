/**
 * Work on the store that can wait until nothing else goes on: making texts searchable, forgetting what is too old.
 *
 * In slices shorter than a frame of a terminal, with pauses, so that nobody who types or pipes notices.
 */
import type { Store } from "./store.ts";

/** No post for so long: a script that pipes is between two writes rather than idle. */
const QUIET_MS = 300;
const SLICE_MS = 6;
const PAUSE_MS = 25;
const PRUNE_INTERVAL_MS = 3_600_000;

export class Keeper {
  private timer: ReturnType<typeof setTimeout> | undefined;
  private lastPostAt = 0;
  private pruneAt = 0;

  /** `keepMs`: what was said is kept so long. */
  constructor(
    private readonly store: Store,
    private readonly keepMs = Number.POSITIVE_INFINITY,
  ) {
    this.arm(QUIET_MS);
  }

  onPost(): void {
    this.lastPostAt = performance.now();
    this.arm(QUIET_MS);
  }

  stop(): void {
    clearTimeout(this.timer);
    this.pruneAt = Number.POSITIVE_INFINITY;
  }

  private arm(ms: number): void {
    if (this.pruneAt === Number.POSITIVE_INFINITY || this.timer !== undefined) return;
    this.timer = setTimeout(() => {
      this.timer = undefined;
      this.work();
    }, ms);
    // Nothing here is worth keeping a program alive for.
    this.timer.unref();
  }

  private work(): void {
    if (this.store.trouble !== undefined) return this.stop();
    const now = performance.now();
    if (now - this.lastPostAt < QUIET_MS) return this.arm(QUIET_MS);
    if (this.store.index(SLICE_MS)) return this.arm(PAUSE_MS);
    if (this.keepMs === Number.POSITIVE_INFINITY) return;
    if (now >= this.pruneAt && this.store.prune(Date.now() - this.keepMs)) return this.arm(PAUSE_MS);
    if (now >= this.pruneAt) this.pruneAt = now + PRUNE_INTERVAL_MS;
    this.arm(this.pruneAt - now);
  }
}

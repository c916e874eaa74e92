/**
 * A hybrid logical clock (Kulkarni et al., "Logical Physical Clocks", 2014) in one integer: µs since the epoch.
 *
 * It follows the wall clock, never goes back, and is always ahead of every post it has seen, so an answer sorts behind
 * what it answers. A post from too far in the future is not followed: a wrong clock elsewhere cannot poison this one.
 */
import { limits } from "../limits.ts";

export class Clock {
  private last = 0;

  /** The time of the next own post. `wall` in ms. */
  next(wall: number): number {
    this.last = Math.max(Math.floor(wall) * 1000, this.last + 1);
    return this.last;
  }

  /** A post with this time has arrived. */
  observe(clock: number, wall: number): void {
    if (clock > this.last && clock <= (wall + limits.clockAheadMaxMs) * 1000) this.last = clock;
  }
}

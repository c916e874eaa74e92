/**
 * How many tried to enter with wrong words: people are told soon after the first, then as seldom as makes it no nuisance.
 */
import { limits } from "./limits.ts";

export class Rejections {
  private count = 0;
  private toldAt = Number.NEGATIVE_INFINITY;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly warn: (message: string) => void) {}

  add(): void {
    this.count += 1;
    const waitMs = Math.max(limits.rejectedSoonMs, this.toldAt + limits.rejectedAgainMs - performance.now());
    this.timer ??= setTimeout(() => this.tell(), waitMs);
  }

  stop(): void {
    clearTimeout(this.timer);
  }

  private tell(): void {
    this.warn(`${this.count} ${this.count === 1 ? "attempt" : "attempts"} to enter with wrong words, refused`);
    this.count = 0;
    this.timer = undefined;
    this.toldAt = performance.now();
  }
}

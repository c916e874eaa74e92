/**
 * Turns: what a peer sends faster than it can be handled waits, and nobody else waits behind it.
 *
 * A link handles what comes in at once for as long as its slice; the rest is put aside, its socket is read no further, and
 * it takes turns with all others that are behind, a slice each, between which the event loop serves everybody else. So a
 * flood gets what time is left over, its sender feels it in its own full buffers, and a friend's line waits for a few
 * slices at most. Nobody is slowed down while there is time: an honest torrent runs as fast as ever.
 *
 * Deficit round robin (Shreedhar and Varghese, 1995) with time for bytes: whoever overdrew its slice by a long piece of
 * work pays it back before its next.
 */
import { limits } from "../limits.ts";

/** Whoever takes turns. Everything here is by `performance.now()`. */
export interface Worker {
  /** Works until then, or until it has nothing left to do; returns whether something is left. */
  work(until: number): boolean;
}

export class Turns {
  /** Those that are behind, and how much time of theirs is overdrawn, in ms. */
  private readonly waiting = new Map<Worker, number>();
  private isDue = false;

  /** Gives `worker` turns until it has nothing left to do. */
  add(worker: Worker): void {
    if (!this.waiting.has(worker)) this.waiting.set(worker, 0);
    this.schedule();
  }

  remove(worker: Worker): void {
    this.waiting.delete(worker);
  }

  private schedule(): void {
    if (this.isDue || this.waiting.size === 0) return;
    this.isDue = true;
    setImmediate(() => this.run());
  }

  private run(): void {
    this.isDue = false;
    const end = performance.now() + limits.turnMs;
    // Whoever was served goes to the end, and is not served twice.
    for (const [worker, overdrawnMs] of [...this.waiting]) {
      const began = performance.now();
      if (began >= end) break;
      this.waiting.delete(worker);
      const left = limits.sliceMs - overdrawnMs;
      const isBehind = left <= 0 || worker.work(began + left);
      if (isBehind) this.waiting.set(worker, Math.max(0, overdrawnMs + performance.now() - began - limits.sliceMs));
    }
    this.schedule();
  }
}

/**
 * What one is told when no link is left.
 *
 * Invariant: who was lost is told first, then that there is no link; one that is back before that leaves no trace.
 */
import { limits } from "./limits.ts";
import type { ChatEvent } from "./ui/view.ts";

export class Company {
  private isIsolated = false;
  private isTold = false;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly tell: (event: ChatEvent) => void) {}

  onIsolated(): void {
    this.isIsolated = true;
    // In a large room most are neither linked nor missed, so they are not lost.
    this.timer = setTimeout(() => this.tellIsolated(), limits.lostPauseMaxMs + limits.lostPauseMinMs);
  }

  onLinked(): void {
    if (this.isTold) this.tell({ event: "notice", level: "info", message: "linked to the room again" });
    this.stop();
  }

  /** All news of one event has been told; so many are here, oneself among them. */
  settle(present: number): void {
    if (this.isIsolated && present === 1) this.tellIsolated();
  }

  stop(): void {
    clearTimeout(this.timer);
    this.isIsolated = this.isTold = false;
  }

  private tellIsolated(): void {
    clearTimeout(this.timer);
    if (this.isTold) return;
    this.isTold = true;
    const message = "no link to anyone: what you say is kept and sent once someone is back";
    this.tell({ event: "error", code: "unreachable", message });
  }
}

/**
 * Whoever listens to a chat, and what waits for them.
 *
 * Invariants. Each gets the events of a turn in one list, in the order in which they happened. What happens before anybody
 * listens waits for the first who does: all of what `open` has to tell, and the latest of what came since. What was said before
 * we came stands behind those who are here, and before all that came since.
 */
import type { Post } from "./codec/post.ts";
import { limits } from "./limits.ts";
import type { ChatEvent, ChatListener } from "./ui/view.ts";

export class Audience {
  private readonly listeners = new Set<ChatListener>();
  private events: ChatEvent[] = [];
  /** What was said before we came, as posts: a thousand of them may hold millions of texts. */
  private backlog: Post[] = [];
  /** Its place among the events. */
  private backlogAt = 0;
  /** The first so many events are what `open` has to tell. */
  private openingEvents = Number.POSITIVE_INFINITY;

  /** `tellOf` tells what a post of before says. */
  constructor(private readonly tellOf: (post: Post) => void) {}

  /** Something waits to be told. */
  get hasEvents(): boolean {
    return this.events.length > 0;
  }

  add(listener: ChatListener): void {
    this.listeners.add(listener);
  }

  remove(listener: ChatListener): void {
    this.listeners.delete(listener);
  }

  tell(event: ChatEvent): void {
    this.events.push(event);
  }

  /** The same for what was said before we came. */
  keep(post: Post): void {
    if (this.backlog.length === 0) this.backlogAt = this.events.length;
    this.backlog.push(post);
  }

  /** All that `open` has to tell was told. */
  onOpened(): void {
    this.openingEvents = this.events.length;
  }

  /** A turn is over. */
  endTurn(): void {
    if (this.listeners.size === 0) {
      const excess = this.events.length - this.openingEvents - limits.unheardEventsMax;
      if (excess > 0) this.events.splice(this.openingEvents, excess);
      return;
    }
    this.openingEvents = 0;
    this.tellBacklog();
    if (this.events.length === 0) return;
    const { events } = this;
    this.events = [];
    for (const listener of this.listeners) listener(events);
  }

  private tellBacklog(): void {
    if (this.backlog.length === 0) return;
    const since = this.events.splice(this.backlogAt);
    for (const post of this.backlog.splice(0)) this.tellOf(post);
    for (const event of since) this.events.push(event);
  }
}

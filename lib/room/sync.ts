/**
 * The first comparison of a newcomer with the room: until it is complete nothing is told, then everything in order.
 *
 * Who is present first, then the backlog in the one order everybody agrees on, then what was said since.
 */
import type { HaveEntry, HaveScope } from "../codec/message.ts";
import { isSaid, type Post } from "../codec/post.ts";
import { limits } from "../limits.ts";
import type { Context } from "./context.ts";
import { byClock, keyOf, openingOf, type Stream } from "./log.ts";
import type { Members } from "./members.ts";

export class Sync {
  /** Heads that the room had when we came, by stream; what goes beyond them was said since. */
  private readonly targets = new Map<string, number>();
  private readonly missing = new Set<string>();
  private isActive = false;
  /** The whole list has come. */
  private isListed = false;

  constructor(
    private readonly context: Context,
    private readonly members: Members,
  ) {}

  begin(joining: boolean): void {
    this.isActive = joining;
  }

  /** Whether news must wait until the comparison is complete. */
  get isHolding(): boolean {
    return this.isActive;
  }

  onHave(scope: HaveScope, entries: readonly HaveEntry[]): void {
    if (!this.isActive || this.isListed || scope === "news") return;
    for (const entry of entries.slice(0, limits.sessionsMax - this.targets.size)) {
      const key = keyOf(entry);
      this.targets.set(key, entry.head);
      if ((this.context.log.get(entry.author, entry.session)?.head ?? -1) < entry.head) this.missing.add(key);
    }
    this.isListed = scope !== "part";
    this.endIfComplete();
  }

  onPost(stream: Stream): void {
    if (!this.isActive) return;
    const key = keyOf(stream);
    if (stream.head >= (this.targets.get(key) ?? 0)) this.missing.delete(key);
    this.endIfComplete();
  }

  onDown(): void {
    // Whoever was to give us the list is gone; the next link brings another.
    if (this.context.peers.size === 0) this.isListed = false;
  }

  private endIfComplete(): void {
    if (this.isListed && this.missing.size === 0) this.end();
  }

  /** Tells all that was held back. */
  end(): void {
    if (!this.isActive) return;
    this.isActive = false;
    const { self, log } = this.context;
    const present = [...this.members.present()].sort((a, b) => byClock(openingOf(a.stream), openingOf(b.stream)));
    for (const { id, stream } of present)
      if (stream !== self) this.context.emit({ type: "tell", news: { type: "joined", member: id, present: true } });
    const said = [...log.views()].filter(isSaid).sort(byClock);
    const isBacklog = (post: Post) => post.seq <= (this.targets.get(keyOf(post)) ?? -1);
    const tell = (post: Post, history: boolean) =>
      this.context.emit({ type: "tell", news: { type: "said", post: post.owned, history } });
    for (const post of said.filter(isBacklog).slice(-limits.historyMaxPosts)) tell(post, true);
    this.context.emit({ type: "tell", news: { type: "synced", complete: this.isListed } });
    for (const post of said.filter(post => !isBacklog(post))) tell(post, false);
    this.targets.clear();
    this.missing.clear();
  }
}

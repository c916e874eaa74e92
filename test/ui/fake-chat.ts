/** A chat without a network: it notes what a front does, and `emit` tells the front what happened. */
import { ChatError } from "../../lib/errors.ts";
import { limits } from "../../lib/limits.ts";
import type { ChatControl, ChatEvent, MemberView } from "../../lib/ui/view.ts";

export class FakeChat implements ChatControl {
  name = "Alice";
  /** Everything the front did, in order: `say hello`, `direct Bob hello`, `rename Al`, `ready`. */
  readonly done: string[] = [];
  /** Hears of each of them. */
  onDone: (entry: string) => void = () => {};
  readonly others: MemberView[] = [];
  /** Replaced by tests that want to hold a front back. */
  ready: () => Promise<void> = () => {
    this.#did("ready");
    return Promise.resolve();
  };
  readonly #listeners = new Set<(events: readonly ChatEvent[]) => void>();
  readonly #ended = Promise.withResolvers<void>();
  readonly ended = this.#ended.promise;
  /** The texts of `done`. */
  get said(): string[] {
    return this.done.filter(entry => entry.startsWith("say ")).map(entry => entry.slice(4));
  }
  get listeners(): number {
    return this.#listeners.size;
  }

  say(text: string): void {
    this.#check(text);
    this.#did(`say ${text}`);
    this.emit({ ...message(text), name: this.name, member: "00000000000000a1", own: true });
  }

  direct(to: string, text: string): void {
    this.#check(text);
    if (!this.others.some(({ name }) => name === to)) throw new ChatError("no_such_member", `there is no ${to} here`);
    this.#did(`direct ${to} ${text}`);
    this.emit({ ...message(text), event: "direct", to, name: this.name, member: "00000000000000a1", own: true });
  }

  members(): MemberView[] {
    const self = { name: this.name, member: "00000000000000a1", address: "192.168.1.20", port: 55107, self: true };
    return [{ ...self, linked: false, rtt_ms: null }, ...this.others];
  }

  rename(name: string): void {
    if (name === "taken") throw new ChatError("name_taken", "somebody else is called taken");
    this.#did(`rename ${name}`);
    const from = this.name;
    this.name = name;
    this.emit({ event: "rename", member: "00000000000000a1", from, to: name });
  }

  leave(): Promise<void> {
    this.#ended.resolve();
    return this.ended;
  }

  subscribe(listener: (events: readonly ChatEvent[]) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  emit(...events: ChatEvent[]): void {
    for (const listener of this.#listeners) listener(events);
  }

  #did(entry: string): void {
    this.done.push(entry);
    this.onDone(entry);
  }

  #check(text: string): void {
    const bytes = Buffer.byteLength(text);
    if (bytes <= limits.bodyMaxBytes) return;
    throw new ChatError("too_long", `the text is too long: ${bytes} bytes, ${limits.bodyMaxBytes} at most`);
  }
}

export const listening: ChatEvent = {
  event: "listening",
  name: "Alice",
  member: "00000000000000a1",
  address: "192.168.1.20",
  port: 55107,
};

/** What Bob says. */
export function message(text: string): Extract<ChatEvent, { event: "message" }> {
  const at = new Date(2026, 0, 2, 12, 4).getTime();
  const id = "0123456789abcdef";
  return { event: "message", id, name: "Bob", member: "00000000000000b0", text, at, own: false, history: false };
}

export function join(name: string, present = false): ChatEvent {
  return { event: "join", name, member: "00000000000000b0", address: "10.0.0.5", port: 4000, present };
}

export function member(name: string, rtt_ms: number | null = null): MemberView {
  const member = Bun.hash(name).toString(16).padStart(16, "0");
  return { name, member, address: "10.0.0.5", port: 4000, self: false, linked: rtt_ms !== null, rtt_ms };
}

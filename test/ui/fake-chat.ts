/** A chat without a network: it notes what a front does, and `emit` tells the front what happened. */
import { ChatError } from "../../lib/errors.ts";
import { limits } from "../../lib/limits.ts";
import type {
  ChatControl,
  ChatEvent,
  ChatListener,
  MemberView,
  PastView,
  PersonView,
  PresenceView,
} from "../../lib/ui/view.ts";

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
  readonly #listeners = new Set<ChatListener>();
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
    if (!this.others.some(({ name, member }) => name === to || member === to))
      throw new ChatError("no_such_member", `there is no ${to} here`);
    this.#did(`direct ${to} ${text}`);
    this.emit({ ...message(text), event: "direct", to, name: this.name, member: "00000000000000a1", own: true });
  }

  get presentCount(): number {
    return this.members().length;
  }

  members(): MemberView[] {
    const self = { name: this.name, member: "00000000000000a1", address: "192.168.1.20", port: 55107, self: true };
    return [{ ...self, linked: false, rtt_ms: null }, ...this.others];
  }

  presence(): PresenceView[] {
    return this.members().map(other => ({
      ...other,
      idle_ms: null,
      away: null,
      verified: false,
      ...this.states.get(other.name),
    }));
  }

  keepsHistory = true;
  isSearchBehind = false;

  /** What members do, by name. */
  readonly states = new Map<string, Partial<PresenceView>>();

  topic = "";
  readonly past: PastView[] = [];
  readonly typed: string[] = [];
  readonly settings = new Map<string, string>();

  act(text: string): void {
    this.#check(text);
    this.#did(`act ${text}`);
    this.emit({ ...message(text), name: this.name, member: "00000000000000a1", own: true, action: true });
  }

  setTopic(text: string): void {
    this.#did(`topic ${text}`);
    this.topic = text;
    this.emit({ event: "topic", name: this.name, member: "00000000000000a1", text, at: 0, history: false });
  }

  setAway(reason: string | null): void {
    this.#did(`away ${reason}`);
    this.states.set(this.name, { away: reason });
    this.emit({ event: "away", name: this.name, member: "00000000000000a1", text: reason });
  }

  whois(name: string): PersonView {
    const present = this.#find(name);
    const fingerprint = "6668 7aad f862 bd77 6c8f";
    return {
      name: present.name,
      member: present.member,
      fingerprint,
      verified: present.verified ? 0 : null,
      ignored: this.#ignored.has(name),
      other_key_seen: false,
      present,
    };
  }

  phrase(name: string): string {
    this.#find(name);
    return "kurab kodis gadov forog kuhob";
  }

  setVerified(name: string, verified: boolean): PersonView {
    const person = this.whois(name);
    this.#did(`verified ${name} ${verified}`);
    return { ...person, verified: verified ? 1 : null };
  }

  readonly #ignored = new Set<string>();

  setIgnored(name: string, ignored: boolean): PersonView {
    this.#find(name);
    this.#did(`ignored ${name} ${ignored}`);
    if (ignored) this.#ignored.add(name);
    else this.#ignored.delete(name);
    return this.whois(name);
  }

  ignored(): PersonView[] {
    return [...this.#ignored].map(name => this.whois(name));
  }

  search(query: string, limit: number): PastView[] {
    this.#did(`search ${query} ${limit}`);
    if (query === '"') throw new ChatError("bad_command", "that cannot be searched for: a quote is not closed");
    return this.past.filter(({ text }) => text.includes(query)).slice(-limit);
  }

  history(limit: number, name?: string): PastView[] {
    this.#did(`history ${limit} ${name}`);
    return this.past.filter(past => name === undefined || past.name === name).slice(-limit);
  }

  invitation(): string {
    return "./p2pchat <name> 192.168.1.20 55107";
  }

  setting(name: string): string | undefined {
    return this.settings.get(name);
  }

  set(name: string, value: string): void {
    this.#did(`set ${name} ${value}`);
    this.settings.set(name, value);
  }

  typedLines(): string[] {
    return this.typed;
  }

  addTypedLine(line: string): void {
    this.typed.push(line);
  }

  watchReach(): void {}

  #find(name: string): PresenceView {
    const found = this.presence().find(other => other.name === name);
    if (found === undefined) throw new ChatError("no_such_member", `nobody here is called ${name}`);
    return found;
  }

  rename(name: string): void {
    if (name === "taken") throw new ChatError("name_taken", "somebody else is called taken");
    this.#did(`rename ${name}`);
    const from = this.name;
    this.name = name;
    this.emit({ event: "rename", member: "00000000000000a1", from, to: name });
  }

  /** Whether a front has enough for now. */
  isHeld = () => false;

  holdWhile(isHeld: () => boolean): void {
    this.isHeld = isHeld;
  }

  isLeaving = false;

  leave(): Promise<void> {
    this.isLeaving = true;
    this.#ended.resolve();
    return this.ended;
  }

  subscribe(listener: ChatListener): () => void {
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
  const linked = rtt_ms !== null;
  return { name, member, address: "10.0.0.5", port: 4000, self: false, linked, rtt_ms };
}

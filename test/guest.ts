/**
 * Chats of one process on sockets of loopback, as a program of somebody else's would use the library; and what is left of
 * them cleared away after each test of the file that imports this.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Chat, type ChatOptions } from "../lib/chat.ts";
import type { ChatEvent } from "../lib/ui/view.ts";

const DEADLINE_MS = 10_000;

const open = new Set<Chat>();
const directories: string[] = [];

/** For `afterEach`: everybody leaves, and their disks are gone. */
export async function clearAway(): Promise<void> {
  await Promise.all([...open].map(chat => chat.leave()));
  open.clear();
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true });
}

/** A directory until the test is over. */
export function scratch(): string {
  const directory = mkdtempSync(join(tmpdir(), "p2pchat-chat-"));
  directories.push(directory);
  return directory;
}

export type EventOf<Kind extends ChatEvent["event"]> = Extract<ChatEvent, { event: Kind }>;

/** A chat, and all it has told. */
export class Guest {
  readonly events: ChatEvent[] = [];
  /** How many came together. */
  readonly batches: number[] = [];
  readonly #watchers = new Set<() => void>();

  private constructor(readonly chat: Chat) {
    chat.subscribe(events => {
      this.events.push(...events);
      this.batches.push(events.length);
      for (const look of [...this.#watchers]) look();
    });
  }

  static async open(name: string, through?: Guest, more: Partial<ChatOptions> = {}): Promise<Guest> {
    const dial = through && { host: "127.0.0.1", port: await through.port() };
    const chat = await Chat.open({ name, host: "127.0.0.1", ...(dial && { dial }), ...more });
    open.add(chat);
    return new Guest(chat);
  }

  /** The first event of this kind that fits, among those that came and those to come. */
  async event<Kind extends ChatEvent["event"]>(
    kind: Kind,
    fits: (event: EventOf<Kind>) => boolean = () => true,
  ): Promise<EventOf<Kind>> {
    const { promise, resolve, reject } = Promise.withResolvers<EventOf<Kind>>();
    const look = () => {
      const found = this.all(kind).find(fits);
      if (found !== undefined) resolve(found);
    };
    const fail = () => reject(new Error(`${this.chat.name}: no such ${kind}: ${fits}\n${JSON.stringify(this.events)}`));
    const timer = setTimeout(fail, DEADLINE_MS);
    this.#watchers.add(look);
    look();
    return await promise.finally(() => {
      clearTimeout(timer);
      this.#watchers.delete(look);
    });
  }

  all<Kind extends ChatEvent["event"]>(kind: Kind): EventOf<Kind>[] {
    return this.events.filter((event): event is EventOf<Kind> => event.event === kind);
  }

  async port(): Promise<number> {
    return (await this.event("listening")).port;
  }

  hears(text: string): Promise<EventOf<"message">> {
    return this.event("message", message => message.text === text);
  }

  joins(name: string): Promise<EventOf<"join">> {
    return this.event("join", join => join.name === name);
  }

  get texts(): string[] {
    return this.all("message").map(({ name, text }) => `${name}: ${text}`);
  }

  async leaves(): Promise<void> {
    open.delete(this.chat);
    await this.chat.leave();
  }
}

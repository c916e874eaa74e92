/**
 * What is missing where a network takes everything and drops, or cuts off, whoever cannot keep up: who is there, and how far
 * they have read. What is said waits while the slowest hearer is a window behind.
 *
 * Three kinds of texts of its own, told apart by their first character and never heard by the bench: a greeting, its answer,
 * and an acknowledgement `a<author> <texts>`, one for each half of a window.
 */
import type { Room } from "../actors/room.ts";

const GREETING = "h";
const ANSWER = "H";
const ACKNOWLEDGEMENT = "a";
const GREET_EVERY_MS = 20;

export class WindowedRoom implements Room {
  private readonly heardFrom = new Map<string, number>();
  /** How many of our texts each hearer has. */
  private readonly acknowledged = new Map<string, number>();
  private sent = 0;
  /** Said, and beyond the window. */
  private queue: string[] = [];
  private others = 0;
  private greetedAt = 0;
  private waiting: PromiseWithResolvers<void> | undefined;

  constructor(
    readonly port: number,
    /** As the network calls us. */
    private readonly self: string,
    private readonly windowTexts: number,
    private readonly send: (text: string) => void,
    private readonly hear: (texts: readonly string[]) => void,
    private readonly end: () => void | Promise<void>,
  ) {}

  say(text: string): void {
    this.queue.push(text);
    if (this.queue.length === 1) this.pump();
  }

  async ready(): Promise<void> {
    if (this.queue.length === 0) return;
    this.waiting ??= Promise.withResolvers();
    await this.waiting.promise;
  }

  reaches(others: number): boolean {
    this.others = others;
    const now = performance.now();
    if (this.heardFrom.size < others && now - this.greetedAt > GREET_EVERY_MS) {
      this.greetedAt = now;
      this.send(GREETING);
    }
    return this.heardFrom.size >= others;
  }

  async close(): Promise<void> {
    await this.end();
  }

  /** Texts as the network delivers them. */
  onTexts(author: string, texts: readonly string[]): void {
    if (author === this.self) return;
    const heard = texts.filter(text => !this.takeOwn(author, text));
    if (heard.length === 0) return;
    const before = this.heardFrom.get(author) ?? 0;
    const after = before + heard.length;
    this.heardFrom.set(author, after);
    const half = this.windowTexts / 2;
    if (Math.floor(after / half) > Math.floor(before / half)) this.send(`${ACKNOWLEDGEMENT}${author} ${after}`);
    this.hear(heard);
  }

  private takeOwn(author: string, text: string): boolean {
    switch (text.charAt(0)) {
      case GREETING:
        this.send(ANSWER);
        this.meet(author);
        return true;
      case ANSWER:
        this.meet(author);
        return true;
      case ACKNOWLEDGEMENT: {
        const [to, texts] = text.slice(1).split(" ");
        if (to === this.self) this.acknowledged.set(author, Number(texts));
        this.pump();
        return true;
      }
      default:
        return false;
    }
  }

  private meet(author: string): void {
    if (!this.heardFrom.has(author)) this.heardFrom.set(author, 0);
  }

  private pump(): void {
    const room = Math.max(0, this.windowTexts - this.unread());
    const sending = this.queue.splice(0, room);
    this.sent += sending.length;
    for (const text of sending) this.send(text);
    if (this.queue.length > 0 || this.waiting === undefined) return;
    this.waiting.resolve();
    this.waiting = undefined;
  }

  /** Texts that the slowest hearer is not known to have. */
  private unread(): number {
    if (this.acknowledged.size < this.others) return this.sent;
    return this.sent - Math.min(this.sent, ...this.acknowledged.values());
  }
}

/**
 * client.mjs, which knows p2pchat from PROTOCOL.md alone, in a room with the real thing. By node where there is one, as a
 * stranger would run it; else by Bun.
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Chat, type ChatOptions } from "../../lib/chat.ts";
import { newRoomCode, roomKeyOf } from "../../lib/key.ts";
import type { ChatEvent } from "../../lib/ui/view.ts";

const CLIENT = join(import.meta.dir, "client.mjs");
const runtime = Bun.which("node") ?? process.execPath;
const HOST = "127.0.0.1";

/** What has come, and what is to come. */
class Feed<Item> {
  readonly items: Item[] = [];
  private look = () => {};

  put(...items: readonly Item[]): void {
    this.items.push(...items);
    this.look();
  }

  async find(fits: (item: Item) => boolean): Promise<Item> {
    const { promise, resolve } = Promise.withResolvers<Item>();
    this.look = () => {
      const found = this.items.find(fits);
      if (found !== undefined) resolve(found);
    };
    this.look();
    return await promise;
  }
}

class Member extends Feed<ChatEvent> {
  private constructor(readonly chat: Chat) {
    super();
    chat.subscribe(events => this.put(...events));
  }

  static async open(options: Omit<ChatOptions, "host">): Promise<Member> {
    return new Member(await Chat.open({ ...options, host: HOST }));
  }

  async text(text: string): Promise<Extract<ChatEvent, { event: "message" }>> {
    const found = await this.find(event => event.event === "message" && event.text === text);
    return found as Extract<ChatEvent, { event: "message" }>;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.chat.leave();
  }
}

type Fields = Readonly<Record<string, unknown>>;

class Stranger extends Feed<Fields> {
  private readonly child: Bun.Subprocess<"pipe", "pipe", "inherit">;

  constructor(name: string, port: number, roomKey?: Uint8Array) {
    super();
    const key = roomKey === undefined ? [] : [Buffer.from(roomKey).toString("hex")];
    const argv = [runtime, CLIENT, name, HOST, String(port), ...key];
    this.child = Bun.spawn(argv, { stdin: "pipe", stdout: "pipe", stderr: "inherit" });
    void this.read();
  }

  say(text: string): void {
    this.child.stdin.write(`${text}\n`);
    this.child.stdin.flush();
  }

  async leave(): Promise<number> {
    this.child.stdin.end();
    return await this.child.exited;
  }

  get exited(): Promise<number> {
    return this.child.exited;
  }

  async event(wanted: Fields): Promise<Fields> {
    return await this.find(item => Object.entries(wanted).every(([key, value]) => item[key] === value));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill("SIGKILL");
    await this.child.exited;
  }

  private async read(): Promise<void> {
    let rest = "";
    const decoder = new TextDecoder();
    for await (const chunk of this.child.stdout) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = lines.pop() ?? "";
      this.put(...lines.map(line => JSON.parse(line) as Fields));
    }
  }
}

test("the stranger has not a line of ours", () => {
  const imports = [...readFileSync(CLIENT, "utf8").matchAll(/\bfrom "([^"]+)"|\bimport\(|\brequire\(/g)];
  expect(imports.length).toBeGreaterThan(0);
  for (const [, module = ""] of imports) expect(module).toMatch(/^node:/);
});

setDefaultTimeout(60_000);

describe("a client written from the page alone", () => {
  test("finds what it lacks among many sessions", async () => {
    await using alice = await Member.open({ name: "Alice" });
    const port = alice.chat.listensAt;
    const guests: Member[] = [];
    // One by one: all their handshakes at once are seconds of this process's one core, and Alice waits 4 s for a first byte.
    for (let n = 0; n < 34; n += 1) guests.push(await Member.open({ name: `Guest${n}`, dial: { host: HOST, port } }));
    for (const [n, guest] of guests.entries()) guest.chat.say(`guest ${n} was here`);
    for (const n of guests.keys()) await alice.text(`guest ${n} was here`);
    await Promise.all(guests.map(guest => guest.chat.leave()));
    await using stranger = new Stranger("Bob", port);
    for (const n of guests.keys()) await stranger.event({ event: "text", text: `guest ${n} was here` });
  });

  test("joins, reads what was said, talks, is heard by all, answers, and leaves", async () => {
    await using alice = await Member.open({ name: "Alice" });
    const port = alice.chat.listensAt;
    await using bob = await Member.open({ name: "Bob", dial: { host: HOST, port } });
    alice.chat.say("said before\nin two lines");
    bob.chat.say("and this too: 你好 👋");
    await bob.text("said before\nin two lines");
    await alice.text("and this too: 你好 👋");

    await using eve = new Stranger("Eve", port);
    await eve.event({ event: "up", name: "Alice" });
    const first = await eve.event({ event: "text", name: "Alice", text: "said before\nin two lines" });
    expect(first["id"]).toBe((await bob.text("said before\nin two lines")).id);
    await eve.event({ event: "text", name: "Bob", text: "and this too: 你好 👋" });

    eve.say("hello from the page");
    // Bob has no link to Eve, who cannot be dialled: Alice hands it on.
    for (const member of [alice, bob]) {
      const { name, history } = await member.text("hello from the page");
      expect([name, history]).toEqual(["Eve", false]);
    }
    bob.chat.say("welcome");
    await eve.event({ event: "text", name: "Bob", text: "welcome" });
    // It has answered the ping that every link begins with.
    const seen = alice.chat.members().find(({ name }) => name === "Eve");
    expect([seen?.linked, typeof seen?.rtt_ms]).toEqual([true, "number"]);

    expect(await eve.leave()).toBe(0);
    for (const member of [alice, bob]) {
      const left = await member.find(event => event.event === "leave" && event.name === "Eve");
      expect(left).toMatchObject({ reason: "quit" });
    }
    // Whoever comes later hears of it what everybody heard.
    await using carol = await Member.open({ name: "Carol", dial: { host: HOST, port: bob.chat.listensAt } });
    expect((await carol.text("hello from the page")).history).toBe(true);
  });

  test("takes a hundred thousand lines of backlog", async () => {
    await using alice = await Member.open({ name: "Alice" });
    for (let line = 0; line < 100_000; line++) alice.chat.say(`line ${line}`);
    await alice.text("line 99999");
    await using eve = new Stranger("Eve", alice.chat.listensAt);
    await eve.event({ event: "text", text: "line 99999" });
    const texts = eve.items.filter(({ event }) => event === "text").map(({ text }) => text);
    expect(texts).toHaveLength(100_000);
    expect(texts[50_000]).toBe("line 50000");
    expect(await eve.leave()).toBe(0);
  });

  test("enters a private room with its key, and is refused without", async () => {
    const roomKey = await roomKeyOf(newRoomCode());
    await using alice = await Member.open({ name: "Alice", roomKey });
    await using eve = new Stranger("Eve", alice.chat.listensAt, roomKey);
    eve.say("let me in");
    await alice.text("let me in");
    for (const wrong of [undefined, new Uint8Array(32)]) {
      await using other = new Stranger("Mallory", alice.chat.listensAt, wrong);
      expect(await other.exited).toBe(1);
      await other.event({ event: "error", message: "refused 3 " });
    }
    expect(await eve.leave()).toBe(0);
  });

  test("is told a free name where its own is taken", async () => {
    await using alice = await Member.open({ name: "Alice" });
    await using other = new Stranger("alice", alice.chat.listensAt);
    expect(await other.exited).toBe(1);
    expect(await other.event({ event: "error" })).toEqual({ event: "error", message: "refused 1 alice2" });
  });
});

/** The library as a program of somebody else's uses it: chats of one process, on sockets of loopback. */
import { afterEach, describe, expect, setDefaultTimeout, spyOn, test } from "bun:test";
import { cpSync, existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Chat, type ChatOptions } from "../lib/chat.ts";
import { ChatError } from "../lib/errors.ts";
import { limits } from "../lib/limits.ts";
import { Transport } from "../lib/net/transport.ts";
import { Sync } from "../lib/room/sync.ts";
import type { ChatEvent } from "../lib/ui/view.ts";
import { clearAway, Guest, scratch } from "./guest.ts";

// On a busy machine processes and sockets take their time.
setDefaultTimeout(60_000);

afterEach(clearAway);

/** What `work` throws, which must be a `ChatError`. */
async function complaint(work: () => unknown): Promise<ChatError> {
  try {
    await work();
  } catch (error) {
    if (error instanceof ChatError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

describe("a room", () => {
  test("is opened, joined through anybody, and heard by all in one order", async () => {
    const alice = await Guest.open("Alice");
    const bob = await Guest.open("Bob", alice);
    const carol = await Guest.open("Carol", bob);
    const everybody = [alice, bob, carol];
    await alice.joins("Carol");
    for (const speaker of everybody) {
      const text = `this is ${speaker.chat.name}`;
      speaker.chat.say(text);
      const heard = await Promise.all(everybody.map(each => each.hears(text)));
      expect(new Set(heard.map(({ id }) => id)).size).toBe(1);
      expect(heard.map(({ own }) => own)).toEqual(everybody.map(each => each === speaker));
    }
    const said = ["Alice: this is Alice", "Bob: this is Bob", "Carol: this is Carol"];
    for (const each of everybody) expect(each.texts).toEqual(said);
  });

  test("is known to a newcomer when open() resolves: members first, then history, once", async () => {
    const alice = await Guest.open("Alice");
    for (let text = 0; text < 300; text += 1) alice.chat.say(`text ${text}`);
    await alice.hears("text 299");
    const bob = await Guest.open("Bob", alice);
    expect(bob.chat.members().map(({ name, self, linked }) => [name, self, linked])).toEqual([
      ["Bob", true, false],
      ["Alice", false, true],
    ]);
    await bob.hears("text 299");
    expect(bob.events.map(({ event }) => event).slice(0, 3)).toEqual(["listening", "join", "message"]);
    expect(bob.all("join")[0]).toMatchObject({ name: "Alice", present: true });
    expect(bob.all("message").every(({ history }) => history)).toBe(true);
    expect(bob.texts).toEqual(Array.from({ length: 300 }, (_, text) => `Alice: text ${text}`));
  });

  test("is told to a newcomer at any speed, and from then on nobody is spared the common limits", async () => {
    const alice = await Guest.open("Alice");
    alice.chat.say("before");
    using hurry = spyOn(Transport.prototype, "hurry");
    const bob = await Guest.open("Bob", alice);
    await bob.hears("before");
    expect(hurry.mock.calls).toEqual([[limits.syncTimeoutMs], [0]]);
  });

  test("lives on when its founder has left", async () => {
    const alice = await Guest.open("Alice");
    const bob = await Guest.open("Bob", alice);
    const carol = await Guest.open("Carol", alice);
    await bob.joins("Carol");
    await alice.chat.leave();
    for (const each of [bob, carol]) expect(await each.event("leave")).toMatchObject({ name: "Alice", reason: "quit" });
    const dave = await Guest.open("Dave", carol);
    dave.chat.say("hello");
    await bob.hears("hello");
  });
});

describe("what is said", () => {
  test("within one turn is told in one batch, in order", async () => {
    const alice = await Guest.open("Alice");
    const bob = await Guest.open("Bob", alice);
    await alice.joins("Bob");
    const before = alice.batches.length;
    for (let text = 0; text < 100; text += 1) bob.chat.say(`${text}`);
    await alice.hears("99");
    expect(alice.batches.slice(before)).toEqual([100]);
    expect(alice.texts).toEqual(Array.from({ length: 100 }, (_, text) => `Bob: ${text}`));
  });

  test("just before leaving is still delivered", async () => {
    const alice = await Guest.open("Alice");
    const bob = await Guest.open("Bob", alice);
    await alice.joins("Bob");
    const long = "x".repeat(60_000);
    for (let text = 0; text < 50; text += 1) bob.chat.say(`${text} ${long}`);
    await bob.chat.leave();
    await alice.event("leave");
    expect(alice.all("message").map(({ text }) => Number.parseInt(text, 10))).toEqual([...Array(50).keys()]);
  });

  test("may hold 64 KiB and not a byte more, and any character but NUL, which divides texts on the wire", async () => {
    const alice = await Guest.open("Alice");
    const bob = await Guest.open("Bob", alice);
    const error = await complaint(() => bob.chat.say("é".repeat(32_769)));
    expect([error.code, error.message]).toEqual(["too_long", "a text may hold 65536 bytes; this one has 65538"]);
    const full = "é".repeat(32_768);
    for (const text of [full, "", "a\0b", "\u001b[31m", "end"]) bob.chat.say(text);
    await alice.hears("end");
    expect(alice.all("message").map(({ text }) => text)).toEqual([full, "", "a\ufffdb", "\u001b[31m", "end"]);
  });

  test("is measured as it travels, where NUL takes three bytes, and is told to its author as to others", async () => {
    const alice = await Guest.open("Alice");
    const bob = await Guest.open("Bob", alice);
    const zeros = "\0".repeat(30_000);
    const ways = ["say", "act", "setTopic", "setAway"] as const;
    for (const way of ways) {
      const error = await complaint(() => bob.chat[way](zeros));
      expect([error.code, error.message]).toEqual([
        "too_long",
        "a text may hold 65536 bytes; this one has 90000, three for each zero byte in it",
      ]);
    }
    const said = ["one", "\0", "two\0\0", "\ud800!", "\0".repeat(21_845), "end"];
    for (const text of said) bob.chat.say(text);
    await alice.hears("end");
    const heard = said.map(text => text.replaceAll("\0", "\ufffd").toWellFormed());
    const told = (guest: Guest) => guest.all("message").map(({ text }) => text);
    expect([told(alice), told(bob)]).toEqual([heard, heard]);
  });

  test("is told to a listener only while it listens, and kept for the first one", async () => {
    const alice = await Guest.open("Alice");
    const heard: string[] = [];
    const stop = alice.chat.subscribe(events => {
      for (const event of events) if (event.event === "message") heard.push(event.text);
    });
    alice.chat.say("one");
    await alice.hears("one");
    stop();
    alice.chat.say("two");
    await alice.hears("two");
    expect(heard).toEqual(["one"]);
    // The guest has subscribed after open(), and knows what happened in it.
    expect(alice.events[0]).toMatchObject({ event: "listening", name: "Alice", address: "127.0.0.1" });
  });
});

describe("what nobody has listened to yet", () => {
  const numbers = (from: number, to: number) => Array.from({ length: to - from }, (_, text) => `Alice: ${from + text}`);

  test("is all kept of what open() has to tell, however much was said before", async () => {
    const { unheardEventsMax } = limits;
    const alice = await Guest.open("Alice");
    for (let text = 0; text < 3 * unheardEventsMax; text += 1) alice.chat.say(`${text}`);
    await alice.hears(`${3 * unheardEventsMax - 1}`);
    const bob = await Guest.open("Bob", alice);
    await bob.hears(`${3 * unheardEventsMax - 1}`);
    expect(bob.events.map(({ event }) => event).slice(0, 3)).toEqual(["listening", "join", "message"]);
    expect(bob.texts).toEqual(numbers(0, 3 * unheardEventsMax));
  });

  test("is the newest of what came since", async () => {
    const { unheardEventsMax } = limits;
    const alice = await Guest.open("Alice");
    alice.chat.say("0");
    const dial = { host: "127.0.0.1", port: await alice.port() };
    const bob = await Chat.open({ name: "Bob", host: "127.0.0.1", dial });
    alice.chat.watchReach();
    const end = 2 * unheardEventsMax;
    for (let text = 1; text < end; text += 1) alice.chat.say(`${text}`);
    const { id } = await alice.hears(`${end - 1}`);
    await alice.event("reached", receipt => receipt.id === id && receipt.reached === 1);
    const heard: ChatEvent[] = [];
    bob.subscribe(events => heard.push(...events));
    await bob.leave();
    const texts = heard.flatMap(event => (event.event === "message" ? `${event.name}: ${event.text}` : []));
    expect(heard.map(({ event }) => event).slice(0, 3)).toEqual(["listening", "join", "message"]);
    expect(texts).toEqual([...numbers(0, 1), ...numbers(end - unheardEventsMax, end)]);
  });
});

describe("a script that talks faster than the room reads", () => {
  test("is held back by ready(), and nothing is lost", async () => {
    const alice = await Guest.open("Alice");
    const bob = await Guest.open("Bob", alice);
    await alice.joins("Bob");
    const line = "y".repeat(1_000);
    for (let turn = 0; turn < 300; turn += 1) {
      for (let text = 0; text < 60; text += 1) bob.chat.say(`${turn * 60 + text} ${line}`);
      await bob.chat.ready();
    }
    await bob.chat.leave();
    await alice.event("leave");
    const numbers = alice.all("message").map(({ text }) => Number.parseInt(text, 10));
    expect(numbers).toEqual([...Array(18_000).keys()]);
  });
});

describe("names", () => {
  test("are changed, told, and refused while another holds them", async () => {
    const alice = await Guest.open("Alice");
    const bob = await Guest.open("Bob", alice);
    await alice.joins("Bob");
    const taken = await complaint(() => bob.chat.rename("ALICE"));
    expect([taken.code, taken.message]).toEqual(["name_taken", "the name ALICE is taken in this room"]);
    expect((await complaint(() => bob.chat.rename("a b"))).code).toBe("bad_name");
    // Nobody could start the program under that name again.
    const command = await complaint(() => bob.chat.rename("History"));
    expect([command.code, command.message]).toEqual([
      "bad_name",
      '"History" is a command of p2pchat, so it cannot be a username',
    ]);
    expect(bob.chat.name).toBe("Bob");
    bob.chat.rename("Robert");
    expect(bob.chat.name).toBe("Robert");
    expect(await alice.event("rename")).toMatchObject({ from: "Bob", to: "Robert" });
    bob.chat.say("that is me");
    expect((await alice.hears("that is me")).name).toBe("Robert");
  });

  test("that are commands of this program are those of others all the same", async () => {
    const alice = await Guest.open("Alice");
    const stranger = await Guest.open("history", alice);
    await alice.joins("history");
    stranger.chat.say("by another program");
    expect((await alice.hears("by another program")).name).toBe("history");
    expect(alice.chat.whois("history").present).toMatchObject({ name: "history", self: false });
  });

  test("that are taken are refused at the door, with a free one", async () => {
    const alice = await Guest.open("Alice");
    const error = await complaint(() => Guest.open("alice", alice));
    expect([error.code, error.suggestion]).toEqual(["name_taken", "alice2"]);
    expect(alice.chat.members().map(({ name }) => name)).toEqual(["Alice"]);
    const other = await Guest.open(error.suggestion ?? "", alice);
    await alice.joins("alice2");
    expect(other.chat.name).toBe("alice2");
  });
});

describe("opening", () => {
  test("fails with a ChatError for each reason", async () => {
    const alice = await Guest.open("Alice", undefined, { roomKey: new Uint8Array(32).fill(7) });
    const port = await alice.port();
    const code = async (options: Partial<ChatOptions>) =>
      (await complaint(() => Chat.open({ name: "Bob", host: "127.0.0.1", ...options }))).code;
    expect(await code({ name: "" })).toBe("bad_name");
    expect(await code({ dial: { host: "127.0.0.1", port: 1 } })).toBe("unreachable");
    expect(await code({ port })).toBe("unreachable");
    expect(await code({ host: "192.0.2.1" })).toBe("unreachable");
    expect(await code({ dial: { host: "127.0.0.1", port } })).toBe("wrong_key");
    expect(await code({ dial: { host: "127.0.0.1", port }, roomKey: new Uint8Array(32) })).toBe("wrong_key");
    expect(alice.chat.members()).toHaveLength(1);
  });

  test("that failed leaves neither a lock nor a port behind", async () => {
    const data = scratch();
    const nobody = { host: "127.0.0.1", port: 1 };
    const failed = await complaint(() => Chat.open({ name: "Alice", host: "127.0.0.1", dial: nobody, data }));
    expect(failed.message).toBe("cannot reach 127.0.0.1:1: connection refused");
    const first = await Guest.open("Alice", undefined, { data });
    const port = await first.port();
    await first.chat.leave();
    const second = await Guest.open("Alice", undefined, { data, port });
    expect(await second.port()).toBe(port);
  });

  test("the same identity twice at once throws, and the first goes on", async () => {
    const data = scratch();
    const alice = await Guest.open("Alice", undefined, { data });
    const second = Chat.open({ name: "ALICE", host: "127.0.0.1", data });
    await expect(second).rejects.toThrow(/^ALICE is in use/);
    alice.chat.say("undisturbed");
    await alice.hears("undisturbed");
  });
});

describe("the same key elsewhere", () => {
  test("ends the older session with a reason, also while it is only joining", async () => {
    const data = scratch();
    await (await Guest.open("Bob", undefined, { data })).leaves();
    const copy = scratch();
    cpSync(data, copy, { recursive: true });
    const alice = await Guest.open("Alice");
    const dial = { host: "127.0.0.1", port: await alice.port() };
    // What the room has is not told to the one, so it goes on joining.
    const untold = spyOn(Sync.prototype, "onHave").mockImplementation(() => {});
    const older = complaint(() => Chat.open({ name: "Bob", host: "127.0.0.1", data, dial }));
    await alice.joins("Bob");
    untold.mockRestore();
    const newer = await Guest.open("Bob", alice, { data: copy });
    expect(await older).toMatchObject({ code: "refused", message: expect.stringContaining("from somewhere else") });
    newer.chat.say("it is me");
    await alice.hears("it is me");
  });
});

describe("a signal", () => {
  const reason = new Error("enough");

  test("while joining ends it: others read that one left, and open() throws the reason", async () => {
    const alice = await Guest.open("Alice");
    const ending = new AbortController();
    // What the room has is not told, so that the joining goes on.
    using _untold = spyOn(Sync.prototype, "onHave").mockImplementation(() => {});
    const dial = { host: "127.0.0.1", port: await alice.port() };
    const opening = Chat.open({ name: "Bob", host: "127.0.0.1", dial, signal: ending.signal });
    await alice.joins("Bob");
    ending.abort(reason);
    await expect(opening).rejects.toBe(reason);
    expect(await alice.event("leave")).toMatchObject({ name: "Bob", reason: "quit" });
  });

  test("before anybody has answered ends it at once, and leaves neither a lock nor a port behind", async () => {
    const connected = Promise.withResolvers<void>();
    using silent = Bun.listen({
      hostname: "127.0.0.1",
      port: 0,
      socket: { open: () => connected.resolve(), data() {} },
    });
    const data = scratch();
    const ending = new AbortController();
    const options = { name: "Bob", host: "127.0.0.1", data };
    const opening = Chat.open({ ...options, dial: { host: "127.0.0.1", port: silent.port }, signal: ending.signal });
    await connected.promise;
    ending.abort(reason);
    await expect(opening).rejects.toBe(reason);
    await (await Guest.open("Bob", undefined, { data })).leaves();
    await expect(Chat.open({ ...options, signal: ending.signal })).rejects.toBe(reason);
  });

  test("later is as good as leave()", async () => {
    const alice = await Guest.open("Alice");
    const ending = new AbortController();
    const bob = await Guest.open("Bob", alice, { signal: ending.signal });
    await alice.joins("Bob");
    bob.chat.say("last words");
    ending.abort();
    await bob.chat.ended;
    expect(await alice.event("leave")).toMatchObject({ name: "Bob", reason: "quit" });
    expect(alice.texts).toEqual(["Bob: last words"]);
  });
});

describe("a disk", () => {
  test("keeps the identity and what was said, so that one comes back as the same member and misses nothing", async () => {
    const data = scratch();
    const alice = await Guest.open("Alice");
    const bob = await Guest.open("Bob", alice, { data });
    const [self] = bob.chat.members();
    bob.chat.say("mine");
    await alice.hears("mine");
    await bob.chat.leave();
    await alice.event("leave");
    alice.chat.say("meanwhile");
    await alice.hears("meanwhile");
    const again = await Guest.open("Bob", alice, { data });
    expect(again.chat.members()[0]?.member).toBe(self?.member ?? "");
    await again.hears("meanwhile");
    again.chat.say("back");
    await alice.hears("back");
    await again.hears("back");
    expect(again.all("message").map(({ text, own, history }) => [text, own, history])).toEqual([
      ["mine", true, true],
      ["meanwhile", false, true],
      ["back", true, false],
    ]);
  });

  test("carries the room on: what only one had kept, others get from it", async () => {
    const data = scratch();
    const alice = await Guest.open("Alice");
    const bob = await Guest.open("Bob", alice, { data });
    const carol = await Guest.open("Carol", alice);
    carol.chat.say("said before Dave came");
    await bob.hears("said before Dave came");
    await bob.chat.leave();
    await alice.event("leave");
    const again = await Guest.open("Bob", alice, { data });
    await carol.chat.leave();
    await alice.chat.leave();
    const dave = await Guest.open("Dave", again);
    await dave.hears("said before Dave came");
    expect(dave.texts).toEqual(["Carol: said before Dave came"]);
  });

  test("that does not work costs the history, not the chat", async () => {
    const file = join(scratch(), "file");
    writeFileSync(file, "");
    const alice = await Guest.open("Alice", undefined, { data: join(file, "below") });
    expect(await alice.event("notice")).toMatchObject({ level: "warning" });
    expect(alice.events[0]?.event).toBe("listening");
    alice.chat.say("all the same");
    await alice.hears("all the same");
  });

  test("is not touched without one", async () => {
    const { HOME = "/" } = process.env;
    const alice = await Guest.open("Alice");
    alice.chat.say("nothing of this");
    await alice.hears("nothing of this");
    await alice.chat.leave();
    expect(existsSync(join(HOME, ".local"))).toBe(false);
  });
});

describe("leaving", () => {
  test("is done once, whoever asks for it how often, and ends the chat", async () => {
    const alice = await Guest.open("Alice");
    const bob = await Guest.open("Bob", alice);
    await alice.joins("Bob");
    const first = bob.chat.leave();
    expect(bob.chat.leave()).toBe(first);
    await first;
    await bob.chat.ended;
    expect(await alice.event("leave")).toMatchObject({ name: "Bob", reason: "quit" });
    expect(alice.all("leave")).toHaveLength(1);
    await bob.chat.ready();
  });

  test("ends what is said: a text behind the goodbye is none", async () => {
    const alice = await Guest.open("Alice");
    const bob = await Guest.open("Bob", alice);
    await alice.joins("Bob");
    bob.chat.say("before");
    const left = bob.chat.leave();
    bob.chat.say("behind");
    await left;
    await alice.event("leave");
    expect([alice.texts, bob.texts]).toEqual([["Bob: before"], ["Bob: before"]]);
  });
});

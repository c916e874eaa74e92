/** What people do in a room besides talking to all: direct messages, topic, away, trust, peace, history; real chats on loopback. */
import { afterEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { ChatOptions } from "../lib/chat.ts";
import { readHistory } from "../lib/history.ts";
import type { PastView } from "../lib/ui/view.ts";
import { clearAway, Guest, scratch } from "./guest.ts";

// On a busy machine processes and sockets take their time.
setDefaultTimeout(60_000);

afterEach(clearAway);

async function three(more: Partial<ChatOptions> = {}): Promise<[Guest, Guest, Guest]> {
  const alice = await Guest.open("Alice", undefined, more);
  const bob = await Guest.open("Bob", alice, more);
  const carol = await Guest.open("Carol", bob, more);
  await Promise.all([alice, bob].map(guest => guest.event("join", ({ name }) => name === "Carol")));
  return [alice, bob, carol];
}

/** Through everything: on a busy machine one search may not have the time to make it all searchable. */
function search({ chat }: Guest, query: string): PastView[] {
  for (;;) {
    const found = chat.search(query, 10);
    if (!chat.isSearchBehind) return found;
  }
}

describe("a direct message", () => {
  test("is read by whom it is for and by nobody else, in its place among the other texts", async () => {
    const [alice, bob, carol] = await three();
    alice.chat.say("before");
    alice.chat.direct("Bob", "psst");
    alice.chat.say("after");
    await Promise.all([bob.hears("after"), carol.hears("after")]);
    const heard = (guest: Guest) =>
      guest.events.flatMap(event => (event.event === "message" || event.event === "direct" ? [event.text] : []));
    expect(heard(bob)).toEqual(["before", "psst", "after"]);
    expect(heard(alice)).toEqual(["before", "psst", "after"]);
    expect(heard(carol)).toEqual(["before", "after"]);
    expect(bob.all("direct")).toMatchObject([{ name: "Alice", to: "Bob", own: false, history: false }]);
    expect(alice.all("direct")).toMatchObject([{ name: "Alice", to: "Bob", own: true }]);
  });

  test("to nobody, to oneself, or too long, is refused", async () => {
    const alice = await Guest.open("Alice");
    await Guest.open("Bob", alice);
    await alice.event("join");
    expect(() => alice.chat.direct("Eve", "x")).toThrow("nobody here is called Eve");
    expect(() => alice.chat.direct("Alice", "x")).toThrow("Alice is you");
    expect(() => alice.chat.direct("Bob", "x".repeat(65_536))).toThrow("a direct text may hold 65480 bytes");
  });

  test("is found in the history after a restart, on both sides, and told as backlog to its reader", async () => {
    const data = scratch();
    const [alice, bob, carol] = await three({ data });
    alice.chat.say("for all");
    alice.chat.direct("Bob", "psst");
    await bob.event("direct");
    await bob.leaves();
    expect(bob.chat.name).toBe("Bob");
    const again = await Guest.open("Bob", carol, { data });
    const text = await again.event("message");
    expect(text).toMatchObject({ text: "for all", seen: true });
    expect(JSON.parse(JSON.stringify(text))).toEqual({
      ...{ event: "message", id: text.id, name: "Alice", member: text.member },
      ...{ text: "for all", at: text.at, own: false, history: true },
    });
    expect(await again.event("direct")).toMatchObject({
      text: "psst",
      name: "Alice",
      to: "Bob",
      history: true,
      seen: true,
    });
    expect(search(again, "psst")).toMatchObject([{ name: "Alice", to: "Bob", own: false }]);
    await alice.leaves();
    const back = await Guest.open("Alice", carol, { data });
    expect(await back.event("direct")).toMatchObject({ text: "psst", own: true, to: "Bob", history: true });
    expect(readHistory(data, "Alice").slice(1)).toMatchObject([{ kind: "direct", text: "psst", to: { name: "Bob" } }]);
    expect(readHistory(data, "Carol")).toMatchObject([{ kind: "text", text: "for all" }]);
  });
});

describe("the room", () => {
  test("has a topic that newcomers learn", async () => {
    const [alice, bob, carol] = await three();
    bob.chat.setTopic("lunch");
    expect(await alice.event("topic")).toMatchObject({ name: "Bob", text: "lunch", history: false });
    await carol.event("topic");
    const dave = await Guest.open("Dave", carol);
    expect(await dave.event("topic")).toMatchObject({ name: "Bob", text: "lunch", history: true });
    expect(dave.chat.topic).toBe("lunch");
  });

  test("knows who is away, and what people do", async () => {
    const [alice, bob] = await three();
    bob.chat.act("waves");
    bob.chat.setAway("lunch");
    expect(await alice.event("away")).toMatchObject({ name: "Bob", text: "lunch" });
    expect(alice.all("message")).toMatchObject([{ text: "waves", action: true, name: "Bob" }]);
    const awayOf = (guest: Guest) => guest.chat.presence().find(({ name }) => name === "Bob")?.away;
    expect(awayOf(alice)).toBe("lunch");
    const dave = await Guest.open("Dave", alice);
    expect(awayOf(dave)).toBe("lunch");
    bob.chat.setAway(null);
    await dave.event("away", ({ text }) => text === null);
    expect(awayOf(dave)).toBeNull();
  });

  test("confirms what one said, when one wants to know", async () => {
    const [alice] = await three();
    alice.chat.watchReach();
    alice.chat.say("hello");
    const { id } = await alice.hears("hello");
    await alice.event("reached", event => event.id === id && event.reached > 0 && event.reached === event.linked);
  });

  test("that is empty keeps what one says", async () => {
    const alice = await Guest.open("Alice");
    alice.chat.watchReach();
    alice.chat.say("hello");
    await alice.event("reached", ({ reached, linked }) => reached === 0 && linked === 0);
    const bob = await Guest.open("Bob", alice);
    await bob.hears("hello");
    await alice.event("reached", ({ reached, linked }) => reached === 1 && linked === 1);
  });
});

describe("people", () => {
  test("who come with another key under a known name are told apart", async () => {
    const data = scratch();
    const alice = await Guest.open("Alice", undefined, { data });
    const bob = await Guest.open("Bob", alice);
    await alice.event("join");
    expect(alice.all("notice")).toEqual([]);
    await bob.leaves();
    await Guest.open("Bob", alice);
    const { message, level } = await alice.event("notice");
    expect(level).toBe("warning");
    expect(message).toStartWith("this Bob is not the Bob you met before: the key is another one.");
    expect(alice.chat.whois("Bob")).toMatchObject({ name: "Bob", other_key_seen: true, verified: null });
  });

  test("who only look alike are not accused", async () => {
    const alice = await Guest.open("Alice");
    await Guest.open("Bob", alice);
    await Guest.open("Воb", alice);
    const { message } = await alice.event("notice");
    expect(message).toBe("Воb and Bob look alike, but they are two people: /whois tells them apart");
    await Guest.open("Bobby", alice);
    await alice.event("join", ({ name }) => name === "Bobby");
    expect(alice.all("notice")).toHaveLength(1);
  });

  test("are warned of whoever looks like themselves, and so is whoever does", async () => {
    const bob = await Guest.open("Bob");
    const other = await Guest.open("Воb", bob);
    const warnings = [
      [bob, "Воb looks like your own name, Bob, but is somebody else: others may take one of you for the other"],
      [other, "Bob looks like your own name, Воb, but is somebody else: others may take one of you for the other"],
    ] as const;
    for (const [each, message] of warnings) {
      await each.event("notice", notice => notice.message === message && notice.level === "warning");
      expect(each.all("notice")).toHaveLength(1);
    }
  });

  test("who take a name by /nick are looked at as those who come with it", async () => {
    const bob = await Guest.open("Bob");
    const [carol, dave] = [await Guest.open("Carol", bob), await Guest.open("Dave", bob)];
    for (const each of [bob, carol]) await each.joins("Dave");
    dave.chat.rename("Воb");
    await bob.event("notice", ({ message }) => message.startsWith("Воb looks like your own name, Bob"));
    await dave.event("notice", ({ message }) => message.startsWith("Bob looks like your own name, Воb"));
    await carol.event("notice", ({ message }) => message.startsWith("Воb and Bob look alike"));
  });

  test("read the same phrase to each other, and stay verified", async () => {
    const data = scratch();
    const alice = await Guest.open("Alice", undefined, { data });
    const bob = await Guest.open("Bob", alice, { data });
    await alice.event("join");
    expect(alice.chat.phrase("Bob")).toBe(bob.chat.phrase("Alice"));
    expect(alice.chat.setVerified("bob", true)).toMatchObject({ name: "Bob", verified: expect.any(Number) });
    await alice.leaves();
    const again = await Guest.open("Alice", bob, { data });
    expect(again.chat.presence().find(({ name }) => name === "Bob")?.verified).toBe(true);
  });

  test("who are ignored are not heard, by key, in later runs neither", async () => {
    const data = scratch();
    const [alice, bob, carol] = await three({ data });
    alice.chat.setIgnored("Bob", true);
    bob.chat.say("noise");
    carol.chat.say("music");
    await alice.hears("music");
    await carol.hears("noise");
    bob.chat.rename("Robert");
    await alice.event("rename");
    bob.chat.say("more noise");
    await carol.hears("more noise");
    await alice.leaves();
    const again = await Guest.open("Alice", carol, { data });
    expect(again.chat.ignored()).toMatchObject([{ name: "Robert", ignored: true }]);
    expect(again.chat.history(10)).toMatchObject([{ text: "music" }]);
    again.chat.setIgnored("Robert", false);
    bob.chat.say("welcome");
    await again.hears("welcome");
    expect(again.all("message").map(({ text }) => text)).toEqual(["music", "welcome"]);
    expect(alice.all("message").map(({ text }) => text)).toEqual(["music"]);
  });
});

describe("history", () => {
  test("is asked for by name and by words, and says why when it cannot be", async () => {
    const [alice, bob] = await three({ data: scratch() });
    bob.chat.say("red fox");
    alice.chat.say("red dog");
    await Promise.all([alice.hears("red fox"), bob.hears("red dog")]);
    expect(bob.chat.history(10, "alice").map(({ text }) => text)).toEqual(["red dog"]);
    expect(search(bob, "fox")).toMatchObject([{ text: "red fox", name: "Bob", own: true }]);
    expect(() => bob.chat.search('"', 10)).toThrow("that cannot be searched for: a quote is not closed");
    expect(() => bob.chat.history(10, "Nobody")).toThrow("nobody called Nobody has said anything that was kept");
    const eve = await Guest.open("Eve", alice);
    expect(() => eve.chat.search("fox", 10)).toThrow("there is no history: nothing is kept in this run");
  });
});

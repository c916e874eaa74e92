/**
 * A private room, from the words to the refusal: whole chats on loopback, and what those outside get to know.
 */
import { afterEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { Chat, type ChatOptions } from "../../lib/chat.ts";
import { ChatError } from "../../lib/errors.ts";
import { newRoomCode, roomKeyOf } from "../../lib/key.ts";
import type { ChatEvent } from "../../lib/ui/view.ts";

setDefaultTimeout(60_000);

const open: Chat[] = [];
afterEach(async () => {
  for (const chat of open.splice(0).reverse()) await chat.leave();
});

/** A chat, and all it has told. */
async function enter(options: ChatOptions): Promise<{ chat: Chat; events: ChatEvent[]; until: Until }> {
  const chat = await Chat.open({ host: "127.0.0.1", ...options });
  open.push(chat);
  const events: ChatEvent[] = [];
  let look = () => {};
  chat.subscribe(more => {
    events.push(...more);
    look();
  });
  const until: Until = wanted =>
    new Promise(resolve => {
      look = () => {
        const found = events.find(wanted);
        if (found !== undefined) resolve(found);
      };
      look();
    });
  return { chat, events, until };
}
type Until = (wanted: (event: ChatEvent) => boolean) => Promise<ChatEvent>;

async function refusal(opening: Promise<unknown>): Promise<string> {
  try {
    await opening;
  } catch (error) {
    if (error instanceof ChatError) return error.code;
    throw error;
  }
  return "none";
}

describe("a private room", () => {
  test("is entered with its words as somebody heard them, and with no others", async () => {
    const code = newRoomCode();
    const alice = await enter({ name: "Alice", roomKey: await roomKeyOf(code) });
    const dial = { host: "127.0.0.1", port: alice.chat.listensAt };
    const heard = code.toUpperCase().replaceAll("-", " ");
    const bob = await enter({ name: "Bob", dial, roomKey: await roomKeyOf(heard) });
    bob.chat.say("hello");
    await alice.until(event => event.event === "message" && event.text === "hello");

    const others = [undefined, await roomKeyOf(newRoomCode()), await roomKeyOf(`${code}-x`)];
    // All at once: those that come more than a second after the first are told of later.
    const refusals = others.map(roomKey =>
      refusal(Chat.open({ name: "Eve", host: "127.0.0.1", dial, ...(roomKey !== undefined && { roomKey }) })),
    );
    expect(await Promise.all(refusals)).toEqual(["wrong_key", "wrong_key", "wrong_key"]);
    // The room is told how many, once, and nothing of who they were.
    const notice = await alice.until(event => event.event === "notice" && event.message.includes("wrong words"));
    expect(notice).toEqual({
      event: "notice",
      level: "warning",
      message: "3 attempts to enter with wrong words, refused",
    });
    const shown = JSON.stringify([...alice.events, ...bob.events]);
    expect(shown).not.toContain("Eve");
    expect(shown.split("wrong words")).toHaveLength(2);
  });

  test("is not entered by members of an open one, nor does a member of it enter an open one", async () => {
    const openRoom = await enter({ name: "Alice" });
    const dial = { host: "127.0.0.1", port: openRoom.chat.listensAt };
    const roomKey = await roomKeyOf(newRoomCode());
    expect(await refusal(Chat.open({ name: "Bob", host: "127.0.0.1", dial, roomKey }))).toBe("wrong_key");
    expect(openRoom.events.filter(({ event }) => event === "join" || event === "notice")).toEqual([]);
  });
});

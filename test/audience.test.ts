/** Who listens to a chat, without a chat: what waits, what goes, and in which order it is told. */
import { describe, expect, test } from "bun:test";
import { Audience } from "../lib/audience.ts";
import type { Post } from "../lib/codec/post.ts";
import { limits } from "../lib/limits.ts";
import type { ChatEvent } from "../lib/ui/view.ts";

const notice = (message: string): ChatEvent => ({ event: "notice", level: "info", message });

/** One that tells of a post by its number, and a listener's ear. */
function scene() {
  const heard: string[][] = [];
  const audience = new Audience(({ seq }) => audience.tell(notice(`post ${seq}`)));
  const listener = (events: readonly ChatEvent[]) =>
    void heard.push(events.map(event => (event.event === "notice" ? event.message : event.event)));
  const say = (...messages: string[]) => {
    for (const message of messages) audience.tell(notice(message));
  };
  return { audience, heard, listener, say };
}

describe("an audience", () => {
  test("hears the events of a turn in one list, each of it, and nothing where nothing happened", () => {
    const { audience, heard, listener, say } = scene();
    const more: number[] = [];
    audience.add(listener);
    audience.add(events => void more.push(events.length));
    say("one", "two");
    audience.endTurn();
    audience.endTurn();
    say("three");
    audience.remove(listener);
    audience.endTurn();
    expect([heard, more]).toEqual([[["one", "two"]], [2, 1]]);
  });

  test("hears what happens while it is told with the next turn", () => {
    const { audience, heard, listener, say } = scene();
    audience.add(events => {
      if (events.length === 2) say("an answer");
    });
    audience.add(listener);
    say("one", "two");
    audience.endTurn();
    expect(audience.hasEvents).toBe(true);
    audience.endTurn();
    expect(heard).toEqual([["one", "two"], ["an answer"]]);
  });

  test("that comes late hears all of the opening, and the latest of what came since", () => {
    const { audience, heard, listener, say } = scene();
    const { unheardEventsMax } = limits;
    const opening = Array.from({ length: 2 * unheardEventsMax }, (_, index) => `opening ${index}`);
    say(...opening);
    audience.endTurn();
    audience.onOpened();
    const since = Array.from({ length: unheardEventsMax + 3 }, (_, index) => `since ${index}`);
    say(...since);
    audience.endTurn();
    audience.add(listener);
    audience.endTurn();
    expect(heard).toEqual([[...opening, ...since.slice(3)]]);
  });

  test("hears what was said before behind those who are here and before what came since, made events when it is told", () => {
    const { audience, heard, listener, say } = scene();
    say("Bob is here");
    for (const seq of [1, 2]) audience.keep({ seq } as Post);
    say("now");
    audience.endTurn();
    audience.add(listener);
    audience.endTurn();
    expect(heard).toEqual([["Bob is here", "post 1", "post 2", "now"]]);
  });
});

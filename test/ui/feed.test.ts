/** What goes up the screen, line by line, on a screen of which nothing scrolls away. */
import { describe, expect, test } from "bun:test";
import picocolors from "picocolors";
import { Feed } from "../../lib/ui/feed.ts";
import { Look } from "../../lib/ui/look.ts";
import type { Line } from "../../lib/ui/screen.ts";
import { type TimeForm, Times } from "../../lib/ui/times.ts";
import type { ChatEvent } from "../../lib/ui/view.ts";
import { join, listening, message } from "./fake-chat.ts";

const bob = { name: "Bob", member: "00000000000000b0" };
const day = 86_400_000;

class Page {
  readonly lines: { text: string; key?: string | undefined }[] = [];
  now = 0;
  readonly timers: { readonly at: number; readonly run: () => void }[] = [];
  readonly feed: Feed;
  /** Nothing can be written anew. */
  isFrozen = false;
  isKept = true;

  constructor(form: TimeForm = "24", screenful = 5, colors = false) {
    const times = new Times(form);
    this.feed = new Feed({
      paper: {
        print: lines => {
          for (const line of lines) this.lines.push(typeof line === "string" ? { text: line } : (line as Line));
        },
        replace: (key, text) => {
          const index = this.lines.findLastIndex(line => line.key === key);
          if (index < 0 || this.isFrozen) return false;
          this.lines[index] = { key, text };
          return true;
        },
      },
      look: new Look(picocolors.createColors(colors), times),
      times,
      name: () => "Alice",
      screenful: () => screenful,
      isKept: () => this.isKept,
      now: () => this.now,
      later: (run, ms) => this.timers.push({ at: this.now + ms, run }),
    });
  }

  /** Lets time pass. */
  wait(ms: number): void {
    this.now += ms;
    for (const timer of this.timers.splice(0)) timer.at <= this.now ? timer.run() : this.timers.push(timer);
  }

  get texts(): string[] {
    return this.lines.map(({ text }) => text);
  }
}

const lines = (...events: ChatEvent[]) => {
  const page = new Page();
  page.feed.show(events);
  return page.texts;
};
const own = (text: string, id = "0123456789abcdef"): ChatEvent => ({ ...message(text), id, name: "Alice", own: true });
const past = (text: string, more = {}) => ({ ...message(text), history: true, ...more });
const leave = (name: string, reason: "quit" | "lost" = "quit"): ChatEvent => ({ event: "leave", ...bob, name, reason });

describe("a text", () => {
  test("of several lines stands under its first", () => {
    expect(lines(message("one\ntwo"))).toEqual(["12:04 Bob: one", "      two"]);
  });

  test("says whom it is for, where it is not for all", () => {
    const direct = { ...message("psst"), event: "direct", to: "Alice" } as const;
    expect(lines(direct, { ...direct, own: true, to: "Carol" })).toEqual([
      "12:04 Bob → you: psst",
      "12:04 Bob → Carol: psst",
    ]);
  });

  test("can be something one does", () => {
    expect(lines({ ...message("waves"), action: true })).toEqual(["12:04 * Bob waves"]);
  });

  test("with a time that is none does not stop the show", () => {
    expect(lines({ ...message("x"), at: 9e99 })).toEqual(["--:-- Bob: x"]);
  });

  test("has times as the user wants them", () => {
    const shown = (form: TimeForm) => {
      const page = new Page(form);
      page.feed.show([message("one\ntwo")]);
      return page.texts;
    };
    expect(shown("12")).toEqual(["12:04 pm Bob: one", "         two"]);
    expect(shown("off")).toEqual(["Bob: one", "  two"]);
  });

  test("written from right to left cannot reorder what stands around it", () => {
    expect(lines(message("שלום 123"))).toEqual(["12:04 Bob: \u2068שלום 123\u2069"]);
    expect(lines({ ...message("x"), name: "עלי" })).toEqual(["12:04 \u2068עלי\u2069: x"]);
  });
});

describe("a mention", () => {
  const shows = (text: string, rule: "mentions" | "all" | "off" = "mentions", event: Partial<ChatEvent> = {}) => {
    const page = new Page("24", 5, true);
    const rings = page.feed.show([{ ...message(text), ...event } as ChatEvent], rule);
    return [rings, page.texts[0]?.includes("\x1b[7m")];
  };

  test("stands out and rings, in whatever case, as a word of its own", () => {
    expect(shows("hi Alice!")).toEqual([true, true]);
    expect(shows("hi alice")).toEqual([true, true]);
    expect(shows("Alicent, malice, Alice_")).toEqual([false, false]);
    expect(shows("hi")).toEqual([false, false]);
  });

  test("rings by the rule of the user", () => {
    expect(shows("hi Alice", "off")).toEqual([false, true]);
    expect(shows("hi", "all")).toEqual([true, false]);
    expect(shows("psst", "mentions", { event: "direct", to: "Alice" })).toEqual([true, false]);
    expect(shows("Alice", "all", { own: true })).toEqual([false, false]);
    expect(shows("Alice", "all", { history: true })).toEqual([false, false]);
  });
});

describe("presence", () => {
  test("is told in words", () => {
    const events = [join("Bob", true), join("Carol"), leave("Bob"), leave("Bob", "lost")];
    const renamed: ChatEvent = { event: "rename", member: bob.member, from: "Bob", to: "Bert" };
    expect(lines(...events, renamed)).toEqual([
      "• Bob is here",
      "→ Carol joined",
      "← Bob left",
      "← Bob was lost",
      "• Bob is now Bert",
    ]);
  });

  test("of many at once is one line, which goes on until something else is said", () => {
    const page = new Page();
    page.feed.show(["A", "B", "C", "D", "E", "F", "G"].map(name => join(name)));
    page.feed.show([leave("A"), leave("B", "lost")]);
    expect(page.texts).toEqual([
      "→ A joined",
      "→ B joined",
      "→ C joined",
      "→ D, E, F, G joined  ← A left  ← B was lost",
    ]);
    page.feed.show([message("hello"), join("H")]);
    expect(page.texts.slice(4)).toEqual(["12:04 Bob: hello", "→ H joined"]);
  });

  test("of all who are there on arrival is one line, too", () => {
    expect(lines(...["A", "B", "C", "D", "E"].map(name => join(name, true)))).toEqual([
      "• A, B, C and 2 others are here",
    ]);
  });
});

describe("the past", () => {
  test("is ruled off before and after, as soon as it ends", () => {
    const old = past("old", { at: Date.now() });
    const shown = lines(join("Carol", true), old, old);
    expect(shown.map(line => line.replace(/^\d\d:\d\d /, ""))).toEqual([
      "• Carol is here",
      "── history ──",
      "Bob: old",
      "Bob: old",
      "── now ──",
    ]);
  });

  test("that was seen is a screenful, then comes what was missed", () => {
    const at = Date.now();
    const seen = Array.from({ length: 20 }, (_, index) => past(`seen ${index}`, { seen: true, at }));
    const shown = lines(...seen, past("missed", { at })).map(line => line.replace(/^\d\d:\d\d Bob: /, ""));
    expect(shown).toEqual([
      "── history ──",
      ...[15, 16, 17, 18, 19].map(index => `seen ${index}`),
      "── while you were away ──",
      "missed",
      "── now ──",
    ]);
  });

  test("that is long shows its end, and how much more there is", () => {
    const shown = lines(...Array.from({ length: 1_500 }, (_, index) => past(`text ${index}`, { at: Date.now() })));
    expect(shown.slice(0, 3).map(line => line.replace(/^\d\d:\d\d /, ""))).toEqual([
      "── history ──",
      "── 500 more: /history 1500 ──",
      "Bob: text 500",
    ]);
    expect(shown).toHaveLength(1_003);
  });

  test("that is longer than a listing, or is not kept, says no more than can be had", () => {
    const missed = Array.from({ length: 12_000 }, (_, index) => past(`text ${index}`, { at: Date.now() }));
    expect(lines(...missed)[1]).toBe("── 11,000 more: /history 10000 ──");
    const page = new Page();
    page.isKept = false;
    page.feed.show(missed);
    expect(page.texts[1]).toBe("── 11,000 more ──");
  });

  test("of other days says which, and a new day is announced", () => {
    const at = new Date(2026, 0, 2, 23, 59).getTime();
    expect(lines(past("old", { at }), { ...message("new"), at: at + day })).toEqual([
      "── history ──",
      "── Friday, 2 January 2026 ──",
      "23:59 Bob: old",
      "── now ──",
      "── Saturday, 3 January 2026 ──",
      "23:59 Bob: new",
    ]);
  });
});

describe("the mark of one's own text", () => {
  const reached = (count: number, linked: number): ChatEvent => {
    return { event: "reached", id: "0123456789abcdef", reached: count, linked };
  };

  test("says that all have it, at once where links are fast", () => {
    const page = new Page();
    page.feed.show([own("hello")]);
    page.feed.show([reached(0, 2)]);
    expect(page.texts).toEqual(["12:04 Alice: hello"]);
    page.feed.show([reached(2, 2)]);
    expect(page.texts).toEqual(["12:04 Alice: hello ✓"]);
  });

  test("counts where they are slow", () => {
    const page = new Page();
    page.feed.show([own("one\ntwo")]);
    page.feed.show([reached(4, 5)]);
    page.wait(1_000);
    expect(page.texts).toEqual(["12:04 Alice: one", "      two ✓ 4/5"]);
    page.feed.show([reached(5, 5)]);
    expect(page.texts[1]).toBe("      two ✓");
  });

  test("says that a text is kept where nobody is", () => {
    const page = new Page();
    page.feed.show([own("hello"), reached(0, 0)]);
    page.wait(1_000);
    expect(page.texts).toEqual(["12:04 Alice: hello  (kept until someone is here)"]);
  });
});

describe("a flood", () => {
  const flood = (count: number, from = 0) =>
    Array.from({ length: count }, (_, index) => message(`text ${from + index}`));

  test("is folded into one line that counts, and nobody else waits behind it", () => {
    const page = new Page();
    page.feed.show(flood(5_000));
    page.feed.show([{ ...message("hello"), name: "Carol", member: "00000000000000c0" }]);
    expect(page.texts).toHaveLength(2_002);
    expect(page.texts.at(-2)).toBe("Bob: 1 more line (/history Bob 1)");
    page.wait(500);
    expect(page.texts.slice(-2)).toEqual(["Bob: 3,000 more lines (/history Bob 3000)", "12:04 Carol: hello"]);
    page.feed.show(flood(204, 5_000));
    page.wait(500);
    expect(page.texts.slice(-2)).toEqual(["Bob: 3,204 more lines (/history Bob 3204)", "12:04 Carol: hello"]);
  });

  test("whose line has scrolled away counts on a new one", () => {
    const page = new Page();
    page.feed.show(flood(2_100));
    page.isFrozen = true;
    page.wait(500);
    expect(page.texts.slice(-2)).toEqual([
      "Bob: 1 more line (/history Bob 1)",
      "Bob: 100 more lines (/history Bob 100)",
    ]);
  });

  test("that is over is forgiven", () => {
    const page = new Page();
    page.feed.show(flood(2_010));
    page.wait(10_000);
    page.feed.show([message("sorry")]);
    expect(page.texts.slice(-2)).toEqual(["Bob: 10 more lines (/history Bob 10)", "12:04 Bob: sorry"]);
  });

  test("of lines in one text is one, too", () => {
    const page = new Page();
    page.feed.show([message(Array(2_500).fill("x").join("\n"))]);
    expect(page.texts).toHaveLength(2_001);
    expect(page.texts.at(-1)).toBe("Bob: 500 more lines (/history Bob 500)");
  });

  test("is asked for as far as a listing goes, and not at all where nothing is kept", () => {
    const page = new Page();
    page.feed.show(flood(19_997));
    page.wait(500);
    expect(page.texts.at(-1)).toBe("Bob: 17,997 more lines (/history Bob 10000)");
    page.isKept = false;
    page.feed.show(flood(3));
    page.wait(500);
    expect(page.texts.at(-1)).toBe("Bob: 18,000 more lines");
  });

  test("of one's own is shown", () => {
    const page = new Page();
    page.feed.show(flood(3_000).map(event => ({ ...event, own: true })));
    expect(page.texts).toHaveLength(3_000);
  });
});

test("the opening tells where one is, and what a friend types", () => {
  const opening = lines(listening).join("\n");
  expect(opening).toContain("Alice at address 192.168.1.20 is listening at 55107.");
  expect(opening).toContain("./p2pchat <name> 192.168.1.20 55107");
  expect(opening).toContain("/help");
});

test("a member keeps its colour, and without colours there are none", () => {
  const look = new Look(picocolors.createColors(true));
  expect(look.name("Bob", bob.member)).toBe(look.name("Bob", bob.member));
  expect(look.name("Bob", bob.member)).toContain("\x1b[");
  expect(lines(message("x"), join("Carol")).join("")).not.toContain("\x1b");
});

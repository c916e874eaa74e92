import { describe, expect, test } from "bun:test";
import picocolors from "picocolors";
import { plainText, TerminalFormat } from "../../lib/ui/format.ts";
import type { ChatEvent } from "../../lib/ui/view.ts";
import { join, listening, member, message } from "./fake-chat.ts";

const bob = { name: "Bob", member: "00000000000000b0" };

describe("plain", () => {
  const cases: readonly (readonly [ChatEvent, string])[] = [
    [listening, ">INFO: Alice at address 192.168.1.20 is listening at 55107.\n"],
    [message("hello"), "Bob: hello\n"],
    [message("one\ntwo\n\nfour"), "Bob: one\nBob: two\nBob: \nBob: four\n"],
    [{ ...message("mine"), own: true }, ""],
    [{ ...message("from my last run"), own: true, history: true }, "Bob: from my last run\n"],
    [{ ...message("old"), history: true }, "Bob: old\n"],
    [{ ...message("psst"), event: "direct", to: "Alice" }, "Bob (direct): psst\n"],
    [join("Bob"), ">INFO: Bob joined.\n"],
    [join("Bob", true), ">INFO: Bob joined.\n"],
    [{ event: "leave", ...bob, reason: "quit" }, ">INFO: Bob left.\n"],
    [{ event: "leave", ...bob, reason: "lost" }, ">INFO: Bob was lost.\n"],
    [{ event: "rename", member: bob.member, from: "Bob", to: "Bert" }, ">INFO: Bob is now Bert.\n"],
    [{ event: "error", code: "bad_name", message: "no\nsuch" }, ">ERROR: no such\n"],
    [{ event: "notice", level: "info", message: "fine" }, ">INFO: fine\n"],
    [{ event: "members", members: [member("Bob", 1.26)] }, ">INFO: Bob  10.0.0.5:4000  linked  1.3 ms\n"],
  ];
  for (const [event, expected] of cases) {
    test(`${JSON.stringify(event).slice(0, 60)} is ${JSON.stringify(expected)}`, () => {
      expect(plainText(event)).toBe(expected);
    });
  }

  test("a text cannot pass for a line of another member, nor for one of ours", () => {
    expect(plainText(message("x\r>INFO: Bob left.\x1b[1A\nCarol: y"))).toBe("Bob: x>INFO: Bob left.\nBob: Carol: y\n");
    expect(plainText({ ...message("x"), name: "Bob: hi\nCarol\x1b[m" })).toBe("Bob: hi Carol: x\n");
  });
});

describe("terminal", () => {
  const lines = (...events: ChatEvent[]) => {
    const format = new TerminalFormat(picocolors.createColors(false));
    return events.flatMap(event => format.lines(event));
  };

  test("lines of one text stand under the first", () => {
    expect(lines(message("one\ntwo"))).toEqual(["12:04 Bob: one", "      two"]);
  });

  test("presence is told in words", () => {
    expect(
      lines(
        join("Bob", true),
        join("Carol"),
        { event: "leave", ...bob, reason: "quit" },
        { event: "leave", ...bob, reason: "lost" },
        { event: "rename", member: bob.member, from: "Bob", to: "Bert" },
      ),
    ).toEqual(["• Bob is here", "→ Carol joined", "← Bob left", "← Bob was lost", "• Bob is now Bert"]);
  });

  test("the opening tells where one is, and what a friend types", () => {
    const opening = lines(listening).join("\n");
    expect(opening).toContain("Alice at address 192.168.1.20 is listening at 55107.");
    expect(opening).toContain("./p2pchat <name> 192.168.1.20 55107");
    expect(opening).toContain("/help");
  });

  test("history is ruled off before and after", () => {
    const old = { ...message("old"), history: true };
    expect(lines(old, join("Carol", true), old, message("new"))).toEqual([
      "── history ──",
      "12:04 Bob: old",
      "• Carol is here",
      "12:04 Bob: old",
      "── now ──",
      "12:04 Bob: new",
    ]);
  });

  test("direct messages say whom they are for", () => {
    const direct = { ...message("psst"), event: "direct", to: "Alice" } as const;
    expect(lines(direct, { ...direct, own: true, to: "Carol" })).toEqual([
      "12:04 Bob → you: psst",
      "12:04 Bob → Carol: psst",
    ]);
  });

  test("a time that is none does not stop the show", () => {
    expect(lines({ ...message("x"), at: 9e99 })).toEqual(["--:-- Bob: x"]);
  });

  test("a member keeps its colour, and without colours there are none", () => {
    const format = new TerminalFormat(picocolors.createColors(true));
    expect(format.name("Bob", bob.member)).toBe(format.name("Bob", bob.member));
    expect(format.name("Bob", bob.member)).toContain("\x1b[");
    expect(lines(message("x"), join("Carol")).join("")).not.toContain("\x1b");
  });
});

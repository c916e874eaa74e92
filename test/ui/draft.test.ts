import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Draft, graphemes } from "../../lib/ui/draft.ts";
import type { Action } from "../../lib/ui/keys.ts";

/** The draft with a bar where the cursor stands. */
const show = ({ text, cursor }: Draft) => `${text.slice(0, cursor)}|${text.slice(cursor)}`;

/** `state`: a draft with a bar for the cursor. */
function after(state: string, ...actions: Action[]): string {
  const [left = "", right = ""] = state.split("|");
  const draft = new Draft();
  draft.insert(right);
  while (draft.cursor > 0) draft.handle(draft.text[draft.cursor - 1] === "\n" ? "left" : "home");
  draft.insert(left);
  for (const action of actions) draft.handle(action);
  return show(draft);
}

test("the cursor steps over what is seen as one character", () => {
  for (const grapheme of ["a", "é", "e\u0301", "漢", "👍🏽", "🇩🇪", "👩‍👩‍👧‍👦", "❤️", "각", "\n"]) {
    expect(after(`x${grapheme}|y`, "left")).toBe(`x|${grapheme}y`);
    expect(after(`x|${grapheme}y`, "right")).toBe(`x${grapheme}|y`);
    expect(after(`x${grapheme}|y`, "backspace")).toBe("x|y");
    expect(after(`x|${grapheme}y`, "delete")).toBe("x|y");
    expect(after(`x|${grapheme}y`, "delete-or-quit")).toBe("x|y");
  }
});

test("what is thrown away can be yanked back, and up begins at the last line again", () => {
  const draft = new Draft(["first", "last"]);
  draft.handle("up");
  draft.handle("up");
  draft.insert("\nand more");
  draft.clear();
  expect(show(draft)).toBe("|");
  draft.handle("yank");
  expect(show(draft)).toBe("first\nand more|");
  draft.clear();
  draft.handle("up");
  expect(show(draft)).toBe("last|");
});

test("at the ends nothing happens", () => {
  expect(after("|ab", "left", "backspace", "word-left", "kill-to-start")).toBe("|ab");
  expect(after("ab|", "right", "delete", "word-right", "kill-to-end")).toBe("ab|");
});

test("words are jumped over and killed", () => {
  expect(after("one two, three|", "word-left")).toBe("one two, |three");
  expect(after("one two, |three", "word-left")).toBe("one |two, three");
  expect(after("one| two, three", "word-right")).toBe("one two|, three");
  expect(after("one two, three|", "kill-word-left")).toBe("one two, |");
  expect(after("see http://a.b/c |x", "kill-blank-word-left")).toBe("see |x");
  expect(after("|one two", "kill-word-right")).toBe("| two");
  expect(after("漢字 かな|", "word-left", "word-left")).toBe("|漢字 かな");
});

test("Home, End and the kills stay within their line, then take the line feed", () => {
  expect(after("one\ntw|o\nthree", "home")).toBe("one\n|two\nthree");
  expect(after("one\ntw|o\nthree", "end")).toBe("one\ntwo|\nthree");
  expect(after("one\ntw|o\nthree", "kill-to-start")).toBe("one\n|o\nthree");
  expect(after("one\ntw|o\nthree", "kill-to-end")).toBe("one\ntw|\nthree");
  expect(after("one\n|two", "kill-to-start")).toBe("one|two");
  expect(after("one|\ntwo", "kill-to-end")).toBe("one|two");
});

test("what was killed comes back, kills in a row in one piece", () => {
  expect(after("one two| three", "kill-to-end", "home", "yank")).toBe(" three|one two");
  expect(after("one two three|", "kill-word-left", "kill-word-left", "home", "yank")).toBe("two three|one ");
  expect(after("one| two", "kill-word-right", "kill-to-start", "yank", "yank")).toBe("one twoone two|");
  expect(after("ab|", "kill-to-start", "kill-to-start", "yank")).toBe("ab|");
});

test("a new line is put in anywhere, and up and down go from line to line", () => {
  expect(after("ab|cd", "newline")).toBe("ab\n|cd");
  expect(after("abc\nde|f", "up")).toBe("ab|c\ndef");
  expect(after("abc|\nd\nefg", "down")).toBe("abc\nd|\nefg");
  expect(after("a👩‍👩‍👧‍👦b\nxyz|", "up")).toBe("a|👩‍👩‍👧‍👦b\nxyz");
});

describe("history", () => {
  test("up brings earlier lines, down the draft", () => {
    const draft = new Draft();
    for (const line of ["one", "two", "two"]) draft.remember(line);
    draft.insert("dra");
    draft.insert("ft");
    const seen = (["up", "up", "up", "down", "down", "down"] as const).map(action => {
      draft.handle(action);
      return show(draft);
    });
    expect(seen).toEqual(["two|", "one|", "one|", "two|", "draft|", "draft|"]);
  });

  test("a line that was sent is the latest, and the draft is empty", () => {
    const draft = new Draft();
    draft.insert("one");
    draft.remember("one");
    expect(show(draft)).toBe("|");
    draft.handle("up");
    expect(show(draft)).toBe("one|");
  });
});

test("what is inserted is clean, but tabs stay", () => {
  const draft = new Draft();
  draft.insert("a\x1b[31mb\tc\x07\u202ed");
  expect(show(draft)).toBe("ab\tcd|");
});

test("what does not fit is refused and changes nothing", () => {
  const draft = new Draft();
  expect(draft.insert("x".repeat(200_000))).toBe(true);
  expect(draft.insert("y".repeat(200_000))).toBe(false);
  expect(draft.text.length).toBe(200_000);
});

test("whatever is done, the cursor stands between graphemes", () => {
  const pieces = ["a", " ", "é", "\u0301", "漢", "👩", "\u200d", "👧", "🏽", "🇩", "🇪", "\n", "❤️", "\t"];
  const actions: Action[] = [
    "left",
    "right",
    "up",
    "down",
    "home",
    "end",
    "word-left",
    "word-right",
    "backspace",
    "delete",
    "newline",
    "yank",
    "kill-to-end",
    "kill-to-start",
    "kill-word-left",
    "kill-word-right",
    "kill-blank-word-left",
  ];
  const step = fc.oneof(
    fc.constantFrom(...pieces).map(text => ({ text })),
    fc.constantFrom(...actions).map(action => ({ action })),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), steps => {
      const draft = new Draft();
      for (const done of steps) {
        if ("text" in done) draft.insert(done.text);
        else draft.handle(done.action);
        const { text, cursor } = draft;
        const edges = new Set([0]);
        let at = 0;
        for (const line of text.split("\n")) {
          edges.add(at);
          for (const grapheme of graphemes(line)) {
            at += grapheme.length;
            edges.add(at);
          }
          at++;
        }
        expect(edges.has(cursor) ? [] : [text, cursor]).toEqual([]);
      }
    }),
    { numRuns: 500 },
  );
});

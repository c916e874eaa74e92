import { expect, test } from "bun:test";
import fc from "fast-check";
import { cleanLine, cleanText } from "../../lib/ui/clean.ts";

const escapes: readonly (readonly [name: string, dirty: string, clean: string])[] = [
  ["a colour", "a\x1b[1;31mb\x1b[mc", "abc"],
  ["a cursor movement with private parameters", "a\x1b[?25lb\x1b[>4;2mc", "abc"],
  ["a title, ended by BEL", "a\x1b]0;evil\x07b", "ab"],
  ["a link, ended by ST", "a\x1b]8;;http://evil\x1b\\b\x1b]8;;\x1b\\c", "abc"],
  ["an unterminated title, up to the end of its line", "a\x1b]0;evil\nb", "a\nb"],
  ["a device control string", "a\x1bPq#0evil\x1b\\b", "ab"],
  ["a privacy message and an application command", "a\x1b^x\x1b\\b\x1b_x\x1b\\c", "abc"],
  ["the eight-bit CSI and OSC", "a\x9b2Jb\x9d0;evil\x9cc", "abc"],
  ["a character set and a reset", "a\x1b(0b\x1bcc", "abc"],
  ["an escape inside an escape", "a\x1b[\x1b[31mb", "ab"],
  ["an escape at the end", "a\x1b", "a"],
  ["a bell, a backspace, a carriage return and a delete", "a\x07\b\r\x7fb", "ab"],
  ["a tab", "a\tb", "a    b"],
  ["Windows line ends", "a\r\nb", "a\nb"],
  ["line and paragraph separators", "a\u2028b\u2029c", "a\nb\nc"],
  ["bidi marks, overrides and isolates", "a\u202eb\u202c\u2067c\u2069\u200fd\u061c", "abcd"],
  ["what is invisible", "a\u200bb\u2060c\ufeffd\u00ade\u3164f\u115f", "abcdef"],
  ["tags", "a\u{e0041}\u{e007f}b", "ab"],
  ["joiners and selectors on their own", "a\u200db\ufe0fc\u200d", "abc"],
  ["half a pair", "a\ud800b", "ab"],
];

for (const [name, dirty, clean] of escapes) {
  test(`${name} does not get through`, () => {
    expect(cleanText(dirty)).toBe(clean);
  });
}

test("emoji stay whole: families, flags, skin tones, hearts and key caps", () => {
  const emoji = "👩‍👩‍👧‍👦 🇩🇪 👍🏽 ❤️ 1️⃣ 🏳️‍🌈 👩🏽‍🚀 ☺︎";
  expect(cleanText(emoji)).toBe(emoji);
});

test("words of many scripts stay as they are", () => {
  const words = "Grüße, привет, 漢字かな, 한국어, ภาษาไทย, हिन्दी, שלום, e\u0301";
  expect(cleanText(words)).toBe(words);
});

test("marks do not pile up over the lines around", () => {
  expect(cleanText(`a${"\u0301".repeat(100)}`)).toBe(`a${"\u0301".repeat(8)}`);
});

test("a line has no line feeds", () => {
  expect(cleanLine("a\nb\r\nc\u2028d")).toBe("a b c d");
});

test("whatever comes in, nothing a terminal acts upon comes out, and cleaning twice changes nothing", () => {
  const unit = fc.oneof(
    fc.constantFrom(
      "\x1b",
      "[",
      "]",
      "P",
      "\x9b",
      "\x07",
      "\\",
      "m",
      "0",
      ";",
      "\u202e",
      "\u200d",
      "👩",
      "\ufe0f",
      "\n",
      "\t",
    ),
    fc.string({ unit: "binary", maxLength: 3 }),
  );
  fc.assert(
    fc.property(fc.array(unit, { maxLength: 30 }), parts => {
      const clean = cleanText(parts.join(""));
      expect(clean).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/);
      expect(cleanLine(clean)).not.toContain("\n");
    }),
  );
});

test("a text full of unfinished escapes takes no longer than a tame one", () => {
  const started = performance.now();
  for (const part of ["\x1b[", "\x1b]", "\x1b[0", "\x1b", "\u200d", "\u0301", "\x1bP\x1b"])
    cleanText(part.repeat(20_000));
  expect(performance.now() - started).toBeLessThan(5_000);
});

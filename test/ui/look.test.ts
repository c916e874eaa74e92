/** Colours: that they can be read on a dark and on a light ground, and that terminals get none they do not know. */
import { describe, expect, test } from "bun:test";
import picocolors from "picocolors";
import { Look } from "../../lib/ui/look.ts";
import { coloursOf } from "../../lib/ui/spell.ts";
import { memberLines } from "../../lib/ui/tables.ts";
import { Times } from "../../lib/ui/times.ts";
import { member, message } from "./fake-chat.ts";

type Rgb = readonly [number, number, number];

/** What terminals make of the colours 0 to 15, in the order of SGR: 30 to 37, 90 to 97. */
const PALETTES: Readonly<Record<string, string>> = {
  xterm:
    "000000 cd0000 00cd00 cdcd00 0000ee cd00cd 00cdcd e5e5e5 7f7f7f ff0000 00ff00 ffff00 5c5cff ff00ff 00ffff ffffff",
  "the Linux console":
    "000000 aa0000 00aa00 aa5500 0000aa aa00aa 00aaaa aaaaaa 555555 ff5555 55ff55 ffff55 5555ff ff55ff 55ffff ffffff",
  GNOME:
    "2e3436 cc0000 4e9a06 c4a000 3465a4 75507b 06989a d3d7cf 555753 ef2929 8ae234 fce94f 729fcf ad7fa8 34e2e2 eeeeec",
  Windows:
    "0c0c0c c50f1f 13a10e c19c00 0037da 881798 3a96dd cccccc 767676 e74856 16c60c f9f1a5 3b78ff b4009e 61d6d6 f2f2f2",
  macOS:
    "000000 c23621 25bc24 adad27 492ee1 d338d3 33bbc8 cbcccd 818383 fc391f 31e722 eaec23 5833ff f935f8 14f0f0 e9ebeb",
};

/** WCAG 2.2: from 1 to 21. */
function contrast(one: Rgb, other: Rgb): number {
  const [dark = 0, light = 0] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (light + 0.05) / (dark + 0.05);
}

function luminance(rgb: Rgb): number {
  const [red = 0, green = 0, blue = 0] = rgb.map(value => {
    const share = value / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

/** The colours 16 to 231 of 256, which no palette changes. */
function cube(code: number): Rgb {
  const level = (digit: number) => (digit === 0 ? 0 : 55 + 40 * digit);
  const index = code - 16;
  return [level(Math.floor(index / 36)), level(Math.floor(index / 6) % 6), level(index % 6)];
}

function worst(rgb: Rgb): number {
  return Math.min(contrast(rgb, [0, 0, 0]), contrast(rgb, [255, 255, 255]));
}

/** All that the look paints, for many members. */
function painted(count: 256 | 16): string {
  const look = new Look(picocolors.createColors(true), new Times(), () => 80, undefined, count);
  const members = Array.from({ length: 64 }, (_, index) => `00000000000${(index * 977).toString(16).padStart(5, "0")}`);
  return [
    ...members.map(member => look.name("Bob", member)),
    ...look.message({ ...message("hello Alice"), history: true }, /Alice/g),
    ...look.lines({ event: "listening", name: "Alice", member: "00000000000000a1", address: "::1", port: 1 }),
    ...look.lines({ event: "notice", level: "warning", message: "look out" }),
    ...look.lines({ event: "error", code: "unreachable", message: "no link" }),
    ...look.reply("/who", ["one"]),
    look.presence(["Bob"], [], ["Carol"]),
    look.closing(),
  ].join("\n");
}

const colours = (text: string) =>
  new Set(Array.from(text.matchAll(/\x1b\[((?:38;5;)?\d+)m/g), ([, code = ""]) => code));

describe("on a black and on a white ground", () => {
  test("256 colours have as much contrast as there can be with both", () => {
    const codes = [...colours(painted(256))].filter(code => code.startsWith("38;5;"));
    expect(codes.length).toBeGreaterThanOrEqual(8);
    for (const code of codes) expect(worst(cube(Number(code.slice(5))))).toBeGreaterThanOrEqual(4.1);
  });

  test.each(Object.entries(PALETTES))("16 colours can be read with the palette of %s", (_name, palette) => {
    const rgb = palette
      .split(" ")
      .map(hex => [0, 2, 4].map(at => Number.parseInt(hex.slice(at, at + 2), 16)) as unknown as Rgb);
    const codes = [...colours(painted(16))]
      .map(Number)
      .filter(code => (code >= 30 && code < 38) || (code >= 90 && code < 98));
    // Gray is for lines that mean nothing.
    const words = codes.filter(code => code !== 90);
    expect(words.length).toBeGreaterThanOrEqual(4);
    for (const code of words)
      expect(worst(rgb[code < 90 ? code - 30 : code - 82] ?? [0, 0, 0])).toBeGreaterThanOrEqual(2.5);
  });
});

test("a terminal of 16 colours gets none of the 256, and one that wants none gets none", () => {
  expect(painted(16)).not.toMatch(/\x1b\[[34]8;/);
  const look = new Look(picocolors.createColors(false), new Times(), () => 80, undefined, 256);
  const all = [
    ...look.lines({ event: "notice", level: "warning", message: "x" }),
    look.name("Bob", "00000000000000b0"),
  ];
  expect(all.join("\n")).not.toContain("\x1b[");
});

test("how many colours there are is what TERM and COLORTERM say", () => {
  expect(["xterm", "linux", "screen", undefined].map(TERM => coloursOf({ TERM }))).toEqual([16, 16, 16, 16]);
  expect(["xterm-256color", "tmux-256color", "xterm-direct"].map(TERM => coloursOf({ TERM }))).toEqual([256, 256, 256]);
  expect(coloursOf({ TERM: "foot", COLORTERM: "truecolor" })).toBe(256);
});

test("a table on a narrow screen keeps its short cells whole, and its second column below the first", () => {
  const members = [
    { ...member("Bob", 2.14), idle_ms: 24_000 },
    { ...member("Carol"), away: "gone fishing" },
  ];
  const rows = (columns: number) =>
    new Look(picocolors.createColors(false), new Times(), () => columns).reply("/who", memberLines(members)).slice(1);
  expect(rows(80)).toEqual([
    "│ Bob    10.0.0.5:4000  linked   2.1 ms  idle 24 s",
    "│ Carol  10.0.0.5:4000  relayed                     away: gone fishing",
  ]);
  expect(rows(40)).toEqual([
    "│ Bob    10.0.0.5:4000  linked   2.1 ms",
    "│        idle 24 s",
    "│ Carol  10.0.0.5:4000  relayed",
    "│        away: gone fishing",
  ]);
  expect(rows(24)).toEqual([
    ...["│ Bob", "│   10.0.0.5:4000", "│   linked   2.1 ms", "│   idle 24 s"],
    ...["│ Carol", "│   10.0.0.5:4000", "│   relayed", "│   away: gone fishing"],
  ]);
});

test("what somebody said is no table, whatever spaces are in it", () => {
  const look = new Look(picocolors.createColors(false), new Times(), () => 40);
  expect(look.reply("/search x", ["12:04 Bob: if (x)    return y; // and so on and on"]).slice(1)).toEqual([
    "│ 12:04 Bob: if (x)    return y; // and",
    "│   so on and on",
  ]);
});

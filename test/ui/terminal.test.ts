/** The terminal front in a real PTY, by what its screen shows. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import type { TerminalSetup } from "../e2e/terminal.ts";
import { join, listening, message } from "./fake-chat.ts";
import { Stage } from "./stage.ts";

setDefaultTimeout(30_000);

const family = "👩‍👩‍👧‍👦";
const keys = {
  altB: "\x1bb",
  altEnter: "\x1b\r",
  ctrlA: "\x01",
  ctrlC: "\x03",
  ctrlD: "\x04",
  ctrlE: "\x05",
  ctrlL: "\x0c",
  ctrlU: "\x15",
  ctrlW: "\x17",
  ctrlY: "\x19",
  down: "\x1b[B",
  enter: "\r",
  escape: "\x1b",
  left: "\x1b[D",
  up: "\x1b[A",
  wordLeft: "\x1b[1;5D",
};

/** The row of the prompt and what is below it, and the cursor relative to it. */
function frame({ terminal }: Stage) {
  const screen = terminal.screen();
  const top = screen.findLastIndex(row => row.includes("›"));
  const rows = screen.slice(top);
  while (rows.at(-1) === "") rows.pop();
  const { x, y } = terminal.cursor();
  return { rows, cursor: [x, y - top] };
}

/** Has the frame become this? Cells compared as they stand on the screen. */
async function frameIs(stage: Stage, rows: string[], cursor: [column: number, row: number]): Promise<void> {
  const wanted = JSON.stringify({ rows, cursor });
  await stage.terminal.until(() => JSON.stringify(frame(stage)) === wanted, wanted);
}

const sizes: readonly TerminalSetup[] = [
  { cols: 80, rows: 24 },
  { cols: 40, rows: 12 },
];

for (const size of sizes) {
  describe(`at ${size.cols}x${size.rows}`, () => {
    test("what arrives while I type goes above my line, which stays as it is, cursor included", async () => {
      await using stage = await Stage.open(size);
      const { terminal } = stage;
      terminal.type(`hello 漢字 ${family} end${keys.wordLeft}`);
      await frameIs(stage, [`Alice ⋅ 1 › hello 漢字 👩‍👩‍ end`], [26, 0]);
      stage.emit(message("first"));
      await terminal.until("12:04 Bob: first");
      await frameIs(stage, [`Alice ⋅ 1 › hello 漢字 👩‍👩‍ end`], [26, 0]);
      stage.emit(message("two\nlines"), join("Carol"));
      await terminal.until(/12:04 Bob: two\n {6}lines\n→ Carol joined\nAlice ⋅ 2 ›/);
      await frameIs(stage, [`Alice ⋅ 2 › hello 漢字 👩‍👩‍ end`], [26, 0]);
      terminal.type(`!${keys.enter}`);
      await stage.hasDone(`say hello 漢字 ${family} !end`);
    });

    test("a wrapped line stays whole while messages arrive", async () => {
      await using stage = await Stage.open(size);
      const width = (size.cols ?? 80) - 1;
      const text = "漢".repeat(width);
      stage.terminal.type(text);
      const first = Math.floor((width - 12) / 2);
      const row = Math.floor(width / 2);
      const rest = width - first - row;
      const rows = [`Alice ⋅ 1 › ${"漢".repeat(first)}`, "漢".repeat(row), "漢".repeat(rest)].filter(Boolean);
      const cursor: [number, number] = [rest * 2, rows.length - 1];
      await frameIs(stage, rows, cursor);
      for (let index = 0; index < 30; index++) stage.emit(message(`message ${index}`));
      await stage.terminal.until("message 29");
      await frameIs(stage, rows, cursor);
      const above = stage.terminal.scrollback().filter(line => line.includes("Bob: message"));
      expect(above).toEqual(Array.from({ length: 30 }, (_, index) => `12:04 Bob: message ${index}`));
      stage.terminal.type(keys.enter);
      await stage.hasDone(`say ${text}`);
    });
  });
}

describe("a text that does not fit into a row", () => {
  const counted = "one two three four five six seven eight nine ten eleven twelve";

  test("is cut between words, below where it begins, and anew when the window changes", async () => {
    await using stage = await Stage.open({ cols: 40, rows: 12 });
    const { terminal } = stage;
    stage.emit(message(counted));
    await terminal.until(/12:04 Bob: one two three four five six\n {6}seven eight nine ten eleven twelve\nAlice/);
    terminal.resize(30, 12);
    await terminal.until(/^12:04 Bob: one two three four\n {6}five six seven eight\n {6}nine ten eleven twelve\nAlice/);
    terminal.resize(80, 12);
    await terminal.until(`12:04 Bob: ${counted}\nAlice`);
  });

  test("stands behind its sign, where it is the program's", async () => {
    await using stage = await Stage.open({ cols: 40, rows: 12 });
    const { terminal } = stage;
    stage.emit({ event: "topic", name: "Bob", member: "b", text: counted, at: 0, history: false });
    stage.emit({ event: "notice", level: "warning", message: counted });
    await terminal.until(
      /• Bob set the topic: one two three four\n {2}five six seven eight nine ten eleven\n {2}twelve\n▲ one two three.* seven\n {2}eight/,
    );
    terminal.resize(80, 12);
    await terminal.until(/^• Bob set the topic: one.* eleven\n {2}twelve\n▲ .* twelve$/m);
  });

  test("has its mark behind the last word, where there is room for one", async () => {
    await using stage = await Stage.open({ cols: 40, rows: 12 });
    const { terminal } = stage;
    const text = counted.replace("twelve", "12");
    terminal.type(text + keys.enter);
    await stage.hasDone(`say ${text}`);
    terminal.type("next");
    await terminal.until(/Alice: one two three four five six\n {6}seven eight nine ten eleven 12\nAlice ⋅ 1 › next/);
    stage.emit(message("noted"));
    stage.emit({ event: "reached", id: "0123456789abcdef", reached: 1, linked: 1 });
    await terminal.until(/eleven 12 ✓\n12:04 Bob: noted\nAlice ⋅ 1 › next/);
    await frameIs(stage, ["Alice ⋅ 1 › next"], [16, 0]);
  });

  test("by the mark alone, or just so with it, loses nothing", async () => {
    await using stage = await Stage.open({ cols: 40, rows: 12 });
    const reached = { event: "reached", id: "0123456789abcdef" } as const;
    for (const [text, row] of [
      ["one two three four five si", "12:04 Alice: one two three four five si"],
      ["one two three four five s", "12:04 Alice: one two three four five s ✓"],
    ] as const) {
      stage.terminal.type(text);
      stage.terminal.type(keys.enter);
      await stage.hasDone(`say ${text}`);
      stage.emit({ ...reached, reached: 1, linked: 2 });
      stage.emit({ ...reached, reached: 2, linked: 2 });
      await stage.terminal.until(`${row}\nAlice ⋅ 1 ›`);
    }
  });

  test("and has no words is cut anywhere, and goes on below where it begins", async () => {
    await using stage = await Stage.open({ cols: 40, rows: 12 });
    stage.emit(message(`${"漢字".repeat(17)}, 漢字!`));
    const [first, next] = ["漢字".repeat(7), `${"漢字".repeat(8)}漢`];
    await stage.terminal.until(`12:04 Bob: ${first}\n      ${next}\n      字漢字, 漢字!\nAlice`);
    // Fewer characters than the row has cells, and wider all the same.
    stage.emit(message("漢字".repeat(8)));
    await stage.terminal.until(`12:04 Bob: ${first}\n      漢字\nAlice`);
    stage.terminal.resize(80, 12);
    await stage.terminal.until(`12:04 Bob: ${"漢字".repeat(17)},\n      漢字!\n12:04 Bob: ${"漢字".repeat(8)}\nAlice`);
  });

  test("and has an address in it that is longer than a row is cut by the terminal, so that it can be copied", async () => {
    await using stage = await Stage.open({ cols: 40, rows: 12 });
    const address = `https://example.com/${"a".repeat(30)}`;
    stage.emit(message(`look ${address}`));
    await stage.terminal.until(`12:04 Bob: look ${address.slice(0, 24)}\n${address.slice(24)}\n`);
  });
});

test("a resize in the middle of a wrapped wide line, while texts pour in, garbles nothing", async () => {
  await using stage = await Stage.open({ cols: 80, rows: 24 });
  const { terminal } = stage;
  stage.emit(listening);
  const text = `${"漢字".repeat(30)}abc${family}`;
  terminal.type(text + keys.left);
  await terminal.until("abc");
  let sent = 0;
  // By ten members, since one alone would be folded where this takes its time.
  const pour = setInterval(() => {
    stage.emit({ ...message(`text ${sent}`), member: `00000000000000a${sent % 10}` });
    sent += 1;
  }, 5);
  try {
    for (const [cols, rows] of [
      [50, 20],
      [33, 12],
      [61, 15],
      [100, 30],
      [40, 12],
    ] as const) {
      terminal.resize(cols, rows);
      const seen = sent;
      await terminal.until(() => sent > seen + 5, "some texts");
    }
  } finally {
    clearInterval(pour);
  }
  await terminal.until(`text ${sent - 1}`, "the last text");
  // 40 columns: 39 to write in, 12 of them the label's.
  await frameIs(
    stage,
    [
      `Alice ⋅ 1 › ${"漢字".repeat(6)}漢`,
      `字${"漢字".repeat(9)}`,
      `${"漢字".repeat(9)}漢`,
      `字${"漢字".repeat(4)}abc👩‍👩‍`,
    ],
    [21, 3],
  );
  const screen = terminal.screen();
  expect(screen.slice(0, -4)).toEqual(Array.from({ length: 8 }, (_, row) => `12:04 Bob: text ${sent - 8 + row}`));
  terminal.type(keys.enter);
  await stage.hasDone(`say ${text}`);
});

test("a resize keeps the opening, and scrolls the shell's lines away instead of erasing them", async () => {
  await using stage = await Stage.open({ cols: 80, rows: 24 });
  stage.emit(listening);
  await stage.terminal.until("is listening at 55107.");
  stage.terminal.type("draft");
  stage.terminal.resize(60, 20);
  await stage.terminal.until(screen => (screen[0] ?? "").startsWith("┌"), "the opening on top");
  await frameIs(stage, ["Alice ⋅ 1 › draft"], [17, 0]);
});

test("what the keys do to a line is what they do in a shell", async () => {
  await using stage = await Stage.open();
  const { terminal } = stage;
  terminal.type(`one two three${keys.altB}${keys.altB}`);
  await frameIs(stage, ["Alice ⋅ 1 › one two three"], [16, 0]);
  terminal.type(`${keys.ctrlW}${keys.ctrlE}${keys.ctrlY}${keys.ctrlA}x`);
  await frameIs(stage, ["Alice ⋅ 1 › xtwo threeone"], [13, 0]);
  terminal.type(`${keys.ctrlD}${keys.ctrlD}\x7f`);
  await frameIs(stage, ["Alice ⋅ 1 › o threeone"], [12, 0]);
  terminal.type(`${keys.ctrlE}${keys.ctrlU}`);
  await frameIs(stage, ["Alice ⋅ 1 ›"], [12, 0]);
});

test("earlier lines come back with up, the draft with down", async () => {
  await using stage = await Stage.open();
  const { terminal } = stage;
  terminal.type("first\rsecond\r/who\r");
  await terminal.until("│ Alice  192.168.1.20:55107  you");
  await stage.hasDone("say second");
  expect(stage.done).toEqual(["say first", "say second"]);
  terminal.type(`draft${keys.up}`);
  await frameIs(stage, ["Alice ⋅ 1 › /who"], [16, 0]);
  terminal.type(keys.up + keys.up);
  await frameIs(stage, ["Alice ⋅ 1 › first"], [17, 0]);
  terminal.type(keys.down + keys.down + keys.down);
  await frameIs(stage, ["Alice ⋅ 1 › draft"], [17, 0]);
});

test("a paste of several lines is one message, sent with Enter", async () => {
  await using stage = await Stage.open();
  const { terminal } = stage;
  terminal.paste("one\n\ttwo\n:q");
  await frameIs(stage, ["Alice ⋅ 1 › one", "    two", ":q"], [2, 2]);
  expect(stage.done).toEqual([]);
  terminal.type(keys.enter);
  await stage.hasDone("say one\n\ttwo\n:q");
});

test("a paste from a terminal that does not mark it is one message, too", async () => {
  await using stage = await Stage.open();
  stage.terminal.type("one\rtwo\rthree");
  await frameIs(stage, ["Alice ⋅ 1 › one", "two", "three"], [5, 2]);
  stage.terminal.type(keys.enter);
  await stage.hasDone("say one\ntwo\nthree");
});

test("Alt-Enter starts a new line", async () => {
  await using stage = await Stage.open();
  stage.terminal.type(`one${keys.altEnter}two`);
  await frameIs(stage, ["Alice ⋅ 1 › one", "two"], [3, 1]);
  stage.terminal.type(keys.enter);
  await stage.hasDone("say one\ntwo");
});

test("a text that is too long stays, and the reason is below it until the next key", async () => {
  await using stage = await Stage.open();
  const { terminal } = stage;
  terminal.paste("x".repeat(70_000));
  await terminal.until("xxx");
  terminal.type(keys.enter);
  await terminal.until("■ the text is too long: 70000 bytes, 65536 at most");
  expect(stage.done).toEqual([]);
  terminal.type("\x7f");
  await terminal.until(screen => !screen.join("").includes("■"), "the reason to go");
  terminal.type(`${keys.ctrlU}short${keys.enter}`);
  await stage.hasDone("say short");
});

test("an unknown command stays, too, and is not said", async () => {
  await using stage = await Stage.open();
  stage.terminal.type("/hlep\r");
  await stage.terminal.until("did you mean /help?");
  expect(frame(stage).rows[0]).toBe("Alice ⋅ 1 › /hlep");
  expect(stage.done).toEqual([]);
});

describe("a line that was refused", () => {
  test("makes way for the next command, so that what is for one is not said to all", async () => {
    await using stage = await Stage.open();
    const { terminal } = stage;
    stage.emit(join("Bob"));
    terminal.type("/nosuch\r");
    await terminal.until("■ there is no command /nosuch");
    terminal.type("/msg Bob secret");
    await frameIs(stage, ["Alice ⋅ 2 › /msg Bob secret"], [27, 0]);
    terminal.type("\r/history 0\r/search tea\r");
    await stage.hasDone("search tea 50");
    expect(stage.done).toEqual(["direct Bob secret", "search tea 50"]);
    terminal.type("/history 0\r:q\r");
    expect(await terminal.exited).toBe(0);
  });

  test("can be corrected where it stands, and comes back with up where it made way", async () => {
    await using stage = await Stage.open();
    const { terminal } = stage;
    stage.emit(join("Bob"));
    terminal.type("/msg Bob\r");
    await terminal.until("■ it goes like this");
    terminal.type(" see /tmp\r");
    await stage.hasDone("direct Bob see /tmp");
    terminal.type("/msg Bbo hi\r");
    await terminal.until("■ there is no Bbo here");
    terminal.type("/");
    await frameIs(stage, ["Alice ⋅ 2 › /"], [13, 0]);
    terminal.type(keys.up);
    await frameIs(stage, ["Alice ⋅ 2 › /msg Bbo hi"], [23, 0]);
    // Any other key between, and it is a line as others are.
    terminal.type(keys.enter);
    await terminal.until("■ there is no Bbo here");
    terminal.type(`${keys.left}${keys.ctrlE}/`);
    await frameIs(stage, ["Alice ⋅ 2 › /msg Bbo hi/"], [24, 0]);
    expect(stage.done).toEqual(["direct Bob see /tmp"]);
  });
});

test("a draft taller than the screen shows the part around the cursor", async () => {
  await using stage = await Stage.open({ cols: 40, rows: 12 });
  const { terminal } = stage;
  const lines = Array.from({ length: 40 }, (_, index) => `line ${index}`);
  stage.emit(message("above"));
  terminal.paste(lines.join("\n"));
  await terminal.until(/Bob: above\nline 34\nline 35\nline 36\nline 37\nline 38\nline 39/);
  terminal.type(keys.up.repeat(39));
  await terminal.until(/Bob: above\nAlice ⋅ 1 › line 0\nline 1\nline 2\nline 3\nline 4\nline 5/);
  stage.emit(message("more"));
  await terminal.until(/Bob: more\nAlice ⋅ 1 › line 0\n/);
  terminal.type(keys.enter);
  await stage.hasDone(`say ${lines.join("\n")}`);
});

test("Escape twice throws a draft of several lines away, Ctrl-Y brings it back", async () => {
  await using stage = await Stage.open();
  const { terminal } = stage;
  terminal.paste("one\ntwo\nthree");
  const hint = "Escape again throws it away, Ctrl-Y brings it back";
  const rows = ["Alice ⋅ 1 › one", "two", "three"];
  await frameIs(stage, rows, [5, 2]);
  terminal.type(keys.escape);
  await frameIs(stage, [...rows, hint], [5, 2]);
  terminal.type(keys.escape);
  await frameIs(stage, ["Alice ⋅ 1 ›"], [12, 0]);
  terminal.type(keys.ctrlY);
  await frameIs(stage, rows, [5, 2]);
  // Any other key between, and it was a slip.
  terminal.type(keys.escape);
  await frameIs(stage, [...rows, hint], [5, 2]);
  terminal.type("!");
  await frameIs(stage, ["Alice ⋅ 1 › one", "two", "three!"], [6, 2]);
  terminal.type(keys.escape);
  await frameIs(stage, ["Alice ⋅ 1 › one", "two", "three!", hint], [6, 2]);
  terminal.type(keys.enter);
  await stage.hasDone("say one\ntwo\nthree!");
});

test("Escape does not quit, Ctrl-L paints the screen anew", async () => {
  await using stage = await Stage.open();
  const { terminal } = stage;
  stage.emit(message("hello"));
  await terminal.until("Bob: hello");
  // A person's pause: at once after Escape a letter is Alt and the letter, and on a busy machine it may seem at once.
  for (let pauseMs = 150; ; pauseMs *= 2) {
    terminal.type(keys.escape);
    await Bun.sleep(pauseMs);
    terminal.type("draft");
    await terminal.until(/ › d?raft$/m);
    if (terminal.shows(/ › draft$/m)) break;
    terminal.type(keys.ctrlU);
    await frameIs(stage, ["Alice ⋅ 1 ›"], [12, 0]);
  }
  terminal.type(keys.ctrlL);
  await terminal.until(screen => screen[0] === "12:04 Bob: hello", "the message on top");
  await frameIs(stage, ["Alice ⋅ 1 › draft"], [17, 0]);
});

test("nothing that others write moves the cursor or forges a line", async () => {
  await using stage = await Stage.open();
  stage.emit(
    { ...message("\x1b[2J\x1b[1;1Hgot you\x1b]0;title\x07\x9b31m\r\x1b[1A\u202eevil\b"), name: "B\x1b[7mob\n" },
    { ...message("x"), event: "direct", to: "Alice" },
    { event: "error", code: "refused", message: "\x1b[5mno\n" },
  );
  await stage.terminal.until(/^12:04 Bob : got youevil\n12:04 Bob → you: x\n■ no\nAlice/);
  expect(stage.terminal.raw()).not.toContain("\x1b[7m");
});

test("a burst of 10,000 texts by ten members leaves the prompt usable and loses none of them", async () => {
  await using stage = await Stage.open();
  const { terminal } = stage;
  terminal.type("dra");
  await terminal.until("dra");
  for (let batch = 0; batch < 100; batch++) {
    const member = `00000000000000a${batch % 10}`;
    stage.emit(...Array.from({ length: 100 }, (_, index) => ({ ...message(`text ${batch * 100 + index}`), member })));
  }
  terminal.type("ft");
  await terminal.until("text 9999");
  await frameIs(stage, ["Alice ⋅ 1 › draft"], [17, 0]);
  const texts = terminal.scrollback().filter(row => row.startsWith("12:04 Bob: text"));
  expect(texts).toEqual(Array.from({ length: 10_000 }, (_, index) => `12:04 Bob: text ${index}`));
});

test("a member that floods is one line, and the terminal stays usable", async () => {
  await using stage = await Stage.open();
  const { terminal } = stage;
  terminal.type("dra");
  for (let batch = 0; batch < 50; batch++)
    stage.emit(...Array.from({ length: 100 }, (_, index) => message(`text ${batch * 100 + index}`)));
  terminal.type("ft");
  // A slow machine may show some more: a member has a few lines a second.
  const fold = /text (\d+)\nBob: ([\d,]+) more lines .*\n(?:.*hello\n)?Alice ⋅ 1 › draft/;
  const counted = (screen: string[]) => {
    const [, last, folded = ""] = fold.exec(screen.join("\n")) ?? [];
    return Number(last) + 1 + Number(folded.replace(",", "")) === 5_000;
  };
  await terminal.until(counted, "the last text and how many are left out");
  stage.emit({ ...message("hello"), name: "Carol", member: "00000000000000c0" });
  await terminal.until(screen => counted(screen) && screen.join("\n").includes("12:04 Carol: hello\nAlice"), "Carol");
});

test("a long name leaves room to type, and a terminal of one column is survived", async () => {
  await using stage = await Stage.open({ cols: 40, rows: 12, env: { FIXTURE_NAME: "N".repeat(32) } });
  const { terminal } = stage;
  terminal.type("hello");
  await frameIs(stage, [`${"N".repeat(11)}… ⋅ 1 › hello`], [24, 0]);
  for (const columns of [1, 2, 3, 5, 9]) terminal.resize(columns, 5);
  terminal.resize(1, 2);
  terminal.resize(60, 12);
  await terminal.until(/hello$/m);
  terminal.type(keys.enter);
  await stage.hasDone("say hello");
});

const ways: readonly (readonly [string, string])[] = [
  [":q", ":q\r"],
  ["/quit", "/quit\r"],
  ["Ctrl-C", `draft${keys.ctrlC}`],
  ["Ctrl-D on an empty line", keys.ctrlD],
];
for (const [name, typed] of ways) {
  test(`${name} leaves, and the terminal is as it was`, async () => {
    await using stage = await Stage.open();
    stage.terminal.type(typed);
    expect(await stage.terminal.exited).toBe(0);
    await stage.hasDone("end quit");
    expect(stage.done).toEqual(["end quit"]);
    const modesOff = () => stage.terminal.raw().endsWith("\x1b[?7h\x1b[?2004l");
    await stage.terminal.until(screen => modesOff() && screen.includes("└  Left the room."), "the end");
    expect(stage.terminal.isRaw()).toBe(false);
  });
}

test("when the chat ends, so does the front", async () => {
  await using stage = await Stage.open();
  stage.emit();
  expect(await stage.terminal.exited).toBe(0);
  await stage.hasDone("end chat");
  expect(stage.done).toEqual(["end chat"]);
});

test("when the window is closed, the front ends", async () => {
  await using stage = await Stage.open();
  stage.terminal.close();
  // Whichever is noticed first, that nothing can be read or that nothing can be written.
  await stage.hasDone(/^end (quit|output)$/);
});

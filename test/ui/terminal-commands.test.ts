/** Commands, completion, search, marks and the bell in a real PTY, by what its screen shows. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { commands } from "../../lib/ui/commands.ts";
import type { ChatEvent } from "../../lib/ui/view.ts";
import type { TerminalSetup } from "../e2e/terminal.ts";
import { join, listening, message } from "./fake-chat.ts";
import { Stage } from "./stage.ts";

setDefaultTimeout(30_000);

const keys = {
  altEnter: "\x1b\r",
  ctrlG: "\x07",
  ctrlR: "\x12",
  ctrlU: "\x15",
  enter: "\r",
  escape: "\x1b",
  shiftTab: "\x1b[Z",
  tab: "\t",
  up: "\x1b[A",
};

const sizes: readonly TerminalSetup[] = [
  { cols: 80, rows: 24 },
  { cols: 40, rows: 12 },
];

/** The rows of the prompt, and what is below it. */
function frame({ terminal }: Stage): string[] {
  const screen = terminal.screen();
  const rows = screen.slice(screen.findLastIndex(row => row.includes("›")));
  while (rows.at(-1) === "") rows.pop();
  return rows;
}

async function frameIs(stage: Stage, ...rows: string[]): Promise<void> {
  const wanted = JSON.stringify(rows);
  await stage.terminal.until(() => JSON.stringify(frame(stage)) === wanted, wanted);
}

for (const size of sizes) {
  describe(`at ${size.cols}x${size.rows}`, () => {
    test("Tab completes commands, one after the other and back, and says how one goes", async () => {
      await using stage = await Stage.open(size);
      const { terminal } = stage;
      terminal.type(`/wh${keys.tab}`);
      await frameIs(stage, "Alice ⋅ 1 › /who", "/who  /whois");
      terminal.type(keys.tab);
      await frameIs(stage, "Alice ⋅ 1 › /whois", "/who  /whois");
      terminal.type(keys.tab + keys.shiftTab);
      await frameIs(stage, "Alice ⋅ 1 › /whois", "/who  /whois");
      terminal.type(`${keys.ctrlU}/bel${keys.tab}`);
      const hint = "/bell [mentions|all|off]: when the terminal rings while you look away";
      await frameIs(stage, "Alice ⋅ 1 › /bell", size.cols === 40 ? `${hint.slice(0, 38)}…` : hint);
      terminal.type(`o${keys.tab}`);
      await terminal.until("/bell off");
      terminal.type(keys.enter);
      await stage.hasDone("set bell off");
    });

    test("Tab completes names, the first word with a colon, and leaves what follows", async () => {
      await using stage = await Stage.open(size);
      const { terminal } = stage;
      stage.emit(join("Bob"), join("Bert"));
      await terminal.until("Alice ⋅ 3 ›");
      terminal.type(`b${keys.tab}`);
      await frameIs(stage, "Alice ⋅ 3 › Bob:", "Bob:  Bert:");
      terminal.type(`${keys.tab}hi @bo${keys.tab}`);
      await frameIs(stage, "Alice ⋅ 3 › Bert: hi Bob");
      terminal.type(`${keys.ctrlU}/ms${keys.tab}${keys.tab}${keys.tab}psst${keys.enter}`);
      await stage.hasDone("direct Bert psst");
    });

    test("Ctrl-R finds earlier lines, Enter takes one, Ctrl-G and Escape give the draft back", async () => {
      await using stage = await Stage.open(size);
      const { terminal } = stage;
      terminal.type("first one\rsecond two\rthird one\r");
      await stage.hasDone("say third one");
      terminal.type(`draft${keys.ctrlR}ONE`);
      await terminal.until(/› third one\nsearch: ONE/);
      terminal.type(keys.ctrlR);
      await terminal.until(/› first one\nsearch: ONE/);
      terminal.type(keys.ctrlG);
      await frameIs(stage, "Alice ⋅ 1 › draft");
      terminal.type(`${keys.ctrlR}ONE`);
      await terminal.until(/› third one\nsearch: ONE/);
      terminal.type(keys.escape);
      await frameIs(stage, "Alice ⋅ 1 › draft");
      terminal.type(`${keys.ctrlR}two${keys.enter}`);
      await frameIs(stage, "Alice ⋅ 1 › second two");
      expect(stage.done).toHaveLength(3);
      terminal.type(`${keys.ctrlU}${keys.ctrlR}one`);
      await terminal.until(/› third one\nsearch: one {2}/);
      terminal.type("where");
      await terminal.until(/› third one\nsearch: onewhere, not found/);
      terminal.type("\x7f".repeat(5));
      await terminal.until(/search: one {2}/);
    });

    test("an answer is wrapped between words and never wider than the screen", async () => {
      await using stage = await Stage.open(size);
      stage.terminal.type("/help\r");
      await stage.terminal.until(/\/quit \[text\][\s\S]*does Ctrl-C/);
      const rows = stage.terminal.scrollback().filter(row => row.startsWith("│"));
      expect(rows.length).toBeGreaterThan(20);
      if (size.cols === 40)
        expect(rows.join("\n")).toContain("│ /nick <name>\n│   changes your name\n│ /topic [text]\n│   what the room");
      for (const row of rows) expect(row.length).toBeLessThan(size.cols ?? 80);
      expect(rows.map(row => row.slice(1).trim()).join(" ")).toContain("to one member only; nobody else can read it");
    });

    test("the opening is cut between words, and what a friend types not at all", async () => {
      await using stage = await Stage.open(size);
      stage.emit(listening);
      await stage.terminal.until(/ \.\/p2pchat <name> 192\.168\.1\.20 55107\n[\s\S]*:q to leave\./);
      const rows = stage.terminal.scrollback();
      expect(
        rows
          .filter(row => /^[◇│└] {2}/.test(row))
          .map(row => row.slice(3))
          .join(" "),
      ).toStartWith(`Alice at address 192.168.1.20 is listening at 55107. A friend joins with`);
    });

    test("a mark behind one's own text changes in its place, between others' texts", async () => {
      await using stage = await Stage.open(size);
      const { terminal } = stage;
      terminal.type("hello\r");
      await terminal.until("Alice: hello");
      stage.emit(message("grüß dich"), message("you"));
      await terminal.until("Bob: you");
      terminal.type("draft");
      stage.emit({ event: "reached", id: "0123456789abcdef", reached: 1, linked: 2 });
      await terminal.until(/Alice: hello ✓ 1\/2\n12:04 Bob: grüß dich\n12:04 Bob: you\nAlice ⋅ 1 › draft/);
      stage.emit({ event: "reached", id: "0123456789abcdef", reached: 2, linked: 2 });
      await terminal.until(/Alice: hello ✓\n12:04 Bob: grüß dich\n12:04 Bob: you\nAlice ⋅ 1 › draft/);
      expect(terminal.cursor().x).toBe("Alice ⋅ 1 › draft".length);
    });

    test("joins and leaves that pile up are one line", async () => {
      await using stage = await Stage.open(size);
      for (const name of ["A", "B", "C", "D", "E"]) stage.emit(join(name));
      stage.emit({ event: "leave", name: "A", member: "00000000000000b0", reason: "quit" });
      await stage.terminal.until(/^→ A joined\n→ B joined\n→ C joined\n→ D, E joined {2}← A left\nAlice/);
    });
  });
}

test("all of /help fits a screen of 24 rows", async () => {
  await using stage = await Stage.open({ cols: 80, rows: 24 });
  stage.terminal.type("/help\r");
  await stage.terminal.until(/\/quit \[text\][\s\S]*does Ctrl-C/);
  expect(stage.terminal.screen()[0]).toBe("◇ /help");
  for (const { name } of commands) expect(stage.terminal.screen().join("\n")).toMatch(new RegExp(`│ ${name}[ ,]`));
});

const complaints: readonly (readonly [string, string])[] = [
  ["/msg", "it goes like this: /msg <name> <text>"],
  ["/msg Nobody hello", "there is no Nobody here"],
  ["/nick taken", "somebody else is called taken"],
  ['/search "', "that cannot be searched for: a quote is not closed"],
  ["/query Nobody", "nobody here is called Nobody"],
  ["/reply hello", "nobody has written to you alone yet"],
  ["/bell loud", "it goes like this: /bell [mentions|all|off]"],
  ["/history 10 20 30", "it goes like this: /history [name] [limit]"],
];
for (const [line, complaint] of complaints) {
  test(`${line} says why it does not work, and the line stays`, async () => {
    await using stage = await Stage.open();
    stage.terminal.type(`${line}${keys.enter}`);
    await stage.terminal.until(`■ ${complaint}`);
    expect(frame(stage)[0]).toBe(`Alice ⋅ 1 › ${line}`);
  });
}

test("a conversation with one member goes on until it is ended", async () => {
  await using stage = await Stage.open();
  const { terminal } = stage;
  stage.emit(join("Bob"));
  terminal.type("/query Bob\r");
  await frameIs(stage, "Alice → Bob ›");
  terminal.type("psst\r//who\r/query\r");
  await frameIs(stage, "Alice ⋅ 2 ›");
  terminal.type("hello\r");
  await stage.hasDone("say hello");
  expect(stage.done.map(entry => entry.replace(/^direct [0-9a-f]{16}/, "direct Bob"))).toEqual([
    "direct Bob psst",
    "direct Bob /who",
    "say hello",
  ]);
});

test("/reply answers whoever wrote last, to oneself alone", async () => {
  await using stage = await Stage.open();
  const { terminal } = stage;
  stage.emit(join("Bob"));
  const member = Bun.hash("Bob").toString(16).padStart(16, "0");
  stage.emit({ ...message("psst"), event: "direct", to: "Alice", member });
  await terminal.until("Bob → you: psst");
  terminal.type("/reply yes?\r");
  await stage.hasDone(`direct ${member} yes?`);
});

test("/clear empties the screen and keeps the line", async () => {
  await using stage = await Stage.open();
  stage.emit(message("hello"));
  await stage.terminal.until("Bob: hello");
  stage.terminal.type("/clear\r");
  await stage.terminal.until(screen => screen[0] === "Alice ⋅ 1 ›", "an empty screen");
  stage.terminal.type("draft");
  await frameIs(stage, "Alice ⋅ 1 › draft");
});

test("lines of earlier runs come back with up", async () => {
  await using stage = await Stage.open({ env: { FIXTURE_TYPED: "one\ntwo" } });
  stage.terminal.type(keys.up + keys.up);
  await frameIs(stage, "Alice ⋅ 1 › one");
});

describe("the bell", () => {
  const rings = (stage: Stage) => stage.terminal.raw().split("\x07").length - 1;

  test("rings for one's name, and not while the terminal is looked at", async () => {
    await using stage = await Stage.open();
    const { terminal } = stage;
    expect(terminal.raw()).toContain("\x1b[?1004h");
    stage.emit(message("hello"));
    stage.emit(message("hi Alice"));
    await terminal.until("hi Alice");
    await terminal.until(() => rings(stage) === 1, "the bell");
    terminal.type("\x1b[I");
    terminal.type("x");
    await terminal.until("› x");
    stage.emit(message("hi again, Alice"), message("end"));
    await terminal.until("Bob: end");
    terminal.type("\x1b[O");
    terminal.type("y");
    await terminal.until("› xy");
    stage.emit({ ...message("psst"), event: "direct", to: "Alice" });
    await terminal.until(() => rings(stage) === 2, "the bell again");
  });
});

describe("a terminal", () => {
  const rtl: ChatEvent = message("שלום עולם");

  test("without UTF-8 gets ASCII, for signs as for texts", async () => {
    await using stage = await Stage.open({ env: { LANG: "C", LC_ALL: "C" }, prompt: />/ });
    stage.emit(listening, message("grüß dich → 漢"), join("Bob"));
    await stage.terminal.until("12:04 Bob: gruss dich > ??");
    await stage.terminal.until("> Bob joined");
    stage.terminal.type("naïve");
    await stage.terminal.until("Alice - 2 > naive");
    expect(stage.terminal.raw().replaceAll("\x1b", "")).toMatch(/^[\x07-\x7e]*$/);
  });

  test.each([
    ["for a screen reader", { ACCESSIBLE: "1" }],
    ["that can do nothing but print", { TERM: "dumb" }],
  ])("%s gets lines that are only added, a sentence each", async (_name, env) => {
    await using stage = await Stage.open({ env, prompt: /^/ });
    const { terminal } = stage;
    stage.emit(listening, join("Bob"), message("one\ntwo"), { ...message("psst"), event: "direct", to: "Alice" });
    stage.emit({ event: "leave", name: "Bob", member: "00000000000000b0", reason: "lost" });
    await terminal.until(
      /listening at 55107\.\nA friend joins with: .* 55107\nType a line and .*\nBob joined\.\nBob says: one two\nBob says to you alone: psst\nBob was lost\.\n/,
    );
    terminal.type("hello\r");
    await stage.hasDone("say hello");
    terminal.type("/nick taken\r");
    await terminal.until("Not done: somebody else is called taken.");
    terminal.type("/who\r");
    await terminal.until(/^Alice, \S+:\d+, you/m);
    expect(terminal.raw()).not.toContain("\x1b");
    terminal.type(":q\r");
    expect(await terminal.exited).toBe(0);
    await terminal.until("You have left the room.");
  });

  test("gets right-to-left text isolated", async () => {
    await using stage = await Stage.open();
    stage.emit(rtl);
    await stage.terminal.until("שלום");
    expect(stage.terminal.raw()).toContain("Bob: \u2068שלום עולם\u2069");
  });

  test("shows times as asked for", async () => {
    await using stage = await Stage.open({ env: { FIXTURE_TIME: "12" } });
    stage.emit(message("hello"));
    await stage.terminal.until("12:04 pm Bob: hello");
  });
});

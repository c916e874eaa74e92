import { expect, test } from "bun:test";
import { ChatError } from "../../lib/errors.ts";
import { commands, submit, usageOf } from "../../lib/ui/commands.ts";
import { Talk } from "../../lib/ui/talk.ts";
import { FakeChat, member, message } from "./fake-chat.ts";

/** What became of a line: what the chat was told, or the lines shown, or the complaint. */
function become(line: string): string | readonly string[] {
  const chat = new FakeChat();
  chat.others.push(member("Bob", 12.3), member("漢字"));
  try {
    const outcome = submit(new Talk(chat), line);
    if (outcome.kind === "shown") return outcome.lines;
    return outcome.kind === "quit" ? "quit" : chat.done.join(", ");
  } catch (error) {
    if (!(error instanceof ChatError)) throw error;
    expect(chat.done).toEqual([]);
    return `${error.code}: ${error.message}`;
  }
}

for (const line of [
  "hello",
  ":-)",
  ":quick",
  ":q now",
  "/usr/bin/ld: not found",
  "/",
  "/ hello",
  "/2 of it",
  " /help",
  "/usr/bin/env is missing",
  "/home/me/draft.txt is too long",
  "/usr/bin/who: not found",
]) {
  test(`${line} is said as it is`, () => {
    expect(become(line)).toBe(`say ${line}`);
  });
}

for (const line of [":q", ":quit", ":q!", "/quit", ":q ", "/QUIT", "/quit now"]) {
  test(`${line} leaves`, () => {
    expect(become(line)).toBe("quit");
  });
}

test("/quit says the words behind it first", () => {
  const chat = new FakeChat();
  expect(submit(new Talk(chat), "/quit good night")).toEqual({ kind: "quit" });
  expect(chat.done).toEqual(["say good night"]);
});

for (const line of ["", "  ", "\n"]) {
  test(`${JSON.stringify(line)} says nothing`, () => {
    expect(become(line)).toBe("");
  });
}

test("//x says /x", () => {
  expect(become("//help me")).toBe("say /help me");
});

test("/msg and /w talk to one member, in several lines if need be", () => {
  expect(become("/msg Bob hello there")).toBe("direct Bob hello there");
  expect(become("/w Bob one\ntwo")).toBe("direct Bob one\ntwo");
  expect(become("/msg Carol hello")).toBe("no_such_member: there is no Carol here");
});

test("a command without what it needs tells how it goes", () => {
  expect(become("/msg")).toBe("bad_command: it goes like this: /msg <name> <text>");
  expect(become("/msg Bob")).toBe("bad_command: it goes like this: /msg <name> <text>");
  expect(become("/nick")).toBe("bad_command: it goes like this: /nick <name>");
  expect(become("/nick two words")).toBe("bad_command: it goes like this: /nick <name>");
});

test("/history takes a name and a number above 0, either first", () => {
  expect(become("/history 0")).toBe("bad_command: it goes like this: /history [name] [limit]");
  expect(become("/history 5 6")).toBe("bad_command: it goes like this: /history [name] [limit]");
  for (const line of ["/history 5 Bob", "/history Bob 5"]) expect(become(line)).toEqual(["Nothing was said yet."]);
});

test("/back without having been away says so, and tells nobody", () => {
  expect(become("/back")).toEqual(["You are not away."]);
});

test("/search says where it did not look through everything", () => {
  const chat = new FakeChat();
  chat.isSearchBehind = true;
  const { lines } = submit(new Talk(chat), "/search fox") as { lines: readonly string[] };
  expect(lines).toEqual([
    "Nothing was found.",
    "Not all can be searched yet, the latest may be missing: ask again in a moment.",
  ]);
});

test("a listing that was cut says so, to people and to programs", () => {
  const chat = new FakeChat();
  chat.past.push(...Array.from({ length: 10_001 }, (_, index) => message(`text ${index}`)));
  for (const [line, count, advice] of [
    ["/history 10001", "10,000", "p2pchat history <username> prints all"],
    ["/search text", "50", "more words find less"],
  ] as const) {
    const { lines, data } = submit(new Talk(chat), line) as { lines: readonly string[]; data: object };
    expect(lines.at(-1)).toBe(`These are the latest ${count}, older ones are left out: ${advice}.`);
    expect(lines.at(-2)).toEndWith("Bob: text 10000");
    expect(data).toMatchObject({ cut: true });
  }
  for (const line of ["/history 10000", "/history", "/search 9999"])
    expect(submit(new Talk(chat), line)).not.toMatchObject({ data: { cut: true } });
});

test("/nick renames, and says why when it cannot", () => {
  expect(become("/nick Al")).toBe("rename Al");
  expect(become("/nick taken")).toStartWith("name_taken: ");
});

test("an unknown command is not said, and the nearest one is suggested", () => {
  expect(become("/hlep")).toContain("did you mean /help?");
  expect(become("/wh")).toContain("did you mean /who?");
  expect(become("/nik Al")).toContain("did you mean /nick?");
  expect(become("/quit2")).toContain("did you mean /quit?");
  for (const [word, command] of [
    ["exit", "/quit"],
    ["USERS", "/who"],
    ["tell Bob hi", "/msg"],
    ["?", "/help"],
  ])
    expect(become(`/${word}`)).toContain(`did you mean ${command}?`);
  for (const word of ["/frobnicate", "/foo", "/win"]) expect(become(word)).toContain("/help lists them");
  expect(become(`/${"x".repeat(1000)}`).length).toBeLessThan(150);
});

test("a command behind another word is none, and is not said either: it may be a secret behind a line that was kept", () => {
  const refusal = (word: string, meant: string) =>
    `bad_command: there is no command ${word}: did you mean ${meant}? (to say it, type /${word})`;
  expect(become("/nosuch/msg Bob secret")).toBe(refusal("/nosuch/msg", "/msg"));
  expect(become("/history/search tea")).toBe(refusal("/history/search", "/search"));
  expect(become("/MSG/W Bob secret")).toBe(refusal("/MSG/W", "/w"));
  expect(become("/history/serach tea")).toBe(refusal("/history/serach", "/history"));
  expect(become("/nosuch:q")).toBe(refusal("/nosuch:q", ":q"));
  expect(become("//nosuch/msg Bob secret")).toBe("say /nosuch/msg Bob secret");
});

test("/who is a table, aligned by width", () => {
  const rows = [
    "Alice  192.168.1.20:55107  you",
    "Bob    10.0.0.5:4000       linked   12 ms",
    "漢字   10.0.0.5:4000       relayed",
  ];
  expect(become("/who")).toEqual(rows);
  expect(become("/names")).toEqual(rows);
});

test("/who begins with oneself, and goes on by name", () => {
  const chat = new FakeChat();
  chat.others.push(...["zoe", "Bob", "Élan", "bert"].map(name => member(name)));
  const { lines } = submit(new Talk(chat), "/who") as { lines: readonly string[] };
  expect(lines.map(line => line.split(" ")[0])).toEqual(["Alice", "bert", "Bob", "Élan", "zoe"]);
});

test("/help names every command with all its words", () => {
  const help = [become("/help")].flat().join("\n");
  for (const command of commands) {
    for (const word of [usageOf(command), ...(command.aliases ?? []), command.help]) expect(help).toContain(word);
  }
});

test("/whois is one table", () => {
  expect(become("/whois Bob")).toEqual([
    "name      Bob",
    "here      10.0.0.5:4000, linked, 12 ms",
    "key       6668 7aad f862 bd77 6c8f",
    "member    7455b42155a93373",
    "verified  no; /verify Bob tells how",
  ]);
  // Nobody can verify oneself.
  expect([become("/whois Alice")].flat().join("\n")).toMatch(
    /^name .*\nhere {4}192.168.1.20:55107, you\nkey .*\nmember .*$/,
  );
});

test("/doctor starts the search where there is one, and says so where there is none", () => {
  let asked = 0;
  const talk = new Talk(new FakeChat(), undefined, () => {
    asked += 1;
  });
  expect(submit(talk, "/doctor").kind).toBe("shown");
  expect(asked).toBe(1);
  expect(become("/doctor")).toBe("bad_command: not here; the command p2pchat doctor tells");
});

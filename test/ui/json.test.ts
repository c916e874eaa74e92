import { expect, setDefaultTimeout, test } from "bun:test";
import { commands } from "../../lib/ui/commands.ts";
import { runJson } from "../../lib/ui/json.ts";
import { FakeChat, join, listening, member, message } from "./fake-chat.ts";
import { run } from "./line-fronts.ts";

// On a busy machine processes and sockets take their time.
setDefaultTimeout(60_000);

const parsed = (output: string) =>
  output
    .split("\n")
    .filter(Boolean)
    .map(line => JSON.parse(line) as unknown);

test("every event is a line as it is, notices are left out", async () => {
  const chat = new FakeChat();
  const events = [listening, join("Bob", true), message("one\ntwo")];
  const { output, writes } = await run(runJson, chat, [
    () => chat.emit(...events, { event: "notice", level: "info", message: "for people" }),
  ]);
  expect(parsed(output)).toEqual(events);
  expect(writes).toHaveLength(1);
});

test("a history larger than what may wait for a reader is told whole, as fast as that reads", async () => {
  const chat = new FakeChat();
  const texts = 1_200;
  // Each byte is six in JSON.
  const old = { ...message("\x01".repeat(10 * 1024)), history: true };
  let lines = 0;
  const output = {
    async write(text: string) {
      await new Promise(setImmediate);
      lines += text.split("\n").length - 1;
      return text.length;
    },
    flush: () => 0,
  };
  const input = new ReadableStream<Uint8Array>({
    pull(controller) {
      chat.emit(...Array.from({ length: texts }, () => old));
      chat.emit(join("Bob"));
      controller.close();
    },
  });
  expect(await runJson(chat, { stay: false, input, output })).toBe("input");
  expect(lines).toBe(texts + 1);
});

test("warnings are told to whoever looks after the program, and are no events", async () => {
  const chat = new FakeChat();
  const warnings: string[] = [];
  const warn = (message: string) => void warnings.push(message);
  const { output } = await run((one, io) => runJson(one, { ...io, warn }), chat, [
    () => chat.emit({ event: "notice", level: "warning", message: "the disk is full" }),
    () => chat.emit({ event: "notice", level: "info", message: "for people" }),
  ]);
  expect([output, warnings]).toEqual(["", ["the disk is full"]]);
});

test("the commands do what they say", async () => {
  const chat = new FakeChat();
  chat.others.push(member("Bob", 1.5));
  const { output, end } = await run(runJson, chat, [
    '{"command":"say","text":"one\\ntwo","unknown":1}\r\n{"command":"direct","to":"Bob","text":"psst"}\n',
    '{"command":"rename","name":"Al"}\n{"command":"who"}\n{"command":"quit"}\n{"command":"say","text":"late"}\n',
  ]);
  expect(chat.done).toEqual(["say one\ntwo", "direct Bob psst", "ready", "rename Al"]);
  expect(parsed(output).at(-1)).toEqual({ event: "members", members: chat.members() });
  expect(end).toBe("quit");
});

test("what people type is a command here, too, with its parameters as fields", async () => {
  const chat = new FakeChat();
  chat.others.push(member("Bob", 1.5));
  const { output } = await run(runJson, chat, [
    '{"command":"me","text":"waves"}\n{"command":"topic","text":"lunch"}\n{"command":"away"}\n{"command":"back"}\n',
    '{"command":"msg","name":"Bob","text":"psst"}\n{"command":"history","name":"Bob","limit":5}\n{"command":"search","text":"x"}\n',
    '{"command":"whois","name":"Bob"}\n{"command":"verify","name":"Bob"}\n{"command":"ignore","name":"Bob"}\n{"command":"topic"}\n',
  ]);
  expect(chat.done.filter(entry => entry !== "ready")).toEqual([
    ...["act waves", "topic lunch", "away away", "away null", "direct Bob psst", "history 5 Bob", "search x 50"],
    "ignored Bob true",
  ]);
  const results = parsed(output).filter(event => (event as { event: string }).event === "result");
  expect(results).toEqual([
    { event: "result", command: "history", messages: [] },
    { event: "result", command: "search", messages: [], complete: true },
    { event: "result", command: "whois", member: expect.objectContaining({ name: "Bob", ignored: false }) },
    { event: "result", command: "verify", phrase: "kurab kodis gadov forog kuhob" },
    { event: "result", command: "ignore", member: expect.objectContaining({ name: "Bob", ignored: true }) },
    { event: "result", command: "topic", topic: "lunch" },
  ]);
});

test("a search that did not look through everything says so", async () => {
  const chat = new FakeChat();
  chat.isSearchBehind = true;
  const { output } = await run(runJson, chat, ['{"command":"search","text":"x"}\n']);
  expect(parsed(output)).toContainEqual({ event: "result", command: "search", messages: [], complete: false });
});

test("every command of the table has a form here, and an unknown one is told of all of them", async () => {
  const values = { name: "Bob", text: "hi", limit: 5, answer: "yes", rule: "all", command: "help" };
  for (const { name, parameters = [] } of commands) {
    const chat = new FakeChat();
    chat.others.push(member("Bob", 1.5));
    const fields = parameters.map(({ name: field }) => [field, values[field]]);
    const line = JSON.stringify({ ...Object.fromEntries(fields), command: name.slice(1) });
    const io = { doctor: async () => ["all is well"] };
    const { member: id = "" } = chat.others[0] ?? {};
    const direct = { ...message("x"), event: "direct", to: "Alice", member: id } as const;
    const { output } = await run((one, more) => runJson(one, { ...more, ...io }), chat, [
      () => chat.emit(direct),
      `${line}\n`,
    ]);
    expect([name, output]).toEqual([name, expect.not.stringContaining('"event":"error"')]);
  }
  const { output } = await run(runJson, new FakeChat(), ['{"command":"shout"}\n']);
  const names = ["say", "direct", "rename", ...commands.map(({ name }) => name.slice(1))];
  for (const name of names) expect(output).toContain(name);
});

test("help lists all commands, and tells of one where it is asked about one", async () => {
  const { output } = await run(runJson, new FakeChat(), [
    '{"command":"help"}\n{"command":"help","about":"who"}\n{"command":"help","about":"hlep"}\n{"command":"help","about":1}\n',
  ]);
  const [all, one, ...refused] = parsed(output) as { readonly lines: readonly string[] }[];
  for (const { name } of commands) expect(all?.lines.join("\n")).toContain(name);
  expect(one?.lines).toEqual(["/who (also /names): who is here, where, how far, how long silent"]);
  expect(refused).toEqual([
    expect.objectContaining({ code: "bad_command", message: expect.stringContaining("did you mean /help?") }),
    expect.objectContaining({ code: "bad_command", message: "about must be a string" }),
  ]);
});

test("what /doctor finds is a result, once it is found", async () => {
  const { promise, resolve } = Promise.withResolvers<string[]>();
  const doctor = () => promise;
  const { output } = await run((chat, io) => runJson(chat, { ...io, doctor }), new FakeChat(), [
    '{"command":"doctor"}\n',
    () => resolve(["all is well"]),
    '{"command":"bell"}\n',
    '{"command":"bell"}\n',
  ]);
  expect(parsed(output)).toContainEqual({ event: "result", command: "doctor", lines: ["all is well"] });
});

test("what only a screen needs to know is left out", async () => {
  const chat = new FakeChat();
  const old = { ...message("old"), event: "direct", to: "Alice", history: true } as const;
  const { output } = await run(runJson, chat, [
    () => chat.emit({ ...old, seen: true }, { event: "reached", id: "0123456789abcdef", reached: 1, linked: 1 }),
  ]);
  expect(parsed(output)).toEqual([old]);
});

const badLines = [
  '{"command":"history","limit":"5"}',
  '{"command":"history","limit":0}',
  '{"command":"msg","name":"Bob"}',
  '{"command":"verify","name":"Bob","answer":"perhaps"}',
  '{"command":"/who"}',
  "",
  "hello",
  ":q",
  "null",
  "5",
  '"say"',
  "[]",
  '[{"command":"quit"}]',
  "{}",
  '{"command":"shout","text":"x"}',
  '{"command":["quit"]}',
  '{"command":"say"}',
  '{"command":"say","text":5}',
  '{"command":"say","text":null}',
  '{"command":"say","text":["x"]}',
  '{"command":"say","text":""}',
  '{"command":"say","text":"\\ud800"}',
  '{"command":"direct","text":"x"}',
  '{"command":"direct","to":"Bob"}',
  '{"command":"rename","name":{}}',
  '{"command":"say","text":"x"',
  '{"command":"say","text":"x"} {"command":"quit"}',
  '{"__proto__":{"command":"quit"}}',
  '{"command":"say","__proto__":{"text":"x"}}',
];
for (const line of badLines) {
  test(`the line ${line} is an error and changes nothing`, async () => {
    const chat = new FakeChat();
    const { output, end } = await run(runJson, chat, [`${line}\n`]);
    expect(parsed(output)).toEqual([{ event: "error", code: "bad_command", message: expect.any(String) }]);
    expect(chat.done).toEqual(["ready"]);
    expect(end).toBe("input");
  });
}

test("a line that is not UTF-8 or too long is an error, too", async () => {
  const chat = new FakeChat();
  const bad = Buffer.from('{"command":"say","text":"\xff"}\n', "latin1");
  const { output } = await run(runJson, chat, [bad, `{"command":"say","text":"${"x".repeat(1_000_000)}"}\n`]);
  expect(parsed(output)).toEqual([
    { event: "error", code: "bad_command", message: "the line is not UTF-8" },
    { event: "error", code: "bad_command", message: "the line is too long: 1000027 bytes" },
  ]);
  expect(chat.said).toEqual([]);
});

test("what the room refuses is an error with its own code", async () => {
  const { output } = await run(runJson, new FakeChat(), [
    '{"command":"direct","to":"Eve","text":"x"}\n{"command":"rename","name":"taken"}\n',
    `{"command":"say","text":"${"x".repeat(65_537)}"}\n`,
  ]);
  expect(parsed(output)).toEqual(
    ["no_such_member", "name_taken", "too_long"].map(code => ({ event: "error", code, message: expect.any(String) })),
  );
});

test("a full text with every byte escaped still fits a line", async () => {
  const chat = new FakeChat();
  await run(runJson, chat, [`{"command":"say","text":"${"\\u0001".repeat(65_536)}"}\n`]);
  expect(chat.said).toEqual(["\x01".repeat(65_536)]);
});

test("nothing a terminal acts upon is written raw, and nothing is lost by that", async () => {
  const chat = new FakeChat();
  const text = "\x1b[2J\x9b2J\x7f\u202e\u2066\u2028\ufeff é 👩‍👩‍👧‍👦";
  const { output } = await run(runJson, chat, [() => chat.emit(message(text))]);
  expect(output.trimEnd()).not.toMatch(/[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029\ufeff]/);
  expect(parsed(output)).toEqual([message(text)]);
});

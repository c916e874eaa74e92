/** JSON mode between pipes: every event and every command of the contract (design, section 8). */
import { expect, setDefaultTimeout, test } from "bun:test";
import { type Fields, World } from "./program.ts";

setDefaultTimeout(60_000);

const HEX_16 = /^[0-9a-f]{16}$/;

test("every event has the fields of the contract, and perhaps more", async () => {
  await using world = await World.open();
  const startedAt = Date.now();
  const alice = world.pipe(["Alice", "--json"]);
  const alicePort = Number(await alice.port());
  const listening = await alice.event({ event: "listening" });
  const { member: aliceId } = listening;
  expect(String(aliceId)).toMatch(HEX_16);
  expect(listening).toMatchObject({
    event: "listening",
    name: "Alice",
    member: aliceId,
    address: "127.0.0.1",
    port: alicePort,
  });
  alice.command({ command: "say", text: "first\nof two lines" });
  const own = await alice.event({ event: "message" });

  const bob = world.pipe(["Bob", "127.0.0.1", String(alicePort), "--json"]);
  const { member: bobId, port: bobPort } = await bob.event({ event: "listening" });
  const atBob = { name: "Bob", member: bobId, address: "127.0.0.1", port: bobPort };
  expect(await alice.event({ event: "join" })).toMatchObject({ event: "join", ...atBob, present: false });
  expect(await bob.event({ event: "join" })).toMatchObject({
    event: "join",
    name: "Alice",
    member: aliceId,
    address: "127.0.0.1",
    port: alicePort,
    present: true,
  });

  // One message: the same for who said it, who heard it, and who came late, but for the two fields that tell them apart.
  const { id, at, ...said } = own;
  expect(String(id)).toMatch(HEX_16);
  expect(Number(at)).toBeWithin(startedAt, Date.now() + 1);
  expect(said).toMatchObject({
    event: "message",
    name: "Alice",
    member: aliceId,
    text: "first\nof two lines",
    own: true,
    history: false,
  });
  expect(await bob.event({ event: "message" })).toMatchObject({ ...own, own: false, history: true });

  alice.command({ command: "say", text: "second" });
  const second = await alice.event({ event: "message", text: "second" });
  expect(await bob.event({ event: "message", text: "second" })).toMatchObject({
    ...second,
    own: false,
    history: false,
  });

  bob.command({ command: "rename", name: "Robert" });
  const renamed: Fields = { event: "rename", member: bobId, from: "Bob", to: "Robert" };
  expect(await alice.event({ event: "rename" })).toMatchObject(renamed);
  expect(await bob.event({ event: "rename" })).toMatchObject(renamed);

  alice.command({ command: "who" });
  const { members } = (await alice.event({ event: "members" })) as { members?: Fields[] };
  const [self, robert] = members ?? [];
  expect(members).toHaveLength(2);
  expect(self).toMatchObject({
    name: "Alice",
    member: aliceId,
    address: "127.0.0.1",
    port: alicePort,
    self: true,
    linked: false,
    rtt_ms: null,
  });
  expect(robert).toMatchObject({ ...atBob, name: "Robert", self: false, linked: true, rtt_ms: expect.any(Number) });

  const carol = world.pipe(["Carol", "127.0.0.1", String(alicePort), "--json"]);
  const { member: carolId } = await carol.event({ event: "listening" });
  await alice.event({ event: "join", name: "Carol" });
  carol.kill("SIGKILL");
  expect(await alice.event({ event: "leave", name: "Carol" }, 15_000)).toMatchObject({
    event: "leave",
    name: "Carol",
    member: carolId,
    reason: "lost",
  });
  bob.command({ command: "quit" });
  expect(await bob.exited).toBe(0);
  const left: Fields = { event: "leave", name: "Robert", member: bobId, reason: "quit" };
  expect(await alice.event({ event: "leave", name: "Robert" })).toMatchObject(left);
  alice.end();
  expect(await alice.exited).toBe(0);
  expect([alice.complaints, bob.complaints]).toMatchObject(["", ""]);
});

test("a direct message reaches one member and nobody else, and is told as such on both sides", async () => {
  await using world = await World.open();
  const alice = world.pipe(["Alice", "--json"]);
  const port = await alice.port();
  const bob = world.pipe(["Bob", "127.0.0.1", port, "--json"]);
  const carol = world.pipe(["Carol", "127.0.0.1", port, "--json"]);
  const { member } = await alice.event({ event: "listening" });
  for (const name of ["Bob", "Carol"]) await alice.event({ event: "join", name });
  alice.command({ command: "direct", to: "bob", text: "for you\nonly" });
  alice.command({ command: "say", text: "for all" });
  const heard = await bob.event({ event: "direct" });
  expect(heard).toMatchObject({ name: "Alice", member, to: "Bob", text: "for you\nonly", own: false, history: false });
  expect(await alice.event({ event: "direct" })).toEqual({ ...heard, own: true });
  await carol.event({ event: "message", text: "for all" });
  expect(carol.lines.join("\n")).not.toContain("for you");
});

test("a newcomer finds present members, then history, then what is said now", async () => {
  await using world = await World.open();
  const alice = world.pipe(["Alice", "--json"]);
  const port = await alice.port();
  alice.command({ command: "say", text: "before" });
  await alice.event({ event: "message" });
  const bob = world.pipe(["Bob", "127.0.0.1", port, "--json"]);
  await alice.event({ event: "join" });
  alice.command({ command: "say", text: "after" });
  await bob.event({ text: "after" });
  const seen = bob.events.map(({ event, present, text, history }) => [event, present ?? text, history]);
  expect(seen).toEqual([
    ["listening", undefined, undefined],
    ["join", true, undefined],
    ["message", "before", true],
    ["message", "after", false],
  ]);
});

const bad: readonly (readonly [line: string, code: string, message: string])[] = [
  ["hello", "bad_command", "the line is not JSON"],
  ["", "bad_command", "the line is not JSON"],
  ["42", "bad_command", "the line is not a JSON object"],
  ["[]", "bad_command", "the line is not a JSON object"],
  ["null", "bad_command", "the line is not a JSON object"],
  ["{}", "bad_command", ""],
  ['{"command":"dance"}', "bad_command", ""],
  ['{"command":"say"}', "bad_command", "text must be a string"],
  ['{"command":"say","text":7}', "bad_command", "text must be a string"],
  ['{"command":"say","text":""}', "bad_command", "text must not be empty"],
  ['{"command":"say","text":"\\ud800"}', "bad_command", "text holds half a character"],
  ['{"command":"rename"}', "bad_command", "name must be a string"],
  ['{"command":"rename","name":"a b"}', "bad_name", ""],
  ['{"command":"rename","name":"alice"}', "name_taken", "the name alice is taken in this room"],
  ['{"command":"direct","to":"Nobody","text":"psst"}', "no_such_member", "nobody here is called Nobody"],
  [JSON.stringify({ command: "say", text: "x".repeat(65_537) }), "too_long", ""],
];

test("a line that is no valid command gets one error and changes nothing; unknown fields are ignored", async () => {
  await using world = await World.open();
  const alice = world.pipe(["Alice", "--json"]);
  const bob = world.pipe(["Bob", "127.0.0.1", await alice.port(), "--json"]);
  await alice.event({ event: "join" });
  bob.write(bad.map(([line]) => `${line}\n`).join(""));
  bob.write(Buffer.from('{"command":"say","text":"caf\xe9"}\n', "latin1"));
  bob.write('{"command":"say","text":"fine","mood":"good","history":true}\n');
  await alice.event({ text: "fine" });
  expect(alice.events.filter(({ event }) => event === "message")).toHaveLength(1);
  expect(alice.events.filter(({ event }) => event === "rename")).toEqual([]);
  await bob.event({ text: "fine" });
  const errors = bob.events.filter(({ event }) => event === "error");
  expect(errors).toHaveLength(bad.length + 1);
  expect(errors.map(({ code }) => code)).toEqual([...bad.map(([, code]) => code), "bad_command"]);
  for (const [index, [, , message]] of bad.entries())
    if (message !== "") expect(errors[index]).toMatchObject({ message });
  expect(errors.at(-1)).toEqual({ event: "error", code: "bad_command", message: "the line is not UTF-8" });
});

test("what a text holds comes back as it was said, controls, emoji and all", async () => {
  await using world = await World.open();
  const alice = world.pipe(["Alice", "--json"]);
  const bob = world.pipe(["Bob", "127.0.0.1", await alice.port(), "--json"]);
  await alice.event({ event: "join" });
  const texts = [
    "\x1b[2J\x07\ttab",
    "two\nlines\n",
    "👩‍👩‍👧‍👦 é e\u0301 \u202e",
    '"quoted" \\ back',
    " ",
    "\u2028\u2029\ufeff",
  ];
  for (const text of texts) bob.command({ command: "say", text });
  for (const text of texts) await alice.event({ event: "message", text });
  expect(alice.lines.join("")).not.toMatch(/[\x00-\x1f\x7f\u202e\u2028\u2029]/);
});

test("texts keep their ids apart and in order, many in one post", async () => {
  await using world = await World.open();
  const alice = world.pipe(["Alice", "--json"]);
  const bob = world.pipe(["Bob", "127.0.0.1", await alice.port(), "--json"]);
  await alice.event({ event: "join" });
  const texts = Array.from({ length: 1_000 }, (_, index) => `text ${index}`);
  bob.write(texts.map(text => `${JSON.stringify({ command: "say", text })}\n`).join(""));
  await alice.event({ text: "text 999" });
  await bob.event({ text: "text 999" });
  const heard = alice.events.filter(({ event }) => event === "message");
  const said = bob.events.filter(({ event }) => event === "message");
  expect(heard.map(({ text }) => text)).toEqual(texts);
  expect(new Set(heard.map(({ id }) => id)).size).toBe(texts.length);
  expect(heard.map(({ id }) => id)).toEqual(said.map(({ id }) => id));
});

test("what cannot be done at start-up is an event, a line on stderr, and exit status 1", async () => {
  await using world = await World.open();
  const bob = world.pipe(["Bob", "127.0.0.1", "1", "--json"]);
  expect(await bob.exited).toBe(1);
  const message = "cannot reach 127.0.0.1:1: connection refused";
  expect(bob.events).toEqual([{ event: "error", code: "unreachable", message }]);
  expect(bob.complaints).toBe(`p2pchat: ${message}\n`);
});

test("wrong words of a private room are wrong_key, whoever has none is told that it needs them", async () => {
  await using world = await World.open();
  const alice = world.pipe(["Alice", "--json"], { env: { P2PCHAT_KEY: "correct horse battery" } });
  const port = await alice.port();
  const at = `cannot enter the room at 127.0.0.1:${port}`;
  const wrong = world.pipe(["Mallory", "127.0.0.1", port, "--json", "--key", "correct horse staple"]);
  expect(await wrong.exited).toBe(1);
  expect(wrong.events).toEqual([{ event: "error", code: "wrong_key", message: `${at}: the key is not the room's` }]);
  const none = world.pipe(["Mallory", "127.0.0.1", port, "--json"]);
  expect(await none.exited).toBe(1);
  expect(none.events).toEqual([
    { event: "error", code: "wrong_key", message: `${at}: the room is private and needs its key` },
  ]);
  const bob = world.pipe(["Bob", "127.0.0.1", port, "--json", "--key", "Correct  HORSE battery"]);
  await bob.event({ event: "join", name: "Alice" });
  await alice.event({ event: "join", name: "Bob" });
  expect(alice.events.filter(({ event }) => event === "join").map(({ name }) => name)).toEqual(["Bob"]);
});

/** What colours the program writes, to the last byte, on terminals that have few of them and for people who want none. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { looking, ownNetwork, World } from "./program.ts";
import type { Terminal } from "./terminal.ts";

setDefaultTimeout(60_000);

/** Every look there is: a list to choose from, a talk, an answer, a complaint, and the end. */
async function evening(env: Readonly<Record<string, string | undefined>>): Promise<string> {
  await using world = await World.open();
  const near = { ...(await ownNetwork()).env, ...env };
  const alice = world.terminal(["Alice", "--private"], { env: near, cols: 100 });
  const code = /[a-z]{5}(-[a-z]{5}){3}/;
  // It is told below the opening, in a frame of its own.
  await alice.until(code);
  const [words = ""] = code.exec(alice.screen().join("\n")) ?? [];
  const bob = await looking(() => world.terminal(["Bob", "--volatile"], { env: near }), "There is a room near by");
  bob.type("\r");
  await bob.until("The room is private. Its words?");
  bob.type(`${words}\r`);
  await bob.until(/^[•*] Alice is here/m);
  await talk(bob, alice);
  alice.type(":q\r");
  await alice.exited;
  bob.type(":q\r");
  await bob.exited;
  return alice.raw() + bob.raw();
}

async function talk(bob: Terminal, alice: Terminal): Promise<void> {
  bob.type("hello Alice\r");
  await alice.until("Bob: hello Alice");
  bob.type("/msg Alice to you alone\r");
  await alice.until("to you alone");
  alice.type("/whois Bob\r");
  await alice.until("verified");
  alice.type("/nonsense\r");
  await alice.until("there is no command /nonsense");
  alice.type("\x15");
  alice.type("/he\t");
  await alice.until("/help [command]");
  alice.type("\x15");
}

/** Parameters of all that is said about looks (SGR). */
function looks(raw: string): string[] {
  return Array.from(raw.matchAll(/\x1b\[([\d;]*)m/g), ([, parameters = ""]) => parameters);
}

/** Those that take looks away. */
const none = new Set(["", "0"]);

test("NO_COLOR=1: none at all", async () => {
  expect(looks(await evening({ NO_COLOR: "1" })).filter(parameters => !none.has(parameters))).toEqual([]);
});

test("TERM=dumb: none in what is asked, and behind it nothing but lines", async () => {
  await using world = await World.open();
  const env = { ...(await ownNetwork()).env, NO_COLOR: undefined, TERM: "dumb", COLORTERM: undefined };
  const alice = world.terminal(["Alice"], { env });
  await alice.until("A friend joins with");
  const bob = await looking(() => world.terminal(["Bob", "--volatile"], { env }), "There is a room near by");
  bob.type("\r");
  await bob.until("Alice is here.");
  bob.type("hello\r");
  await alice.until("Bob says: hello");
  const [asked = "", told = ""] = bob.raw().split(/(?=Bob at address)/);
  expect(looks(asked).filter(parameters => !none.has(parameters))).toEqual([]);
  expect(told + alice.raw()).not.toContain("\x1b");
});

test("TERM=xterm: the 16 of old, and nothing else", async () => {
  const raw = await evening({ NO_COLOR: undefined, TERM: "xterm", COLORTERM: undefined });
  const known = /^(|0|[1-8]|2[2-9]|3[0-7]|39|9[0-7])$/;
  const found = looks(raw);
  expect(found).toContain("1");
  expect(found.flatMap(parameters => parameters.split(";")).filter(parameter => !known.test(parameter))).toEqual([]);
  expect(found.filter(parameters => parameters.includes(";"))).toEqual([]);
});

test("LANG=C: ASCII alone, from the first question to the last line", async () => {
  const raw = await evening({ LANG: "C", LC_ALL: undefined, LC_CTYPE: undefined, NO_COLOR: "1" });
  expect(raw.match(/[^\x00-\x7f]+/g) ?? []).toEqual([]);
});

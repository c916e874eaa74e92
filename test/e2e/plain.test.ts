/** Plain mode between pipes: lines as the contract has them (design, section 8), and all of them. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { portOn, World } from "./program.ts";

setDefaultTimeout(60_000);

test("what is read and written is what the contract says, to the letter", async () => {
  await using world = await World.open();
  const alice = world.pipe(["Alice"]);
  const port = await alice.port();
  const bob = world.pipe(["Bob", "127.0.0.1", port]);
  await alice.line(">INFO: Bob joined.");
  await bob.line(">INFO: Alice joined.");
  const carol = world.pipe(["Carol", "127.0.0.1", port]);
  await bob.line(">INFO: Carol joined.");
  await carol.line(">INFO: Bob joined.");
  bob.write("hello\n");
  await alice.line("Bob: hello");
  alice.write("hello Bob\r\n");
  await bob.line("Alice: hello Bob");
  await carol.line("Alice: hello Bob");
  carol.kill("SIGKILL");
  await bob.line(">INFO: Carol was lost.", 15_000);
  await alice.line(">INFO: Carol was lost.", 15_000);
  bob.write("/nick Robert\n");
  await alice.line(">INFO: Bob is now Robert.");
  bob.write(":q\n");
  await alice.line(">INFO: Robert left.");
  expect(await bob.exited).toBe(0);
  alice.write("/quit\n");
  expect(await alice.exited).toBe(0);
  expect(alice.lines).toEqual([
    `>INFO: Alice at address 127.0.0.1 is listening at ${port}.`,
    ">INFO: Bob joined.",
    ">INFO: Carol joined.",
    "Bob: hello",
    ">INFO: Carol was lost.",
    ">INFO: Bob is now Robert.",
    ">INFO: Robert left.",
  ]);
  expect([alice.complaints, bob.complaints]).toEqual(["", ""]);
});

test("echo hello | p2pchat Bot <host> <port> delivers, and ends with 0", async () => {
  await using world = await World.open();
  const alice = world.terminal(["Alice"]);
  const port = await portOn(alice);
  const bot = world.shell(`echo hello | "$P2PCHAT" Bot 127.0.0.1 ${port} --host 127.0.0.1`);
  expect(await bot.exited).toBe(0);
  await alice.until(/→ Bot joined\n\d\d:\d\d Bot: hello\n← Bot left/);
});

test("what a program prints on stderr and stdout can be piped in, without a line feed at its end", async () => {
  await using world = await World.open();
  const alice = world.pipe(["Alice"]);
  const port = await alice.port();
  const script = `{ echo one; echo two >&2; printf three; } 2>&1 | "$P2PCHAT" ci 127.0.0.1:${port} --host 127.0.0.1`;
  expect(await world.shell(script).exited).toBe(0);
  await alice.line(">INFO: ci left.");
  expect(alice.lines.slice(1)).toEqual([">INFO: ci joined.", "ci: one", "ci: two", "ci: three", ">INFO: ci left."]);
});

test("20,000 lines piped into one of three arrive whole and in order at both others", async () => {
  await using world = await World.open();
  const alice = world.pipe(["Alice"]);
  const port = await alice.port();
  const bob = world.pipe(["Bob", "127.0.0.1", port]);
  await alice.line(">INFO: Bob joined.");
  const script = `seq 1 20000 | sed 's/^/line number /' | "$P2PCHAT" Carol 127.0.0.1 ${port} --host 127.0.0.1`;
  const carol = world.shell(script);
  expect(await carol.exited).toBe(0);
  const expected = Array.from({ length: 20_000 }, (_, index) => `Carol: line number ${index + 1}`);
  for (const each of [alice, bob]) {
    await each.line(">INFO: Carol left.");
    expect(each.lines.filter(line => line.startsWith("Carol: "))).toEqual(expected);
  }
});

// What has the next byte at once, always: one line without an end, noise, and lines.
test.each([
  ["< /dev/zero", ""],
  ["< /dev/urandom", ""],
  ["", "yes flood |"],
])("input without an end (%s%s) keeps nobody from coming in, nor from ending it by a signal", async (from, pipe) => {
  await using world = await World.open();
  const words = `Yes --stay --volatile --host 127.0.0.1`;
  const yes = world.shell(`${pipe} sh -c 'echo $$; exec "$P2PCHAT" ${words} ${from}'`);
  const port = await yes.port();
  const bob = world.pipe(["Bob", "127.0.0.1", port]);
  await bob.line(">INFO: Yes joined.");
  bob.write("/ignore Yes\n");
  await yes.line(">INFO: Bob joined.");
  process.kill(Number(yes.lines[0]), "SIGTERM");
  expect(await yes.exited).toBe(0);
  await bob.line(">INFO: Yes left.");
});

test("with --stay a node goes on after stdin has ended", async () => {
  await using world = await World.open();
  const alice = world.pipe(["Alice", "--stay"]);
  const port = await alice.port();
  alice.end();
  const bob = world.pipe(["Bob", "127.0.0.1", port]);
  bob.write("still there?\n");
  await alice.line("Bob: still there?");
  alice.kill("SIGTERM");
  expect(await alice.exited).toBe(0);
  await bob.line(">INFO: Alice left.");
});

test("who comes late reads what was said, before what is said now, and in the same order", async () => {
  await using world = await World.open();
  const alice = world.pipe(["Alice"]);
  const port = await alice.port();
  const bob = world.pipe(["Bob", "127.0.0.1", port]);
  await bob.line(">INFO: Alice joined.");
  const said: string[] = [];
  for (let turn = 0; turn < 150; turn += 1) {
    alice.write(`${turn}\n`);
    await bob.line(`Alice: ${turn}`);
    bob.write(`${turn}\n`);
    await alice.line(`Bob: ${turn}`);
    said.push(`Alice: ${turn}`, `Bob: ${turn}`);
  }
  const carol = world.pipe(["Carol", "127.0.0.1", await bob.port()]);
  await alice.line(">INFO: Carol joined.");
  alice.write("now\n");
  await carol.line("Alice: now");
  const info = (name: string) => `>INFO: ${name} joined.`;
  expect(carol.lines.slice(1)).toEqual([info("Alice"), info("Bob"), ...said, "Alice: now"]);
});

test("what is not UTF-8 is replaced, and that is said once", async () => {
  await using world = await World.open();
  const alice = world.pipe(["Alice"]);
  const bob = world.pipe(["Bob", "127.0.0.1", await alice.port()]);
  await alice.line(">INFO: Bob joined.");
  // "café" in Latin-1, twice, and a whole one in UTF-8.
  bob.write(Buffer.from("636166e90a", "hex"));
  bob.write(Buffer.from("636166e90a636166c3a90a", "hex"));
  await alice.line("Bob: café");
  expect(alice.lines.slice(2)).toEqual(["Bob: caf\ufffd", "Bob: caf\ufffd", "Bob: café"]);
  bob.end();
  expect(await bob.exited).toBe(0);
  const errors = bob.lines.filter(line => line.startsWith(">ERROR"));
  expect(errors).toEqual([">ERROR: the input is not all UTF-8: what is not was replaced by \ufffd"]);
});

test("a line of zeros is refused with its size, and what follows is said", async () => {
  await using world = await World.open();
  const alice = world.pipe(["Alice"]);
  const bob = world.pipe(["Bob", "127.0.0.1", await alice.port()]);
  await alice.line(">INFO: Bob joined.");
  bob.write(Buffer.concat([Buffer.alloc(30_000), Buffer.from("\na\0b\n")]));
  await alice.line("Bob: a\ufffdb");
  bob.end();
  expect(await bob.exited).toBe(0);
  expect(bob.lines.filter(line => line.startsWith(">ERROR"))).toEqual([
    ">ERROR: a text may hold 65536 bytes; this one has 90000, three for each zero byte in it",
  ]);
});

test("a text of 64 KiB arrives whole; one byte more is refused with its size and nothing else is lost", async () => {
  await using world = await World.open();
  const alice = world.pipe(["Alice"]);
  const bob = world.pipe(["Bob", "127.0.0.1", await alice.port()]);
  const full = "ü".repeat(32 * 1024);
  bob.write(`before\n${full}\n${full}x\nafter\n`);
  await alice.line("Bob: after");
  expect(alice.lines.slice(2)).toEqual(["Bob: before", `Bob: ${full}`, "Bob: after"]);
  await bob.line(">ERROR: a text may hold 65536 bytes; this one has 65537");
});

test("an unknown command is not said into the room", async () => {
  await using world = await World.open();
  const alice = world.pipe(["Alice"]);
  const bob = world.pipe(["Bob", "127.0.0.1", await alice.port()]);
  bob.write("/hlep\n//shrug\n:-)\n/usr/bin/ld: not found\n");
  await alice.line("Bob: /usr/bin/ld: not found");
  expect(alice.lines.slice(2)).toEqual(["Bob: /shrug", "Bob: :-)", "Bob: /usr/bin/ld: not found"]);
  await bob.line(">ERROR: there is no command /hlep: did you mean /help? (to say it, type //hlep)");
});

test("nobody can forge a line or move the cursor of others", async () => {
  await using world = await World.open();
  const alice = world.pipe(["Alice"]);
  const bob = world.pipe(["Bob", "127.0.0.1", await alice.port(), "--json"]);
  bob.command({ command: "say", text: "hi\n>INFO: Carol left.\r\x1b[2J\x1b]0;owned\x07\u202e" });
  await alice.line("Bob: >INFO: Carol left.");
  expect(alice.lines.slice(2)).toEqual(["Bob: hi", "Bob: >INFO: Carol left."]);
});

test("a direct message is marked as one, and others do not see it", async () => {
  await using world = await World.open();
  const alice = world.pipe(["Alice"]);
  const port = await alice.port();
  const bob = world.pipe(["Bob", "127.0.0.1", port]);
  const carol = world.pipe(["Carol", "127.0.0.1", port]);
  for (const name of ["Bob", "Carol"]) await alice.line(`>INFO: ${name} joined.`);
  alice.write("/msg Bob psst\nfor all\n");
  await bob.line("Alice: for all");
  await carol.line("Alice: for all");
  expect(bob.lines).toContain("Alice (direct): psst");
  expect(carol.lines.join("\n")).not.toContain("psst");
});

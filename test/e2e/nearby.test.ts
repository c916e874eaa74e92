/** Rooms near by, private rooms by their words, and what the program does besides chatting; on loopback only. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { looking, ownNetwork, portOn, World } from "./program.ts";

setDefaultTimeout(60_000);

test("a terminal offers the room near by, and Enter joins it", async () => {
  await using world = await World.open();
  const near = await ownNetwork();
  const alice = world.terminal(["Alice"], near);
  await portOn(alice);
  const offer = /^┌ {2}p2pchat\n│\n◆ {2}There is a room near by\n.*Join Alice\n.*Open a new room/;
  const bob = await looking(() => world.terminal(["Bob"], near), offer);
  bob.type("\r");
  // One conversation, from the question to the opening.
  await bob.until(
    /^┌ {2}p2pchat\n│\n◇ {2}There is.*\n│ {2}Join Alice\n│\n◇ {2}Bob at .*\n.*\n│\n└ .*\n\n• Alice is here/,
  );
  await alice.until("→ Bob joined");
  bob.type("found you\r");
  await alice.until("Bob: found you");
});

test("the offer can be declined, and --new does not look", async () => {
  await using world = await World.open();
  const near = await ownNetwork();
  const alice = world.terminal(["Alice"], near);
  await portOn(alice);
  const bob = await looking(() => world.terminal(["Bob"], near), "Open a new room");
  bob.type("\x1b[B\r");
  await bob.until(/^Bob ⋅ 1 ›/m);
  const carol = world.terminal(["Carol", "--new"], near);
  await carol.until(/^Carol ⋅ 1 ›/m);
  expect(carol.scrollback().join("\n")).not.toContain("Join Alice");
  alice.type("nobody came\r");
  await alice.until("Alice: nobody came");
  // They are told of each other, and each stays alone.
  for (const name of ["Bob", "Carol"]) await alice.until(`another room near by, with ${name}:`);
  await alice.until(/^Alice ⋅ 1 ›/m);
});

test("the room one was in last is offered first, also where nobody of it is heard near by", async () => {
  await using world = await World.open();
  const near = await ownNetwork();
  for (const bobs of [near, {}]) {
    const alice = world.terminal(["Alice", "--new"], near);
    const bob = world.terminal(["Bob", "127.0.0.1", await portOn(alice)], bobs);
    await alice.until("→ Bob joined");
    bob.type("do come back\r");
    await alice.until("Bob: do come back");
    alice.type(":q\r");
    await alice.exited;
    const other = world.terminal(["Carol", "--new"], near);
    await portOn(other);
    const offer = /There (is a room|are 2 rooms) near by\n.*Go back to Bob\n.*Join Carol\n.*Open a new room/;
    const again = await looking(() => world.terminal(["Alice"], near), offer);
    again.type("\r");
    await again.until(/• Bob is here\n[\s\S]*Bob: do come back/);
    for (const each of [again, bob, other]) {
      each.type(":q\r");
      await each.exited;
    }
  }
});

test("who opens a new room is told the way back to the last one, if it is not offered", async () => {
  await using world = await World.open();
  const alice = world.terminal(["Alice"]);
  const bob = world.terminal(["Bob", "127.0.0.1", await portOn(alice)]);
  const port = await portOn(bob);
  await alice.until("→ Bob joined");
  expect(alice.screen().join()).not.toContain("new room");
  alice.type(":q\r");
  await alice.exited;
  const again = world.terminal(["Alice"], { cols: 60 });
  await again.until(`• this is a new room; to the last one, with Bob:\n• ./p2pchat Alice 127.0.0.1 ${port}\n`);
  again.type(":q\r");
  await again.exited;
  const back = world.terminal(["Alice", "127.0.0.1", port]);
  await back.until("• Bob is here");
  // Not where one asked for a new one.
  back.type(":q\r");
  await back.exited;
  const fresh = world.terminal(["Alice", "--new"]);
  await fresh.until(/^Alice ⋅ 1 ›/m);
  expect(fresh.screen().join()).not.toContain("this is a new room");
});

/** Alice's, and the words that let others in. */
async function privateRoom(world: World, near: Awaited<ReturnType<typeof ownNetwork>>) {
  const alice = world.terminal(["Alice", "--private"], { ...near, cols: 160 });
  const port = await portOn(alice);
  const code = /[a-z]{5}(?:-[a-z]{5}){3}/;
  await alice.until(code);
  const [words = ""] = code.exec(alice.screen().join("\n")) ?? [];
  return { alice, port, words };
}

test("a private room is entered by its words alone, and by nobody without them", async () => {
  await using world = await World.open();
  const near = await ownNetwork();
  const { alice, port, words } = await privateRoom(world, near);
  const bob = world.pipe(["Bob", ...words.toUpperCase().split("-")], near);
  await bob.line(">INFO: Alice joined.");
  bob.write("the words work\n");
  await alice.until("Bob: the words work");
  const mallory = world.pipe(["Mallory", "127.0.0.1", port]);
  expect(await mallory.exited).toBe(1);
  expect(mallory.complaints).toContain("the room is private and needs its key");
});

test("a script's private room is found by its words alone, and that is said where it can be so only", async () => {
  await using world = await World.open();
  const told = /tell your friends these words: ([a-z-]+)(.*)/;
  // Nobody has said where: on its own address it is shown, and that is loopback here.
  const nowhere = { env: { P2PCHAT_DISCOVERY: undefined, NODE_ENV: undefined } };
  for (const near of [await ownNetwork(), nowhere]) {
    const alice = world.pipe(["Alice", "--private", "--volatile"], near);
    const [, words = "", more] = told.exec(await alice.line(told)) ?? [];
    expect(more).toBe(` (near by they type: ./p2pchat <name> ${words})`);
    const bob = world.pipe(["Bob", words, "--volatile"], near);
    await bob.line(">INFO: Alice joined.");
  }
  const hidden = world.pipe(["Carol", "--private", "--discover", "off"]);
  const [, , more] = told.exec(await hidden.line(told)) ?? [];
  expect(more).toBe("");
});

test("a script's open room is shown where the environment says where", async () => {
  await using world = await World.open();
  const near = await ownNetwork();
  const bob = world.terminal(["Bob"], near);
  await portOn(bob);
  await world.pipe(["Alice"], near).port();
  await bob.until("• another room near by, with Alice");
});

test("the words of a room made for this run are told again by /invite, in a line that works", async () => {
  await using world = await World.open();
  const near = await ownNetwork();
  const { alice, port, words } = await privateRoom(world, near);
  alice.type("/clear\r/invite\r");
  await alice.until(`◇ /invite\n│ A friend joins with:\n│ ./p2pchat <name> 127.0.0.1 ${port} --key ${words}`);
  const bob = world.pipe(["Bob", "127.0.0.1", port, "--key", words]);
  await bob.line(">INFO: Alice joined.");
  // Words of one's own are known, and are not shown to whoever looks over a shoulder.
  const carol = world.terminal(["Carol", "127.0.0.1", port, "--key", words]);
  await carol.until("• Alice is here");
  carol.type("/invite\r");
  await carol.until(/◇ \/invite\n│ .*\n│ \.\/p2pchat <name> 127\.0\.0\.1 \d+ --key "<words>"/);
});

test("words that were asked for are asked for again when they are wrong", async () => {
  await using world = await World.open();
  const near = await ownNetwork();
  const { port, words } = await privateRoom(world, near);
  const bob = await looking(() => world.terminal(["Bob"], near), "Join Alice (private)");
  bob.type("\r");
  const carol = world.terminal(["Carol", "127.0.0.1", port]);
  for (const each of [bob, carol]) {
    await each.until("The room is private. Its words?");
    each.type("some other words\r");
    await each.until("Those are not its words. Once more?");
    each.type(`${words}\r`);
    await each.until("• Alice is here");
  }
  // Who gives them on the command line is told, and that is all.
  const dave = world.terminal(["Dave", "127.0.0.1", port, "--key", "some other words"]);
  expect(await dave.exited).toBe(1);
});

test("list prints rooms near by and ends; with --json as objects", async () => {
  await using world = await World.open();
  const near = await ownNetwork();
  const none = world.shell(`"$P2PCHAT" list`, near);
  expect(await none.exited).toBe(0);
  expect([none.lines, none.complaints]).toEqual([[], expect.stringMatching(/^p2pchat: no room was found/)]);
  const alice = world.terminal(["Alice"], near);
  const port = await portOn(alice);
  // What a look finds: one that is over before Alice has answered finds nothing.
  const found = async (command: string) => {
    for (;;) {
      const list = world.shell(command, near);
      expect(await list.exited).toBe(0);
      if (list.lines.length > 0) return list;
    }
  };
  const plain = await found(`"$P2PCHAT" list`);
  expect(plain.lines).toEqual([`Alice  ./p2pchat <name> 127.0.0.1 ${port}`]);
  const json = await found(`"$P2PCHAT" list --json`);
  expect(json.events).toMatchObject([{ event: "room", names: ["Alice"], members: 1, private: false }]);
});

test("send says one thing, and its exit status tells whether anybody has it", async () => {
  await using world = await World.open();
  const alice = world.pipe(["Alice"]);
  const port = await alice.port();
  const send = world.pipe(["send", "Bot", "127.0.0.1", port, "build is green"]);
  expect(await send.exited).toBe(0);
  expect([send.lines, send.complaints]).toEqual([[], ""]);
  await alice.line(">INFO: Bot left.");
  expect(alice.lines.slice(1)).toEqual([">INFO: Bot joined.", "Bot: build is green", ">INFO: Bot left."]);
  const nobody = world.pipe(["send", "Bot", "127.0.0.1", "1", "hello?"]);
  expect(await nobody.exited).toBe(1);
  expect(nobody.complaints).toBe("p2pchat: cannot reach 127.0.0.1:1: connection refused\n");
});

test("history prints what was said without joining, while the chat runs and after it", async () => {
  await using world = await World.open();
  const alice = world.pipe(["Alice"]);
  const bob = world.pipe(["Bob", "127.0.0.1", await alice.port()], { machine: "other" });
  await alice.line(">INFO: Bob joined.");
  alice.write("one\n");
  await bob.line("Alice: one");
  bob.write("two\n");
  await alice.line("Bob: two");
  const history = async () => {
    const program = world.shell(`"$P2PCHAT" history Alice --json`);
    expect([await program.exited, program.complaints]).toEqual([0, ""]);
    return program.events.map(({ name, text, own }) => `${name}: ${text}${own ? " (own)" : ""}`);
  };
  expect(await history()).toEqual(["Alice: one (own)", "Bob: two"]);
  alice.end();
  expect(await alice.exited).toBe(0);
  expect(await history()).toEqual(["Alice: one (own)", "Bob: two"]);
});

/** However one goes, the others read it, and only who could not say it is lost. */
import { afterEach, describe, expect, setDefaultTimeout, spyOn, test } from "bun:test";
import { existsSync } from "node:fs";
import { Compare } from "../../lib/room/compare.ts";
import { clearAway, Guest } from "../guest.ts";
import { portOn, World } from "./program.ts";
import type { Terminal } from "./terminal.ts";

setDefaultTimeout(60_000);

afterEach(clearAway);

/** Sooner than a link that falls silent is given up. */
const AT_ONCE_MS = 10_000;

const ways: readonly (readonly [name: string, go: (bob: Terminal) => void])[] = [
  [":q", bob => bob.type(":q\r")],
  [":quit", bob => bob.type(":quit\r")],
  ["/quit", bob => bob.type("/quit\r")],
  ["Ctrl-C", bob => bob.type("\x03")],
  ["Ctrl-C with a line half typed", bob => bob.type("half a li\x03")],
  ["Ctrl-D on an empty line", bob => bob.type("\x04")],
  ["SIGINT", bob => bob.kill("SIGINT")],
  ["SIGTERM", bob => bob.kill("SIGTERM")],
  ["SIGHUP", bob => bob.kill("SIGHUP")],
  ["a closed terminal", bob => bob.close()],
];

describe.each(ways)("by %s", (_name, go) => {
  test("the others read at once that one left, and the exit status is 0", async () => {
    await using world = await World.open();
    const alice = world.terminal(["Alice"]);
    const bob = world.terminal(["Bob", "127.0.0.1", await portOn(alice)]);
    await alice.until("→ Bob joined");
    await bob.until("• Alice is here");
    go(bob);
    await alice.until(/→ Bob joined\n← Bob left\n• nobody else is here.*\nAlice ⋅ 1 ›/, "← Bob left", AT_ONCE_MS);
    expect(await bob.exited).toBe(0);
  });
});

describe("as soon as others know of one, and it has not yet heard what there is", () => {
  const waysOut = [
    ["SIGINT", (bob: Terminal) => bob.kill("SIGINT")],
    ["SIGTERM", (bob: Terminal) => bob.kill("SIGTERM")],
    ["SIGHUP", (bob: Terminal) => bob.kill("SIGHUP")],
    ["Ctrl-C", (bob: Terminal) => bob.type("\x03")],
    ["a closed terminal", (bob: Terminal) => bob.close()],
  ] as const;

  test.each(waysOut)("%s is a way to leave, too", async (name, go) => {
    await using world = await World.open();
    using _silent = spyOn(Compare.prototype, "onList").mockImplementation(() => {});
    const alice = await Guest.open("Alice");
    const bob = world.terminal(["Bob", "127.0.0.1", String(await alice.port())]);
    await alice.joins("Bob");
    await bob.until("Connecting to");
    go(bob);
    expect(await bob.exited).toBe(0);
    if (name !== "a closed terminal") expect(bob.isRaw()).toBe(false);
    expect(await alice.event("leave")).toMatchObject({ name: "Bob", reason: "quit" });
  });

  test("a signal ends `send` with a goodbye, and says that it is not done", async () => {
    await using world = await World.open();
    using _silent = spyOn(Compare.prototype, "onList").mockImplementation(() => {});
    const alice = await Guest.open("Alice");
    const bob = world.pipe(["send", "Bob", "127.0.0.1", String(await alice.port()), "hello"]);
    await alice.joins("Bob");
    bob.kill("SIGTERM");
    expect([await bob.exited, bob.complaints]).toEqual([1, "p2pchat: ended by SIGTERM before it was done\n"]);
    expect(await alice.event("leave")).toMatchObject({ name: "Bob", reason: "quit" });
  });

  test.each(["SIGINT", "SIGTERM", "SIGHUP"] as const)("%s between pipes, too", async signal => {
    await using world = await World.open();
    const alice = world.pipe(["Alice"]);
    const port = await alice.port();
    for (const name of ["Bob", "Carol", "Dave"]) {
      const other = world.pipe([name, "127.0.0.1", port]);
      await alice.line(`>INFO: ${name} joined.`);
      other.kill(signal);
      expect([await other.exited, other.complaints]).toEqual([0, ""]);
      await alice.line(`>INFO: ${name} left.`);
    }
  });
});

test.each([
  ["Ctrl-C", (alice: Terminal) => alice.type("\x03")],
  ["SIGINT", (alice: Terminal) => alice.kill("SIGINT")],
] as const)("who cannot wait for the goodbye ends it by %s, once more", async (_name, again) => {
  await using world = await World.open();
  const alice = world.terminal(["Alice"]);
  const bob = world.pipe(["Bob", "127.0.0.1", await portOn(alice)]);
  await alice.until("→ Bob joined");
  await bob.line(">INFO: Alice joined.");
  // It will not answer.
  bob.kill("SIGSTOP");
  alice.type("\x03");
  await alice.until("Left the room.");
  expect(alice.isRaw()).toBe(false);
  again(alice);
  expect(await alice.exited).toBe(130);
});

test("what is typed before the program has a prompt is said, and Ctrl-C behind it leaves", async () => {
  await using world = await World.open();
  const alice = world.terminal(["Alice", "--time", "off"]);
  alice.type("typed ahead\r");
  await alice.until(/^Alice: typed ahead.*\nAlice ⋅ 1 ›$/m, "the text");
  const bob = world.terminal(["Bob"]);
  await bob.until("listening at");
  bob.type("half\x03");
  expect(await bob.exited).toBe(0);
  expect(bob.isRaw()).toBe(false);
});

test("Ctrl-D in a line that holds something deletes and does not leave", async () => {
  await using world = await World.open();
  const alice = world.terminal(["Alice"]);
  await portOn(alice);
  alice.type("abc\x01\x04");
  await alice.until(/› bc$/m);
  alice.type("\r");
  await alice.until("Alice: bc");
});

test("Ctrl-Z gives the terminal to the shell as it was, and fg brings back the line half typed", async () => {
  await using world = await World.open();
  const shell = world.jobs();
  await shell.until(/^\$$/m);
  shell.type('"$P2PCHAT" Alice --new --host 127.0.0.1\r');
  const bob = world.terminal(["Bob", "127.0.0.1", await portOn(shell)]);
  await shell.until("→ Bob joined");
  shell.type("half a line");
  await shell.until("› half a line");
  shell.type("\x1a");
  await shell.until(/→ Bob joined\n└ {2}Stopped: fg goes on.*\n+.*Stopped.*\n\$$/m);
  expect(shell.screen().join("\n")).not.toContain("half a line");
  expect(shell.isRaw()).toBe(false);
  bob.type("are you there?\r");
  shell.type("echo mean''while; fg\r");
  await shell.until("› half a line");
  await shell.until(/→ Bob joined\n.* Bob: are you there\?\nAlice ⋅ 2 › half a line$/m);
  expect(shell.isRaw()).toBe(true);
  // What the shell had on the screen has scrolled away, and is not lost.
  expect(shell.scrollback()).toContain("meanwhile");
  shell.type(" more\r");
  await bob.until("Alice: half a line more");
  shell.type(":q\r");
  await shell.until(/Left the room\.\n\$$/m);
});

test("Escape does not leave", async () => {
  await using world = await World.open();
  const alice = world.terminal(["Alice"]);
  await portOn(alice);
  alice.type("\x1b");
  alice.type("still here\r");
  await alice.until("till here");
});

test("the last words of who leaves arrive, however quick the goodbye", async () => {
  await using world = await World.open();
  const alice = world.terminal(["Alice"]);
  const bob = world.terminal(["Bob", "127.0.0.1", await portOn(alice)]);
  await alice.until("→ Bob joined");
  await bob.until("• Alice is here");
  bob.type("one\rtwo\rthree\r:q\r");
  await alice.until(/Bob: one\n.*Bob: two\n.*Bob: three\n← Bob left/);
  expect(await bob.exited).toBe(0);
});

test("a member that is killed is lost to everybody within 15 s, and is told of once", async () => {
  await using world = await World.open();
  const alice = world.terminal(["Alice"]);
  const port = await portOn(alice);
  const bob = world.terminal(["Bob", "127.0.0.1", port]);
  await bob.until("• Alice is here");
  const carol = world.terminal(["Carol", "127.0.0.1", port]);
  for (const each of [alice, bob]) await each.until("→ Carol joined");
  bob.kill("SIGKILL");
  const others = [alice, carol];
  for (const each of others) await each.until("← Bob was lost", "the loss of Bob", 15_000);
  carol.type("so it goes\r");
  for (const each of others) {
    await each.until("Carol: so it goes");
    expect(each.scrollback().filter(row => /Bob (left|was lost)/.test(row))).toEqual(["← Bob was lost"]);
  }
});

test("the founder goes, and newcomers join through whoever is left", async () => {
  await using world = await World.open();
  const alice = world.pipe(["Alice"]);
  const bob = world.pipe(["Bob", "127.0.0.1", await alice.port()]);
  const carol = world.pipe(["Carol", "127.0.0.1", await bob.port()]);
  await carol.line(">INFO: Alice joined.");
  await alice.line(">INFO: Carol joined.");
  alice.write(":q\n");
  expect(await alice.exited).toBe(0);
  await carol.line(">INFO: Alice left.");
  bob.write(":q\n");
  expect(await bob.exited).toBe(0);
  await carol.line(">INFO: Bob left.");
  const dave = world.pipe(["Dave", "127.0.0.1", await carol.port()]);
  await carol.line(">INFO: Dave joined.");
  dave.write("the room is the same\n");
  await carol.line("Dave: the room is the same");
});

test("what a killed member has said stays, and its disk can be used at once", async () => {
  await using world = await World.open();
  const alice = world.pipe(["Alice"]);
  const port = await alice.port();
  const bob = world.pipe(["Bob", "127.0.0.1", port]);
  bob.write("remember me\n");
  await alice.line("Bob: remember me");
  bob.kill("SIGKILL");
  await bob.exited;
  expect(existsSync(`${world.disk()}/p2pchat/bob.sqlite`)).toBe(true);
  const again = world.pipe(["Bob", "127.0.0.1", port]);
  await again.line("Bob: remember me");
  again.write("here I am again\n");
  await alice.line("Bob: here I am again");
});

/** Names, identities, and what is kept on the disk. */
import { Database } from "bun:sqlite";
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { chmodSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { portOn, talkOn, World } from "./program.ts";

setDefaultTimeout(60_000);

describe("a name that is taken", () => {
  test("is asked for again on a terminal, with a free one ready", async () => {
    await using world = await World.open();
    const alice = world.terminal(["Alice"]);
    const other = world.terminal(["alice", "127.0.0.1", await portOn(alice)], { machine: "other" });
    await other.until("The name alice is taken in this room. What shall others call you?");
    await other.until(/alice2/);
    other.type("\r");
    await other.until(/alice2 at address 127\.0\.0\.1 is listening/);
    await other.until("• Alice is here");
    await alice.until("→ alice2 joined");
    other.type("it works\r");
    await alice.until("alice2: it works");
  });

  test("can be answered with a name of one's own, and a taken one is asked for once more", async () => {
    await using world = await World.open();
    const alice = world.terminal(["Alice"]);
    const port = await portOn(alice);
    const bob = world.terminal(["Bob", "127.0.0.1", port]);
    await bob.until("• Alice is here");
    const other = world.terminal(["Alice", "127.0.0.1", port], { machine: "other" });
    await other.until("The name Alice is taken");
    await other.until("Alice2");
    other.type("\x15BOB\r");
    await other.until("The name BOB is taken");
    await other.until("BOB2");
    other.type("\x15Zoë\r");
    await other.until("Zoë at address 127.0.0.1");
    await alice.until("→ Zoë joined");
  });

  test("ends plain and JSON mode with the reason, a free name, and exit status 1", async () => {
    await using world = await World.open();
    const alice = world.pipe(["Alice"]);
    const port = await alice.port();
    const message = "the name ALICE is taken in this room; ALICE2 is free";
    const plain = world.pipe(["ALICE", "127.0.0.1", port], { machine: "other" });
    expect(await plain.exited).toBe(1);
    expect([plain.lines, plain.complaints]).toEqual([[], `p2pchat: ${message}\n`]);
    const json = world.pipe(["ALICE", "127.0.0.1", port, "--json"], { machine: "other" });
    expect(await json.exited).toBe(1);
    expect(json.events).toEqual([{ event: "error", code: "name_taken", message }]);
    expect(json.complaints).toBe(`p2pchat: ${message}\n`);
  });

  test("is free again once its bearer has left", async () => {
    await using world = await World.open();
    const alice = world.pipe(["Alice"]);
    const port = await alice.port();
    const bob = world.pipe(["Bob", "127.0.0.1", port]);
    await alice.line(">INFO: Bob joined.");
    bob.write(":q\n");
    await alice.line(">INFO: Bob left.");
    const other = world.pipe(["Bob", "127.0.0.1", port], { machine: "other" });
    other.write("another one\n");
    await alice.line("Bob: another one");
  });
});

describe("an identity", () => {
  test("gets its name and sees what was said when it comes back", async () => {
    await using world = await World.open();
    const alice = world.terminal(["Alice"]);
    const port = await portOn(alice);
    const bob = world.terminal(["Bob", "127.0.0.1", port]);
    await alice.until("→ Bob joined");
    bob.type("I shall be back\r");
    await alice.until("Bob: I shall be back");
    bob.type(":q\r");
    await alice.until("← Bob left");
    alice.type("he is gone\r");
    await alice.until("Alice: he is gone");
    const again = world.terminal(["Bob", "127.0.0.1", port]);
    await again.until(/• Alice is here\n── history ──\n/);
    await again.until("Alice: he is gone");
    expect(talkOn(again)).toEqual(["Bob: I shall be back", "Alice: he is gone"]);
    again.type("told you\r");
    await alice.until("Bob: told you");
    expect(talkOn(alice)).toEqual(["Bob: I shall be back", "Alice: he is gone", "Bob: told you"]);
  });

  test("is the same key again, whatever case the name is typed in", async () => {
    await using world = await World.open();
    const first = world.pipe(["Alice", "--json"]);
    const { member } = await first.event({ event: "listening" });
    first.command({ command: "quit" });
    expect(await first.exited).toBe(0);
    const second = world.pipe(["ALICE", "--json"]);
    expect(await second.event({ event: "listening" })).toMatchObject({ name: "ALICE", member });
  });

  test("is the same key again under the name it took, and under the one it had", async () => {
    await using world = await World.open();
    const first = world.pipe(["Alice", "--json"]);
    const { member } = await first.event({ event: "listening" });
    first.command({ command: "rename", name: "Alicia" });
    first.command({ command: "rename", name: "Ali" });
    await first.event({ event: "rename", to: "Ali" });
    const busy = world.pipe(["Ali"]);
    expect([await busy.exited, busy.complaints]).toEqual([1, expect.stringContaining("Ali is in use")]);
    first.command({ command: "quit" });
    expect(await first.exited).toBe(0);
    for (const name of ["Ali", "ALICIA", "Alice"]) {
      const again = world.pipe([name, "--json"]);
      expect(await again.event({ event: "listening" })).toMatchObject({ name, member });
      again.command({ command: "quit" });
      expect(await again.exited).toBe(0);
    }
    const history = world.shell(`"$P2PCHAT" history Alicia`);
    expect([await history.exited, history.complaints]).toEqual([0, ""]);
  });

  test("is not taken over by a /nick: another one of this machine keeps its name, and that is said", async () => {
    await using world = await World.open();
    const keys: unknown[] = [];
    for (const name of ["Bob", "Alice"]) {
      const made = world.pipe([name, "--json"]);
      keys.push((await made.event({ event: "listening" }))["member"]);
      made.command({ command: "quit" });
      await made.exited;
    }
    const alice = world.terminal(["Alice"], { cols: 120 });
    await portOn(alice);
    alice.type("/nick Bob\r");
    await alice.until("• Bob is another identity on this machine: to be this one again, start as Alice");
    alice.type(":q\r");
    await alice.exited;
    for (const name of ["Bob", "Alice"]) {
      const again = world.pipe([name, "--json"]);
      const { member } = await again.event({ event: "listening" });
      expect(member).toBe(keys.shift());
    }
  });

  test("that was deleted takes the names it had with it", async () => {
    await using world = await World.open();
    const first = world.pipe(["Alice", "--json"]);
    const { member } = await first.event({ event: "listening" });
    first.command({ command: "rename", name: "Alicia" });
    await first.event({ event: "rename" });
    first.command({ command: "quit" });
    await first.exited;
    for (const file of ["alice.sqlite", "alice.lock"]) rmSync(join(world.disk(), "p2pchat", file));
    const fresh = world.pipe(["Alicia", "--json"]);
    const event = await fresh.event({ event: "listening" });
    expect(event["member"]).not.toBe(member);
    expect(fresh.complaints).toBe("");
  });

  test("runs once: a second start says so and ends, and the first does not notice", async () => {
    await using world = await World.open();
    const alice = world.terminal(["Alice"]);
    const port = await portOn(alice);
    const rest = "in use: another p2pchat runs with this identity on this machine; leave there, or take another name";
    for (const words of [["Alice"], ["alice", "127.0.0.1", port], ["Alice", "--json"]]) {
      const second = world.pipe(words);
      expect(await second.exited).toBe(1);
      const message = `${words[0]} is ${rest}`;
      const told = words.includes("--json") ? [{ event: "error", code: "refused", message }] : [];
      expect([second.events, second.complaints]).toEqual([told, `p2pchat: ${message}\n`]);
    }
    alice.type("all is well\r");
    await alice.until("Alice: all is well");
  });

  test("is for its owner's eyes only", async () => {
    await using world = await World.open();
    const alice = world.pipe(["Alice"]);
    await alice.port();
    const directory = join(world.disk(), "p2pchat");
    expect(statSync(directory).mode & 0o777).toBe(0o700);
    const modes = readdirSync(directory).map(name => statSync(join(directory, name)).mode & 0o777);
    expect(new Set(modes)).toEqual(new Set([0o600]));
  });
});

describe("the disk", () => {
  test("holds nothing with --volatile, in the room and after it", async () => {
    await using world = await World.open();
    const alice = world.pipe(["Alice", "--volatile"]);
    const bob = world.pipe(["Bob", "127.0.0.1", await alice.port(), "--volatile"]);
    bob.write("off the record\n");
    await alice.line("Bob: off the record");
    expect(readdirSync(world.directory, { recursive: true })).toEqual(["here"]);
    alice.end();
    expect(await alice.exited).toBe(0);
    expect(readdirSync(world.directory, { recursive: true })).toEqual(["here"]);
  });

  test("forgets what is older than --keep, and nothing without it", async () => {
    await using world = await World.open();
    const directory = join(world.disk(), "p2pchat");
    const alice = world.pipe(["Alice"]);
    await alice.port();
    alice.write("said long ago\n");
    alice.end();
    expect(await alice.exited).toBe(0);
    const database = new Database(join(directory, "alice.sqlite"));
    database.run("UPDATE posts SET clock = clock - ?", [2 * 86_400_000_000]);
    database.close();
    const history = async () => {
      const told = world.shell(`"$P2PCHAT" history Alice --time off`);
      expect(await told.exited).toBe(0);
      return told.lines;
    };
    for (const keep of [[], ["--keep", "all"], ["--keep", "3d"]]) {
      const kept = world.pipe(["Alice", ...keep]);
      await kept.port();
      kept.write("/search long\n");
      await kept.line(/>INFO: .*Alice: said long ago/);
      kept.end();
      await kept.exited;
      expect(await history()).toEqual(["Alice: said long ago"]);
    }
    const keeps = world.pipe(["Alice", "--keep", "1d"]);
    await keeps.port();
    keeps.write("said now\n");
    // What is said is kept in the next turn, and what is old is forgotten when there is time for it: in either order.
    for (const until = Date.now() + 30_000; ; ) {
      const left = await history();
      if (Bun.deepEquals(left, ["Alice: said now"])) break;
      if (Date.now() > until) expect(left).toEqual(["Alice: said now"]);
    }
    keeps.write("/search long\n");
    await keeps.line(">INFO: Nothing was found.");
  });

  test("is where --data says", async () => {
    await using world = await World.open();
    const data = join(world.disk(), "of", "my", "own");
    const alice = world.pipe(["Alice", "--data", data]);
    await alice.port();
    alice.end();
    expect(await alice.exited).toBe(0);
    expect(readdirSync(data).sort()).toEqual(["alice.lock", "alice.sqlite"]);
  });

  test("that is no disk costs the history and not the chat, and it is said once", async () => {
    await using world = await World.open();
    const file = join(world.directory, "file");
    writeFileSync(file, "");
    const alice = world.pipe(["Alice", "--data", join(file, "below")]);
    const bob = world.pipe(["Bob", "127.0.0.1", await alice.port()]);
    bob.write("can you hear me?\n");
    await alice.line("Bob: can you hear me?");
    alice.write("yes\n");
    await bob.line("Alice: yes");
    const errors = alice.lines.filter(line => line.startsWith(">ERROR"));
    expect(errors).toEqual([`>ERROR: nothing is kept in this run: ${file}/below/alice.sqlite is not in a directory`]);
  });

  test("that is full costs the history and not the chat, and it is said once on the screen", async () => {
    await using world = await World.open();
    // No file may grow beyond 300 blocks of 512 bytes, which is what a full disk looks like to who writes.
    const script = `trap '' XFSZ; ulimit -f 300; exec "$P2PCHAT" Alice --host 127.0.0.1`;
    const alice = world.shell(script);
    const bob = world.terminal(["Bob", "127.0.0.1", await alice.port()], { machine: "other" });
    await bob.until("• Alice is here");
    const long = "x".repeat(60_000);
    for (let text = 0; text < 20; text += 1) alice.write(`${text} ${long}\n`);
    alice.write("that was a lot\n");
    await bob.until("Alice: that was a lot");
    bob.type("it was\r");
    await alice.line("Bob: it was");
    const errors = alice.lines.filter(line => line.startsWith(">ERROR"));
    expect(errors).toHaveLength(1);
    expect(errors[0]).toMatch(/^>ERROR: history is no longer kept: .*alice\.sqlite/);
    alice.end();
    expect(await alice.exited).toBe(0);
  });

  test("that has become too public is made private again", async () => {
    await using world = await World.open();
    const first = world.pipe(["Alice"]);
    await first.port();
    first.end();
    expect(await first.exited).toBe(0);
    const file = join(world.disk(), "p2pchat", "alice.sqlite");
    chmodSync(file, 0o644);
    const second = world.pipe(["Alice"]);
    await second.port();
    expect(statSync(file).mode & 0o777).toBe(0o600);
  });
});

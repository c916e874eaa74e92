/** The scenario that p2pchat grew out of, played by the compiled program on real terminals and read off their screens. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { portOn, talkOn, World } from "./program.ts";
import type { Terminal } from "./terminal.ts";

setDefaultTimeout(60_000);

const LOST_WITHIN_MS = 15_000;

async function say(speaker: Terminal, name: string, text: string, everybody: readonly Terminal[]): Promise<void> {
  speaker.type(`${text}\r`);
  for (const each of everybody) await each.until(`${name}: ${text}`);
}

/** Asks again with every answer that is not as wanted yet. */
async function asksWhoUntil(terminal: Terminal, wanted: RegExp): Promise<void> {
  let asked = 0;
  const answers = () => terminal.scrollback().filter(row => row === "◇ /who").length;
  await terminal.until(screen => {
    if (screen.some(row => wanted.test(row))) return true;
    if (answers() === asked) {
      asked += 1;
      terminal.type("/who\r");
    }
    return false;
  }, `/who: ${wanted}`);
}

test("people join through anybody, talk, one is killed, the founder leaves, and the room goes on", async () => {
  await using world = await World.open();

  const alice = world.terminal(["Alice"]);
  const alicePort = await portOn(alice);
  await alice.until(`Alice at address 127.0.0.1 is listening at ${alicePort}.`);
  await alice.until(`./p2pchat <name> 127.0.0.1 ${alicePort}`);

  const bob = world.terminal(["Bob", "localhost", alicePort]);
  const bobPort = await portOn(bob);
  await bob.until("• Alice is here");
  await alice.until("→ Bob joined");

  const carol = world.terminal(["Carol", `127.0.0.1:${bobPort}`]);
  const carolPort = await portOn(carol);
  await carol.until(/• Alice is here\n• Bob is here\n/);
  await alice.until("→ Carol joined");
  await bob.until("→ Carol joined");

  // She came through Bob and is soon linked to Alice, too.
  await asksWhoUntil(carol, /^│ Alice +127\.0\.0\.1:\d+ +linked/);

  const everybody = [alice, bob, carol];
  await say(alice, "Alice", "good morning", everybody);
  await say(bob, "Bob", "grüß dich 👋🏽 你好", everybody);
  await say(carol, "Carol", "hello both", everybody);
  const said = ["Alice: good morning", "Bob: grüß dich 👋🏽 你好", "Carol: hello both"];
  for (const each of everybody) expect(talkOn(each)).toEqual(said);

  bob.kill("SIGKILL");
  await Promise.all([
    alice.until("← Bob was lost", "the loss of Bob", LOST_WITHIN_MS),
    carol.until("← Bob was lost", "the loss of Bob", LOST_WITHIN_MS),
  ]);
  await say(carol, "Carol", "where is Bob?", [alice, carol]);

  alice.type(":q\r");
  await alice.until("Left the room.");
  expect(await alice.exited).toBe(0);
  await carol.until("← Alice left");
  await carol.until(/^Carol ⋅ 1 ›/m);
  await say(carol, "Carol", "somebody will come", [carol]);

  const dave = world.terminal(["Dave", "localhost", carolPort]);
  await dave.until(/• Carol is here\n── history ──\n/);
  await dave.until("Carol: somebody will come");
  expect(talkOn(dave)).toEqual([...said, "Carol: where is Bob?", "Carol: somebody will come"]);
  expect(talkOn(carol)).toEqual(talkOn(dave));
  await carol.until("→ Dave joined");
  await say(dave, "Dave", "here I am", [carol, dave]);
  await dave.until(/── now ──\n\d\d:\d\d Dave: here I am ✓\nDave ⋅ 2 ›/);
});

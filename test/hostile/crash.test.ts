/**
 * kill -9 again and again while texts stream in: every start succeeds, and nothing that was shown is missing from the disk.
 *
 * P2PCHAT_CRASHES says how often; 200 is the long run, a check does fewer.
 */
import { expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Chat } from "../../lib/chat.ts";
import { PostKind, textIdOf } from "../../lib/codec/post.ts";
import { Store } from "../../lib/store.ts";
import { binary } from "../e2e/program.ts";
import { between, randomStream } from "../sim/random.ts";

// On a busy machine processes and sockets take their time.
setDefaultTimeout(60_000);

const CRASHES = Number(process.env["P2PCHAT_CRASHES"] ?? 30);
const SEED = 1;
const TALK_EVERY_MS = 2;
const POSTS_MAX = 1_000_000;

interface Run {
  readonly shown: readonly string[];
  readonly isListening: boolean;
  readonly errors: readonly string[];
  readonly complaints: string;
}

/** One run of the program, until it has shown so many texts or for so long; then it dies. */
async function run(argv: readonly string[], texts: number, ms: number): Promise<Run> {
  const child = Bun.spawn([...argv], { stdin: "pipe", stdout: "pipe", stderr: "pipe", env: process.env });
  const timer = setTimeout(() => child.kill("SIGKILL"), ms);
  for (let text = 0; text < 5; text++) child.stdin.write(`{"command":"say","text":"from Bob ${text}"}\n`);
  child.stdin.flush();
  const shown: string[] = [];
  const errors: string[] = [];
  let isListening = false;
  let rest = "";
  const decoder = new TextDecoder();
  const complaints = new Response(child.stderr).text();
  for await (const chunk of child.stdout) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    // A line that was cut by the kill was not shown.
    rest = lines.pop() ?? "";
    for (const line of lines) {
      const event = JSON.parse(line) as { event: string; id?: string };
      if (event.event === "listening") isListening = true;
      if (event.event === "error") errors.push(line);
      if (event.event === "message" && event.id !== undefined) shown.push(event.id);
    }
    if (shown.length >= texts) child.kill("SIGKILL");
  }
  clearTimeout(timer);
  await child.exited;
  return { shown, isListening, errors, complaints: await complaints };
}

/** The ids of all texts on Bob's disk. */
function kept(data: string, room: string): Set<string> {
  const troubles: string[] = [];
  const store = Store.open(data, "bob", message => troubles.push(message));
  const ids = new Set<string>();
  for (const post of store.recent(room, POSTS_MAX))
    if (post.kind === PostKind.text) for (const index of post.texts.keys()) ids.add(textIdOf(post, index));
  store.close();
  expect(troubles).toEqual([]);
  return ids;
}

test(`${CRASHES} times kill -9 while texts stream in: no start fails, nothing shown is missing`, async () => {
  const data = mkdtempSync(join(tmpdir(), "p2pchat-crash-"));
  const random = randomStream(SEED, "crash");
  const alice = await Chat.open({ name: "Alice", host: "127.0.0.1" });
  let said = 0;
  const talking = setInterval(() => alice.say(`text ${said++}`), TALK_EVERY_MS);
  const argv = [
    await binary(),
    "Bob",
    "127.0.0.1",
    String(alice.listensAt),
    "--host",
    "127.0.0.1",
    "--json",
    "--data",
    data,
  ];
  const shown = new Set<string>();
  let starts = 0;
  try {
    for (let crash = 0; crash < CRASHES; crash++) {
      // Half of them die in the middle of talk, the others at any moment, the start included.
      const isTalk = crash % 2 === 0;
      const texts = isTalk ? Math.ceil(between(random, 20, 400)) : Number.POSITIVE_INFINITY;
      const { errors, complaints, isListening, ...seen } = await run(
        argv,
        texts,
        isTalk ? 20_000 : between(random, 1, 400),
      );
      expect([crash, errors, complaints]).toEqual([crash, [], ""]);
      if (isTalk) expect([crash, isListening, seen.shown.length >= texts]).toEqual([crash, true, true]);
      if (isListening) starts += 1;
      for (const id of seen.shown) shown.add(id);
      const disk = kept(data, alice.roomId);
      expect([crash, [...shown].filter(id => !disk.has(id))]).toEqual([crash, []]);
    }
  } finally {
    clearInterval(talking);
    await alice.leave();
    rmSync(data, { recursive: true, force: true });
  }
  console.log(`${CRASHES} kills, ${starts} of them after it listened; ${shown.size} texts shown, all of them kept`);
}, 300_000);

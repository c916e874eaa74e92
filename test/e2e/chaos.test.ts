/**
 * Ten real processes under a seeded script of kills, stops and restarts: what the simulated world promises, the compiled
 * program keeps. Compared is what each one has printed.
 */
import { expect, setDefaultTimeout, test } from "bun:test";
import { pick, randomStream } from "../sim/random.ts";
import { type Fields, type Program, World } from "./program.ts";

setDefaultTimeout(180_000);

const MEMBERS = 10;
const ROUNDS = 12;
const SEED = Number(process.env["CHAOS_SEED"] ?? 7);
/** Until a stopped process is missed: the silence of a link, a pause, and some for a loaded machine. */
const LOST_MS = 40_000;

interface Member {
  readonly name: string;
  program: Program;
  isStopped: boolean;
}

/** A room that says numbered texts, one member at a time, and knows who is running. */
class Room {
  readonly members: Member[] = [];
  readonly random = randomStream(SEED, "chaos");
  readonly said: string[] = [];

  constructor(private readonly world: World) {}

  async fill(): Promise<void> {
    for (let index = 0; index < MEMBERS; index += 1) {
      const name = `m${index}`;
      this.members.push({ name, program: await this.start(name), isStopped: false });
    }
  }

  get awake(): Member[] {
    return this.members.filter(({ isStopped }) => !isStopped);
  }

  async start(name: string): Promise<Program> {
    const door = pick(this.random, this.awake);
    const entry = door === undefined ? [] : ["127.0.0.1", await door.program.port()];
    const program = this.world.pipe([name, ...entry, "--json"], { machine: name });
    await program.port();
    return program;
  }

  /** Somebody says something, and all who are awake hear it. */
  async talk(): Promise<void> {
    const speaker = pick(this.random, this.awake);
    const text = `text ${this.said.length + 1}`;
    this.said.push(text);
    speaker?.program.command({ command: "say", text });
    await Promise.all(this.awake.map(({ program }) => program.event({ event: "message", text })));
  }

  /** Asks everybody who is there until all give the same answer, and waits until all have heard the same. */
  async agree(): Promise<void> {
    const names = this.members.map(({ name }) => name).sort();
    await Promise.all(this.members.map(({ program }) => seesAll(program, names)));
    // Who was stopped or started anew may still be told what it did not hear: nothing that came later says that it was.
    await Promise.all(this.members.map(({ program }) => hasAll(program, this.said)));
  }
}

/** Asks one program who is there, until it is as wanted. */
async function seesAll(program: Program, names: readonly string[]): Promise<void> {
  const deadline = Date.now() + LOST_MS;
  for (;;) {
    const before = program.events.filter(({ event }) => event === "members").length;
    program.command({ command: "who" });
    await program.until(() => program.events.filter(({ event }) => event === "members").length > before, "an answer");
    const seen = program.events.findLast(({ event }) => event === "members")?.["members"] as Fields[];
    const present = seen.map(({ name }) => String(name)).sort();
    if (present.join() === names.join() || Date.now() > deadline) return expect(present).toEqual([...names]);
  }
}

async function hasAll(program: Program, wanted: readonly string[]): Promise<void> {
  const lacking = () => {
    const texts = new Set(textsOf(program));
    return wanted.filter(text => !texts.has(text));
  };
  await program.until(() => lacking().length === 0, "all that was said", LOST_MS);
}

function textsOf(program: Program): string[] {
  return program.events.filter(({ event }) => event === "message").map(({ text }) => String(text));
}

test(`ten members under kills, stops and restarts all have every text once (seed ${SEED})`, async () => {
  await using world = await World.open();
  const room = new Room(world);
  await room.fill();
  for (let round = 0; round < ROUNDS; round += 1) {
    await room.talk();
    const victim = pick(room.random, room.awake);
    if (victim === undefined || room.awake.length < 4) break;
    if (room.random() < 0.6) {
      victim.program.kill("SIGKILL");
      await victim.program.exited;
      victim.isStopped = true;
      await room.talk();
      victim.program = await room.start(victim.name);
      victim.isStopped = false;
    } else {
      victim.program.kill("SIGSTOP");
      victim.isStopped = true;
      await room.talk();
      victim.program.kill("SIGCONT");
      victim.isStopped = false;
    }
    await room.talk();
  }
  await room.agree();
  const all = room.said.toSorted();
  for (const { name, program } of room.members)
    expect({ name, texts: textsOf(program).sort() }).toEqual({ name, texts: all });
});

test("a member that is stopped for long is missed, and is back with all it did not hear", async () => {
  await using world = await World.open();
  const alice = world.pipe(["Alice", "--json"], { machine: "alice" });
  const port = await alice.port();
  const bob = world.pipe(["Bob", "127.0.0.1", port, "--json"], { machine: "bob" });
  const carol = world.pipe(["Carol", "127.0.0.1", port, "--json"], { machine: "carol" });
  await Promise.all([bob, carol].map(program => program.port()));
  await bob.event({ event: "join", name: "Carol" });
  bob.kill("SIGSTOP");
  await carol.event({ event: "leave", name: "Bob", reason: "lost" }, LOST_MS);
  alice.command({ command: "say", text: "while Bob slept" });
  bob.kill("SIGCONT");
  await bob.event({ event: "message", text: "while Bob slept" }, LOST_MS);
  await seesAll(carol, ["Alice", "Bob", "Carol"]);
  expect(textsOf(bob)).toEqual(["while Bob slept"]);
});

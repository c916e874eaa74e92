/**
 * The compiled program on machines of its own: network namespaces, each with one cable (veth) to a switch (a bridge in a
 * namespace too), so that a cable can be pulled and a member can be put behind a firewall.
 *
 * Nothing leaves these namespaces, and they are removed whatever happens. Where the system does not allow them, the
 * reason is printed and nothing is tested.
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { type Fields, type Program, World } from "./program.ts";

setDefaultTimeout(240_000);

/** Until a member beyond a cut is missed: the silence of a link, a pause, and some for a loaded machine. */
const LOST_MS = 40_000;
/** Until all have met again: the longest back-off of a dial, and some for a loaded machine. */
const HEAL_MS = 90_000;
const NETWORK = "10.92.0";
const PREFIX = `p2pn-${process.pid}`;

/** What `ip` has to say against it; undefined where it has done it. */
function ip(command: string): string | undefined {
  try {
    const { exitCode, stderr } = Bun.spawnSync(["ip", ...command.split(" ")], { stdout: "ignore", stderr: "pipe" });
    return exitCode === 0 ? undefined : `ip ${command}: ${stderr.toString().trim()}`;
  } catch (error) {
    return String(error);
  }
}

function must(command: string): void {
  const trouble = ip(command);
  if (trouble !== undefined) throw new Error(trouble);
}

/** Machines 1, 2, 3 … at 10.92.0.1, 10.92.0.2 …, all on one switch. */
class Network implements Disposable {
  private readonly spaces: string[] = [];
  private readonly removeOnExit = () => this[Symbol.dispose]();

  constructor(machines: number) {
    // A test that runs into its time limit is not disposed of, the process is.
    process.on("exit", this.removeOnExit);
    try {
      this.build(machines);
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  private build(machines: number): void {
    const hub = this.space("switch");
    must(`-n ${hub} link add name hub type bridge`);
    must(`-n ${hub} link set hub up`);
    for (let machine = 1; machine <= machines; machine += 1) {
      const space = this.space(String(machine));
      must(`link add n0 netns ${space} type veth peer name port${machine} netns ${hub}`);
      must(`-n ${space} addr add ${this.address(machine)}/24 dev n0`);
      must(`-n ${space} link set n0 up`);
      must(`-n ${hub} link set port${machine} master hub up`);
    }
  }

  private space(label: string): string {
    const name = `${PREFIX}-${label}`;
    this.spaces.push(name);
    must(`netns add ${name}`);
    must(`-n ${name} link set lo up`);
    return name;
  }

  address(machine: number): string {
    return `${NETWORK}.${machine}`;
  }

  /** The words before a command that is to run on this machine. */
  on(machine: number): string {
    return `exec ip netns exec ${PREFIX}-${machine}`;
  }

  pull(machine: number): void {
    must(`-n ${PREFIX}-switch link set port${machine} down`);
  }

  plugIn(machine: number): void {
    must(`-n ${PREFIX}-switch link set port${machine} up`);
  }

  /** What the machine sends from this port goes nowhere, so nobody gets an answer there; it can dial whom it likes. */
  block(machine: number, port: number): string | undefined {
    return ip(`-n ${PREFIX}-${machine} rule add prio 5 ipproto tcp sport ${port} prohibit`);
  }

  [Symbol.dispose](): void {
    process.off("exit", this.removeOnExit);
    for (const space of this.spaces.splice(0)) ip(`netns del ${space}`);
  }
}

function reasonToSkip(): string | undefined {
  if (process.platform !== "linux") return "network namespaces are a thing of Linux";
  try {
    using _network = new Network(2);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function reasonWithoutFirewall(): string | undefined {
  using network = new Network(1);
  return network.block(1, 7);
}

const skipped = reasonToSkip();
if (skipped !== undefined) console.log(`cables and firewalls are not tested: ${skipped}`);
const withoutFirewall = skipped === undefined ? reasonWithoutFirewall() : skipped;
if (skipped === undefined && withoutFirewall !== undefined)
  console.log(`a member that cannot be dialled is not tested: ${withoutFirewall}`);

/** Programs on the machines of a network. */
class Room {
  readonly members = new Map<string, Program>();

  constructor(
    private readonly world: World,
    private readonly network: Network,
  ) {}

  async start(name: string, machine: number, words = ""): Promise<Program> {
    const command = `${this.network.on(machine)} "$P2PCHAT" ${name} ${words} --json`;
    const program = this.world.shell(command, { machine: name });
    this.members.set(name, program);
    await program.port();
    return program;
  }

  /** Everybody sees everybody, under the same names. */
  async agree(): Promise<void> {
    const names = [...this.members.keys()].sort();
    await Promise.all([...this.members.values()].map(program => sees(program, names)));
  }
}

/** Asks who is there until it is as wanted: what changes it is what others do, and each of that is an event. */
async function sees(program: Program, names: readonly string[]): Promise<void> {
  const deadline = Date.now() + HEAL_MS;
  for (;;) {
    const before = answers(program).length;
    program.command({ command: "who" });
    await program.until(() => answers(program).length > before, "an answer");
    const seen = answers(program).at(-1)?.["members"] as Fields[];
    const present = seen.map(({ name }) => String(name)).sort();
    if (present.join() === names.join() || Date.now() > deadline) return expect(present).toEqual([...names]);
  }
}

function answers(program: Program): Fields[] {
  return program.events.filter(({ event }) => event === "members");
}

function say(program: Program, text: string): string {
  program.command({ command: "say", text });
  return text;
}

/** They take turns: each says the next thing when the others have heard the last. Returns what was said. */
async function talk(label: string, programs: readonly Program[], turns: number): Promise<string[]> {
  const said: string[] = [];
  for (let turn = 0; turn < turns; turn += 1) {
    const speaker = programs[turn % programs.length];
    if (speaker === undefined) break;
    const text = say(speaker, `${label} ${turn}`);
    said.push(text);
    await Promise.all(programs.map(program => program.event({ event: "message", text })));
  }
  return said;
}

function messages(program: Program): Fields[] {
  return program.events.filter(({ event }) => event === "message");
}

/** Waits until everybody has all of it; then nobody has anything twice, and everybody has every author in one order. */
async function expectAll(members: ReadonlyMap<string, Program>, said: readonly string[]): Promise<void> {
  for (const [name, program] of members) {
    const lacking = () => {
      const texts = new Set(messages(program).map(({ text }) => text));
      return said.filter(text => !texts.has(text));
    };
    await program.until(() => lacking().length === 0, `all that was said, at ${name}`, HEAL_MS);
  }
  const wanted = said.toSorted();
  const byAuthor = (program: Program) =>
    messages(program)
      .map(({ name, text }) => ({ name: String(name), text: String(text) }))
      // Stable: only authors are sorted, what each has said stays as it came.
      .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  const [first] = members.values();
  for (const [name, program] of members) {
    expect({
      name,
      texts: messages(program)
        .map(({ text }) => String(text))
        .sort(),
    }).toEqual({ name, texts: wanted });
    expect({ name, order: byAuthor(program) }).toEqual({ name, order: first === undefined ? [] : byAuthor(first) });
  }
}

describe.skipIf(skipped !== undefined)("a cable", () => {
  test("pulled while both sides talk and put back later costs nobody a text, and gives nobody one twice", async () => {
    using network = new Network(3);
    await using world = await World.open();
    const room = new Room(world, network);
    const alice = await room.start("Alice", 1);
    const entry = `${network.address(1)} ${await alice.port()}`;
    const bob = await room.start("Bob", 2, entry);
    const ben = await room.start("Ben", 2, entry);
    const carol = await room.start("Carol", 3, entry);
    const all = [alice, bob, ben, carol];
    await room.agree();
    const said = await talk("whole", all, 8);

    // Some of this is on the cable when it is pulled.
    for (let turn = 0; turn < 5; turn += 1)
      for (const [index, program] of all.entries()) said.push(say(program, `pulled ${turn} ${index}`));
    network.pull(2);
    const sides = [talk("left", [alice, carol], 20), talk("right", [bob, ben], 20)];
    said.push(...(await Promise.all(sides)).flat());
    await Promise.all([
      ...["Bob", "Ben"].flatMap(name =>
        [alice, carol].map(program => program.event({ event: "leave", name, reason: "lost" }, LOST_MS)),
      ),
      ...["Alice", "Carol"].flatMap(name =>
        [bob, ben].map(program => program.event({ event: "leave", name, reason: "lost" }, LOST_MS)),
      ),
    ]);
    const apart = [talk("left alone", [alice, carol], 20), talk("right alone", [bob, ben], 20)];
    said.push(...(await Promise.all(apart)).flat());

    network.plugIn(2);
    for (const program of all) said.push(say(program, `back ${all.indexOf(program)}`));
    await expectAll(room.members, said);
    await room.agree();
    said.push(...(await talk("whole again", all, 8)));
    await expectAll(room.members, said);
  });

  test("pulled for a moment is not noticed by anybody", async () => {
    using network = new Network(2);
    await using world = await World.open();
    const room = new Room(world, network);
    const alice = await room.start("Alice", 1);
    const bob = await room.start("Bob", 2, `${network.address(1)} ${await alice.port()}`);
    await room.agree();
    const said: string[] = [];
    for (let time = 0; time < 3; time += 1) {
      network.pull(2);
      said.push(say(alice, `to Bob ${time}`), say(bob, `to Alice ${time}`));
      network.plugIn(2);
      await expectAll(room.members, said);
    }
    for (const program of [alice, bob]) expect(program.events.filter(({ event }) => event === "leave")).toEqual([]);
  });
});

describe.skipIf(withoutFirewall !== undefined)("a member that can dial and cannot be dialled", () => {
  const PORT = 4_242;

  test("takes full part, and stays in the room when the one it came through is gone", async () => {
    using network = new Network(4);
    await using world = await World.open();
    const room = new Room(world, network);
    const alice = await room.start("Alice", 1);
    const entry = `${network.address(1)} ${await alice.port()}`;
    expect(network.block(3, PORT)).toBeUndefined();
    const carol = await room.start("Carol", 3, `${entry} --port ${PORT}`);

    // The firewall is one: nobody comes in there.
    const stranger = world.shell(`${network.on(4)} "$P2PCHAT" Eve ${network.address(3)} ${PORT} --json`, {
      machine: "eve",
    });
    await stranger.event({ event: "error", code: "unreachable" });

    const bob = await room.start("Bob", 2, entry);
    await room.agree();
    const said = await talk("with Alice", [alice, bob, carol], 9);
    carol.command({ command: "direct", to: "Bob", text: "only for Bob" });
    await bob.event({ event: "direct", name: "Carol", text: "only for Bob" });
    bob.command({ command: "direct", to: "Carol", text: "only for Carol" });
    await carol.event({ event: "direct", name: "Bob", text: "only for Carol" });

    // From here on Carol has nobody who ever let her in.
    alice.kill("SIGKILL");
    await alice.exited;
    room.members.delete("Alice");
    await Promise.all([bob, carol].map(program => program.event({ event: "leave", name: "Alice" }, LOST_MS)));
    said.push(...(await talk("without Alice", [carol, bob], 10)));
    await expectAll(room.members, said);
    await room.agree();
  });
});

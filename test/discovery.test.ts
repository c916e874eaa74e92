/** Real processes that find each other, on loopback only: `P2PCHAT_DISCOVERY` names it and a port of this test's own. */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { createSocket } from "node:dgram";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Chat } from "../lib/chat.ts";
import { diagnose, joinLine, labelOf, settingOf, showRoom } from "../lib/discovery.ts";
import { Beacon } from "../lib/net/beacon.ts";
import { decodePacket, encodePacket } from "../lib/net/packet.ts";
import { looking } from "./e2e/program.ts";
import { Terminal } from "./e2e/terminal.ts";

// On a busy machine processes and sockets take their time.
setDefaultTimeout(60_000);

const program = [process.execPath, join(import.meta.dir, "..", "index.ts")];
const HOST = ["--host", "127.0.0.1"];

let home = "";
let port = 0;
const running: AsyncDisposable[] = [];

beforeEach(async () => {
  home = mkdtempSync(join(tmpdir(), "p2pchat-discovery-"));
  const socket = createSocket("udp4");
  await new Promise<void>(resolve => socket.bind(0, "127.0.0.1", resolve));
  ({ port } = socket.address());
  await new Promise<void>(resolve => socket.close(() => resolve()));
});

afterEach(async () => {
  await Promise.all(running.splice(0).map(each => each[Symbol.asyncDispose]()));
  rmSync(home, { recursive: true, force: true });
});

function environment() {
  const { PATH = "" } = process.env;
  return { PATH, HOME: home, NO_COLOR: "1", TERM: "xterm-256color", P2PCHAT_DISCOVERY: `loopback:${port}` };
}

/** Nobody has said where to look. */
function unasked() {
  return { ...environment(), P2PCHAT_DISCOVERY: undefined };
}

function terminal(...argv: string[]): Terminal {
  const started = Terminal.start([...program, ...argv, ...HOST], {
    env: { ...environment(), XDG_DATA_HOME: undefined, NODE_ENV: undefined },
  });
  running.push(started);
  return started;
}

/** Runs the program to its end, with nothing on stdin. */
async function run(...argv: string[]) {
  return runWith(environment(), ...argv);
}

async function runWith(env: Readonly<Record<string, string | undefined>>, ...argv: string[]) {
  const child = Bun.spawn([...program, ...argv], {
    env,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  running.push({ [Symbol.asyncDispose]: () => end(child) });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  return { status: await child.exited, stdout, stderr };
}

async function end(child: Bun.Subprocess): Promise<void> {
  child.kill("SIGKILL");
  await child.exited;
}

/** A room of a script, which is found where it asks for it; resolves with its TCP port and what it says afterwards. */
async function script(name: string, ...argv: string[]) {
  const command = [...program, name, "--json", "--stay", "--volatile", ...HOST, ...argv];
  const child = Bun.spawn(command, { env: unasked(), stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  running.push({ [Symbol.asyncDispose]: () => end(child) });
  const reader = child.stdout.getReader();
  const { value } = await reader.read();
  const [line = "{}"] = new TextDecoder().decode(value).split("\n");
  return { child, port: Number(JSON.parse(line).port), complaints: child.stderr };
}

interface Room {
  readonly event: string;
  readonly room: string;
  readonly members: number;
  readonly addresses: readonly { readonly address: string; readonly port: number }[];
  readonly names: readonly string[];
  readonly private: boolean;
}

/** The rooms that `list --json` gives, until there are so many: a beacon begins a moment after its room. */
async function rooms(count: number): Promise<Room[]> {
  for (;;) {
    const { stdout } = await run("list", "--json");
    const found = stdout.split("\n").filter(Boolean);
    if (found.length >= count) return found.map(line => JSON.parse(line));
  }
}

const found = () => ["--discover", `loopback:${port}`];

describe("p2pchat on a terminal", () => {
  test("opens a room where nobody is, offers it to the next, and joins through it", async () => {
    const alice = terminal("Alice");
    await alice.until("listening");
    await rooms(1);
    const bob = await looking(() => terminal("Bob"), "There is a room near by");
    expect(bob.screen().join("\n")).toMatch(/● Join Alice\n.*○ Open a new room/);
    bob.type("\r");
    await bob.until("Alice is here");
    await alice.until("Bob joined");
    bob.type("hello\r");
    await alice.until("Bob: hello");
  });

  test("opens another room where that is chosen, and leaves at Escape", async () => {
    await script("Alice", ...found());
    await rooms(1);
    const bob = await looking(() => terminal("Bob"), "Open a new room");
    bob.type("\x1b[B");
    await bob.until(/● Open a new room/);
    bob.type("\r");
    await bob.until("Bob at address 127.0.0.1 is listening");
    expect(bob.screen().join("\n")).not.toContain("Alice is here");
    const carol = await looking(() => terminal("Carol"), "Open a new room");
    carol.type("\x1b");
    expect(await carol.exited).toBe(0);
  });

  test("with --new looks for none; both are told of each other", async () => {
    const alice = terminal("Alice", "--new");
    await alice.until("listening");
    await rooms(1);
    const bob = terminal("Bob", "--new");
    await bob.until(/another room near by, with Alice: .*p2pchat Bob 127\.0\.0\.1 \d+/s);
    await alice.until(/another room near by, with Bob: .*p2pchat Alice 127\.0\.0\.1 \d+/s);
    expect(bob.screen().join("\n")).not.toContain("There is a room");
  });

  test("says that a room is gone, and goes on", async () => {
    const ghost = await Beacon.start({
      scope: "loopback",
      port,
      room: () => ({ room: "ab".repeat(16), name: "Ghost", members: 7, port: 1 }),
    });
    running.push({ [Symbol.asyncDispose]: async () => ghost.stop() });
    const alice = await looking(() => terminal("Alice"), "Join Ghost and 6 others");
    alice.type("\r");
    await alice.until("cannot reach 127.0.0.1:1: connection refused");
    await alice.until("Alice at address 127.0.0.1 is listening");
  });

  test("shows a list of two thousand rooms in a window that fits", async () => {
    await thousands();
    // On a busy machine not all of them have answered before the look is over.
    const alice = await looking(() => terminal("Alice"), /There are \d{3,} rooms near by/);
    alice.type("\x1b[A");
    await alice.until(/● Open a new room/);
    alice.type("\r");
    await alice.until("listening");
  });
});

describe("a private room", () => {
  test("is entered by its words, near by and without an address", async () => {
    const alice = terminal("Alice", "--private");
    await alice.until(/words: \w{5}(-\w{5}){3}/);
    const [, code = ""] = /words: (\S+)/.exec(alice.screen().join("\n")) ?? [];
    await rooms(1);
    // As somebody types who has heard it.
    const bob = terminal("Bob", ...code.toUpperCase().split("-"));
    await bob.until("Alice is here");
    await alice.until("Bob joined");
    const { status, stdout, stderr } = await run("Eve", "lusab-babad-gutih-tugad", ...HOST);
    expect([status, stdout, stderr]).toEqual([
      1,
      "",
      expect.stringContaining("no room with these words answers near by"),
    ]);
    expect(stderr).not.toContain("lusab");
    const [shown] = await rooms(1);
    expect([shown?.private, JSON.stringify(shown).includes(code)]).toEqual([true, false]);
  });

  test("asks who chooses it from the list for its words", async () => {
    await script("Alice", "--key", "four quite unusual words", ...found());
    await rooms(1);
    const bob = await looking(() => terminal("Bob"), "Join Alice (private)");
    bob.type("\r");
    await bob.until("The room is private. Its words?");
    bob.type("Four quite  unusual words\r");
    await bob.until("Alice is here");
    expect(bob.screen().join("\n")).not.toContain("unusual");
  });

  test("is found by a script, too, and says its words on stderr", async () => {
    const alice = await script("Alice", "--private", ...found());
    const { value } = await alice.complaints.getReader().read();
    const [, code = ""] = /words: (\S+)/.exec(new TextDecoder().decode(value)) ?? [];
    await rooms(1);
    const bob = await run("Bob", code, "--plain", "--volatile", ...HOST);
    expect([bob.status, bob.stderr]).toEqual([0, ""]);
    expect(bob.stdout).toContain(">INFO: Alice joined.");
  });
});

describe("scripts", () => {
  test("neither look nor are found, unless they ask for it", async () => {
    await script("Alice", ...found());
    await rooms(1);
    const { stdout } = await runWith(unasked(), "Carol", "--plain", "--volatile", ...HOST);
    expect(stdout.split("\n")).toHaveLength(2);
    // At the port that all have in common, where others may be.
    const hidden = await script(`Hidden-${port}`);
    const { stdout: list } = await run("list", "--json", "--discover", "loopback");
    expect(list).not.toContain(`Hidden-${port}`);
    expect(hidden.port).toBeGreaterThan(0);
  });
});

describe("p2pchat list", () => {
  test("prints a line for each room, and in JSON an object", async () => {
    const alice = await script("Alice", ...found());
    await script("Bob", "127.0.0.1", String(alice.port), ...found());
    await script("Carol", "--key", "four quite unusual words", ...found());
    // Bob's beacon begins a moment after he is in the room, and on a busy machine a look may be over before an answer.
    let room: Room | undefined;
    while (room?.names.length !== 2) [room] = await rooms(2);
    let listed: readonly string[] = [];
    while (!(listed.length === 3 && listed.some(line => line.includes(" and ")))) {
      const { status, stdout, stderr } = await run("list");
      expect(status).toBe(0);
      if (stdout !== "") expect(stderr).toBe("");
      listed = stdout.split("\n").sort();
    }
    expect(listed).toEqual([
      "",
      expect.stringMatching(/^(Alice and Bob|Bob and Alice) {4}\.\/p2pchat <name> 127\.0\.0\.1 \d+$/),
      "Carol (private)  ./p2pchat <name> <code words>",
    ]);
    expect(room).toMatchObject({ event: "room", members: 2, private: false });
    expect(room?.room).toMatch(/^[\da-f]{16}$/);
    expect(room?.addresses).toContainEqual({ address: "127.0.0.1", port: alice.port });
  });

  test("says that there is none, and why where it knows", async () => {
    const advice = "p2pchat doctor looks for the reason";
    expect(await run("list")).toEqual({
      status: 0,
      stdout: "",
      stderr: `p2pchat: no room was found on this machine; ${advice}\n`,
    });
    const { stderr } = await run("list", "--discover", "off");
    expect(stderr).toBe(`p2pchat: no room was found: discovery is off; ${advice}\n`);
    expect(await run("list", "--json")).toEqual({ status: 0, stdout: "", stderr: "" });
  });

  test("prints two thousand rooms, and none with a name that is no name", async () => {
    await thousands("\x1b]0;owned\x07", "a b", "", "\u202eecilA", "x".repeat(120));
    const printed = new Set<string>();
    // On a busy machine not all of them have answered before a look is over; the next begins with others.
    while (printed.size < 2_000) {
      const lines = (await run("list")).stdout.split("\n").filter(Boolean);
      const form = /^(Room\d+) and \d+ others? +\.\/p2pchat <name> 127\.0\.1\.\d+ \d+$/;
      for (const line of lines) printed.add(form.exec(line)?.[1] ?? `wrong: ${line}`);
      expect(lines.length).toBeLessThanOrEqual(2_000);
    }
    expect([...printed].filter(name => name.startsWith("wrong"))).toEqual([]);
    expect(printed.size).toBe(2_000);
  });
});

describe("p2pchat doctor", () => {
  test("says what works and what was heard, and ends with a line to paste", async () => {
    const alice = await script("Alice", ...found());
    await rooms(1);
    const { status, stdout } = await run("doctor", ...HOST);
    const lines = stdout.trimEnd().split("\n");
    expect(status).toBe(0);
    expect(lines[0]).toMatch(/^lo\d* {2}127\.0\.0\.1 {2}beacon works$/);
    expect(lines).toContain(`Heard: Alice at 127.0.0.1 ${alice.port}, which can be connected to.`);
    expect(lines.at(-1)).toBe(`./p2pchat <name> 127.0.0.1 ${alice.port}`);
  });

  test("tells of a room that is heard and cannot be connected to, and of newer versions", async () => {
    const room = { mark: "ab".repeat(8), private: false, members: 1, port: 1, name: "Ghost" };
    await answering((nonce, say) => {
      const tell = encodePacket({ kind: "tell", nonce, room });
      say(tell);
      const newer = Uint8Array.from(tell);
      newer[4] = 2;
      say(newer);
      say(Buffer.from("rubbish"));
    });
    const { stdout } = await run("doctor");
    expect(stdout).toContain("Heard: Ghost at 127.0.0.1 1, which does not let us connect.");
    expect(stdout).toMatch(/Heard: \d answers of another version of p2pchat; is there an update\?/);
    expect(stdout).toMatch(/Heard: \d packets of something else/);
  });

  test("inside a room says who could dial this node, and ends with the line for a friend", async () => {
    const setting = { scope: "loopback", port } as const;
    const alice = await Chat.open({ name: "Alice", host: "127.0.0.1" });
    running.push({ [Symbol.asyncDispose]: () => alice.leave() });
    await showRoom(alice, setting, { host: "127.0.0.1", tag: undefined, opened: true });
    const alone = await diagnose(setting, "127.0.0.1", alice);
    expect(alone).toContain("Heard: this room, so it can be found.");
    expect(alone).toContain("In this room: nobody else yet, so whether others reach it is not known.");
    const line = `./p2pchat <name> 127.0.0.1 ${alice.listensAt}`;
    expect(alone.slice(-2)).toEqual(["A friend joins this room with:", line]);
    const bob = await Chat.open({ name: "Bob", host: "127.0.0.1", dial: { host: "127.0.0.1", port: alice.listensAt } });
    running.push({ [Symbol.asyncDispose]: () => bob.leave() });
    const [byAlice, byBob] = await Promise.all([
      diagnose(setting, "127.0.0.1", alice),
      diagnose(setting, "127.0.0.1", bob, true),
    ]);
    expect(byAlice).toContain(
      "In this room: 1 other, 1 linked directly; 1 of these links was dialled by the others, so this node can be reached.",
    );
    expect(byBob.join("\n")).toContain("none of these links was dialled by the others");
    expect(byBob.at(-1)).toBe(`./p2pchat <name> 127.0.0.1 ${bob.listensAt} --key "<words>"`);
  });

  test("says so where discovery is off", async () => {
    const { stdout } = await run("doctor", "--discover", "off");
    expect(stdout.split("\n")[0]).toBe("Discovery is switched off: rooms are joined by <host> <port> only.");
  });
});

describe("words for what was found", () => {
  const room = { mark: "", private: false, members: 1, names: ["Alice"], addresses: [{ host: "127.0.0.1", port: 5 }] };

  test("say who and how many", () => {
    expect(labelOf(room)).toBe("Alice");
    expect(labelOf({ ...room, members: 2 })).toBe("Alice and 1 other");
    expect(labelOf({ ...room, members: 9, names: ["A", "B", "C", "D"] })).toBe("A, B, C and 6 others");
    expect(labelOf({ ...room, members: 3, names: ["A", "B", "C"], private: true })).toBe("A, B and C (private)");
  });

  test("give an address that others can use, where there is one", () => {
    const addresses = [...room.addresses, { host: "192.168.1.20", port: 5 }];
    expect(joinLine({ ...room, addresses })).toBe("./p2pchat <name> 192.168.1.20 5");
    expect(joinLine({ ...room, private: true }, "Bob")).toBe('./p2pchat Bob 127.0.0.1 5 --key "<words>"');
    expect(joinLine({ ...room, private: true }, "Bob", true)).toBe("./p2pchat Bob <code words>");
  });

  test("a chat that listens on loopback is looked for there", () => {
    const lan = { scope: "lan", port: undefined, explicit: false } as const;
    expect(settingOf(lan, "127.0.0.1").scope).toBe("loopback");
    expect(settingOf(lan, "192.168.1.20")).toEqual({ scope: "lan", port: 27_107 });
    expect(settingOf({ ...lan, scope: "off", port: 5 }, "localhost")).toEqual({ scope: "off", port: 5 });
  });
});

/** Answers every ask on loopback from `from`. */
async function answering(
  answer: (nonce: Uint8Array, say: (bytes: Uint8Array, from?: number) => void) => void,
  senders = 1,
): Promise<void> {
  const bind = async (address: string, at: number) => {
    const socket = createSocket({ type: "udp4", reuseAddr: true });
    await new Promise<void>(resolve => socket.bind(at, address, resolve));
    running.push({ [Symbol.asyncDispose]: async () => void socket.close() });
    return socket;
  };
  const ear = await bind("127.255.255.255", port);
  const mouths = await Promise.all(
    Array.from({ length: senders }, (_, index) => bind(senders === 1 ? "127.0.0.1" : `127.0.1.${index + 1}`, 0)),
  );
  ear.on("message", (bytes, { port: back }) => {
    const packet = decodePacket(bytes);
    if (packet === undefined || packet === "newer") return;
    answer(packet.nonce, (said, from = 0) => mouths[from % senders]?.send(said, back, "127.0.0.1", () => {}));
  });
}

/** Two thousand rooms on forty machines, in packets that come in a moment, each time others first; those of `names` too. */
async function thousands(...names: string[]): Promise<void> {
  let first = 0;
  await answering((nonce, say) => {
    const tell = (index: number, name: string) => {
      const mark = index.toString(16).padStart(16, "0");
      say(
        encodePacket({ kind: "tell", nonce, room: { mark, private: false, members: index + 2, port: 5, name } }),
        index,
      );
    };
    for (const [index, name] of names.entries()) tell(9_000 + index, name);
    for (let count = 0; count < 2_000; count++) tell((first + count) % 2_000, `Room${(first + count) % 2_000}`);
    first += 300;
  }, 40);
}

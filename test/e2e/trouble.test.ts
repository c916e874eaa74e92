/** What goes wrong on networks and on terminals, and the one sentence for each. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { cpSync } from "node:fs";
import { createServer } from "node:net";
import { portOn, World } from "./program.ts";

setDefaultTimeout(60_000);

/** limits.ts promises 15 s, of which the program may need 14.5; the rest is for a loaded machine. */
const LOST_MS = 20_000;

/** Listens, says nothing, and never hangs up. */
async function silentServer() {
  const listening = Promise.withResolvers<void>();
  const connected = Promise.withResolvers<void>();
  const sockets = new Set<{ destroy(): void }>();
  const server = createServer(socket => {
    sockets.add(socket);
    connected.resolve();
    socket.on("error", () => {});
  }).listen(0, "127.0.0.1", listening.resolve);
  await listening.promise;
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("it has no port");
  return {
    port: String(address.port),
    /** Somebody is there. */
    connected: connected.promise,
    [Symbol.dispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

async function cannotJoin(host: string, port: string, sentence: string): Promise<void> {
  await using world = await World.open();
  const startedAt = performance.now();
  const bob = world.pipe(["Bob", host, port]);
  expect(await bob.exited).toBe(1);
  expect([bob.lines, bob.complaints]).toEqual([[], `p2pchat: cannot reach ${host}:${port}: ${sentence}\n`]);
  expect(performance.now() - startedAt).toBeLessThan(10_000);
}

describe("joining", () => {
  test("where nobody listens says so", async () => {
    await cannotJoin("127.0.0.1", "1", "connection refused");
    await cannotJoin("localhost", "1", "connection refused");
  });

  test("an HTTP server says that it is something else", async () => {
    using server = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response("hello") });
    await cannotJoin("127.0.0.1", String(server.port), "something answered, but it is not p2pchat");
  });

  test("a host that does not exist says so", async () => {
    // No label of a name is longer than 63 characters, so nobody is asked about this one.
    await cannotJoin(`${"a".repeat(64)}.invalid`, "55107", "no such host");
  });

  test("oneself, from a copy of one's own disk, is refused", async () => {
    await using world = await World.open();
    const alice = world.pipe(["Alice"]);
    const port = await alice.port();
    cpSync(world.disk(), world.disk("copy"), { recursive: true });
    const copy = world.pipe(["Alice", "127.0.0.1", port], { machine: "copy" });
    expect(await copy.exited).toBe(1);
    expect(copy.complaints).toBe(`p2pchat: cannot join the room at 127.0.0.1:${port}: it has this very identity\n`);
  });

  test("through another from a copy of one's disk ends the older session, which says why", async () => {
    await using world = await World.open();
    const alice = world.pipe(["Alice"]);
    const bob = world.pipe(["Bob", "127.0.0.1", await alice.port()]);
    await alice.line(">INFO: Bob joined.");
    cpSync(world.disk(), world.disk("copy"), { recursive: true });
    const copy = world.pipe(["Alice", "127.0.0.1", await bob.port()], { machine: "copy" });
    const sentence = "this identity has joined from somewhere else, so this session ends";
    await alice.line(`>ERROR: ${sentence}`);
    expect([await alice.exited, alice.complaints]).toEqual([1, `p2pchat: ${sentence}\n`]);
    copy.write("I moved\n");
    await bob.line("Alice: I moved");
    bob.write("welcome back\n");
    await copy.line("Bob: welcome back");
    // And back again, under the eyes of a program.
    const back = world.pipe(["Alice", "127.0.0.1", await bob.port(), "--json"]);
    expect(await copy.exited).toBe(1);
    await back.event({ event: "join", name: "Bob" });
    const third = world.pipe(["Alice", "127.0.0.1", await bob.port()], { machine: "copy" });
    await back.event({ event: "error", code: "refused", message: sentence });
    expect([await back.exited, back.complaints]).toEqual([1, `p2pchat: ${sentence}\n`]);
    await third.line(">INFO: Bob joined.");
  });
});

describe("a port", () => {
  test("that is taken is told, and the exit status is 1", async () => {
    await using world = await World.open();
    const alice = world.pipe(["Alice"]);
    const port = await alice.port();
    const bob = world.pipe(["Bob", "--port", port]);
    expect(await bob.exited).toBe(1);
    expect([bob.lines, bob.complaints]).toEqual([[], `p2pchat: port ${port} is taken by another program\n`]);
  });

  test("that was chosen is the one, and free again at once after leaving", async () => {
    await using world = await World.open();
    const first = world.pipe(["Alice"]);
    const port = await first.port();
    const bob = world.pipe(["Bob", "127.0.0.1", port]);
    await first.line(">INFO: Bob joined.");
    first.write(":q\n");
    expect(await first.exited).toBe(0);
    const second = world.pipe(["Alice", "127.0.0.1", await bob.port(), "--port", port]);
    await second.line(`>INFO: Alice at address 127.0.0.1 is listening at ${port}.`);
    await bob.line(line => line === ">INFO: Alice joined." && bob.lines.includes(">INFO: Alice left."));
  });
});

// These wait for deadlines of the program, so they wait together.
describe.concurrent("what takes its time", () => {
  test("joining what says nothing is given up within 10 s", async () => {
    using server = await silentServer();
    await cannotJoin("127.0.0.1", server.port, "it accepted the connection and then said nothing");
  });

  test("joining it from a terminal ends with the same sentence, and gives the terminal back as it was", async () => {
    await using world = await World.open();
    using server = await silentServer();
    const bob = world.terminal(["Bob", "127.0.0.1", server.port]);
    await bob.until(`Connecting to 127.0.0.1:${server.port}`);
    expect(await bob.exited).toBe(1);
    await bob.until(/it accepted the connection and then said\s+nothing/);
    expect(bob.isRaw()).toBe(false);
  });

  test.each(["SIGINT", "SIGTERM", "SIGHUP"] as const)("%s ends it at once, as asked", async signal => {
    await using world = await World.open();
    using server = await silentServer();
    const bob = world.pipe(["Bob", "127.0.0.1", server.port]);
    await server.connected;
    bob.kill(signal);
    expect([await bob.exited, bob.lines, bob.complaints]).toEqual([0, [], ""]);
  });

  test("Ctrl-C ends it, too, and gives the terminal back", async () => {
    await using world = await World.open();
    using server = await silentServer();
    const bob = world.terminal(["Bob", "127.0.0.1", server.port]);
    await bob.until(`Connecting to 127.0.0.1:${server.port}`);
    bob.type("\x03");
    expect(await bob.exited).toBe(0);
    expect(bob.isRaw()).toBe(false);
  });

  test("a member that freezes is lost, and is one of the room again when it thaws", async () => {
    await using world = await World.open();
    const alice = world.terminal(["Alice"]);
    const bob = world.terminal(["Bob", "127.0.0.1", await portOn(alice)]);
    await alice.until("→ Bob joined");
    await bob.until("• Alice is here");
    bob.kill("SIGSTOP");
    await alice.until("← Bob was lost", "the loss of Bob", LOST_MS);
    await alice.until("no link to anyone");
    alice.type("said while Bob was frozen\r");
    await alice.until("Alice: said while Bob was frozen");
    bob.kill("SIGCONT");
    await bob.until("Alice: said while Bob was frozen", "what Alice said meanwhile", 30_000);
    await alice.until("→ Bob joined", "Bob again", 30_000);
    bob.type("what did I miss?\r");
    await alice.until("Bob: what did I miss?");
  });
});

test("who loses all links says so, keeps what is said, and delivers it when the other is back", async () => {
  await using world = await World.open();
  const alice = world.terminal(["Alice"]);
  const alicePort = await portOn(alice);
  const bob = world.terminal(["Bob", "127.0.0.1", alicePort]);
  const bobPort = await portOn(bob);
  await alice.until("→ Bob joined");
  alice.kill("SIGKILL");
  await alice.exited;
  const alone = /← Alice was lost\n■ no link to anyone: what you say is kept and sent once someone is back/;
  await bob.until(alone, "the loss of Alice, then that nobody is left", LOST_MS);
  bob.type("are you there?\r");
  await bob.until("Bob: are you there?");
  bob.type("I keep this for you\r");
  await bob.until("Bob: I keep this for you");

  const again = world.terminal(["Alice", "127.0.0.1", bobPort, "--port", alicePort]);
  await again.until(/Bob: are you there\?\n.*Bob: I keep this for you/);
  await bob.until(/• linked to the room again\n→ Alice joined/);
  again.type("now I am\r");
  await bob.until("Alice: now I am");
});

test("the prompt counts everybody who comes and goes, also where they share a line", async () => {
  await using world = await World.open();
  const alice = world.terminal(["Alice"]);
  const port = await portOn(alice);
  for (const count of [2, 3, 4, 5, 6]) {
    world.pipe([`Guest${count}`, "127.0.0.1", port]);
    await alice.until(new RegExp(`^Alice ⋅ ${count} ›`, "m"));
  }
  await alice.until("→ Guest5, Guest6 joined");
});

test("who is the last one left is told so, once, and that what is said is kept", async () => {
  await using world = await World.open();
  const alice = world.terminal(["Alice"]);
  const port = await portOn(alice);
  const [bob, carol] = [world.terminal(["Bob", "127.0.0.1", port]), world.terminal(["Carol", "127.0.0.1", port])];
  await alice.until(/→ (Bob|Carol) joined[\s\S]*→ (Bob|Carol) joined/);
  bob.type(":q\r");
  await alice.until("← Bob left");
  carol.type(":q\r");
  await alice.until(/← (Bob, )?Carol left\n• nobody else is here: what you say is kept until someone is/);
  expect(alice.screen().filter(row => row.includes("nobody else"))).toHaveLength(1);
});

test("a text over 64 KiB is refused with its size, the line stays, and is sent once it is short enough", async () => {
  await using world = await World.open();
  const alice = world.pipe(["Alice", "--json"]);
  const bob = world.terminal(["Bob", "127.0.0.1", await alice.port()]);
  await bob.until("• Alice is here");
  const full = "x".repeat(65_535);
  bob.paste(`${full}yz`);
  await bob.until(/yz$/m);
  bob.type("\r");
  await bob.until("■ a text may hold 65536 bytes; this one has 65537");
  await bob.until(/yz$/m);
  bob.type("\x7f");
  await bob.until(/xy$/m);
  bob.type("\r");
  const { text } = await alice.event({ event: "message" });
  expect(text === `${full}y`).toBe(true);
});

test("a paste of several lines is one message, sent with Enter", async () => {
  await using world = await World.open();
  const alice = world.pipe(["Alice", "--json"]);
  const bob = world.terminal(["Bob", "127.0.0.1", await alice.port()]);
  await bob.until("• Alice is here");
  bob.paste("one\ntwo\n:q\nfour");
  await bob.until(/› one\ntwo\n:q\nfour$/m);
  bob.type("\r");
  expect(await alice.event({ event: "message" })).toMatchObject({ text: "one\ntwo\n:q\nfour" });
});

test("what others say goes above the line being typed, 200 texts in one burst, and the line stays", async () => {
  await using world = await World.open();
  const alice = world.terminal(["Alice"], { cols: 40, rows: 12 });
  const bob = world.pipe(["Bob", "127.0.0.1", await portOn(alice)]);
  await alice.until("→ Bob joined");
  alice.type("I am typing 漢字 and 👋 all the time");
  for (let text = 0; text < 200; text += 1) {
    bob.write(`text ${text}\n`);
    alice.type(text % 2 === 0 ? "!" : "\x7f");
    if (text % 50 === 25) alice.resize(text % 100 === 25 ? 60 : 40, 12);
  }
  await alice.until("Bob: text 199");
  await alice.until(screen => {
    const top = screen.findLastIndex(row => row.includes("Alice ⋅ 2 › "));
    const typed = screen.slice(top).join("").replace("Alice ⋅ 2 › ", "");
    return typed.replaceAll(" ", "") === "Iamtyping漢字and👋allthetime";
  }, "the typed line");
  alice.type("\r");
  await bob.line("Alice: I am typing 漢字 and 👋 all the time");
});

import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { roomKeyOf } from "../lib/key.ts";
import {
  dataDirectory,
  FLAGS,
  HELP,
  NAME_MISSING,
  type Options,
  parse,
  SUBCOMMANDS,
  UsageError,
  VALUES,
} from "../lib/options.ts";
import { version } from "../package.json";
import { Terminal } from "./e2e/terminal.ts";

// On a busy machine processes and sockets take their time.
setDefaultTimeout(60_000);

const program = [process.execPath, join(import.meta.dir, "..", "index.ts")];

let home = "";
let running: Bun.Subprocess[] = [];

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "p2pchat-cli-"));
});

afterEach(async () => {
  for (const each of running) each.kill("SIGKILL");
  await Promise.all(running.map(each => each.exited));
  running = [];
  rmSync(home, { recursive: true, force: true });
});

function environment(more: Readonly<Record<string, string | undefined>> = {}) {
  const { PATH = "" } = process.env;
  return { PATH, HOME: home, NO_COLOR: "1", TERM: "xterm-256color", P2PCHAT_DISCOVERY: "off", ...more };
}

/** The sentence of the usage error; undefined where there is none. */
function complaint(...argv: string[]): string | undefined {
  try {
    parse(argv, {});
    return undefined;
  } catch (error) {
    if (error instanceof UsageError) return error.message;
    throw error;
  }
}

function optionsOf(...argv: string[]): Options {
  const command = parse(argv, {});
  if (command.type !== "chat") throw new Error(`this is ${command.type}`);
  return command.options;
}

const NOTHING_ASKED: Options = {
  name: "Alice",
  dial: undefined,
  find: false,
  port: undefined,
  host: undefined,
  mode: undefined,
  stay: false,
  fresh: false,
  data: undefined,
  volatile: false,
  key: undefined,
  private: false,
  keepMs: undefined,
  time: undefined,
  discovery: { scope: "lan", port: undefined, explicit: false },
};

/** Runs the program to its end, with nothing on stdin. */
async function runProgram(argv: readonly string[], env = environment()) {
  const child = Bun.spawn([...program, ...argv], { env, stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  running.push(child);
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  return { status: await child.exited, stdout, stderr };
}

/** Starts a node that stays, and waits until it listens. */
async function startNode(name: string, ...argv: string[]) {
  const command = [...program, name, "--stay", "--json", "--host", "127.0.0.1", ...argv];
  const child = Bun.spawn(command, { env: environment(), stdin: "ignore", stdout: "pipe", stderr: "inherit" });
  running.push(child);
  const lines = linesOf(child.stdout);
  const { value = "{}" } = await lines.next();
  return { child, lines, port: String(JSON.parse(value).port) };
}

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string, undefined> {
  let rest = "";
  const decoder = new TextDecoder();
  for await (const chunk of stream) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
}

const COMPLAINTS: readonly (readonly [argv: readonly string[], sentence: string])[] = [
  [["Bob", "localhost", "abc"], '"abc" is no port, a port is a number from 1 to 65535'],
  [["Bob", "localhost", "0"], '"0" is no port, a port is a number from 1 to 65535'],
  [["Bob", "localhost", "70000"], '"70000" is no port, a port is a number from 1 to 65535'],
  [["Bob", "localhost", "-1"], '"-1" is no port, a port is a number from 1 to 65535'],
  [["Bob", "localhost", "80.5"], '"80.5" is no port, a port is a number from 1 to 65535'],
  [["Bob", "localhost", ""], '"" is no port, a port is a number from 1 to 65535'],
  [["Bob", "localhost", "9".repeat(80)], `"${"9".repeat(40)}…" is no port, a port is a number from 1 to 65535`],
  [["Bob", "localhost:0"], '"0" is no port, a port is a number from 1 to 65535'],
  [["Bob", "localhost:"], '"" is no port, a port is a number from 1 to 65535'],
  [["Bob", "[::1]:http"], '"http" is no port, a port is a number from 1 to 65535'],
  [["Bob", "--port=70000"], '"70000" is no port, a port is a number from 0 to 65535'],
  [["Bob", "--port=-1"], '"-1" is no port, a port is a number from 0 to 65535'],
  [["Bob", "localhost"], 'a port is missing after "localhost", as in: p2pchat Bob localhost 55107'],
  [["Bob", "[::1]"], 'a port is missing after "[::1]", as in: p2pchat Bob localhost 55107'],
  [["Bob", "55107"], "a host is missing, as in: p2pchat Bob localhost 55107"],
  [["Bob", ":55107"], "a host is missing, as in: p2pchat Bob localhost 55107"],
  [["Bob", "", "55107"], "a host is missing, as in: p2pchat Bob localhost 55107"],
  [["Bob", "::1:55107"], "write an IPv6 address in brackets, as in: p2pchat Bob [::1]:55107"],
  [["Bob", "http://a", "80"], '"http://a" is no host, it is a name or an address such as 192.168.1.20'],
  [["Bob", "localhost:1", "2"], '"localhost:1" is no host, it is a name or an address such as 192.168.1.20'],
  [["Bob", "10.0.0.5:1", "2"], '"10.0.0.5:1" is no host, it is a name or an address such as 192.168.1.20'],
  [["Bob", "[localhost:1]:2"], '"[localhost:1]" is no host, it is a name or an address such as 192.168.1.20'],
  [["Bob", "--host", "::g"], '"::g" is no host, it is a name or an address such as 192.168.1.20'],
  [["Bob", "a b", "80"], '"a b" is no host, it is a name or an address such as 192.168.1.20'],
  [["Bob", "localhost", "80", "Carol"], 'unexpected "Carol", the form is: p2pchat <username> [<host> <port>]'],
  [["Bob", "localhost:80", "81", "82"], 'unexpected "82", the form is: p2pchat <username> [<host> <port>]'],
  [["Bob", "--colour"], 'unknown option "--colour", p2pchat --help lists all'],
  [["Bob", "-p", "80"], 'unknown option "-p", p2pchat --help lists all'],
  [["Bob", "--toString"], 'unknown option "--toString", p2pchat --help lists all'],
  [["Bob", "--port"], "--port needs a value, as in: --port 55107"],
  [["Bob", "--port", "--json"], "--port needs a value, as in: --port 55107"],
  [["Bob", "--data="], "--data needs a value, as in: --data ~/chat"],
  [["Bob", "--host", ""], "--host needs a value, as in: --host 127.0.0.1"],
  [["Bob", "--key", " "], '--key needs a value, as in: --key "two words"'],
  [["Bob", "--key", ". -"], '--key needs a value, as in: --key "two words"'],
  [["Bob", "--json=yes"], "--json takes no value"],
  [["Bob", "--plain", "--json"], "--plain and --json exclude each other"],
  [["Bob", "--keep", "soon"], '"soon" is no length of time, it looks like 12h, 30d, 1y or all'],
  [["Bob", "--keep", "0d"], '"0d" is no length of time, it looks like 12h, 30d, 1y or all'],
  [["Bob", "--keep"], "--keep needs a value, as in: --keep 30d"],
  [["Bob", "--time", "13"], '"13" is no form of time, it is 12, 24 or off'],
  [["Bob", "--discover", "wan"], '"wan" is no place to look for rooms, it is lan, loopback or off'],
  [["Bob", "--discover", "lan:0"], '"0" is no port, a port is a number from 1 to 65535'],
  [["Bob", "--new", "localhost", "80"], "--new opens a room, so it takes no place"],
  [["Bob", "--private", "localhost", "80"], "--private opens a room with new words, so it takes no --key and no place"],
  [["Bob", "--private", "--key", "a b"], "--private opens a room with new words, so it takes no --key and no place"],
  [["Bob", "lusab-babad-gutih-tugad", "--key", "a b"], "code words and --key exclude each other"],
  // Names; room/names.ts has the whole table.
  [[""], "a name may not be empty"],
  [["a".repeat(33)], "a name has at most 32 characters, this one has 33"],
  [["Bob Smith"], 'a name is made of letters, digits, "_", "-" and ".", it cannot hold a space'],
  [["Bob/x"], 'a name is made of letters, digits, "_", "-" and ".", it cannot hold "/"'],
  [["Bob\x1b[31m"], 'a name is made of letters, digits, "_", "-" and ".", it cannot hold the character U+001B'],
  [["Bob\u202e"], 'a name is made of letters, digits, "_", "-" and ".", it cannot hold the character U+202E'],
  [["..."], "a name needs at least one letter or digit"],
];

describe("the command line", () => {
  test.each(COMPLAINTS)("%j is refused", (argv, sentence) => {
    expect(complaint(...argv)).toBe(sentence);
  });

  test.each([
    [["localhost", "55107"], { host: "localhost", port: 55107 }],
    [["localhost:55107"], { host: "localhost", port: 55107 }],
    [["10.0.0.5:1"], { host: "10.0.0.5", port: 1 }],
    [["[::1]:65535"], { host: "::1", port: 65535 }],
    [["[fe80::1%eth0]:5"], { host: "fe80::1%eth0", port: 5 }],
    [["::1", "55107"], { host: "::1", port: 55107 }],
    [["fe80::1%eth0.5", "5"], { host: "fe80::1%eth0.5", port: 5 }],
    [["[::ffff:10.0.0.5]:5"], { host: "::ffff:10.0.0.5", port: 5 }],
    [["[::1]", "55107"], { host: "::1", port: 55107 }],
    [["bücher.example", "080"], { host: "bücher.example", port: 80 }],
  ])("%j is a place", (place, address) => {
    expect(optionsOf("Bob", ...place).dial).toEqual(address);
  });

  test("without options leaves everything open", () => {
    expect(optionsOf("Alice")).toEqual(NOTHING_ASKED);
  });

  test("takes options anywhere, with a space or an equals sign, the last one counting", () => {
    const argv = ["--port", "1", "Bob", "--data=/x=y", "localhost", "--stay", "9", "--volatile", "--port=2", "--json"];
    expect(optionsOf(...argv, "--host", "[::1]", "--key", "a b")).toEqual({
      ...NOTHING_ASKED,
      name: "Bob",
      dial: { host: "localhost", port: 9 },
      port: 2,
      host: "::1",
      mode: "json",
      stay: true,
      data: "/x=y",
      volatile: true,
      key: "a b",
    });
  });

  test("takes 0 for a port that the system picks, as without one", () => {
    expect(optionsOf("Alice", "--port", "0")).toEqual(NOTHING_ASKED);
  });

  test("takes a name in NFC, and one that begins with a dash behind --", () => {
    expect(optionsOf("Zoe\u0308").name).toBe("Zo\u00eb");
    expect(optionsOf("--plain", "--", "-Bob").name).toBe("-Bob");
    expect(optionsOf("--json").name).toBeUndefined();
  });

  test("takes the key from the environment, where none is given", () => {
    const key = (argv: string[], environment: Record<string, string>) => {
      const command = parse(argv, environment);
      return command.type === "chat" ? command.options.key : undefined;
    };
    expect(key(["Bob"], { P2PCHAT_KEY: "two words" })).toBe("two words");
    expect(key(["Bob"], { P2PCHAT_KEY: "" })).toBeUndefined();
    expect(key(["Bob", "--key", "others"], { P2PCHAT_KEY: "two words" })).toBe("others");
    expect(() => key(["Bob"], { P2PCHAT_KEY: " \n" })).toThrow(
      new UsageError("$P2PCHAT_KEY holds no words: set it to some, or to nothing for an open room"),
    );
    expect(key(["Bob", "--key", "others"], { P2PCHAT_KEY: " " })).toBe("others");
    expect(key(["Bob", "--private"], { P2PCHAT_KEY: " " })).toBeUndefined();
  });

  test.each([
    [["lusab-babad-gutih-tugad"], "lusab-babad-gutih-tugad"],
    [["LUSAB", "babad", "gutih", "tugad"], "LUSAB babad gutih tugad"],
    [["lusabbabadgutihtugad"], "lusabbabadgutihtugad"],
    [["lusab-babad", "gutih-tugad"], "lusab-babad gutih-tugad"],
    [["four quite unusual words"], "four quite unusual words"],
    [["drei", "schöne", "wörter"], "drei schöne wörter"],
  ])("%j are code words, whose room is found", (words, key) => {
    expect(optionsOf("Bob", ...words)).toEqual({ ...NOTHING_ASKED, name: "Bob", find: true, key });
  });

  test("passes on what the room is to be like", () => {
    const argv = ["--keep", "30d", "--time", "12", "--private", "--discover", "loopback:5"];
    expect(optionsOf("Alice", ...argv)).toEqual({
      ...NOTHING_ASKED,
      keepMs: 30 * 86_400_000,
      time: "12",
      private: true,
      discovery: { scope: "loopback", port: 5, explicit: true },
    });
    expect(optionsOf("Alice", "--new", "--keep=all")).toMatchObject({ fresh: true, keepMs: Number.POSITIVE_INFINITY });
  });

  test("looks where the environment says, unless an option does, and under test nowhere", () => {
    const discovery = (argv: string[], environment: Record<string, string>) => {
      const command = parse(["Alice", ...argv], environment);
      return command.type === "chat" ? command.options.discovery : undefined;
    };
    const variable = { P2PCHAT_DISCOVERY: "loopback:7" };
    expect(discovery([], variable)).toEqual({ scope: "loopback", port: 7, explicit: true });
    expect(discovery([], { P2PCHAT_DISCOVERY: "" })).toEqual({ scope: "lan", port: undefined, explicit: false });
    expect(discovery(["--discover", "off"], variable)).toEqual({ scope: "off", port: undefined, explicit: true });
    expect(discovery([], { NODE_ENV: "test" })?.scope).toBe("off");
    expect(discovery([], { NODE_ENV: "test", ...variable })?.scope).toBe("loopback");
  });

  test("gives help and the version whatever else is wrong", () => {
    for (const flag of ["-h", "--help"]) expect(parse(["--nonsense", flag], {})).toEqual({ type: "help" });
    for (const flag of ["-v", "--version"]) expect(parse(["a", "b", flag], {})).toEqual({ type: "version" });
    expect(complaint("--", "--help")).toBeUndefined();
  });
});

describe("the help", () => {
  test("is readable at 80 columns and names everything there is", () => {
    expect(Math.max(...HELP.split("\n").map(line => line.length))).toBeLessThanOrEqual(80);
    for (const word of [...Object.keys(VALUES), ...FLAGS, ...Object.keys(SUBCOMMANDS), "--help"])
      expect(HELP).toContain(word);
    for (const word of ["--version", "P2PCHAT_KEY", "XDG_DATA_HOME", "Exit status"]) expect(HELP).toContain(word);
  });
});

describe("the data directory", () => {
  test("is that of the XDG specification, or none without a home", () => {
    expect(dataDirectory({ XDG_DATA_HOME: "/data", HOME: "/home/a" })).toBe("/data/p2pchat");
    expect(dataDirectory({ XDG_DATA_HOME: "relative", HOME: "/home/a" })).toBe("/home/a/.local/share/p2pchat");
    expect(dataDirectory({ HOME: "/home/a" })).toBe("/home/a/.local/share/p2pchat");
    expect(dataDirectory({ HOME: "" })).toBeUndefined();
  });
});

describe("the room key", () => {
  test("is argon2id of the words, the same everywhere and always", async () => {
    const hex = async (words: string) => Buffer.from(await roomKeyOf(words)).toString("hex");
    const key = "650b7a3de82a9302ab9142aede6c42785879ebf952d3116359e2c8be13165da8";
    expect(await hex("correct horse battery staple")).toBe(key);
    expect(await hex("  Correct\thorse  battery STAPLE\n")).toBe(key);
    expect(await hex("correct horse battery stable")).not.toBe(key);
  });
});

describe("the program", () => {
  test("says in one line on stderr what is wrong with its arguments, and exits with 2", async () => {
    expect(await runProgram([])).toEqual({ status: 2, stdout: "", stderr: `p2pchat: ${NAME_MISSING}\n` });
    expect(await runProgram(["--json"])).toEqual({ status: 2, stdout: "", stderr: `p2pchat: ${NAME_MISSING}\n` });
    const { status, stderr } = await runProgram(["Bob", "--\x1b[31mred\n\u202e"]);
    expect([status, stderr]).toEqual([2, 'p2pchat: unknown option "--red ", p2pchat --help lists all\n']);
    expect(existsSync(join(home, ".local"))).toBe(false);
  });

  test("prints help and version on stdout", async () => {
    expect(await runProgram(["--help"])).toEqual({ status: 0, stdout: HELP, stderr: "" });
    expect(await runProgram(["-v"])).toEqual({ status: 0, stdout: `${version}\n`, stderr: "" });
  });

  test("leaves at the end of stdin, having kept an identity", async () => {
    const { status, stdout, stderr } = await runProgram(["Alice"]);
    expect([status, stderr]).toEqual([0, ""]);
    expect(stdout).toMatch(/^>INFO: Alice at address \S+ is listening at \d+\.\n/);
    expect(readdirSync(join(home, ".local/share/p2pchat")).sort()).toEqual(["alice.lock", "alice.sqlite"]);
  });

  test("leaves nothing on disk with --volatile, and says so where there is no home", async () => {
    expect((await runProgram(["Alice", "--volatile"])).stderr).toBe("");
    const { status, stderr } = await runProgram(["Alice"], environment({ HOME: undefined, XDG_DATA_HOME: undefined }));
    expect([status, stderr]).toEqual([0, "p2pchat: nothing is kept in this run: $HOME is not set, see --data\n"]);
    expect(existsSync(join(home, ".local"))).toBe(false);
  });

  test("goes on without history where it cannot be kept, and says so once", async () => {
    writeFileSync(join(home, "alice.sqlite"), "hello ".repeat(1_000));
    const { status, stdout, stderr } = await runProgram(["Alice", "--data", home]);
    expect([status, stderr]).toEqual([0, ""]);
    expect(stdout).toMatch(
      /^>INFO: Alice at .*\.\n>ERROR: nothing is kept in this run: .*alice\.sqlite is not a database\n$/,
    );
  });

  test("says it on stderr in JSON mode, whose stdout is for the events of the contract", async () => {
    const file = join(home, "file");
    writeFileSync(file, "");
    const { status, stdout, stderr } = await runProgram(["Alice", "--data", file, "--json"]);
    expect([status, JSON.parse(stdout)]).toEqual([0, expect.objectContaining({ event: "listening" })]);
    expect(stderr).toBe(`p2pchat: nothing is kept in this run: ${file}/alice.sqlite is not in a directory\n`);
  });

  test("exits with 1 where nobody is there, in JSON with an event", async () => {
    const message = "cannot reach localhost:1: connection refused";
    const plain = await runProgram(["Bob", "localhost", "1"]);
    expect(plain).toEqual({ status: 1, stdout: "", stderr: `p2pchat: ${message}\n` });
    const json = await runProgram(["Bob", "localhost:1", "--json"]);
    expect(json).toEqual({
      status: 1,
      stdout: `${JSON.stringify({ event: "error", code: "unreachable", message })}\n`,
      stderr: `p2pchat: ${message}\n`,
    });
  });

  test("exits with 1 where the name is taken, and names a free one", async () => {
    const { port } = await startNode("Bob");
    const message = "the name bob is taken in this room; bob2 is free";
    // The same name would be the same identity.
    const argv = ["bob", "127.0.0.1", port, "--volatile"];
    expect(await runProgram(argv)).toEqual({ status: 1, stdout: "", stderr: `p2pchat: ${message}\n` });
    const { status, stdout } = await runProgram([...argv, "--json"]);
    expect([status, JSON.parse(stdout)]).toEqual([1, { event: "error", code: "name_taken", message }]);
  });

  test("exits with 1 where this identity or the port is in use", async () => {
    const { port } = await startNode("Alice");
    const sentence = "is in use: another p2pchat runs with this identity on this machine";
    expect(await runProgram(["ALICE"])).toEqual({
      status: 1,
      stdout: "",
      stderr: `p2pchat: ALICE ${sentence}; leave there, or take another name\n`,
    });
    const json = await runProgram(["ALICE", "--json"]);
    const message = `ALICE ${sentence}; leave there, or take another name`;
    expect([json.status, JSON.parse(json.stdout)]).toEqual([1, { event: "error", code: "refused", message }]);
    const { status, stderr } = await runProgram(["Bob", "--host", "127.0.0.1", "--port", port]);
    expect([status, stderr]).toEqual([1, `p2pchat: port ${port} is taken by another program\n`]);
  });

  test.each(["SIGINT", "SIGTERM", "SIGHUP"] as const)("says goodbye on %s and exits with 0", async signal => {
    const alice = await startNode("Alice");
    const bob = await startNode("Bob", "127.0.0.1", alice.port);
    bob.child.kill(signal);
    expect(await bob.child.exited).toBe(0);
    for await (const line of alice.lines) {
      const { event, name, reason } = JSON.parse(line);
      if (event !== "leave") continue;
      expect([name, reason]).toEqual(["Bob", "quit"]);
      return;
    }
    throw new Error("Alice did not hear of it");
  });

  test("leaves when nobody reads stdout any more", async () => {
    const command = [...program, "Alice", "--stay", "--host", "127.0.0.1"].map(word => `'${word}'`).join(" ");
    const reader = "{ head -n 1; exec <&-; echo gone; }";
    const pipe = Bun.spawn(["sh", "-c", `{ ${command}; echo "status $?" >&2; } | ${reader}`], {
      env: environment(),
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    });
    running.push(pipe);
    const lines = linesOf(pipe.stdout);
    const [, port = ""] = /listening at (\d+)/.exec((await lines.next()).value ?? "") ?? [];
    expect((await lines.next()).value).toBe("gone");
    // Now Alice has something to write.
    await runProgram(["Bob", "127.0.0.1", port]);
    expect(await pipe.stderr.text()).toBe("status 0\n");
  });

  test.skipIf(!existsSync("/dev/full"))("says so where stdout is full, having left, and exits with 1", async () => {
    const alice = await startNode("Alice");
    for (const mode of ["--plain", "--json"]) {
      const command = [...program, "Bob", "127.0.0.1", alice.port, "--stay", mode].map(word => `'${word}'`).join(" ");
      const bob = Bun.spawn(["sh", "-c", `${command} >/dev/full`], {
        env: environment(),
        stdin: "ignore",
        stdout: "ignore",
        stderr: "pipe",
      });
      running.push(bob);
      expect([await bob.stderr.text(), await bob.exited]).toEqual([
        "p2pchat: cannot write to stdout: no space left on device\n",
        1,
      ]);
    }
    const told: string[] = [];
    for await (const line of alice.lines) {
      const { event, reason } = JSON.parse(line);
      told.push(reason ?? event);
      if (told.length === 4) break;
    }
    expect(told).toEqual(["join", "quit", "join", "quit"]);
  });
});

describe("on a terminal", () => {
  const start = (...argv: string[]) => Terminal.start([...program, ...argv], { env: environment() });

  test("without a name asks for one, and takes no bad one", async () => {
    await using terminal = start();
    await terminal.until("What shall others call you?");
    terminal.type("Bob Smith\r");
    await terminal.until("it cannot hold a space");
    terminal.type("\x7f".repeat(6));
    terminal.type("\r");
    await terminal.until(/Bob at address \S+ is listening at \d+/);
    terminal.type(":q\r");
    expect(await terminal.exited).toBe(0);
  });

  test("welcomes on 40 columns as well, with nothing to be typed in two pieces", async () => {
    await using terminal = Terminal.start([...program], { env: environment(), cols: 40 });
    await terminal.until(
      /p2pchat Bob 192\.168\.1\.20 55107 .*\n.* {4}joins one .*\n[\s\S]*What shall others call you\?/,
    );
    terminal.type("\x03");
    expect(await terminal.exited).toBe(0);
  });

  test("without a name leaves when none is given", async () => {
    await using terminal = start();
    await terminal.until("What shall others call you?");
    terminal.type("\x03");
    expect(await terminal.exited).toBe(0);
  });

  test.each(["SIGINT", "SIGTERM", "SIGHUP"] as const)("leaves on %s while it asks, as on Ctrl-C", async signal => {
    await using terminal = start();
    await terminal.until("What shall others call you?");
    terminal.kill(signal);
    expect(await terminal.exited).toBe(0);
    expect(terminal.isRaw()).toBe(false);
  });

  test("offers a free name where the name is taken", async () => {
    const { port } = await startNode("Bob");
    await using terminal = start("bob", `127.0.0.1:${port}`, "--volatile");
    await terminal.until("The name bob is taken in this room.");
    await terminal.until("bob2");
    terminal.type("\r");
    await terminal.until(/bob2 at address \S+ is listening at \d+/);
    terminal.type(":q\r");
    expect(await terminal.exited).toBe(0);
  });

  test("exits with 1 where the name is taken and no other is wanted", async () => {
    const { port } = await startNode("Bob");
    await using terminal = start("bob", "127.0.0.1", port, "--volatile");
    await terminal.until("The name bob is taken in this room.");
    terminal.type("\x03");
    expect(await terminal.exited).toBe(1);
    await terminal.until("p2pchat: the name bob is taken in this room; bob2 is free");
  });
});

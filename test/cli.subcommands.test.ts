/** `p2pchat send`, `history`, `completions`; `list` and `doctor` are in discovery.test.ts. */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Chat } from "../lib/chat.ts";
import { completionsFor } from "../lib/completions.ts";
import { type Command, parse, SHELLS, type Shell, SUBCOMMANDS, UsageError } from "../lib/options.ts";

// On a busy machine processes and sockets take their time.
setDefaultTimeout(60_000);

const program = [process.execPath, join(import.meta.dir, "..", "index.ts")];
const NOW = Date.parse("2026-08-15T12:00:00Z");

let home = "";
const running: Bun.Subprocess[] = [];
const chats: Chat[] = [];

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "p2pchat-sub-"));
});

afterEach(async () => {
  for (const each of running.splice(0)) {
    each.kill("SIGKILL");
    await each.exited;
  }
  await Promise.all(chats.splice(0).map(chat => chat.leave()));
  rmSync(home, { recursive: true, force: true });
});

function spawn(argv: readonly string[], stdin: "ignore" | Blob = "ignore") {
  const { PATH = "" } = process.env;
  const env = { PATH, HOME: home, NO_COLOR: "1", P2PCHAT_DISCOVERY: "off", TZ: "UTC" };
  const child = Bun.spawn([...program, ...argv], { env, stdin, stdout: "pipe", stderr: "pipe" });
  running.push(child);
  return child;
}

async function run(argv: readonly string[], stdin: "ignore" | Blob = "ignore") {
  const child = spawn(argv, stdin);
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  return { status: await child.exited, stdout, stderr };
}

/** A room, and the texts said in it. */
async function room(roomKey?: Uint8Array) {
  const chat = await Chat.open({ name: "Alice", host: "127.0.0.1", ...(roomKey && { roomKey }) });
  chats.push(chat);
  const said: string[] = [];
  chat.subscribe(events => {
    for (const event of events) if (event.event === "message") said.push(`${event.name}: ${event.text}`);
  });
  return { said, port: String(chat.listensAt) };
}

function commandOf(...argv: string[]): Command {
  return parse(argv, {}, NOW);
}

function complaint(...argv: string[]): string | undefined {
  try {
    commandOf(...argv);
    return undefined;
  } catch (error) {
    if (error instanceof UsageError) return error.message;
    throw error;
  }
}

describe("the words of a subcommand", () => {
  test.each([
    [
      ["list", "localhost", "5"],
      'unexpected "localhost" (list is a command and no username), the form is: p2pchat list [--json]',
    ],
    [["list", "--port", "5"], "list takes no --port, the form is: p2pchat list [--json]"],
    [["doctor", "x"], 'unexpected "x" (doctor is a command and no username), the form is: p2pchat doctor'],
    [["send"], "a username is missing, the form is: p2pchat send <username> <host> <port> <text>"],
    [
      ["send", "Bot", "localhost", "5"],
      "a text to send is missing, the form is: p2pchat send <username> <host> <port> <text>",
    ],
    [
      ["send", "Bot", "localhost:5", " "],
      "a text to send is missing, the form is: p2pchat send <username> <host> <port> <text>",
    ],
    [
      ["send", "Bot", "localhost", "5", "two", "words"],
      'unexpected "words" (write the text in quotes), the form is: p2pchat send <username> <host> <port> <text>',
    ],
    [["send", "Bot", "localhost", "abc", "hi"], '"abc" is no port, a port is a number from 1 to 65535'],
    [["send", "list", "localhost", "5", "hi"], '"list" is a command of p2pchat, so it cannot be a username'],
    [["history", "Alice", "--limit", "0"], '"0" is no limit, a limit is a number from 1 to 1000000'],
    [["history", "Alice", "--since", "soon"], '"soon" is no time, it looks like 2h, 3d or 2026-08-01'],
    [["history", "Alice", "--since", "2026-13-01"], '"2026-13-01" is no time, it looks like 2h, 3d or 2026-08-01'],
    [["completions"], "a shell is missing, the form is: p2pchat completions bash|zsh|fish"],
    [["completions", "csh"], 'unknown shell "csh", the form is: p2pchat completions bash|zsh|fish'],
    [["Alice", "--since", "2h"], "--since goes with: p2pchat history <username>"],
    [["List"], '"List" is a command of p2pchat, so it cannot be a username'],
    [["SEND", "localhost", "5"], '"SEND" is a command of p2pchat, so it cannot be a username'],
  ])("%j is refused", (argv, sentence) => {
    expect(complaint(...argv)).toBe(sentence);
  });

  test("are read", () => {
    expect(commandOf("list", "--json")).toMatchObject({ type: "list", options: { mode: "json" } });
    expect(commandOf("--json", "list")).toMatchObject({ type: "list" });
    expect(commandOf("doctor", "--host", "127.0.0.1")).toMatchObject({
      type: "doctor",
      options: { host: "127.0.0.1" },
    });
    for (const place of [["::1", "5"], ["[::1]:5"], ["[::1]", "5"]])
      expect(commandOf("send", "Bot", ...place, "a: b")).toMatchObject({
        type: "send",
        text: "a: b",
        options: { name: "Bot", dial: { host: "::1", port: 5 } },
      });
    expect(commandOf("help")).toEqual({ type: "help" });
    expect(commandOf("version")).toEqual({ type: "version" });
    expect(commandOf("completions", "fish")).toEqual({ type: "completions", shell: "fish" });
    expect(commandOf("history", "Zoe\u0308", "--limit=7", "--since", "2h")).toMatchObject({
      type: "history",
      options: { name: "Zo\u00eb" },
      limit: 7,
      since: NOW - 2 * 3_600_000,
    });
  });

  test.each([
    ["90m", NOW - 90 * 60_000],
    ["3d", NOW - 3 * 86_400_000],
    ["2w", NOW - 14 * 86_400_000],
    ["2026-08-01", new Date(2026, 7, 1).getTime()],
    ["2026-08-01 10:30", new Date(2026, 7, 1, 10, 30).getTime()],
    ["2026-08-01T10:30:05", new Date(2026, 7, 1, 10, 30, 5).getTime()],
  ])("since %s is a time, a date in the user's zone", (since, at) => {
    expect(commandOf("history", "Alice", "--since", since)).toMatchObject({ since: at });
  });
});

describe("p2pchat send", () => {
  test("says one text and exits with 0 once a peer has it", async () => {
    const { said, port } = await room();
    expect(await run(["send", "Bot", "127.0.0.1", port, "two\nlines"])).toEqual({ status: 0, stdout: "", stderr: "" });
    expect(said).toEqual(["Bot: two\nlines"]);
    expect((await run(["send", "Bot", `127.0.0.1:${port}`, "again", "--volatile"])).status).toBe(0);
    expect(said).toHaveLength(2);
  });

  test("exits with 1 where nobody is there, or nothing is accepted", async () => {
    const gone = await run(["send", "Bot", "127.0.0.1", "1", "hello"]);
    expect(gone).toEqual({ status: 1, stdout: "", stderr: "p2pchat: cannot reach 127.0.0.1:1: connection refused\n" });
    const { said, port } = await room(new Uint8Array(32).fill(7));
    const refused = await run(["send", "Bot", "127.0.0.1", port, "hello"]);
    expect([refused.status, refused.stderr]).toEqual([1, expect.stringContaining("needs its key")]);
    const wrong = await run(["send", "Bot", "127.0.0.1", port, "hello", "--key", "not these words"]);
    expect(wrong.status).toBe(1);
    const open = await room();
    const long = await run(["send", "Bot", "127.0.0.1", open.port, "x".repeat(70_000)]);
    expect([long.status, long.stderr]).toEqual([1, "p2pchat: a text may hold 65536 bytes; this one has 70000\n"]);
    expect([...said, ...open.said]).toEqual([]);
  });

  test("a peer that stops before it has the text is not counted", async () => {
    const alice = spawn(["Alice", "--json", "--stay", "--host", "127.0.0.1"]);
    const { value } = await alice.stdout.getReader().read();
    const { port } = JSON.parse(new TextDecoder().decode(value).split("\n")[0] ?? "");
    const bot = await Chat.open({ name: "Bot", host: "127.0.0.1", dial: { host: "127.0.0.1", port } });
    alice.kill("SIGSTOP");
    bot.say("hello");
    await bot.leave();
    expect(bot.handedOver).toBe(0);
  });
});

describe("p2pchat history", () => {
  beforeEach(async () => {
    await run(["Alice", "--host", "127.0.0.1"], new Blob(["one\ntwo \x1b[31mred\nthree\u202e\n"]));
  });

  test("prints what was said, without joining and cleaned", async () => {
    const { status, stdout, stderr } = await run(["history", "alice"]);
    expect([status, stderr]).toEqual([0, ""]);
    expect(stdout.replaceAll(/^\d{4}-\d\d-\d\d \d\d:\d\d /gm, "@")).toBe(
      "@Alice: one\n@Alice: two red\n@Alice: three\n",
    );
    expect((await run(["history", "Alice", "--time", "off", "--limit", "1"])).stdout).toBe("Alice: three\n");
    expect((await run(["history", "Alice", "--time", "12"])).stdout).toMatch(
      /^[\d-]+ (0\d|1[012]):\d\d [ap]m Alice: one\n/,
    );
    expect((await run(["history", "Alice", "--since", "1h"])).stdout.split("\n")).toHaveLength(4);
    expect((await run(["history", "Alice", "--since", "2999-01-01"])).stdout).toBe("");
  });

  test("prints JSON Lines that are the events of JSON mode", async () => {
    const { stdout } = await run(["history", "Alice", "--json"]);
    const lines = stdout.trimEnd().split("\n");
    expect(JSON.parse(lines[1] ?? "")).toEqual({
      event: "message",
      id: expect.stringMatching(/^[\da-f]{16}$/),
      name: "Alice",
      member: expect.stringMatching(/^[\da-f]{16}$/),
      text: "two \x1b[31mred",
      at: expect.any(Number),
      own: true,
      history: true,
    });
    expect(lines[2]).toContain("three\\u202e");
  });

  test("is readable while a p2pchat runs under that name", async () => {
    const alice = spawn(["Alice", "--stay", "--host", "127.0.0.1"]);
    await alice.stdout.getReader().read();
    expect((await run(["history", "Alice"])).stdout.split("\n")).toHaveLength(4);
  });

  test("exits with 1 and a sentence where there is none, or it is damaged", async () => {
    const nobody = await run(["history", "Nobody"]);
    expect([nobody.status, nobody.stdout]).toEqual([1, ""]);
    expect(nobody.stderr).toMatch(/^p2pchat: nothing is kept of Nobody: there is no \S+\/nobody\.sqlite\n$/);
    mkdirSync(join(home, "data"));
    writeFileSync(join(home, "data/alice.sqlite"), "hello ".repeat(1_000));
    const damaged = await run(["history", "Alice", "--data", join(home, "data")]);
    expect([damaged.status, damaged.stdout]).toEqual([1, ""]);
    expect(damaged.stderr).toMatch(/^p2pchat: the history of Alice cannot be read: .*\n$/);
  });
});

/** Where a shell is missing, that is said and its test is skipped. */
function has(shell: string): boolean {
  const found = Bun.which(shell) !== null;
  if (!found) console.log(`completions for ${shell} are not tried: it is not installed`);
  return found;
}

async function shell(command: readonly string[], script: string): Promise<string[]> {
  const child = Bun.spawn([...command], { stdin: new Blob([script]), stdout: "pipe", stderr: "inherit" });
  running.push(child);
  return (await child.stdout.text()).split(/\s+/).filter(Boolean).sort();
}

describe("completions", () => {
  test("name every subcommand and every option there is, in every shell", async () => {
    for (const name of SHELLS) {
      const { status, stdout } = await run(["completions", name]);
      expect([status, stdout]).toEqual([0, completionsFor(name)]);
      for (const word of [...Object.keys(SUBCOMMANDS), "port", "discover", "private", "since", "help"])
        expect(stdout).toContain(word);
    }
  });

  /** What each shell makes of these words, the last of them half typed. */
  const complete: Readonly<Record<Shell, (words: readonly string[]) => Promise<string[]>>> = {
    bash(words) {
      const line = words.map(word => `'${word}'`).join(" ");
      const ask = `COMP_WORDS=(p2pchat ${line}); COMP_CWORD=${words.length}; _p2pchat; echo "\${COMPREPLY[@]}"`;
      return shell(["bash", "--norc"], `${completionsFor("bash")}\n${ask}`);
    },
    async zsh(words) {
      const line = words.map(word => `'${word}'`).join(" ");
      const stubs = `compdef() { :; }; compadd() { echo "\${@[2,-1]}"; }; _files() { print -l "\${words[-1]}"*(/); }`;
      const ask = `words=(p2pchat ${line}); CURRENT=${words.length + 1}; _p2pchat`;
      // All that zsh is offered; it leaves out itself what does not begin as asked for.
      const offered = await shell(["zsh", "-f"], `${stubs}\n${completionsFor("zsh")}\n${ask}`);
      return offered.filter(word => word.startsWith(words.at(-1) ?? ""));
    },
    fish(words) {
      const ask = `complete -C "p2pchat ${words.join(" ")}" | string replace -r '/?\\t.*' ''`;
      return shell(["fish", "-N"], `${completionsFor("fish")}\n${ask}`);
    },
  };

  for (const name of SHELLS)
    test.skipIf(!has(name))(`work in ${name}`, async () => {
      const completed = complete[name];
      expect(await completed(["l"])).toEqual(["list"]);
      expect(await completed(["completions", ""])).toEqual(["bash", "fish", "zsh"]);
      expect(await completed(["Alice", "--time", ""])).toEqual(["12", "24", "off"]);
      expect(await completed(["Alice", "--p"])).toEqual(["--plain", "--port", "--private"]);
      expect(await completed(["Alice", "--port", ""])).toEqual([]);
      expect(await completed(["history", "Alice", "--"])).toEqual(["--data", "--json", "--limit", "--since", "--time"]);
      mkdirSync(join(home, "Desktop"));
      expect(await completed(["Alice", "--data", `${home}/D`])).toEqual([`${home}/Desktop`]);
    });
});

describe("what is printed", () => {
  /** Runs the program by a shell, which knows where its stdout goes. */
  async function shell(redirection: string, ...argv: string[]) {
    const { PATH = "" } = process.env;
    const env = { PATH, HOME: home, NO_COLOR: "1", P2PCHAT_DISCOVERY: "off" };
    const command = ["sh", "-c", `"$@" ${redirection}`, "sh", ...program, ...argv];
    const child = Bun.spawn(command, { cwd: home, env, stdin: "ignore", stdout: "pipe", stderr: "pipe" });
    running.push(child);
    const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
    return { status: await child.exited, stdout, stderr };
  }

  test.each([[["list"]], [["list", "--json"]]])(
    "%j finds nothing, and leaves the file it is appended to",
    async argv => {
      writeFileSync(join(home, "log"), "of value\n");
      expect((await shell(">> log", ...argv)).status).toBe(0);
      expect(readFileSync(join(home, "log"), "utf8")).toBe("of value\n");
    },
  );

  test.skipIf(process.platform !== "linux")("a full disk is one sentence and exit status 1", async () => {
    for (const word of ["--help", "--version", "doctor"])
      expect(await shell("> /dev/full", word)).toEqual({
        status: 1,
        stdout: "",
        stderr: "p2pchat: cannot write to stdout: no space left on device\n",
      });
  });

  test("who has seen enough closes the pipe, and nobody complains", async () => {
    for (const word of ["--help", "--version", "doctor"]) {
      const child = spawn([word]);
      await child.stdout.cancel();
      expect([await child.stderr.text(), await child.exited]).toEqual(["", 0]);
    }
  });
});

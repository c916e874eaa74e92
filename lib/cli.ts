/**
 * The program: what the command line asks for, the conversation at start-up, and how it ends. Design, section 8.
 *
 * Everything that could not be done is one line on stderr and an exit status; a stack trace is a bug. Start-up time is
 * a feature: what only one mode needs is imported in that mode, and `process.stdin` and `process.stdout`, which cost
 * more than the rest together, are left alone here.
 */
import { fstatSync, statSync } from "node:fs";
import { version } from "../package.json";
import { Chat, type ChatOptions } from "./chat.ts";
import { ChatError } from "./errors.ts";
import { type Command, dataDirectory, HELP, NAME_MISSING, type Options, parse, UsageError } from "./options.ts";
import { checkName } from "./room/names.ts";
import { StoreError } from "./store/files.ts";
import { cleanLine } from "./ui/clean.ts";
import type { ChatEvent } from "./ui/view.ts";

const EXIT = { left: 0, failed: 1, usage: 2, interrupted: 130 } as const;

/** The spinner hides what is typed meanwhile, so it stays away where connecting takes no time. */
const SPINNER_DELAY_MS = 300;

const SHORT_USAGE = `A chat room with no server.

p2pchat Alice                    opens a room
p2pchat Bob 192.168.1.20 55107   joins one
p2pchat --help                   tells more`;

type Mode = "terminal" | "plain" | "json";

/** Runs the program; resolves with its exit status. `argv` begins behind the program's name. */
export async function main(argv: readonly string[]): Promise<number> {
  let command: Command;
  try {
    command = parse(argv, Bun.env);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    complain(error.message);
    return EXIT.usage;
  }
  switch (command.type) {
    case "help":
      await Bun.write(Bun.stdout, HELP);
      return EXIT.left;
    case "version":
      await Bun.write(Bun.stdout, `${version}\n`);
      return EXIT.left;
    case "chat":
      return chat(command.options);
  }
}

async function chat(options: Options): Promise<number> {
  const mode = options.mode ?? (isTerminal(0) && isTerminal(1) ? "terminal" : "plain");
  if (options.name === undefined && mode !== "terminal") {
    complain(NAME_MISSING);
    return EXIT.usage;
  }
  const name = options.name ?? (await askFirstName());
  if (name === undefined) return EXIT.left;
  try {
    const settings = await settingsOf(options, name);
    const opened = mode === "terminal" ? await openPatiently(settings) : await Chat.open(settings);
    leaveOnSignals(opened);
    return await run(opened, mode, options);
  } catch (error) {
    return failed(error, mode);
  }
}

async function settingsOf(options: Options, name: string): Promise<ChatOptions> {
  const data = options.volatile ? undefined : (options.data ?? dataDirectory(Bun.env));
  if (data === undefined && !options.volatile) complain("nothing is kept in this run: $HOME is not set, see --data");
  // Absent and undefined are two things to `exactOptionalPropertyTypes`.
  return {
    name,
    ...(options.host !== undefined && { host: options.host }),
    ...(options.port !== undefined && { port: options.port }),
    ...(options.dial !== undefined && { dial: options.dial }),
    ...(data !== undefined && { data }),
    ...(options.key !== undefined && { roomKey: await (await import("./key.ts")).roomKeyOf(options.key) }),
  };
}

/** Leaves when the user has, when stdin has ended, or when nobody reads stdout any more. */
async function run(opened: Chat, mode: Mode, options: Options): Promise<number> {
  const settings = { stay: options.stay };
  try {
    if (mode === "json") await (await import("./ui/json.ts")).runJson(opened, settings);
    else if (mode === "plain") await (await import("./ui/plain.ts")).runPlain(opened, settings);
    else {
      const { runTerminal } = await import("./ui/terminal.ts");
      // Clack's prompts and spinner leave it paused, and then a listener alone does not make it flow again.
      process.stdin.resume();
      await runTerminal(opened, settings);
    }
  } finally {
    await opened.leave();
  }
  return EXIT.left;
}

/** Before a chat is open there is nothing to say goodbye to, so until here a signal just ends the program. */
function leaveOnSignals(opened: Chat): void {
  let leaving = false;
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
    process.on(signal, () => {
      if (leaving && signal === "SIGINT") process.exit(EXIT.interrupted);
      leaving = true;
      void opened.leave();
    });
}

// The conversation at start-up, on a terminal only.

async function askFirstName(): Promise<string | undefined> {
  const { intro, note } = await import("@clack/prompts");
  intro("p2pchat");
  note(SHORT_USAGE, "Welcome");
  return askName("What shall others call you?");
}

/** Undefined when the user would rather not. */
async function askName(message: string, suggestion = ""): Promise<string | undefined> {
  const { isCancel, text } = await import("@clack/prompts");
  const answer = await text({
    message,
    initialValue: suggestion,
    placeholder: "Alice",
    validate: value => nameProblem(value ?? ""),
  });
  return isCancel(answer) ? undefined : checkName(answer);
}

function nameProblem(name: string): string | undefined {
  try {
    checkName(name);
    return undefined;
  } catch (error) {
    if (error instanceof ChatError) return error.message;
    throw error;
  }
}

/** Opens the chat; where the name is taken it asks for another, until one is free or the user gives up. */
async function openPatiently(settings: ChatOptions): Promise<Chat> {
  let { name } = settings;
  for (;;) {
    try {
      return await withSpinner(settings, Chat.open({ ...settings, name }));
    } catch (error) {
      if (!(error instanceof ChatError) || error.code !== "name_taken") throw error;
      const { suggestion = "" } = error;
      // The suggestion is a peer's.
      const free = nameProblem(suggestion) === undefined ? suggestion : "";
      const other = await askName(`The name ${name} is taken in this room. What shall others call you?`, free);
      if (other === undefined) throw error;
      name = other;
    }
  }
}

async function withSpinner<T>(settings: ChatOptions, opening: Promise<T>): Promise<T> {
  if (settings.dial === undefined) return opening;
  const { host, port } = settings.dial;
  let stop = () => {};
  let done = false;
  const timer = setTimeout(async () => {
    const { spinner } = await import("@clack/prompts");
    if (done) return;
    const wheel = spinner();
    wheel.start(`Connecting to ${host}:${port}`);
    stop = () => wheel.clear();
  }, SPINNER_DELAY_MS);
  try {
    return await opening;
  } finally {
    done = true;
    clearTimeout(timer);
    stop();
  }
}

// How it ends.

async function failed(error: unknown, mode: Mode): Promise<number> {
  if (!(error instanceof ChatError || error instanceof StoreError)) throw error;
  if (mode === "json" && error instanceof ChatError) {
    const event: ChatEvent = { event: "error", code: error.code, message: error.message };
    await Bun.write(Bun.stdout, `${JSON.stringify(event)}\n`);
  }
  complain(error.message);
  return EXIT.failed;
}

/** One line for people on stderr, whatever words of the user or of a peer are in it. */
function complain(message: string): void {
  console.error(`p2pchat: ${cleanLine(message)}`);
}

/**
 * `node:tty` costs 2 ms, a look at the file descriptor nothing: only a character device can be a terminal, and most of
 * those that are not are /dev/null.
 */
function isTerminal(descriptor: 0 | 1): boolean {
  try {
    const stats = fstatSync(descriptor);
    if (!stats.isCharacterDevice()) return false;
    if (process.platform !== "win32" && stats.rdev === statSync("/dev/null").rdev) return false;
  } catch {
    // A closed descriptor.
    return false;
  }
  const { isatty } = require("node:tty") as typeof import("node:tty");
  return isatty(descriptor);
}

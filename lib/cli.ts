/**
 * The program: what the command line asks for, the conversation at start-up, and how it ends. Design, section 8.
 *
 * Everything that could not be done is one line on stderr and an exit status; a stack trace is a bug. Start-up time is
 * a feature: what only one mode needs is imported in that mode, and `process.stdin` and `process.stdout`, which cost
 * more than the rest together, are left alone here.
 */
import { version } from "../package.json";
import { Chat, type ChatOptions } from "./chat.ts";
import type { Address } from "./codec/post.ts";
import { compileWhatIsBusy } from "./compiler.ts";
import type { Offer } from "./discovery.ts";
import { ChatError, codeOf, unreachable } from "./errors.ts";
import { type LastRoom, readLastRoom } from "./history.ts";
import { newRoomCode, roomKeyOf, roomTag, weaknessOf } from "./key.ts";
import { type Command, dataDirectory, HELP, NAME_MISSING, nameOf, type Options, parse, UsageError } from "./options.ts";
import { fs, StoreError } from "./store/files.ts";
import { cleanLine } from "./ui/clean.ts";
import { runJson } from "./ui/json.ts";
import { runPlain } from "./ui/plain.ts";
import { isAccessible, knowsUtf8 } from "./ui/spell.ts";
import type { ChatEvent } from "./ui/view.ts";

const EXIT = { left: 0, failed: 1, usage: 2, interrupted: 130 } as const;

/** Ways into one room that are tried, each for seconds. */
const ENTRANCES_MAX = 4;
/** The list of rooms fits the smallest screen. */
const CHOICES_SHOWN = 10;
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
  try {
    switch (command.type) {
      case "help":
        await Bun.write(Bun.stdout, HELP);
        return EXIT.left;
      case "version":
        await Bun.write(Bun.stdout, `${version}\n`);
        return EXIT.left;
      case "chat":
        return await chat(command.options);
      default:
        return await besides(command);
    }
  } catch (error) {
    return failed(error, "options" in command && command.options.mode === "json");
  }
}

/** Everything but chatting. */
async function besides(command: Exclude<Command, { type: "help" | "version" | "chat" }>): Promise<number> {
  const { completions, doctor, history, list, send } = await import("./subcommands.ts");
  switch (command.type) {
    case "list":
      return list(command.options, complain);
    case "doctor":
      return doctor(command.options);
    case "completions":
      return completions(command.shell);
    case "send": {
      leaveOnSignals();
      isKnown = true;
      const settings = await settingsOf(command.options, command.options.name);
      return send({ ...settings, signal: leaving.signal }, command.text, complain);
    }
    case "history": {
      const directory = command.options.data ?? dataDirectory(Bun.env);
      if (directory !== undefined) return history(command.options, directory, command);
      complain("there is no history: $HOME is not set, see --data");
      return EXIT.failed;
    }
    default:
      return unreachable(command);
  }
}

/** A chat that is about to be opened, and how its room was come by. */
interface Start {
  readonly settings: ChatOptions;
  /** Ways into the room, best first; none to open one. */
  readonly entrances: readonly Address[];
  /** Rooms that were offered and not taken. */
  readonly seen?: readonly string[];
  /** The words were asked for, so they may be asked for again. */
  readonly asked?: boolean;
  /** The room that one was in last, where it was not offered. */
  readonly last?: LastRoom | undefined;
}

async function chat(options: Options): Promise<number> {
  const mode = options.mode ?? (isTerminal(0) && isTerminal(1) ? "terminal" : "plain");
  if (options.name === undefined && mode !== "terminal") {
    complain(NAME_MISSING);
    return EXIT.usage;
  }
  leaveOnSignals();
  const name = options.name ?? (await askFirstName());
  if (name === undefined) return EXIT.left;
  try {
    const start = await startOf(options, await settingsOf(options, name), mode);
    const looks = mode === "terminal" && start.entrances.length === 0 && !options.fresh && !options.private;
    const opened = looks ? await openNear(options, start) : await openFirst(start, mode === "terminal");
    return opened === undefined ? EXIT.left : await run(opened, mode, options);
  } catch (error) {
    if (error === leaving.signal.reason) return EXIT.left;
    throw error;
  }
}

async function settingsOf(options: Options, name: string): Promise<ChatOptions> {
  const data = options.volatile ? undefined : (options.data ?? dataDirectory(Bun.env));
  if (data === undefined && !options.volatile) complain("nothing is kept in this run: $HOME is not set, see --data");
  const { host, port, dial, keepMs, key } = options;
  const roomKey = key === undefined ? undefined : await roomKeyOf(key);
  return { name, host, port, dial, data, keepMs, roomKey };
}

/** The room that the command line asks for. */
async function startOf(options: Options, settings: ChatOptions, mode: Mode): Promise<Start> {
  const { dial, find, host, discovery } = options;
  if (options.private) {
    const words = newRoomCode();
    return { settings: { ...settings, roomKey: await roomKeyOf(words), words }, entrances: [] };
  }
  if (options.key !== undefined && dial === undefined && !find) await warnOfWeakWords(options.key);
  if (!find || settings.roomKey === undefined) return { settings, entrances: dial === undefined ? [] : [dial] };
  const { findPrivate, settingOf } = await import("./discovery.ts");
  const search = findPrivate(settingOf(discovery, host), roomTag(settings.roomKey));
  const room = await (mode === "terminal" ? withSpinner("Looking for the room", search) : search);
  return { settings, entrances: room.addresses };
}

/** Who opens a room with words of its own should know; who joins one can change nothing. */
async function warnOfWeakWords(words: string): Promise<void> {
  const weakness = weaknessOf(words);
  if (weakness !== undefined) complain(`warning: ${weakness}`);
}

interface Opened extends Start {
  readonly chat: Chat;
}

/** Tries the ways in, one after the other. On a terminal what is amiss is asked for. */
async function openFirst({ settings, entrances, ...rest }: Start, asks: boolean): Promise<Opened> {
  const open = async (wanted: ChatOptions) =>
    asks ? openPatiently(wanted, rest.asked) : { settings: wanted, chat: await openChat(wanted) };
  if (entrances.length === 0) return { ...rest, entrances, ...(await open(settings)) };
  let failure: unknown;
  for (const dial of entrances.slice(0, ENTRANCES_MAX)) {
    try {
      return { ...rest, entrances, ...(await open({ ...settings, dial })) };
    } catch (error) {
      if (!(error instanceof ChatError) || error.code !== "unreachable") throw error;
      failure ??= error;
    }
  }
  throw failure;
}

/** Offers the rooms near by, if there are any. Undefined when the user wants none of it. */
async function openNear(options: Options, start: Start): Promise<Opened | undefined> {
  const { discovery, host } = options;
  const { data, name, roomKey } = start.settings;
  const last = data === undefined ? undefined : readLastRoom(data, name);
  if (discovery.scope === "off") return openFirst({ ...start, last }, true);
  const { findOffers, settingOf } = await import("./discovery.ts");
  let rooms = await findOffers(settingOf(discovery, host), roomKey && roomTag(roomKey), last);
  const seen = rooms.map(({ mark }) => mark);
  const isOffered = rooms.some(room => room.last);
  while (rooms.length > 0) {
    const room = await chooseRoom(rooms);
    if (room === undefined) return undefined;
    if (room === "new") break;
    let { settings } = start;
    if (room.private && roomKey === undefined) {
      const words = await askWords();
      if (words === undefined) continue;
      settings = { ...settings, roomKey: await roomKeyOf(words) };
    }
    try {
      const asked = settings !== start.settings;
      return await openFirst({ settings, entrances: room.addresses, asked }, true);
    } catch (error) {
      // What was found may be gone, or never have been there.
      if (!(error instanceof ChatError) || error.code !== "unreachable") throw error;
      complain(error.message);
      rooms = rooms.filter(other => other !== room);
    }
  }
  return openFirst({ ...start, seen, last: isOffered ? undefined : last }, true);
}

/** Leaves when the user has, when stdin has ended, or when nobody reads stdout any more. */
async function run(start: Opened, mode: Mode, options: Options): Promise<number> {
  const opened = start.chat;
  const doctor = () => diagnose(start, options);
  const tell = async () => {
    for (const line of await doctor()) opened.notify(line);
  };
  const settings = { stay: options.stay, doctor: tell, time: options.time };
  // Whoever is given words is to find the room by them, whatever kind of program opened it.
  const isShown = mode === "terminal" || options.discovery.explicit || options.private;
  tellWords(start, mode, isShown && options.discovery.scope !== "off");
  if (start.last !== undefined)
    for (const line of (await import("./discovery.ts")).wayBack(start.last, start.settings.name)) opened.notify(line);
  try {
    const begun = () => void show(start, options);
    if (mode !== "terminal" && isShown) begun();
    let front: Promise<unknown>;
    if (mode === "json") front = runJson(opened, { stay: options.stay, doctor, warn: complain });
    else if (mode === "plain") front = runPlain(opened, settings);
    else {
      const { runTerminal } = await import("./ui/terminal.ts");
      front = runTerminal(opened, { ...settings, begun, goesOn: hasAsked && knowsUtf8(Bun.env) });
    }
    // Not ahead of the front, for which what has happened so far is kept.
    compileWhatIsBusy(opened);
    await front;
  } finally {
    await opened.leave();
  }
  if (opened.failure === undefined) return EXIT.left;
  // The front has told it as an event.
  complain(opened.failure.message);
  return EXIT.failed;
}

/** Lets others find the room. Not waited for: it takes longer than all the rest of the start. */
async function show({ chat: opened, settings, entrances, seen }: Opened, { discovery, host }: Options): Promise<void> {
  if (discovery.scope === "off") return;
  const { settingOf, showRoom } = await import("./discovery.ts");
  const tag = settings.roomKey && roomTag(settings.roomKey);
  await showRoom(opened, settingOf(discovery, host), { host, tag, opened: entrances.length === 0, seen });
}

/** What `/doctor` finds. */
async function diagnose({ chat: opened, settings }: Opened, { discovery, host }: Options): Promise<string[]> {
  const { diagnose: look, settingOf } = await import("./discovery.ts");
  return look(settingOf(discovery, host), host, opened, settings.roomKey !== undefined);
}

/** Words that were made for this room are of use only when they are said to others. */
function tellWords({ chat: opened, settings: { words } }: Opened, mode: Mode, isShown: boolean): void {
  if (words === undefined) return;
  const near = isShown ? ` (near by they type: ./p2pchat <name> ${words})` : "";
  const sentence = `private room: tell your friends these words: ${words}${near}`;
  if (mode === "json") complain(sentence);
  else opened.notify(sentence);
}

// Signals.

/** Aborted by the first. */
const leaving = new AbortController();
/** Others may know of us, and are told that we leave. */
let isKnown = false;
let current: Chat | undefined;

/** A chat that leaves at a signal, also while it is only being opened. */
async function openChat(settings: ChatOptions): Promise<Chat> {
  isKnown = true;
  try {
    current = await Chat.open({ ...settings, signal: leaving.signal });
    return current;
  } catch (error) {
    isKnown = false;
    throw error;
  }
}

/** From the first question on; a signal that comes before there is anybody to say goodbye to just ends the program. */
function leaveOnSignals(): void {
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => onSignal(signal));
}

/** Who cannot wait for the goodbye ends it by a second Ctrl-C. */
function onSignal(signal: "SIGINT" | "SIGTERM" | "SIGHUP"): void {
  const isSaid = leaving.signal.aborted || current?.isLeaving === true;
  if (isSaid && signal === "SIGINT") process.exit(EXIT.interrupted);
  if (!isKnown) process.exit(EXIT.left);
  leaving.abort(new ChatError("refused", `ended by ${signal} before it was done`));
}

// The conversation at start-up, on a terminal only.

/** Something was asked: what comes next goes on below it, and has no beginning of its own. */
let hasAsked = false;

/** For a question; above the first one stands whose it is. */
async function questions() {
  const loaded = await prompts();
  if (!hasAsked && loaded.plain.withGuide) loaded.intro("p2pchat");
  hasAsked = true;
  return loaded;
}

/** Clack goes by TERM alone when it draws in more than ASCII, and then not always: what is left of that is left out. */
async function prompts() {
  const { TERM } = Bun.env;
  const withGuide = knowsUtf8(Bun.env);
  if (!withGuide) Bun.env["TERM"] = "linux";
  const loaded = await import("@clack/prompts");
  if (TERM !== undefined) Bun.env["TERM"] = TERM;
  return { ...loaded, plain: { withGuide, showInstructions: withGuide, accessible: isAccessible(Bun.env) } };
}

async function askFirstName(): Promise<string | undefined> {
  const { note, plain } = await questions();
  // With clack's frame around it.
  const fits = Math.max(...SHORT_USAGE.split("\n").map(line => line.length)) + 6 <= (process.stdout.columns || 80);
  note(fits ? SHORT_USAGE : SHORT_USAGE.replace(/ {2,}/g, "\n  "), "Welcome", plain);
  return askName("What shall others call you?");
}

/** Undefined when the user would rather not. */
async function askName(message: string, suggestion = ""): Promise<string | undefined> {
  const { isCancel, plain, text } = await questions();
  const answer = await text({
    ...plain,
    message,
    initialValue: suggestion,
    placeholder: "Alice",
    validate: value => nameProblem(value ?? ""),
  });
  return isCancel(answer) ? undefined : nameOf(answer);
}

function nameProblem(name: string): string | undefined {
  try {
    nameOf(name);
    return undefined;
  } catch (error) {
    if (error instanceof UsageError) return error.message;
    throw error;
  }
}

/** Undefined when the user would rather not choose. */
async function chooseRoom(rooms: readonly Offer[]): Promise<Offer | "new" | undefined> {
  const [{ isCancel, plain, select }, { labelOf }] = await Promise.all([questions(), import("./discovery.ts")]);
  const choices: { value: Offer | "new"; label: string }[] = rooms.map(room => ({
    value: room,
    label: `${room.last ? "Go back to" : "Join"} ${labelOf(room)}`,
  }));
  const near = rooms.length === 1 ? "There is a room near by" : `There are ${rooms.length} rooms near by`;
  const answer = await select({
    ...plain,
    message: rooms.every(({ last }) => last) ? "Your last room is still there" : near,
    options: [...choices, { value: "new", label: "Open a new room" }],
    maxItems: CHOICES_SHOWN,
  });
  return isCancel(answer) ? undefined : answer;
}

async function askWords(again = false): Promise<string | undefined> {
  const { isCancel, password, plain } = await questions();
  const answer = await password({
    ...plain,
    mask: "*",
    message: again ? "Those are not its words. Once more?" : "The room is private. Its words?",
    validate: value => ((value ?? "").trim() === "" ? "Ask somebody who is in it" : undefined),
  });
  return isCancel(answer) ? undefined : answer;
}

/** Opens the chat; what stands in the way (a name that is taken, missing words) is asked for until the user gives up. */
async function openPatiently(wanted: ChatOptions, asked = false): Promise<Pick<Opened, "chat" | "settings">> {
  let settings = wanted;
  let again = asked;
  for (;;) {
    try {
      return { settings, chat: await openVisibly(settings) };
    } catch (error) {
      if (!(error instanceof ChatError)) throw error;
      if (error.code === "wrong_key" && (again || settings.roomKey === undefined)) {
        const words = await askWords(again);
        if (words === undefined) throw error;
        again = true;
        settings = { ...settings, roomKey: await roomKeyOf(words) };
      } else if (error.code === "name_taken") {
        const { suggestion = "" } = error;
        // The suggestion is a peer's.
        const free = nameProblem(suggestion) === undefined ? suggestion : "";
        const other = await askName(
          `The name ${settings.name} is taken in this room. What shall others call you?`,
          free,
        );
        if (other === undefined) throw error;
        settings = { ...settings, name: other };
      } else throw error;
    }
  }
}

async function openVisibly(settings: ChatOptions): Promise<Chat> {
  const { dial } = settings;
  const opening = openChat(settings);
  return dial === undefined ? opening : withSpinner(`Connecting to ${dial.host}:${dial.port}`, opening);
}

/** Shows that something is going on, where it takes its time. */
async function withSpinner<T>(message: string, opening: Promise<T>): Promise<T> {
  let stop = () => {};
  let done = false;
  const timer = setTimeout(async () => {
    const { plain, settings, spinner } = await prompts();
    if (done) return;
    const wheel = spinner(plain);
    wheel.start(message);
    const release = leaveUnderSpinner(settings);
    stop = () => {
      wheel.clear();
      release();
    };
  }, SPINNER_DELAY_MS);
  try {
    return await opening;
  } finally {
    done = true;
    clearTimeout(timer);
    stop();
  }
}

/**
 * A spinner of clack's ends the program there and then, without a goodbye, at Ctrl-C and Escape, which are keys in raw mode, and
 * when the terminal goes away. Until this is taken back it leaves.
 */
function leaveUnderSpinner({ aliases }: typeof import("@clack/prompts")["settings"]): () => void {
  const cancels = [...aliases].filter(([, action]) => action === "cancel");
  const onKey = (key: string | undefined, { name }: { readonly name?: string }) => {
    if (cancels.some(([alias]) => alias === key || alias === name)) onSignal("SIGINT");
  };
  for (const [alias] of cancels) aliases.delete(alias);
  const { stdin, stdout } = process;
  stdin.on("keypress", onKey);
  // That of its readline has nobody to tell, and throws. Ours stays: what the spinner writes last fails later.
  stdin.removeAllListeners("error");
  for (const stream of [stdin, stdout]) stream.off("error", onTerminalGone).on("error", onTerminalGone);
  return () => {
    stdin.off("keypress", onKey);
    for (const [alias, action] of cancels) aliases.set(alias, action);
  };
}

/** SIGHUP tells the same. */
function onTerminalGone(): void {}

// How it ends.

async function failed(error: unknown, isJson: boolean): Promise<number> {
  // Who has seen enough closes the pipe.
  if (codeOf(error) === "EPIPE") return EXIT.left;
  if (error instanceof ChatError || error instanceof StoreError) {
    if (isJson) {
      const code = error instanceof ChatError ? error.code : "refused";
      const event: ChatEvent = { event: "error", code, message: error.message };
      await Bun.write(Bun.stdout, `${JSON.stringify(event)}\n`).catch(() => {});
    }
    complain(error.message);
  } else if (error instanceof Error && "syscall" in error && error.syscall === "write")
    complain(`cannot write to stdout: ${error.message.replace(/^\w+: |, write$/g, "")}`);
  else throw error;
  return EXIT.failed;
}

/** One line for people on stderr, whatever words of the user or of a peer are in it. */
function complain(message: string): void {
  console.error(`p2pchat: ${cleanLine(message)}`);
}

/**
 * `node:tty` costs 2 ms, a look at the file descriptor nothing: only a character device can be a terminal, and most of
 * those that are not are /dev/null. Not even that where the command line says it: `node:fs` costs 0.8 ms.
 */
function isTerminal(descriptor: 0 | 1): boolean {
  const { fstatSync, statSync } = fs();
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

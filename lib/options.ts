/**
 * The command line: words in, options out. Pure; whatever is wrong with it is a `UsageError` of one sentence.
 *
 * By hand, since `node:util`'s parseArgs adds 0.9 ms to a start of 5 and its sentences do not say how it should look.
 */
import type { Address } from "./codec/post.ts";
import { ChatError } from "./errors.ts";
import { isRoomCode, normalWords } from "./key.ts";
import { limits } from "./limits.ts";
import { type COMMAND_WORDS, checkOwnName } from "./room/names.ts";

/** Readable at 80 columns. */
export const HELP = `p2pchat: a chat room with no server, in one program

  p2pchat <username>                 open a room, or choose one found near by
  p2pchat <username> <host> <port>   join one, through anybody who is in it
                                     (also <host>:<port> and [<IPv6>]:<port>)
  p2pchat <username> <code words>    find a private room near by and enter

Examples
  p2pchat Alice                      says where it listens; tell your friends
  p2pchat Bob 192.168.1.20 55107     joins Alice, and everybody who is there
  make 2>&1 | p2pchat ci 10.0.0.5 55107        says what a program prints

Options
  --port <n>      listen on this port         (default: 0, the system picks one)
  --host <addr>   listen on this address      (default: all)
  --plain         plain lines, no prompt      (default where stdin or stdout
                                              is no terminal)
  --json          JSON Lines in and out, for scripts
  --stay          go on listening after stdin ends
  --new           open a room without looking for others
  --private       open a room that is entered by code words only; shows them
  --key <words>   private room: only who knows the words comes in; also
                  $P2PCHAT_KEY, which other users of this machine cannot see
  --data <dir>    identity and history live here
                  (default: $XDG_DATA_HOME/p2pchat, ~/.local/share/p2pchat)
  --volatile      keep nothing on disk
  --keep <time>   keep what was said so long  (as 12h, 30d, 1y or all)
  --time <form>   times as 12 or 24 hours, or off
  --discover <s>  where rooms are looked for and shown: lan (default; a script's
                  room is shown where this is given, or --private), loopback or
                  off, with a UDP port as lan:27107; also $P2PCHAT_DISCOVERY,
                  where --discover is not given
  -h, --help      this text
  -v, --version   the version

Commands; their words are no usernames
  list [--json]                      rooms found near by
  doctor                             why you may see nobody
  send <username> <host> <port> <text>
                                     says one thing; 0 once a peer has it
  history <username> [--json] [--since <time>] [--limit <n>]
                                     what was said, without joining; since 2h,
                                     3d or 2026-08-01
  completions bash|zsh|fish          for your shell to complete all this
  help, version                      as --help and --version

In the room, a line you type is said to everybody; /help lists the commands
and :q leaves. A username has 1 to 32 letters, digits, "_", "-" or ".".

Exit status
  0  left as asked
  1  could not do it: cannot listen, cannot reach the host, refused, name taken
  2  wrong usage
`;

/** Where rooms are looked for, and this one is shown. */
export interface Discovery {
  readonly scope: "lan" | "loopback" | "off";
  /** UDP port; undefined for the usual one. */
  readonly port: number | undefined;
  /** Asked for, by option or environment: then scripts are found as well. */
  readonly explicit: boolean;
}

export interface Options {
  /** In NFC. Undefined where none was given: a terminal can ask. */
  readonly name: string | undefined;
  /** The node to join; undefined to open a room, or to find one. */
  readonly dial: Address | undefined;
  /** Code words were given in the place of an address: find the room of `key`. */
  readonly find: boolean;
  readonly port: number | undefined;
  readonly host: string | undefined;
  /** What was asked for; undefined to go by what stdin and stdout are. */
  readonly mode: "plain" | "json" | undefined;
  readonly stay: boolean;
  /** Open a room without looking for others. */
  readonly fresh: boolean;
  /** As given; undefined for the default. */
  readonly data: string | undefined;
  readonly volatile: boolean;
  /** The words of a private room. */
  readonly key: string | undefined;
  /** Open a private room with new words. */
  readonly private: boolean;
  /** How long what was said is kept, ms; infinity for ever, undefined for the default. */
  readonly keepMs: number | undefined;
  readonly time: "12" | "24" | "off" | undefined;
  readonly discovery: Discovery;
}

export const SHELLS = ["bash", "zsh", "fish"] as const;
export type Shell = (typeof SHELLS)[number];

export type Command =
  | { readonly type: "help" | "version" }
  | { readonly type: "chat"; readonly options: Options }
  | { readonly type: "list" | "doctor"; readonly options: Options }
  | {
      readonly type: "send";
      readonly options: Options & { readonly name: string; readonly dial: Address };
      readonly text: string;
    }
  | {
      readonly type: "history";
      readonly options: Options & { readonly name: string };
      /** ms since the epoch. */
      readonly since: number | undefined;
      readonly limit: number | undefined;
    }
  | { readonly type: "completions"; readonly shell: Shell };

/** The command line is wrong. `message` says what, and how it should look, in one sentence. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

export const NAME_MISSING = "a username is missing, as in: p2pchat Alice";

/** Options that take a value, and what one looks like. */
export const VALUES = {
  "--port": "55107",
  "--host": "127.0.0.1",
  "--data": "~/chat",
  "--key": '"two words"',
  "--keep": "30d",
  "--time": "24",
  "--discover": "loopback",
  "--since": "2h",
  "--limit": "50",
} as const;
export const FLAGS = ["--plain", "--json", "--stay", "--volatile", "--new", "--private"] as const;
type ValueName = keyof typeof VALUES;
type FlagName = (typeof FLAGS)[number];

/** Words that ask for something else than a room: what may follow them, and which options. */
export const SUBCOMMANDS = {
  list: { form: "list [--json]", options: ["--json", "--discover"] },
  doctor: { form: "doctor", options: ["--host", "--discover"] },
  send: {
    form: "send <username> <host> <port> <text>",
    options: ["--port", "--host", "--data", "--volatile", "--key"],
  },
  history: {
    form: "history <username> [--json] [--since <time>] [--limit <n>]",
    options: ["--json", "--data", "--since", "--limit", "--time"],
  },
  completions: { form: "completions bash|zsh|fish", options: [] },
  help: { form: "help", options: [] },
  version: { form: "version", options: [] },
} as const satisfies Readonly<Record<Subcommand, { form: string; options: readonly (ValueName | FlagName)[] }>>;
type Subcommand = (typeof COMMAND_WORDS)[number];
/** Options that only make sense with a subcommand. */
export const NOT_IN_CHAT: readonly string[] = ["--since", "--limit"];

const UNITS_MS: Readonly<Record<string, number>> = {
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 7 * 86_400_000,
  y: 365 * 86_400_000,
};
const HISTORY_LIMIT_MAX = 1_000_000;
/** An IPv6 address is in brackets. */
const HOST_AND_PORT = /^(\[.*\]|[^:]*):([^:\]]*)$/s;

interface Words {
  readonly positional: string[];
  readonly values: Map<ValueName, string>;
  readonly flags: Set<FlagName>;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** Reads the arguments behind the program's name; `now` in ms since the epoch. Throws `UsageError`. */
export function parse(argv: readonly string[], environment: Environment, now: number = Date.now()): Command {
  // Whoever asks for help gets it, whatever else is wrong.
  const end = argv.indexOf("--");
  const options = end < 0 ? argv : argv.slice(0, end);
  if (options.some(word => word === "-h" || word === "--help")) return { type: "help" };
  if (options.some(word => word === "-v" || word === "--version")) return { type: "version" };

  const words = sort(argv);
  const [first, ...others] = words.positional;
  if (first !== undefined && isSubcommand(first))
    return subcommand(first, { ...words, positional: others }, environment, now);
  for (const option of NOT_IN_CHAT)
    if (words.values.has(option as ValueName)) throw new UsageError(`${option} goes with: p2pchat history <username>`);
  return { type: "chat", options: chatOptions(words, environment) };
}

function chatOptions({ positional, values, flags }: Words, environment: Environment): Options {
  if (flags.has("--plain") && flags.has("--json")) throw new UsageError("--plain and --json exclude each other");
  const [name, ...place] = positional;
  const code = codeWordsOf(place);
  if (code !== undefined && values.has("--key")) throw new UsageError("code words and --key exclude each other");
  if (flags.has("--private") && (values.has("--key") || place.length > 0))
    throw new UsageError("--private opens a room with new words, so it takes no --key and no place");
  if (flags.has("--new") && place.length > 0) throw new UsageError("--new opens a room, so it takes no place");
  return {
    name: name === undefined ? undefined : nameOf(name),
    dial: code === undefined ? addressOf(place) : undefined,
    find: code !== undefined,
    port: optional(values, "--port", word => numberOf(word, "port", 65_535, 0)) || undefined,
    host: optional(values, "--host", hostOf),
    mode: flags.has("--plain") ? "plain" : flags.has("--json") ? "json" : undefined,
    stay: flags.has("--stay"),
    fresh: flags.has("--new"),
    data: values.get("--data"),
    volatile: flags.has("--volatile"),
    key: flags.has("--private") ? undefined : (code ?? optional(values, "--key", keyOf) ?? keyIn(environment)),
    private: flags.has("--private"),
    keepMs: optional(values, "--keep", keepOf),
    time: optional(values, "--time", timeOf),
    discovery: discoveryOf(values.get("--discover"), environment),
  };
}

/** What an option says, as `read` understands it; undefined where it was not given. */
function optional<T>(values: Words["values"], option: ValueName, read: (word: string) => T): T | undefined {
  const word = values.get(option);
  return word === undefined ? undefined : read(word);
}

function subcommand(name: Subcommand, words: Words, environment: Environment, now: number): Command {
  const { form, options: allowed }: { form: string; options: readonly string[] } = SUBCOMMANDS[name];
  const usage = (what: string) => new UsageError(`${what}, the form is: p2pchat ${form}`);
  for (const option of [...words.values.keys(), ...words.flags])
    if (!allowed.includes(option)) throw usage(`${name} takes no ${option}`);
  const { positional, values } = words;
  const refuseExtra = (from: number) => {
    const extra = positional[from];
    // Perhaps somebody wants to be called so.
    if (extra !== undefined) throw usage(`unexpected ${quote(extra)} (${name} is a command and no username)`);
  };
  switch (name) {
    case "help":
    case "version":
      refuseExtra(0);
      return { type: name };
    case "list":
    case "doctor":
      refuseExtra(0);
      return { type: name, options: chatOptions(words, environment) };
    case "send": {
      const [user, ...rest] = positional;
      if (user === undefined) throw usage("a username is missing");
      const placeLength = HOST_AND_PORT.test(rest[0] ?? "") ? 1 : 2;
      const [text = "", extra] = rest.slice(placeLength);
      if (text.trim() === "") throw usage("a text to send is missing");
      if (extra !== undefined) throw usage(`unexpected ${quote(extra)} (write the text in quotes)`);
      const dial = addressOf(rest.slice(0, placeLength));
      if (dial === undefined) throw usage("a host is missing");
      const options = chatOptions({ ...words, positional: [] }, environment);
      return { type: "send", options: { ...options, name: nameOf(user), dial }, text };
    }
    case "history": {
      const [user] = positional;
      if (user === undefined) throw usage("a username is missing");
      refuseExtra(1);
      return {
        type: "history",
        options: { ...chatOptions({ ...words, positional: [] }, environment), name: nameOf(user) },
        since: optional(values, "--since", word => sinceOf(word, now)),
        limit: optional(values, "--limit", word => numberOf(word, "limit", HISTORY_LIMIT_MAX)),
      };
    }
    case "completions": {
      const shell = SHELLS.find(known => known === positional[0]);
      if (shell === undefined)
        throw usage(positional[0] === undefined ? "a shell is missing" : `unknown shell ${quote(positional[0])}`);
      refuseExtra(1);
      return { type: "completions", shell };
    }
  }
}

/** Where identity and history live by default (XDG base directories); undefined where there is no home. */
export function dataDirectory(environment: Environment): string | undefined {
  const { XDG_DATA_HOME: data = "", HOME: home = "" } = environment;
  // The XDG specification says to ignore relative ones.
  if (data.startsWith("/")) return `${data}/p2pchat`;
  if (home !== "") return `${home}/.local/share/p2pchat`;
  return undefined;
}

/** Tells options from other words. */
function sort(argv: readonly string[]): Words {
  const words: Words = { positional: [], values: new Map(), flags: new Set() };
  const queue = [...argv];
  for (let word = queue.shift(); word !== undefined; word = queue.shift()) {
    if (word === "--") {
      words.positional.push(...queue);
      break;
    }
    // "-1" is a bad port, not an option.
    if (!/^-[^\d]/.test(word)) {
      words.positional.push(word);
      continue;
    }
    const [, option = "", attached] = /^(.*?)(?:=(.*))?$/s.exec(word) ?? [];
    if (isFlag(option)) {
      if (attached !== undefined) throw new UsageError(`${option} takes no value`);
      words.flags.add(option);
    } else if (isValue(option)) {
      const value = attached ?? takeValue(queue);
      if (value.trim() === "") throw needsValue(option);
      words.values.set(option, value);
    } else {
      throw new UsageError(`unknown option ${quote(option)}, p2pchat --help lists all`);
    }
  }
  return words;
}

function needsValue(option: ValueName): UsageError {
  return new UsageError(`${option} needs a value, as in: ${option} ${VALUES[option]}`);
}

function isFlag(option: string): option is FlagName {
  return (FLAGS as readonly string[]).includes(option);
}

function isValue(option: string): option is ValueName {
  return Object.hasOwn(VALUES, option);
}

/** The next word, unless it is an option: then the value was forgotten. */
function takeValue(queue: string[]): string {
  return /^-[^\d]/.test(queue[0] ?? "") ? "" : (queue.shift() ?? "");
}

function isSubcommand(word: string): word is Subcommand {
  return Object.hasOwn(SUBCOMMANDS, word);
}

/** A username in NFC. Throws `UsageError`. */
export function nameOf(word: string): string {
  try {
    return checkOwnName(word);
  } catch (error) {
    if (error instanceof ChatError) throw new UsageError(error.message);
    throw error;
  }
}

/** A code where an address would be, divided as people divide it; or words of one's own, three or more, or in quotes. */
function codeWordsOf(place: readonly string[]): string | undefined {
  const words = place.join(" ");
  // Neither holds a digit, and nearly every address does.
  if (words === "" || /\d/.test(words)) return undefined;
  if (isRoomCode(words)) return words;
  const isChosen = place.length > 2 || (place.length === 1 && /\s/.test(words));
  return isChosen && /^[\p{L}\p{M}\s-]+$/u.test(words) ? words : undefined;
}

function keyOf(word: string): string {
  if (normalWords(word) === "") throw needsValue("--key");
  return word;
}

/** Empty is as good as unset. What holds no words would be a room that everybody has the key of. */
function keyIn({ P2PCHAT_KEY: words = "" }: Environment): string | undefined {
  if (words !== "" && normalWords(words) === "")
    throw new UsageError("$P2PCHAT_KEY holds no words: set it to some, or to nothing for an open room");
  return words || undefined;
}

function durationOf(word: string): number | undefined {
  const [, count, unit = ""] = /^(\d{1,6})([mhdwy])$/.exec(word) ?? [];
  const unitMs = UNITS_MS[unit];
  return count === undefined || unitMs === undefined ? undefined : Number(count) * unitMs;
}

function keepOf(word: string): number {
  const keepMs = word === "all" ? Number.POSITIVE_INFINITY : (durationOf(word) ?? 0);
  if (keepMs === 0) throw new UsageError(`${quote(word)} is no length of time, it looks like 12h, 30d, 1y or all`);
  return keepMs;
}

function timeOf(word: string): Options["time"] {
  if (word === "12" || word === "24" || word === "off") return word;
  throw new UsageError(`${quote(word)} is no form of time, it is 12, 24 or off`);
}

/** So long ago, or a date and perhaps a time in the user's zone. ms since the epoch. */
function sinceOf(word: string, now: number): number {
  const ago = durationOf(word);
  if (ago !== undefined) return now - ago;
  const [, date, time = "00:00"] = /^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2})?))?$/.exec(word) ?? [];
  const at = Date.parse(`${date}T${time}`);
  if (Number.isNaN(at)) throw new UsageError(`${quote(word)} is no time, it looks like 2h, 3d or 2026-08-01`);
  return at;
}

/** The option goes before the environment; a program under test stays away from the network. */
function discoveryOf(option: string | undefined, environment: Environment): Discovery {
  const { P2PCHAT_DISCOVERY, NODE_ENV } = environment;
  const asked = option ?? (P2PCHAT_DISCOVERY || undefined);
  const word = asked ?? (NODE_ENV === "test" ? "off" : "lan");
  const [, scope, port] = /^(lan|loopback|off)(?::(.*))?$/s.exec(word) ?? [];
  if (scope !== "lan" && scope !== "loopback" && scope !== "off")
    throw new UsageError(`${quote(word)} is no place to look for rooms, it is lan, loopback or off`);
  return { scope, port: port === undefined ? undefined : portOf(port), explicit: asked !== undefined };
}

/** `host port`, `host:port` or `[v6]:port`; nothing opens a room. */
function addressOf(place: readonly string[]): Address | undefined {
  const [first, second, extra] = place;
  if (first === undefined) return undefined;
  if (extra !== undefined)
    throw new UsageError(`unexpected ${quote(extra)}, the form is: p2pchat <username> [<host> <port>]`);
  if (second !== undefined) return { host: hostOf(first), port: portOf(second) };

  const [, host, port] = HOST_AND_PORT.exec(first) ?? [];
  if (host !== undefined && port !== undefined) return { host: hostOf(host), port: portOf(port) };
  if (first.includes(":") && !first.startsWith("["))
    throw new UsageError(`write an IPv6 address in brackets, as in: p2pchat Bob [::1]:55107`);
  if (/^\d+$/.test(first)) throw new UsageError("a host is missing, as in: p2pchat Bob localhost 55107");
  throw new UsageError(`a port is missing after ${quote(first)}, as in: p2pchat Bob localhost 55107`);
}

function hostOf(word: string): string {
  const host = /^\[(.*)\]$/s.exec(word)?.[1] ?? word;
  if (host === "") throw new UsageError("a host is missing, as in: p2pchat Bob localhost 55107");
  // Sets of Unicode take their time, which nobody spends who needs none of them.
  const isForeign = !/^[\w.:%-]*$/.test(host) && /[^\p{L}\p{M}\p{N}._:%-]/u.test(host);
  // Only an IPv6 address holds colons; a URL knows one, but no zone behind it.
  const isNone = host.includes(":") && !URL.canParse(`http://[${host.replace(/%.+$/, "")}]`);
  if (isForeign || isNone || Buffer.byteLength(host) > limits.hostMaxBytes)
    throw new UsageError(`${quote(word)} is no host, it is a name or an address such as 192.168.1.20`);
  return host;
}

function portOf(word: string): number {
  return numberOf(word, "port", 65_535);
}

function numberOf(word: string, what: "port" | "limit", max: number, min = 1): number {
  const value = /^\d+$/.test(word) && word.length <= String(max).length ? Number(word) : -1;
  if (value < min || value > max)
    throw new UsageError(`${quote(word)} is no ${what}, a ${what} is a number from ${min} to ${max}`);
  return value;
}

/** A word of the user's own, not longer than a line wants it. */
function quote(word: string): string {
  return `"${word.length > 40 ? `${word.slice(0, 40)}…` : word}"`;
}

/**
 * The command line: words in, options out. Pure; whatever is wrong with it is a `UsageError` of one sentence.
 *
 * By hand, since `node:util`'s parseArgs adds 0.9 ms to a start of 5 and its sentences do not say how it should look.
 */
import type { Address } from "./codec/post.ts";
import { ChatError } from "./errors.ts";
import { limits } from "./limits.ts";
import { checkName } from "./room/names.ts";

/** Readable at 80 columns. */
export const HELP = `p2pchat: a chat room with no server, in one program

  p2pchat <username>                 open a room
  p2pchat <username> <host> <port>   join one, through anybody who is in it
                                     (also <host>:<port> and [<IPv6>]:<port>)

Examples
  p2pchat Alice                      says where it listens; tell your friends
  p2pchat Bob 192.168.1.20 55107     joins Alice, and everybody who is there
  make 2>&1 | p2pchat ci 10.0.0.5 55107        says what a program prints

Options
  --port <n>      listen on this port         (default: one the system picks)
  --host <addr>   listen on this address      (default: all)
  --plain         plain lines, no prompt      (default where stdin or stdout
                                              is no terminal)
  --json          JSON Lines in and out, for scripts
  --stay          go on listening after stdin ends
  --data <dir>    identity and history live here
                  (default: $XDG_DATA_HOME/p2pchat, ~/.local/share/p2pchat)
  --volatile      keep nothing on disk
  --key <words>   private room: only who knows the words comes in; also
                  $P2PCHAT_KEY, which other users of this machine cannot see
  -h, --help      this text
  -v, --version   the version

In the room, a line you type is said to everybody; /help lists the commands
and :q leaves. A username has 1 to 32 letters, digits, "_", "-" or ".".

Exit status
  0  left as asked
  1  could not do it: cannot listen, cannot reach the host, refused, name taken
  2  wrong usage
`;

export interface Options {
  /** In NFC. Undefined where none was given: a terminal can ask. */
  readonly name: string | undefined;
  /** The node to join; undefined to open a room. */
  readonly dial: Address | undefined;
  readonly port: number | undefined;
  readonly host: string | undefined;
  /** What was asked for; undefined to go by what stdin and stdout are. */
  readonly mode: "plain" | "json" | undefined;
  readonly stay: boolean;
  /** As given; undefined for the default. */
  readonly data: string | undefined;
  readonly volatile: boolean;
  /** The words of a private room. */
  readonly key: string | undefined;
}

export type Command =
  | { readonly type: "help" }
  | { readonly type: "version" }
  | { readonly type: "chat"; readonly options: Options };

/** The command line is wrong. `message` says what, and how it should look, in one sentence. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

export const NAME_MISSING = "a username is missing, as in: p2pchat Alice";

/** Options that take a value, and what one looks like. */
const VALUES = { "--port": "55107", "--host": "127.0.0.1", "--data": "~/chat", "--key": '"two words"' } as const;
const FLAGS = ["--plain", "--json", "--stay", "--volatile"] as const;
type ValueName = keyof typeof VALUES;
type FlagName = (typeof FLAGS)[number];

interface Words {
  readonly positional: string[];
  readonly values: Map<ValueName, string>;
  readonly flags: Set<FlagName>;
}

/** Reads the arguments behind the program's name. Throws `UsageError`. */
export function parse(argv: readonly string[], environment: Readonly<Record<string, string | undefined>>): Command {
  // Whoever asks for help gets it, whatever else is wrong.
  const end = argv.indexOf("--");
  const options = end < 0 ? argv : argv.slice(0, end);
  if (options.some(word => word === "-h" || word === "--help")) return { type: "help" };
  if (options.some(word => word === "-v" || word === "--version")) return { type: "version" };

  const { positional, values, flags } = sort(argv);
  if (flags.has("--plain") && flags.has("--json")) throw new UsageError("--plain and --json exclude each other");
  const [name, ...place] = positional;
  const port = values.get("--port");
  const { P2PCHAT_KEY: key } = environment;
  return {
    type: "chat",
    options: {
      name: name === undefined ? undefined : nameOf(name),
      dial: addressOf(place),
      port: port === undefined ? undefined : portOf(port),
      host: values.has("--host") ? hostOf(values.get("--host") ?? "") : undefined,
      mode: flags.has("--plain") ? "plain" : flags.has("--json") ? "json" : undefined,
      stay: flags.has("--stay"),
      data: values.get("--data"),
      volatile: flags.has("--volatile"),
      key: values.get("--key") ?? (key || undefined),
    },
  };
}

/** Where identity and history live by default (XDG base directories); undefined where there is no home. */
export function dataDirectory(environment: Readonly<Record<string, string | undefined>>): string | undefined {
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
      words.values.set(option, checkValue(option, attached ?? takeValue(queue)));
    } else {
      throw new UsageError(`unknown option ${quote(option)}, p2pchat --help lists all`);
    }
  }
  return words;
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

function checkValue(option: ValueName, value: string): string {
  if (value.trim() === "") throw new UsageError(`${option} needs a value, as in: ${option} ${VALUES[option]}`);
  return value;
}

function nameOf(word: string): string {
  try {
    return checkName(word);
  } catch (error) {
    if (error instanceof ChatError) throw new UsageError(error.message);
    throw error;
  }
}

/** `host port`, `host:port` or `[v6]:port`; nothing opens a room. */
function addressOf(place: readonly string[]): Address | undefined {
  const [first, second, extra] = place;
  if (first === undefined) return undefined;
  if (extra !== undefined)
    throw new UsageError(`unexpected ${quote(extra)}, the form is: p2pchat <username> [<host> <port>]`);
  if (second !== undefined) return { host: hostOf(first), port: portOf(second) };

  const [, host, port] = /^(\[.*\]|[^:]*):([^:\]]*)$/s.exec(first) ?? [];
  if (host !== undefined && port !== undefined) return { host: hostOf(host), port: portOf(port) };
  if (first.includes(":") && !first.startsWith("["))
    throw new UsageError(`write an IPv6 address in brackets, as in: p2pchat Bob [::1]:55107`);
  if (/^\d+$/.test(first)) throw new UsageError("a host is missing, as in: p2pchat Bob localhost 55107");
  throw new UsageError(`a port is missing after ${quote(first)}, as in: p2pchat Bob localhost 55107`);
}

function hostOf(word: string): string {
  const host = /^\[(.*)\]$/s.exec(word)?.[1] ?? word;
  if (host === "") throw new UsageError("a host is missing, as in: p2pchat Bob localhost 55107");
  if (/[^\p{L}\p{M}\p{N}._:%-]/u.test(host) || Buffer.byteLength(host) > limits.hostMaxBytes)
    throw new UsageError(`${quote(word)} is no host, it is a name or an address such as 192.168.1.20`);
  return host;
}

function portOf(word: string): number {
  const port = /^\d{1,5}$/.test(word) ? Number(word) : 0;
  if (port < 1 || port > 65_535) throw new UsageError(`${quote(word)} is no port, a port is a number from 1 to 65535`);
  return port;
}

/** A word of the user's own, not longer than a line wants it. */
function quote(word: string): string {
  return `"${word.length > 40 ? `${word.slice(0, 40)}…` : word}"`;
}

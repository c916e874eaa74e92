/**
 * What a person can type: a text, or a command from the table below, which is also `/help`. All fronts share it.
 *
 * Invariant: a line that was meant as a command is never said into the room, and what cannot be done throws a `ChatError`
 * with one sentence, so that the line can stay where it was typed.
 */
import { ChatError } from "../errors.ts";
import { cleanLine } from "./clean.ts";
import type { ChatControl, MemberView } from "./view.ts";

/** What became of a line. */
export type Outcome =
  | { readonly kind: "done" }
  | { readonly kind: "shown"; readonly lines: readonly string[] }
  | { readonly kind: "quit" };

export interface Command {
  readonly name: string;
  readonly aliases: readonly string[];
  /** What follows the name. */
  readonly usage: string;
  /** One line. */
  readonly help: string;
  run(chat: ChatControl, argument: string): Outcome;
}

const done: Outcome = { kind: "done" };

export const commands: readonly Command[] = [
  {
    name: "/help",
    aliases: [],
    usage: "",
    help: "shows this",
    run: () => ({ kind: "shown", lines: helpLines() }),
  },
  {
    name: "/who",
    aliases: ["/names"],
    usage: "",
    help: "who is here, where, and how far away",
    run: chat => ({ kind: "shown", lines: memberLines(chat.members()) }),
  },
  {
    name: "/msg",
    aliases: ["/w"],
    usage: "<name> <text>",
    help: "says something to one member only",
    run(chat, argument) {
      const { name, text } = /^(?<name>\S+)\s+(?<text>[\s\S]+)$/.exec(argument)?.groups ?? {};
      if (name === undefined || text === undefined) throw usageError(this);
      chat.direct(name, text);
      return done;
    },
  },
  {
    name: "/nick",
    aliases: [],
    usage: "<name>",
    help: "changes your name",
    run(chat, argument) {
      if (argument === "" || /\s/.test(argument)) throw usageError(this);
      chat.rename(argument);
      return done;
    },
  },
  {
    name: "/quit",
    aliases: [":q", ":quit"],
    usage: "",
    help: "leaves; Ctrl-C and Ctrl-D do, too",
    run: () => ({ kind: "quit" }),
  },
];

const byWord = new Map(commands.flatMap(command => [command.name, ...command.aliases].map(word => [word, command])));

/**
 * Does what `line` asks for. Only `/word` and the two colon commands are commands: `:-)` and `/usr/bin/ld: not found` can
 * be said as they are, `/word` as `//word`.
 */
export function submit(chat: ChatControl, line: string): Outcome {
  const first = line.charCodeAt(0);
  if (first !== 0x2f && first !== 0x3a) {
    if (line.trim() !== "") chat.say(line);
    return done;
  }
  if (line.startsWith("//")) {
    chat.say(line.slice(1));
    return done;
  }
  const { word = "", argument = "" } = /^(?<word>\S+)(?<argument>[\s\S]*)$/.exec(line)?.groups ?? {};
  const command = byWord.get(word.toLowerCase());
  if (command !== undefined && (first === 0x2f || argument.trim() === "")) return command.run(chat, argument.trim());
  if (/^\/\p{L}+$/u.test(word)) throw unknownCommand(word);
  chat.say(line);
  return done;
}

function unknownCommand(word: string): ChatError {
  const wanted = word.toLowerCase();
  let nearest = "";
  let least = 3;
  for (const known of byWord.keys()) {
    const distance = known.startsWith(wanted) ? 1 : editDistance(wanted, known);
    if (distance < least) [nearest, least] = [known, distance];
  }
  const shown = cleanLine(word.length > 32 ? `${word.slice(0, 32)}…` : word);
  const advice = nearest === "" ? "/help lists them" : `did you mean ${nearest}?`;
  return new ChatError("bad_command", `there is no command ${shown}: ${advice} (to say it, type /${shown})`);
}

function usageError(command: Command): ChatError {
  return new ChatError("bad_command", `it goes like this: ${command.name} ${command.usage}`);
}

function helpLines(): string[] {
  const rows = commands.map(({ name, aliases, usage, help }) => [[name, ...aliases, usage].join(" ").trim(), help]);
  return [
    ...table(rows),
    "Anything else is said to everybody; //x says /x. Alt-Enter starts a new line, up and down recall earlier lines.",
  ];
}

/** Who is here, as a table. */
export function memberLines(members: readonly MemberView[]): string[] {
  return table(
    members.map(({ name, address, port, self, linked, rtt_ms }) => [
      cleanLine(name),
      hostPort(address, port),
      self ? "you" : linked ? "linked" : "relayed",
      rtt_ms === null || self ? "" : `${rtt_ms < 10 ? rtt_ms.toFixed(1) : Math.round(rtt_ms)} ms`,
    ]),
  );
}

function hostPort(address: string, port: number): string {
  const host = cleanLine(address);
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Cells in columns, as wide as the widest of each. */
function table(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, column) => {
      widths[column] = Math.max(widths[column] ?? 0, Bun.stringWidth(cell));
    });
  }
  const pad = (cell: string, column: number) => cell + " ".repeat((widths[column] ?? 0) - Bun.stringWidth(cell));
  return rows.map(row => row.map(pad).join("  ").trimEnd());
}

/** Levenshtein's, for words of a few letters; longer ones are far from everything. */
function editDistance(a: string, b: string): number {
  if (Math.abs(a.length - b.length) > 2) return 3;
  let above = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const replaced = (above[column - 1] ?? 0) + (a[row - 1] === b[column - 1] ? 0 : 1);
      current.push(Math.min(replaced, (above[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1));
    }
    above = current;
  }
  return above[b.length] ?? 0;
}

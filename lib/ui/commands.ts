/**
 * What a person can type: a text, or a command from the table below, which is also `/help`. All fronts share it; in JSON
 * mode the parameters are the fields of a command.
 *
 * Invariant: a line that was meant as a command is never said into the room, and what cannot be done throws a `ChatError`
 * with one sentence, so that the line can stay where it was typed.
 */
import { ChatError } from "../errors.ts";
import { cleanLine } from "./clean.ts";
import { memberLines, pastLines, personLines, table } from "./tables.ts";
import type { Talk } from "./talk.ts";
import type { ChatControl, PresenceView } from "./view.ts";

/** What became of a line. `data` says in JSON what `lines` say to people; without it they are for people only. */
export type Outcome =
  | { readonly kind: "done" }
  | { readonly kind: "shown"; readonly lines: readonly string[]; readonly data?: object }
  | { readonly kind: "clear" }
  | { readonly kind: "quit" };

export interface Parameter {
  readonly name: "name" | "text" | "limit" | "answer" | "rule" | "command";
  readonly optional?: true;
  /** What it can be; the first of them are offered first. */
  readonly words?: () => readonly string[];
}

export type Arguments = Partial<Record<Parameter["name"], string>>;

export interface Command {
  readonly name: string;
  readonly aliases?: readonly string[];
  /** What follows the name; a `text` takes all the rest. */
  readonly parameters?: readonly Parameter[];
  /** One line. */
  readonly help: string;
  run(talk: Talk, given: Arguments): Outcome;
}

/** When the bell rings. */
const bellRules = ["mentions", "all", "off"] as const;
export type BellRule = (typeof bellRules)[number];

export function bellRule(chat: ChatControl): BellRule {
  const chosen = chat.setting("bell");
  return bellRules.find(rule => rule === chosen) ?? "mentions";
}

const searchMaxTexts = 50;
const historyTexts = 50;
/** Of one listing. */
export const historyMaxTexts = 10_000;
const done: Outcome = { kind: "done" };
const shown = (lines: readonly string[], data: object): Outcome => ({ kind: "shown", lines, data });
const said = (line: string, data: object): Outcome => shown([line], data);

const name: Parameter = { name: "name" };
const text: Parameter = { name: "text" };
const optional = (parameter: Parameter): Parameter => ({ ...parameter, optional: true });

export const commands: readonly Command[] = [
  {
    name: "/help",
    parameters: [{ name: "command", optional: true, words: () => commands.map(command => command.name.slice(1)) }],
    help: "shows this, or how one command goes",
    run({ tip }, { command }) {
      const lines = command === undefined ? [tip, ...helpLines()] : helpOn(command);
      return shown(lines, { lines });
    },
  },
  {
    name: "/who",
    aliases: ["/names"],
    help: "who is here, where, how far, how long silent",
    run({ chat }) {
      const byName = (a: PresenceView, b: PresenceView) => a.name.localeCompare(b.name);
      const members = chat.presence().sort((a, b) => Number(b.self) - Number(a.self) || byName(a, b));
      return shown(memberLines(members), { members });
    },
  },
  {
    name: "/whois",
    parameters: [name],
    help: "somebody's key, address, and whether verified",
    run({ chat, times }, { name: wanted = "" }) {
      const member = chat.whois(wanted);
      return shown(personLines(member, times), { member });
    },
  },
  {
    name: "/msg",
    aliases: ["/w"],
    parameters: [name, text],
    help: "to one member only; nobody else can read it",
    run({ chat }, { name: to = "", text: words = "" }) {
      chat.direct(to, words);
      return done;
    },
  },
  {
    name: "/query",
    parameters: [optional(name), optional(text)],
    help: "talks to one member only until /query alone",
    run(talk, { name: to, text: words }) {
      const partner = talk.converse(to);
      if (words !== undefined) talk.say(words);
      const line = partner ? `What you type goes to ${partner.name} only; /query ends that.` : "You talk to all again.";
      return said(line, { name: partner?.name ?? null });
    },
  },
  {
    name: "/reply",
    aliases: ["/r"],
    parameters: [text],
    help: "answers whoever wrote to you alone last",
    run(talk, { text: words = "" }) {
      talk.reply(words);
      return done;
    },
  },
  {
    name: "/me",
    parameters: [text],
    help: "says what you do: /me waves",
    run({ chat }, { text: words = "" }) {
      chat.act(words);
      return done;
    },
  },
  {
    name: "/nick",
    parameters: [name],
    help: "changes your name",
    run({ chat }, { name: wanted = "" }) {
      chat.rename(wanted);
      return done;
    },
  },
  {
    name: "/topic",
    parameters: [optional(text)],
    help: "what the room is about; /topic - clears it",
    run({ chat }, { text: words }) {
      const { topic } = chat;
      if (words === undefined) return said(topic === "" ? "There is no topic." : `The topic is: ${topic}`, { topic });
      chat.setTopic(words === "-" ? "" : words);
      return done;
    },
  },
  {
    name: "/away",
    parameters: [optional(text)],
    help: "tells all that you are away, and why",
    run({ chat }, { text: words = "away" }) {
      chat.setAway(words);
      return done;
    },
  },
  {
    name: "/back",
    help: "tells all that you are back",
    run({ chat }) {
      if (chat.presence().find(({ self }) => self)?.away === null) return said("You are not away.", { away: null });
      chat.setAway(null);
      return done;
    },
  },
  {
    name: "/ignore",
    parameters: [optional(name)],
    help: "hides what somebody says; alone: who is hidden",
    run({ chat }, { name: wanted }) {
      if (wanted !== undefined) {
        const member = chat.setIgnored(wanted, true);
        return said(`You no longer see what ${member.name} says; /unignore ${member.name} takes that back.`, {
          member,
        });
      }
      const members = chat.ignored();
      const names = members.map(member => member.name).join(", ");
      return said(names === "" ? "Nobody is ignored." : `Ignored: ${names}`, { members });
    },
  },
  {
    name: "/unignore",
    parameters: [name],
    help: "shows what somebody says again",
    run({ chat }, { name: wanted = "" }) {
      const member = chat.setIgnored(wanted, false);
      return said(`You see again what ${member.name} says.`, { member });
    },
  },
  {
    name: "/verify",
    parameters: [name, { name: "answer", optional: true, words: () => ["yes", "no"] }],
    help: "a phrase to compare by voice: really them?",
    run({ chat }, { name: wanted = "", answer }) {
      if (answer === undefined) {
        const phrase = chat.phrase(wanted);
        return shown(phraseLines(cleanLine(wanted), phrase), { phrase });
      }
      if (answer !== "yes" && answer !== "no") throw usageError(this);
      const member = chat.setVerified(wanted, answer === "yes");
      const state = answer === "yes" ? "is verified now" : "is not verified";
      return said(`${member.name} ${state}, key ${member.fingerprint}.`, { member });
    },
  },
  {
    name: "/search",
    parameters: [text],
    help: 'finds words, "a phrase", wor*, a OR b, a NOT b',
    run({ chat, times }, { text: words = "" }) {
      const messages = chat.search(words, searchMaxTexts);
      const lines = messages.length === 0 ? ["Nothing was found."] : pastLines(messages, times);
      const cut = messages.length === searchMaxTexts;
      if (cut) lines.push(cutLine(searchMaxTexts, "more words find less"));
      const complete = !chat.isSearchBehind;
      if (!complete) lines.push("Not all can be searched yet, the latest may be missing: ask again in a moment.");
      return shown(lines, { messages, complete, ...(cut && { cut }) });
    },
  },
  {
    name: "/history",
    parameters: [optional(name), { name: "limit", optional: true }],
    help: "what was said last: /history 50, /history Bob",
    run({ chat, times }, { name: by, limit }) {
      if (limit !== undefined && Number(limit) === 0) throw usageError(this);
      const wanted = limit === undefined ? historyTexts : Number(limit);
      const messages = chat.history(Math.min(wanted, historyMaxTexts), by);
      const lines = messages.length === 0 ? ["Nothing was said yet."] : pastLines(messages, times);
      const cut = wanted > historyMaxTexts && messages.length === historyMaxTexts;
      if (cut) lines.push(cutLine(historyMaxTexts, "p2pchat history <username> prints all"));
      return shown(lines, { messages, ...(cut && { cut }) });
    },
  },
  {
    name: "/clear",
    help: "an empty screen; the history stays",
    run: () => ({ kind: "clear" }),
  },
  {
    name: "/doctor",
    help: "why you may see nobody: addresses, firewalls",
    run({ doctor }) {
      if (doctor === undefined) throw new ChatError("bad_command", "not here; the command p2pchat doctor tells");
      doctor();
      return { kind: "shown", lines: ["Looking round for a few seconds …"] };
    },
  },
  {
    name: "/invite",
    help: "the line that a friend types to join",
    run({ chat }) {
      const line = chat.invitation();
      return shown(["A friend joins with:", line], { line });
    },
  },
  {
    name: "/bell",
    parameters: [{ name: "rule", optional: true, words: () => bellRules }],
    help: "when the terminal rings while you look away",
    run({ chat }, { rule }) {
      if (rule !== undefined && !bellRules.some(known => known === rule)) throw usageError(this);
      if (rule !== undefined) chat.set("bell", rule);
      const now = bellRule(chat);
      const why = {
        mentions: "rings when you are named or written to alone",
        all: "rings for every text",
        off: "is off",
      };
      return said(`The bell ${why[now]}.`, { rule: now });
    },
  },
  {
    name: "/quit",
    aliases: [":q", ":quit", ":q!"],
    parameters: [optional(text)],
    help: "leaves, with last words if any; so does Ctrl-C",
    run({ chat }, { text: words }) {
      if (words !== undefined) chat.say(words);
      return { kind: "quit" };
    },
  },
];

const byWord = new Map(
  commands.flatMap(command => [command.name, ...(command.aliases ?? [])].map(word => [word, command])),
);

/** The command of this word, with its slash or colon. */
export function commandOf(word: string): Command | undefined {
  return byWord.get(word.toLowerCase());
}

/**
 * Does what `line` asks for. Only `/word` and the two colon commands are commands: `:-)` and `/usr/bin/ld: not found` can
 * be said as they are, `/word` as `//word`.
 *
 * `/nosuch/msg Bob secret` is a path by its form, and by its look a command behind a line that was kept. So a path that begins
 * or ends as a command is not said; one with such a word in the middle (/home/me/x) is.
 */
export function submit(talk: Talk, line: string): Outcome {
  const first = line.charCodeAt(0);
  if (first !== 0x2f && first !== 0x3a) {
    if (line.trim() !== "") talk.say(line);
    return done;
  }
  if (line.startsWith("//")) {
    talk.say(line.slice(1));
    return done;
  }
  const { word = "", argument = "" } = /^(?<word>\S+)(?<argument>[\s\S]*)$/.exec(line)?.groups ?? {};
  const command = commandOf(word);
  if (command !== undefined && (first === 0x2f || argument.trim() === ""))
    return command.run(talk, argumentsOf(command, argument.trim()));
  if (/^\/(\p{L}[\p{L}\p{N}_-]*|\?)$/u.test(word)) throw unknownCommand(word);
  const ends = first === 0x2f ? [/.[/:][^/:]*$/.exec(word)?.[0].slice(1), /^\/[^/]+(?=\/)/.exec(word)?.[0]] : [];
  const meant = ends.find(end => end !== undefined && commandOf(end) !== undefined);
  if (meant !== undefined) throw unknownCommand(word, meant.toLowerCase());
  talk.say(line);
  return done;
}

/** Throws `ChatError` where something is missing, or too much. */
function argumentsOf(command: Command, argument: string): Arguments {
  const { parameters = [] } = command;
  const given: Arguments = {};
  let rest = argument;
  while (rest !== "") {
    const [, word = "", more = ""] = /^(\S+)\s*([\s\S]*)$/.exec(rest) ?? [];
    // A number is never a name where a number is asked for: /history 50, /history 50 Bob.
    const isLimit = /^\d{1,9}$/.test(word) && parameters.some(({ name }) => name === "limit");
    const next = parameters.find(({ name }) => given[name] === undefined && (name === "limit") === isLimit);
    if (next === undefined) throw usageError(command);
    given[next.name] = next.name === "text" ? rest : word;
    rest = next.name === "text" ? "" : more;
  }
  if (parameters.some(({ name, optional }) => !optional && given[name] === undefined)) throw usageError(command);
  return given;
}

/** `/msg <name> <text>` */
export function usageOf({ name, parameters = [] }: Command): string {
  const shape = ({ name, optional, words }: Parameter) => {
    const inside = name !== "command" && words !== undefined ? words().join("|") : name;
    return optional ? `[${inside}]` : `<${inside}>`;
  };
  return [name, ...parameters.map(shape)].join(" ");
}

/** What other programs call it. */
const elsewhere: Readonly<Record<string, string>> = {
  "/quit": "exit leave part bye close disconnect logout",
  "/who": "users list members online",
  "/msg": "tell whisper pm dm notice",
  "/nick": "name rename user",
  "/away": "afk brb",
  "/search": "find grep lastlog",
  "/history": "log scrollback buffer",
  "/ignore": "block mute",
  "/help": "? commands man",
};

/** The nearest word to one that was mistyped; undefined where none is near. */
function nearestTo(word: string): string | undefined {
  const wanted = word.toLowerCase();
  let [nearest] = Object.entries(elsewhere).find(([, words]) => words.split(" ").includes(wanted.slice(1))) ?? [];
  if (nearest !== undefined) return nearest;
  // Of a short word hardly anything may be wrong.
  let least = wanted.length < 5 ? 2 : 3;
  for (const known of byWord.keys()) {
    const distance = known.startsWith(wanted) ? 1 : editDistance(wanted, known);
    if (distance < least) [nearest, least] = [known, distance];
  }
  return nearest;
}

function unknownCommand(word: string, nearest = nearestTo(word)): ChatError {
  const shown = cleanLine(word.length > 32 ? `${word.slice(0, 32)}…` : word);
  const advice = nearest === undefined ? "/help lists them" : `did you mean ${nearest}?`;
  return new ChatError("bad_command", `there is no command ${shown}: ${advice} (to say it, type /${shown})`);
}

function usageError(command: Command): ChatError {
  return new ChatError("bad_command", `it goes like this: ${usageOf(command)}`);
}

function helpLines(): string[] {
  return table(commands.map(command => [[usageOf(command), ...(command.aliases ?? [])].join(", "), command.help]));
}

function helpOn(word: string): string[] {
  const command = commandOf(word.startsWith("/") || word.startsWith(":") ? word : `/${word}`);
  if (command === undefined) throw unknownCommand(`/${word.replace(/^\//, "")}`);
  const also = command.aliases === undefined ? "" : ` (also ${command.aliases.join(", ")})`;
  return [`${usageOf(command)}${also}: ${command.help}`];
}

function cutLine(count: number, advice: string): string {
  return `These are the latest ${count.toLocaleString("en")}, older ones are left out: ${advice}.`;
}

function phraseLines(name: string, phrase: string): string[] {
  return [
    phrase,
    `Ask ${name} to type /verify with your name and to read these words to you, by voice or face to face.`,
    `The same words: /verify ${name} yes. Others: somebody sits between you; trust nothing that was said.`,
  ];
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

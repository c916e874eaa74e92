/**
 * What Tab offers: commands, what can follow them, names.
 */
import { type Command, commandOf, commands, usageOf } from "./commands.ts";
import type { Talk } from "./talk.ts";

export interface Completion {
  /** The part of the line that a candidate takes the place of. */
  readonly from: number;
  readonly to: number;
  readonly candidates: readonly string[];
  /** How the command at hand goes; empty where there is none. */
  readonly hint: string;
}

/** What the word before the cursor can become. */
export function complete(talk: Talk, line: string, cursor: number): Completion {
  const before = line.slice(0, cursor);
  const word = /\S*$/.exec(before)?.[0] ?? "";
  const from = cursor - word.length;
  const found = (candidates: readonly string[], command?: Command): Completion => {
    const hint = command === undefined ? "" : `${usageOf(command)}: ${command.help}`;
    return { from, to: cursor, candidates, hint };
  };
  if (from === 0 && /^\/(?!\/)/.test(word)) {
    const known = commands.filter(({ name }) => starts(name, word));
    const also = commands.flatMap(({ aliases = [] }) => aliases.filter(alias => starts(alias, word)));
    const words = known.length > 0 ? known.map(({ name }) => name) : also;
    return found(
      words.map(each => `${each} `),
      words.length === 1 ? commandOf(words[0] ?? "") : undefined,
    );
  }
  const command = before.startsWith("/") ? commandOf(/^\S+/.exec(before)?.[0] ?? "") : undefined;
  const parameter = command && parameterAt(command, before.slice(0, from));
  if (command !== undefined && parameter?.name !== "text") {
    const words = parameter?.words?.() ?? (parameter?.name === "name" ? names(talk, command) : []);
    return found(
      words.filter(each => starts(each, word)).map(each => `${each} `),
      command,
    );
  }
  if (word === "") return found([], command);
  const bare = word.replace(/^@/, "");
  const tail = from === 0 ? ": " : " ";
  return found(
    names(talk)
      .filter(each => starts(each, bare))
      .map(each => each + tail),
    command,
  );
}

function parameterAt({ parameters = [] }: Command, before: string) {
  const place = before.trim().split(/\s+/).length - 1;
  return parameters[Math.min(place, parameters.length - 1)];
}

/** Others who are here; for some commands others still. */
function names({ chat }: Talk, command?: Command): string[] {
  if (command?.name === "/nick") return [];
  if (command?.name === "/unignore") return chat.ignored().map(({ name }) => name);
  return chat.members().flatMap(({ name, self }) => (self ? [] : [name]));
}

function starts(word: string, part: string): boolean {
  return word.toLowerCase().startsWith(part.toLowerCase());
}

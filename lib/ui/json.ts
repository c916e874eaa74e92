/**
 * JSON mode (design, section 8): one object a line, both ways.
 *
 * Invariant: a line that is no valid command gets one `error` event and changes nothing.
 */
import { ChatError, type ChatErrorCode } from "../errors.ts";
import { cleanJson } from "./clean.ts";
import { type Arguments, type Command, commandOf, commands } from "./commands.ts";
import { type FrontEnd, type LineFront, type LineIo, quit, runLines } from "./lines.ts";
import { Talk } from "./talk.ts";
import { Times } from "./times.ts";
import type { ChatControl, ChatEvent } from "./view.ts";

export interface JsonIo extends LineIo {
  /** What /doctor finds, in lines. */
  readonly doctor?: () => Promise<readonly string[]>;
  /** Says a warning where no program takes it for an event. */
  readonly warn?: (message: string) => void;
}

/** Resolves when the front is done, for whatever reason; the caller leaves the room. */
export function runJson(chat: ChatControl, io: JsonIo): Promise<FrontEnd> {
  const { doctor } = io;
  let write: (text: string) => void = () => {};
  const diagnose = doctor && (() => doctor().then(lines => write(resultLine("doctor", { lines }))));
  const talk = new Talk(chat, new Times(), diagnose);
  const front: LineFront = {
    event(event) {
      if (event.event === "direct" || event.event === "rename") talk.hear([event]);
      if (event.event === "notice" && event.level === "warning") io.warn?.(event.message);
      if (event.event === "notice" || event.event === "reached") return "";
      // What was seen in an earlier run matters to a screen only.
      return jsonLine(event.event === "direct" ? { ...event, seen: undefined } : event);
    },
    line: (text, damaged) => (damaged ? errorLine("bad_command", "the line is not UTF-8") : runCommand(talk, text)),
    overlong: bytes => errorLine("bad_command", `the line is too long: ${bytes} bytes`),
    begin: print => {
      write = print;
    },
  };
  return runLines(chat, io, front);
}

function runCommand(talk: Talk, line: string): string | typeof quit {
  let command: unknown;
  try {
    command = JSON.parse(line);
  } catch {
    return errorLine("bad_command", "the line is not JSON");
  }
  if (typeof command !== "object" || command === null || Array.isArray(command)) {
    return errorLine("bad_command", "the line is not a JSON object");
  }
  try {
    return dispatch(talk, command);
  } catch (error) {
    if (error instanceof ChatError) return errorLine(error.code, error.message);
    throw error;
  }
}

/** The commands of the contract; after them those that people type, by their names and with their parameters as fields. */
function dispatch(talk: Talk, fields: object): string | typeof quit {
  const { chat } = talk;
  const command = "command" in fields ? fields.command : undefined;
  switch (command) {
    case "say":
      chat.say(stringField(fields, "text"));
      return "";
    case "direct":
      chat.direct(stringField(fields, "to"), stringField(fields, "text"));
      return "";
    case "who":
      return jsonLine({ event: "members", members: chat.members() });
    case "rename":
      chat.rename(stringField(fields, "name"));
      return "";
    case "quit":
      return quit;
    default:
      return typed(talk, command, fields);
  }
}

function typed(talk: Talk, word: unknown, fields: object): string | typeof quit {
  const command = typeof word === "string" && /^[a-z]+$/.test(word) ? commandOf(`/${word}`) : undefined;
  if (command === undefined) {
    const known = new Set(["say", "direct", "who", "rename", "quit", ...commands.map(({ name }) => name.slice(1))]);
    throw new ChatError("bad_command", `command must be one of ${[...known].join(", ")}`);
  }
  const outcome = command.run(talk, argumentsIn(command, fields));
  if (outcome.kind === "quit") return quit;
  return outcome.kind === "shown" && outcome.data ? resultLine(command.name.slice(1), outcome.data) : "";
}

function argumentsIn({ parameters = [] }: Command, fields: object): Arguments {
  const given: Arguments = {};
  for (const { name, optional } of parameters) {
    // In a line the field `command` is the command itself, of `help` too.
    const field = name === "command" ? "about" : name;
    if (optional && !Object.hasOwn(fields, field)) continue;
    given[name] = field === "limit" ? countField(fields) : stringField(fields, field);
  }
  return given;
}

function countField(fields: object): string {
  const limit = "limit" in fields ? fields.limit : undefined;
  if (typeof limit !== "number" || !Number.isInteger(limit) || limit < 1)
    throw new ChatError("bad_command", "limit must be a whole number above 0");
  return String(limit);
}

function stringField(fields: object, name: "to" | "about" | keyof Arguments): string {
  const value: unknown = Object.hasOwn(fields, name) ? (fields as Record<string, unknown>)[name] : undefined;
  if (typeof value !== "string") throw new ChatError("bad_command", `${name} must be a string`);
  if (value === "") throw new ChatError("bad_command", `${name} must not be empty`);
  // Half a surrogate pair has no UTF-8.
  if (!value.isWellFormed()) throw new ChatError("bad_command", `${name} holds half a character`);
  return value;
}

function errorLine(code: ChatErrorCode, message: string): string {
  return jsonLine({ event: "error", code, message });
}

/** The answer to a command that has none in the contract. */
interface ResultEvent {
  readonly event: "result";
  readonly command: string;
}

function resultLine(command: string, data: object): string {
  return jsonLine({ event: "result", command, ...data });
}

function jsonLine(event: ChatEvent | ResultEvent): string {
  return `${cleanJson(event)}\n`;
}

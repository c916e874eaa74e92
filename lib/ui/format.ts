/**
 * Events -> text: the plain look and the terminal look. Colour is applied here and nowhere else.
 *
 * Invariant: everything that others wrote goes through clean.ts on its way. Picocolors itself is only loaded by the
 * terminal front (it asks `process.stdout`, which costs plain mode 13 ms) and handed in.
 */
import type { Colors } from "picocolors/types";
import { unreachable } from "../errors.ts";
import { cleanLine, cleanText } from "./clean.ts";
import { memberLines } from "./tables.ts";
import type { ChatEvent } from "./view.ts";

type MessageEvent = Extract<ChatEvent, { event: "message" | "direct" }>;

/** The plain look of an event (design, section 8), line feeds included; empty where there is nothing to show. */
export function plainText(event: ChatEvent): string {
  switch (event.event) {
    case "message": {
      if (event.own && !event.history) return "";
      const name = cleanLine(event.name);
      return event.action === true ? prefixed(`* ${name} `, event.text) : prefixed(`${name}: `, event.text);
    }
    case "reached":
      return "";
    case "direct":
      return event.own && !event.history ? "" : prefixed(`${cleanLine(event.name)} (direct): `, event.text);
    case "error":
      return `>ERROR: ${cleanLine(event.message)}\n`;
    case "notice":
      return `>${event.level === "warning" ? "ERROR" : "INFO"}: ${cleanLine(event.message)}\n`;
    case "members":
      return memberLines(event.members)
        .map(line => `>INFO: ${line}\n`)
        .join("");
    default:
      return `>INFO: ${sentence(event)}\n`;
  }
}

function prefixed(prefix: string, text: string): string {
  const cleaned = cleanText(text);
  return `${prefix}${cleaned.includes("\n") ? cleaned.replaceAll("\n", `\n${prefix}`) : cleaned}\n`;
}

type StateEvent = Extract<ChatEvent, { event: "listening" | "join" | "leave" | "rename" | "topic" | "away" }>;

/** What happened to whom, in words. */
export function sentence(event: StateEvent): string {
  switch (event.event) {
    case "listening":
      return `${cleanLine(event.name)} at address ${cleanLine(event.address)} is listening at ${event.port}.`;
    case "join":
      return `${cleanLine(event.name)} joined.`;
    case "leave":
      return `${cleanLine(event.name)} ${event.reason === "lost" ? "was lost" : "left"}.`;
    case "rename":
      return `${cleanLine(event.from)} is now ${cleanLine(event.to)}.`;
    case "topic": {
      const text = cleanLine(event.text);
      if (event.history) return `The topic is: ${text}`;
      return text === ""
        ? `${cleanLine(event.name)} cleared the topic.`
        : `${cleanLine(event.name)} set the topic: ${text}`;
    }
    case "away":
      return event.text === null
        ? `${cleanLine(event.name)} is back.`
        : `${cleanLine(event.name)} is away: ${cleanLine(event.text)}`;
    default:
      return unreachable(event);
  }
}

/** Colours that are told apart and can be read on a dark and on a light ground; red is for errors. */
const memberColors = ["green", "magenta", "cyan", "blueBright", "yellow", "magentaBright"] as const;

/** The terminal look. It remembers whether history is being shown, to rule it off. */
export class TerminalFormat {
  readonly #colors: Colors;
  #inHistory = false;

  constructor(colors: Colors) {
    this.#colors = colors;
  }

  /** Lines for one event, without line feeds. */
  lines(event: ChatEvent): string[] {
    const { dim } = this.#colors;
    const isHistory = "history" in event && event.history;
    const lines = this.#eventLines(event);
    if (isHistory === this.#inHistory || (this.#inHistory && event.event === "join")) return lines;
    this.#inHistory = isHistory;
    return [dim(isHistory ? "── history ──" : "── now ──"), ...lines];
  }

  /** The name in its member's colour. */
  name(name: string, member: string): string {
    const color = memberColors[Number.parseInt(member.slice(-4), 16) % memberColors.length] ?? "green";
    return this.#colors.bold(this.#colors[color](cleanLine(name)));
  }

  error(message: string): string {
    return this.#colors.red(`■ ${cleanLine(message)}`);
  }

  /** A command and its answer. */
  reply(command: string, lines: readonly string[]): string[] {
    return [this.#colors.dim(`◇ ${cleanLine(command)}`), ...this.#block(lines)];
  }

  /** The opening: where one is, and what a friend should type. */
  opening(event: Extract<ChatEvent, { event: "listening" }>): string[] {
    const { bold, cyan, dim, gray, green, inverse } = this.#colors;
    const friend = `./p2pchat <name> ${cleanLine(event.address)} ${event.port}`;
    return [
      `${gray("┌")}  ${inverse(" p2pchat ")}`,
      gray("│"),
      `${green("◇")}  ${bold(sentence(event))}`,
      `${gray("│")}  A friend joins with  ${cyan(friend)}`,
      gray("│"),
      `${gray("└")}  ${dim("Type to talk, /help for help, :q to leave.")}`,
      "",
    ];
  }

  closing(): string {
    return `${this.#colors.gray("└")}  ${this.#colors.dim("Left the room.")}`;
  }

  #eventLines(event: ChatEvent): string[] {
    const { dim, yellow } = this.#colors;
    switch (event.event) {
      case "listening":
        return this.opening(event);
      case "join":
        return [dim(event.present ? `• ${cleanLine(event.name)} is here` : `→ ${sentence(event).slice(0, -1)}`)];
      case "leave":
        return [dim(`← ${sentence(event).slice(0, -1)}`)];
      case "rename":
        return [dim(`• ${sentence(event).slice(0, -1)}`)];
      case "topic":
      case "away":
        return [dim(`• ${sentence(event)}`)];
      case "reached":
        return [];
      case "message":
      case "direct":
        return this.#messageLines(event);
      case "members":
        return this.#block(memberLines(event.members));
      case "error":
        return [this.error(event.message)];
      case "notice":
        return [
          event.level === "warning" ? yellow(`▲ ${cleanLine(event.message)}`) : dim(`• ${cleanLine(event.message)}`),
        ];
      default:
        return unreachable(event);
    }
  }

  #block(lines: readonly string[]): string[] {
    return lines.map(line => `${this.#colors.dim("│")} ${cleanLine(line)}`);
  }

  #messageLines(event: MessageEvent): string[] {
    const { dim, italic } = this.#colors;
    const [first = "", ...more] = cleanText(event.text).split("\n");
    const look = event.history ? dim : String;
    const mark = event.event === "direct" ? dim(italic(` → ${event.own ? cleanLine(event.to) : "you"}`)) : "";
    const head = `${dim(clock(event.at))} ${this.name(event.name, event.member)}${mark}: `;
    return [head + look(first), ...more.map(line => indent + look(line))];
  }
}

/** As wide as the time, so that the lines of a text stand apart from the next one. */
const indent = "      ";

/** Hours and minutes in the user's zone. The other end chooses `at`, so it may be no time at all. */
function clock(at: number): string {
  const date = new Date(at);
  const digits = (value: number) => (Number.isNaN(value) ? "--" : String(value).padStart(2, "0"));
  return `${digits(date.getHours())}:${digits(date.getMinutes())}`;
}

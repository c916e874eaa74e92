/**
 * Events -> text: the plain look, and the sentences that all looks share.
 *
 * Invariant: everything that others wrote goes through clean.ts on its way.
 */
import { unreachable } from "../errors.ts";
import { cleanLine, cleanText } from "./clean.ts";
import { memberLines } from "./tables.ts";
import type { ChatEvent } from "./view.ts";

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
    case "away": {
      const { text } = event;
      // /away alone says no more than that.
      const state = text === null ? "back." : text === "away" ? "away." : `away: ${cleanLine(text)}`;
      return `${cleanLine(event.name)} is ${state}`;
    }
    default:
      return unreachable(event);
  }
}

/**
 * The front for screen readers (ACCESSIBLE=1, as clack has it) and for terminals that can only print (TERM=dumb): lines that
 * are only ever added, a full sentence each; no colour, no prompt, nothing painted twice. The terminal itself lets one edit
 * the line.
 */
import { limits } from "../limits.ts";
import { cleanLine } from "./clean.ts";
import { sentence } from "./format.ts";
import { answerTo, type FrontEnd, type LineFront, quit, runLines } from "./lines.ts";
import { isolate, knowsUtf8, spellAscii } from "./spell.ts";
import { memberLines } from "./tables.ts";
import { solitude, Talk } from "./talk.ts";
import type { Times } from "./times.ts";
import type { ChatControl, ChatEvent } from "./view.ts";

/** Resolves when the front is done, for whatever reason; the caller leaves the room. */
export async function runAccessible(chat: ChatControl, times: Times, doctor?: () => void): Promise<FrontEnd> {
  const talk = new Talk(chat, times, doctor);
  const spell = knowsUtf8(process.env) ? String : spellAscii;
  const front: LineFront = {
    event(event) {
      talk.hear([event]);
      const told = event.event === "leave" ? [event, ...solitude([event], chat.presentCount)] : [event];
      return spell(told.map(each => spoken(each, times)).join(""));
    },
    line(text) {
      const answer = answerTo(talk, text, read, message => `Not done: ${cleanLine(message)}.\n`);
      return answer === quit ? quit : spell(answer);
    },
    overlong: bytes => `Not sent: the text has ${bytes} bytes, ${limits.bodyMaxBytes} at most.\n`,
  };
  // `Bun.stdin` would compete with `process.stdin`, which clack may have used by now, and left paused.
  const input = new ReadableStream<Uint8Array>({
    start(controller) {
      process.stdin.on("data", (chunk: Buffer) => controller.enqueue(chunk));
      for (const event of ["end", "close", "error"] as const)
        process.stdin.on(event, () => {
          try {
            controller.close();
          } catch {}
        });
      process.stdin.resume();
    },
    cancel: () => void process.stdin.pause(),
  });
  const end = await runLines(chat, { stay: false, input }, front);
  // The terminal may be gone.
  await Bun.write(Bun.stdout, "You have left the room.\n").catch(() => {});
  return end === "input" ? "quit" : end;
}

/** A line of an answer: columns mean nothing to who hears them. */
function read(line: string): string {
  return `${isolate(cleanLine(line).replace(/ {2,}/g, ", "))}\n`;
}

/** An event as one would tell it; empty where there is nothing to tell. */
export function spoken(event: ChatEvent, times: Times): string {
  switch (event.event) {
    case "message":
    case "direct": {
      if (event.own && !event.history) return "";
      const name = isolate(cleanLine(event.name));
      const when = event.history ? `Earlier, ${times.stamp(event.at)}: ` : "";
      const text = isolate(cleanLine(event.text));
      if (event.event === "direct") return `${when}${name} says to you alone: ${text}\n`;
      return event.action ? `${when}${name} ${text}\n` : `${when}${name} says: ${text}\n`;
    }
    case "listening":
      return `${sentence(event)}\nA friend joins with: ./p2pchat <name> ${cleanLine(event.address)} ${event.port}\nType a line and press Enter to say it. /help tells more, :q leaves.\n`;
    case "join":
      return `${cleanLine(event.name)} ${event.present ? "is here" : "joined"}.\n`;
    case "members":
      return memberLines(event.members).map(read).join("");
    case "error":
      return `Trouble: ${cleanLine(event.message)}.\n`;
    case "notice":
      return `${event.level === "warning" ? "Warning" : "Note"}: ${cleanLine(event.message)}.\n`;
    case "reached":
      return "";
    default:
      return `${isolate(sentence(event))}\n`;
  }
}

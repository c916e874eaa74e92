/**
 * Plain mode (design, section 8): a line on stdin is a text or a command, and what happens is a line on stdout.
 */
import { limits } from "../limits.ts";
import { cleanLine } from "./clean.ts";
import { plainText } from "./format.ts";
import { answerTo, type FrontEnd, type LineFront, type LineIo, runLines } from "./lines.ts";
import { Talk } from "./talk.ts";
import { type TimeForm, Times } from "./times.ts";
import type { ChatControl } from "./view.ts";

export interface PlainIo extends LineIo {
  /** Of the answers of commands. */
  readonly time?: TimeForm | undefined;
  /** What /doctor does. */
  readonly doctor?: () => void;
}

/** Resolves when the front is done, for whatever reason; the caller leaves the room. */
export function runPlain(chat: ChatControl, io: PlainIo): Promise<FrontEnd> {
  let damageSaid = false;
  const talk = new Talk(chat, new Times(io.time), io.doctor);
  const front: LineFront = {
    event(event) {
      if (event.event === "direct" || event.event === "rename") talk.hear([event]);
      return plainText(event);
    },
    line(text, damaged) {
      let shown = "";
      if (damaged && !damageSaid) {
        damageSaid = true;
        shown = errorLine("the input is not all UTF-8: what is not was replaced by \ufffd");
      }
      const outcome = answerTo(talk, text, infoLine, errorLine);
      return typeof outcome === "string" ? shown + outcome : outcome;
    },
    overlong: bytes => errorLine(`the text is too long: ${bytes} bytes, ${limits.bodyMaxBytes} at most`),
  };
  return runLines(chat, io, front);
}

function infoLine(line: string): string {
  return `>INFO: ${cleanLine(line)}\n`;
}

function errorLine(message: string): string {
  return `>ERROR: ${cleanLine(message)}\n`;
}

/**
 * Plain mode (design, section 8): a line on stdin is a text or a command, and what happens is a line on stdout.
 */
import { ChatError } from "../errors.ts";
import { limits } from "../limits.ts";
import { cleanLine } from "./clean.ts";
import { submit } from "./commands.ts";
import { plainText } from "./format.ts";
import { type FrontEnd, type LineFront, type LineIo, quit, runLines } from "./lines.ts";
import type { ChatControl } from "./view.ts";

/** Resolves when the front is done, for whatever reason; the caller leaves the room. */
export function runPlain(chat: ChatControl, io: LineIo): Promise<FrontEnd> {
  let damageSaid = false;
  const front: LineFront = {
    event: plainText,
    line(text, damaged) {
      let shown = "";
      if (damaged && !damageSaid) {
        damageSaid = true;
        shown = errorLine("the input is not all UTF-8: what is not was replaced by \ufffd");
      }
      const outcome = runLine(chat, text);
      return typeof outcome === "string" ? shown + outcome : outcome;
    },
    overlong: bytes => errorLine(`the text is too long: ${bytes} bytes, ${limits.bodyMaxBytes} at most`),
  };
  return runLines(chat, io, front);
}

function runLine(chat: ChatControl, line: string): string | typeof quit {
  try {
    const outcome = submit(chat, line);
    if (outcome.kind === "quit") return quit;
    return outcome.kind === "shown" ? outcome.lines.map(shown => `>INFO: ${shown}\n`).join("") : "";
  } catch (error) {
    if (error instanceof ChatError) return errorLine(error.message);
    throw error;
  }
}

function errorLine(message: string): string {
  return `>ERROR: ${cleanLine(message)}\n`;
}

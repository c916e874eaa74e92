/**
 * The terminal front: what is said scrolls by above, what one types stays below.
 *
 * Loaded only where there is a terminal: clack, picocolors, `process.stdin` and `process.stdout` cost more than the rest of
 * the program's start.
 */
import "node:tty";
import picocolors from "picocolors";
import { ChatError } from "../errors.ts";
import { submit } from "./commands.ts";
import { TerminalFormat } from "./format.ts";
import type { FrontEnd } from "./lines.ts";
import { Prompt } from "./prompt.ts";
import { pasteModeOn, Screen, TerminalOutput } from "./screen.ts";
import { Talk } from "./talk.ts";
import type { ChatControl, ChatEvent } from "./view.ts";

export interface TerminalOptions {
  /** Of no meaning where somebody types; so that all fronts are called alike. */
  readonly stay?: boolean;
}

/** Events that change who is here, or what one is called. */
const rosterEvents: ReadonlySet<ChatEvent["event"]> = new Set(["listening", "join", "leave", "rename"]);

/** Resolves when the front is done, for whatever reason; the caller leaves the room. */
export async function runTerminal(chat: ChatControl, _options: TerminalOptions = {}): Promise<FrontEnd> {
  const format = new TerminalFormat(picocolors);
  const talk = new Talk(chat);
  const output = new TerminalOutput();
  let present = chat.members().length;
  const size = () => ({ columns: process.stdout.columns || 80, rows: process.stdout.rows || 24 });
  const screen = new Screen(output, size, current => prompt.frame(current, chat.name, present));
  const prompt = new Prompt(picocolors, {
    submit: line => runLine(line),
    draw: () => screen.draw(),
    redraw: () => screen.redraw(),
  });

  function runLine(line: string): string | undefined {
    try {
      const outcome = submit(talk, line);
      if (outcome.kind === "quit") prompt.close();
      if (outcome.kind === "shown") screen.print(format.reply(line, outcome.lines));
      return undefined;
    } catch (error) {
      if (error instanceof ChatError) return error.message;
      throw error;
    }
  }

  const unsubscribe = chat.subscribe(events => {
    if (events.some(({ event }) => rosterEvents.has(event))) present = chat.members().length;
    screen.print(events.flatMap(event => format.lines(event)));
  });
  const onResize = () => screen.redraw();
  const onContinue = () => {
    // The shell had the terminal meanwhile, and gave it its own modes.
    process.stdin.setRawMode(true);
    output.write(pasteModeOn);
    screen.redraw();
  };
  const restore = () => {
    screen.close([]);
    process.stdin.setRawMode(false);
  };
  process.stdout.on("resize", onResize);
  process.on("SIGCONT", onContinue);
  // Whatever ends the program, the shell gets its terminal back.
  process.on("exit", restore);
  output.write(pasteModeOn);
  try {
    const ends: Promise<FrontEnd>[] = [
      prompt.run(process.stdin).then(() => "quit"),
      chat.ended.then(() => "chat"),
      output.closed.then(() => "output"),
    ];
    return await Promise.race(ends);
  } finally {
    unsubscribe();
    prompt.close();
    process.stdout.off("resize", onResize);
    process.off("SIGCONT", onContinue);
    process.off("exit", restore);
    screen.close([format.closing()]);
  }
}

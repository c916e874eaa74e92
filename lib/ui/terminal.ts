/**
 * The terminal front: what is said scrolls by above, what one types stays below.
 *
 * Loaded only where there is a terminal: clack, picocolors, `process.stdin` and `process.stdout` cost more than the rest of
 * the program's start. The opening is painted before clack is loaded (prompt.ts), and what is typed meanwhile waits in the
 * terminal.
 */
import "node:tty";
import picocolors from "picocolors";
import { ChatError } from "../errors.ts";
import { runAccessible } from "./accessible.ts";
import { bellRule, submit } from "./commands.ts";
import { complete } from "./complete.ts";
import { Feed } from "./feed.ts";
import type { FrontEnd } from "./lines.ts";
import { Look } from "./look.ts";
import { Prompt } from "./prompt.ts";
import { modesOn, Screen, TerminalOutput } from "./screen.ts";
import { coloursOf, isAccessible, knowsUtf8, spellAscii } from "./spell.ts";
import { solitude, Talk } from "./talk.ts";
import { type TimeForm, Times } from "./times.ts";
import type { ChatControl, ChatEvent } from "./view.ts";

export interface TerminalOptions {
  readonly time?: TimeForm | undefined;
  /** What /doctor does. */
  readonly doctor?: () => void;
  /** The opening is the end of a conversation that stands above it. */
  readonly goesOn?: boolean;
  /** Called when the opening is on the screen. */
  readonly begun?: () => void;
}

/** Events that change who is here, or what one is called. */
const rosterEvents: ReadonlySet<ChatEvent["event"]> = new Set(["listening", "join", "leave", "rename"]);
/** Rows that the opening and the prompt want for themselves. */
const openingRows = 12;
const bell = "\x07";
/** One row, so that all of /help is on a screen of 24. */
const keysTip = "Tab completes, up and Ctrl-R recall, Alt-Enter: new line. ✓: all have it.";

/** Resolves when the front is done, for whatever reason; the caller leaves the room. */
export async function runTerminal(chat: ChatControl, options: TerminalOptions = {}): Promise<FrontEnd> {
  const times = new Times(options.time);
  // Behind the events that have waited for a subscriber.
  setImmediate(() => options.begun?.());
  if (isAccessible(process.env)) return runAccessible(chat, times, options.doctor);
  const talk = new Talk(chat, times, options.doctor, keysTip);
  const size = () => ({ columns: process.stdout.columns || 80, rows: process.stdout.rows || 24 });
  const invitation = () => chat.invitation();
  const look = new Look(picocolors, times, () => size().columns, invitation, coloursOf(process.env), options.goesOn);
  const output = new TerminalOutput();
  let present = chat.presentCount;
  let isLookedAt = false;
  const label = () => ({ name: chat.name, count: present, partner: talk.partner?.name });
  const spell = knowsUtf8(process.env) ? String : spellAscii;
  const screen = new Screen(output, size, current => prompt.frame(current, label()), spell);
  const feed = new Feed({
    ...{ paper: screen, look, times, name: () => chat.name, isKept: () => chat.keepsHistory },
    ...{ screenful: () => size().rows - openingRows, now: () => performance.now() },
    later: (run, ms) => setTimeout(run, ms).unref(),
  });
  const hooks = {
    submit: runLine,
    draw: () => screen.draw(),
    redraw: () => screen.redraw(),
    suspend: () => suspend(look.resting()),
    complete: (line: string, cursor: number) => complete(talk, line, cursor),
    sent: (line: string) => chat.addTypedLine(line),
    focus: (here: boolean) => {
      isLookedAt = here;
    },
  };
  const prompt = new Prompt(picocolors, hooks, chat.typedLines());

  function runLine(line: string): string | undefined {
    try {
      const outcome = submit(talk, line);
      if (outcome.kind === "quit") prompt.close();
      if (outcome.kind === "clear") screen.clear();
      if (outcome.kind === "shown") screen.print(look.reply(line, outcome.lines));
      return undefined;
    } catch (error) {
      if (error instanceof ChatError) return error.message;
      throw error;
    }
  }

  chat.watchReach();
  const unsubscribe = chat.subscribe(events => {
    talk.hear(events);
    const isOther = events.some(({ event }) => rosterEvents.has(event));
    if (isOther) present = chat.presentCount;
    if (feed.show([...events, ...solitude(events, present)], bellRule(chat)) && !isLookedAt) output.write(bell);
    // Who shares a line with others is written into it, which leaves the prompt as it was.
    if (isOther) screen.draw();
  });
  const { give, suspend } = takeTerminal(screen, output);
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
    give();
    screen.close([look.closing()]);
  }
}

/** A terminal that is gone has no modes. */
function setRawMode(on: boolean): void {
  try {
    process.stdin.setRawMode(on);
  } catch {}
}

/** The terminal is ours, in its modes and sizes. Returns the ways to give it back, for ever and for a while. */
function takeTerminal(screen: Screen, output: TerminalOutput) {
  const onResize = () => screen.redraw();
  const onContinue = () => {
    // The shell had the terminal meanwhile, and gave it its own modes.
    setRawMode(true);
    output.write(modesOn);
    screen.redraw();
  };
  const suspend = (line: string) => {
    screen.rest(line);
    setRawMode(false);
    // To all of the job, as the terminal itself would do it: the shell may wait for who started us.
    process.kill(0, "SIGTSTP");
    // Here again: continued, or there was no shell to stop for.
    onContinue();
  };
  const restore = () => {
    screen.close([]);
    setRawMode(false);
  };
  process.stdout.on("resize", onResize);
  process.on("SIGCONT", onContinue);
  // Whatever ends the program, the shell gets its terminal back.
  process.on("exit", restore);
  // Before anything is painted, or what is typed now would be written across it.
  setRawMode(true);
  output.write(modesOn);
  const give = () => {
    process.stdout.off("resize", onResize);
    process.off("SIGCONT", onContinue);
    process.off("exit", restore);
  };
  return { give, suspend };
}

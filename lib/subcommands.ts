/**
 * What the program does besides chatting: `list`, `doctor`, `send`, `completions`. Each prints what was asked for on
 * stdout and resolves with the exit status; loaded only when asked for.
 */
import { Chat, type ChatOptions } from "./chat.ts";
import { completionsFor } from "./completions.ts";
import { diagnose, findRooms, joinLine, labelOf, settingOf } from "./discovery.ts";
import type { Discovery, Options, Shell } from "./options.ts";

const DONE = 0;
const FAILED = 1;

/** Says one line on stderr. */
type Complain = (message: string) => void;

/** One room a line; in JSON one object a line. Finding none is an answer, too. */
export async function list({ discovery, mode }: Options, complain: Complain): Promise<number> {
  const rooms = await findRooms(settingOf(discovery));
  if (mode === "json") {
    const lines = rooms.map(({ mark, names, members, private: isPrivate, addresses }) => {
      const places = addresses.map(({ host, port }) => ({ address: host, port }));
      return `${JSON.stringify({ event: "room", room: mark, names, members, private: isPrivate, addresses: places })}\n`;
    });
    await Bun.write(Bun.stdout, lines.join(""));
    return DONE;
  }
  if (rooms.length === 0) complain(`no room was found${whereOf(discovery)}; p2pchat doctor looks for the reason`);
  const labels = rooms.map(labelOf);
  const width = Math.max(0, ...labels.map(label => Bun.stringWidth(label)));
  const lines = rooms.map((room, index) => {
    const label = labels[index] ?? "";
    return `${label}${" ".repeat(width - Bun.stringWidth(label))}  ${joinLine(room, "<name>", true)}\n`;
  });
  await Bun.write(Bun.stdout, lines.join(""));
  return DONE;
}

export async function doctor({ discovery, host }: Options): Promise<number> {
  const lines = await diagnose(settingOf(discovery, host), host);
  await Bun.write(Bun.stdout, `${lines.join("\n")}\n`);
  return DONE;
}

/** Joins, says one text, leaves. 0 only when a peer has confirmed that it has the text. */
export async function send(settings: ChatOptions, text: string, complain: Complain): Promise<number> {
  const chat = await Chat.open(settings);
  let refused: unknown;
  try {
    chat.say(text);
  } catch (error) {
    refused = error;
  }
  await chat.leave();
  if (refused !== undefined) throw refused;
  if (chat.handedOver > 0) return DONE;
  complain("nobody has confirmed to have the text");
  return FAILED;
}

export async function completions(shell: Shell): Promise<number> {
  await Bun.write(Bun.stdout, completionsFor(shell));
  return DONE;
}

function whereOf({ scope }: Discovery): string {
  return { lan: " near by", loopback: " on this machine", off: ": discovery is off" }[scope];
}

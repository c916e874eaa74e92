/**
 * What the program does besides chatting: `list`, `doctor`, `send`, `history`, `completions`. Each prints what was asked for on
 * stdout and resolves with the exit status; loaded only when asked for.
 */
import { Chat, type ChatOptions } from "./chat.ts";
import { completionsFor } from "./completions.ts";
import { diagnose, findRooms, joinLine, labelOf, settingOf } from "./discovery.ts";
import { type PastText, readHistory } from "./history.ts";
import type { FoundRoom } from "./net/beacon.ts";
import type { Discovery, Options, Shell } from "./options.ts";
import { cleanJson, cleanLine, cleanText } from "./ui/clean.ts";
import { table } from "./ui/tables.ts";
import type { TimeForm } from "./ui/times.ts";

const DONE = 0;
const FAILED = 1;

const SINK_BYTES = 64 * 1024;
const TEXTS_AT_ONCE = 512;

/** Says one line on stderr. */
type Complain = (message: string) => void;

/** One room a line; in JSON one object a line. Finding none is an answer, too. */
export async function list({ discovery, mode }: Options, complain: Complain): Promise<number> {
  const rooms = await findRooms(settingOf(discovery));
  const isJson = mode === "json";
  if (rooms.length === 0 && !isJson)
    complain(`no room was found${whereOf(discovery)}; p2pchat doctor looks for the reason`);
  return print(
    isJson ? rooms.map(jsonRoom) : table(rooms.map(room => [labelOf(room), joinLine(room, "<name>", true)])),
  );
}

function jsonRoom({ mark, names, members, private: isPrivate, addresses }: FoundRoom): string {
  const places = addresses.map(({ host, port }) => ({ address: host, port }));
  return JSON.stringify({ event: "room", room: mark, names, members, private: isPrivate, addresses: places });
}

export async function doctor({ discovery, host }: Options): Promise<number> {
  return print(await diagnose(settingOf(discovery, host), host));
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

/** What was said, the oldest first, a text a line; in JSON one object a line. */
export async function history(
  { name, mode, time }: Options & { readonly name: string },
  directory: string,
  range: { readonly since: number | undefined; readonly limit: number | undefined },
): Promise<number> {
  const write = mode === "json" ? jsonLine : (kept: PastText) => plainLine(kept, time ?? "24");
  const kept = readHistory(directory, name, range);
  const sink = Bun.stdout.writer({ highWaterMark: SINK_BYTES });
  for (let at = 0; at < kept.length; at += TEXTS_AT_ONCE) {
    const lines = kept.slice(at, at + TEXTS_AT_ONCE).map(write);
    await sink.write(lines.join(""));
    // What a slow reader has not taken yet must not pile up here.
    await sink.flush();
  }
  await sink.end();
  return DONE;
}

function jsonLine({ id, kind, author, name, to, text, at, own }: PastText): string {
  const event = kind === "direct" ? "direct" : "message";
  const more = { ...(to !== undefined && { to: to.name }), ...(kind === "action" && { action: true }) };
  return `${cleanJson({ event, id, name, member: author, text, at, own, history: true, ...more })}\n`;
}

function plainLine({ kind, name, to, text, at }: PastText, time: TimeForm): string {
  const who = cleanLine(name);
  const head = kind === "action" ? `* ${who}` : to === undefined ? `${who}:` : `${who} -> ${cleanLine(to.name)}:`;
  const [first = "", ...more] = cleanText(text).split("\n");
  return [`${stamp(at, time)}${head} ${first}`, ...more.map(line => `    ${line}`), ""].join("\n");
}

/** In the user's zone, and in a form that sorts. */
function stamp(at: number, time: TimeForm): string {
  if (time === "off") return "";
  const date = new Date(at);
  const two = (value: number) => String(value).padStart(2, "0");
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  const [hours, minutes] = [date.getHours(), two(date.getMinutes())];
  if (time === "24") return `${day} ${two(hours)}:${minutes} `;
  return `${day} ${two(hours % 12 || 12)}:${minutes} ${hours < 12 ? "am" : "pm"} `;
}

export async function completions(shell: Shell): Promise<number> {
  return print([completionsFor(shell).trimEnd()]);
}

async function print(lines: readonly string[]): Promise<number> {
  // Bun would write nothing by cutting the file that stdout is appended to down to nothing.
  if (lines.length > 0) await Bun.write(Bun.stdout, `${lines.join("\n")}\n`);
  return DONE;
}

function whereOf({ scope }: Discovery): string {
  return { lan: " near by", loopback: " on this machine", off: ": discovery is off" }[scope];
}

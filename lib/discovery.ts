/**
 * Rooms near by, for people: what the beacon has found, cleaned and in words; showing the own room; and why one may see
 * nobody.
 *
 * Loaded only where somebody looks for a room or shows one, since the beacon's sockets are dear at start-up.
 */
import { existsSync, readFileSync } from "node:fs";
import type { Address, RoomId } from "./codec/post.ts";
import { ChatError } from "./errors.ts";
import type { LastRoom } from "./history.ts";
import { isLoopback, localAddresses } from "./net/addresses.ts";
import { BEACON_PORT, Beacon, type FoundRoom, type Heard, look } from "./net/beacon.ts";
import { type BeaconSetting, Ears } from "./net/ears.ts";
import { markOf } from "./net/packet.ts";
import type { Discovery } from "./options.ts";
import { isName } from "./room/names.ts";

/** A private room is asked for by somebody who has its words, and worth more patience than a look round. */
const FIND_MS = 3_000;
const FIND_STEP_MS = 500;
/** For the doctor, who is in no hurry. */
const DIAGNOSE_MS = 1_000;
const CONNECT_TIMEOUT_MS = 1_000;
/** Somebody of the last room is knocked at while one looks round, and not longer. */
const KNOCK_TIMEOUT_MS = 300;
const CONNECTIONS_MAX = 8;
/** A LAN with more rooms than that opened in one evening is somebody's joke. */
const NOTICES_MAX = 16;
const NAMES_SHOWN = 3;

/** The chat that is shown, as far as discovery knows it. */
export interface ShownChat {
  readonly name: string;
  readonly roomId: RoomId;
  readonly listensAt: number;
  readonly dialledByOthers: number;
  readonly presentCount: number;
  readonly ended: Promise<void>;
  members(): readonly { readonly self: boolean; readonly linked: boolean }[];
  notify(message: string): void;
}

/** A chat that listens on loopback is looked for there, and finds what is there. */
export function settingOf(discovery: Discovery, host?: string): BeaconSetting {
  const scope = discovery.scope === "lan" && host !== undefined && isLocal(host) ? "loopback" : discovery.scope;
  return { scope, port: discovery.port ?? BEACON_PORT };
}

/** Rooms found in a short look round, the fullest first; with `tag` only the private room of that tag. */
export async function findRooms(setting: BeaconSetting, tag?: Uint8Array): Promise<FoundRoom[]> {
  const { rooms } = await look(setting, { tag });
  return rooms.flatMap(room => named(room) ?? []);
}

/** A room that can be joined. */
export interface Offer extends FoundRoom {
  /** One was in it before. */
  readonly last: boolean;
}

/** The same, and the room that one was in last, where somebody of it still answers. That one comes first. */
export async function findOffers(setting: BeaconSetting, tag?: Uint8Array, last?: LastRoom): Promise<Offer[]> {
  const [rooms, addresses] = await Promise.all([findRooms(setting, tag), last === undefined ? [] : answering(last)]);
  const mark = last && markOf(last.room);
  const offers = rooms.map(room => ({ ...room, last: room.mark === mark }));
  if (last === undefined || mark === undefined || addresses.length === 0 || offers.some(offer => offer.last))
    return offers.sort((a, b) => Number(b.last) - Number(a.last));
  const { names } = last;
  return [{ mark, private: false, members: names.length, names, addresses, last: true }, ...offers];
}

async function answering({ addresses }: LastRoom): Promise<Address[]> {
  const tried = addresses.slice(0, CONNECTIONS_MAX);
  const answers = await Promise.all(tried.map(address => connects(address, KNOCK_TIMEOUT_MS)));
  return tried.filter((_, index) => answers[index]);
}

/** The private room of this tag. Throws `ChatError` "unreachable" where none answers for a while. */
export async function findPrivate(setting: BeaconSetting, tag: Uint8Array): Promise<FoundRoom> {
  const giveUpAt = performance.now() + FIND_MS;
  do {
    const { rooms } = await look(setting, { tag, lookMs: FIND_STEP_MS, first: true });
    for (const room of rooms) if (named(room) !== undefined) return room;
  } while (performance.now() < giveUpAt && setting.scope !== "off");
  const where = setting.scope === "off" ? "is looked for, since discovery is off" : "answers near by";
  const form = 'p2pchat <username> <host> <port> --key "<words>"';
  throw new ChatError("unreachable", `no room with these words ${where}; to join one elsewhere: ${form}`);
}

/** Who and how many, such as "Alice, Bob and 5 others". Clean, since names are checked. */
export function labelOf({ names, members, private: isPrivate }: FoundRoom): string {
  const shown = names.slice(0, NAMES_SHOWN);
  const others = Math.max(members, names.length) - shown.length;
  const who = list(others > 0 ? [...shown, countOf(others)] : shown);
  return isPrivate ? `${who} (private)` : who;
}

/** What a friend types; `near`: who finds the room by itself needs only its words. */
export function joinLine(
  { private: isPrivate, addresses }: Pick<FoundRoom, "private" | "addresses">,
  name = "<name>",
  near = false,
): string {
  if (isPrivate && near) return `./p2pchat ${name} <code words>`;
  const { host, port } = addresses.find(address => !isLoopback(address.host)) ?? addresses[0] ?? { host: "?", port: 0 };
  return `./p2pchat ${name} ${host} ${port}${isPrivate ? ' --key "<words>"' : ""}`;
}

export interface ShowOptions {
  readonly host: string | undefined;
  /** In a private room. */
  readonly tag: Uint8Array | undefined;
  /** The room is new: others near hear of it at once. */
  readonly opened: boolean;
  /** Marks of the rooms that the user has seen already. */
  readonly seen?: readonly string[] | undefined;
}

/** Lets others find the room of `chat`, until it ends. Tells its user of other new rooms while nobody has joined. */
export async function showRoom(chat: ShownChat, setting: BeaconSetting, options: ShowOptions): Promise<void> {
  const { host, tag, opened, seen = [] } = options;
  if (setting.scope === "off") return;
  const told = new Set<string>(seen);
  const heard = (found: FoundRoom): void => {
    const room = named(found);
    // A room of another kind is none that one could have wanted to be in.
    if (room === undefined || room.private !== (tag !== undefined) || chat.presentCount > 1) return;
    // The mark of a private room changes with each ask.
    const key = room.private ? labelOf(room) : room.mark;
    if (told.has(key) || told.size >= NOTICES_MAX + seen.length) return;
    told.add(key);
    chat.notify(`another room near by, with ${labelOf(room)}: ${joinLine(room, chat.name)}`);
  };
  const own = () => ({
    room: chat.roomId,
    name: chat.name,
    members: chat.presentCount,
    port: chat.listensAt,
    tag,
  });
  const beacon = await Beacon.start({ ...setting, host, room: own, heard });
  void chat.ended.then(() => beacon.stop());
  if (opened) await beacon.announce();
}

/** Why one may see nobody: lines for people, the last of which a friend can paste. Takes about two seconds. */
export async function diagnose(setting: BeaconSetting, host?: string, chat?: ShownChat, isPrivate = false) {
  const heardAt = new Set<string>();
  const ears = await Ears.open(setting, host, (_bytes, source) => heardAt.add(source.host));
  const heard = await look(setting, { lookMs: DIAGNOSE_MS });
  ears.close();
  const found = heard.rooms.flatMap(room => named(room) ?? []);
  const rooms = found.filter(room => !isOwn(room, chat));
  const answers = await Promise.all(
    rooms
      .slice(0, CONNECTIONS_MAX)
      .map(room => Promise.all(room.addresses.slice(0, 2).map(address => connects(address)))),
  );
  const unreachable = rooms.filter((_, index) => answers[index]?.every(answer => !answer));
  return [
    ...cardLines(heard, heardAt, setting, ears.trouble),
    ...(rooms.length < found.length ? ["Heard: this room, so it can be found."] : []),
    ...(setting.scope === "off" ? [] : roomLines(rooms, unreachable, heard)),
    ...(chat === undefined ? [] : linkLines(chat)),
    ...hintLines(rooms.length === 0, unreachable.length > 0, setting, chat?.listensAt),
    ...pasteLines(rooms, chat, isPrivate, host),
  ];
}

function cardLines(
  { places }: Heard,
  heardAt: ReadonlySet<string>,
  setting: BeaconSetting,
  trouble?: string,
): string[] {
  if (setting.scope === "off") return ["Discovery is switched off: rooms are joined by <host> <port> only."];
  const lines = places.map(({ place, trouble: code }) => {
    const { card, address, family } = place;
    const back = family === "udp6" ? heardAt.has(`${address}%${card}`) : heardAt.has(address);
    const state = code !== undefined ? `cannot send (${code})` : back ? "works" : "sent, but did not come back";
    return `${card}  ${address}  beacon ${state}`;
  });
  const first = lines.length === 0 ? ["No network card has an address: this machine is on no network."] : lines;
  const port =
    trouble === undefined
      ? []
      : [`UDP port ${setting.port} cannot be listened on (${trouble}): others do not find this room.`];
  const scope = setting.scope === "loopback" ? ["Only this machine is looked at, as asked."] : [];
  return [...first, ...scope, ...port];
}

function roomLines(rooms: readonly FoundRoom[], unreachable: readonly FoundRoom[], heard: Heard): string[] {
  const lines = rooms.slice(0, CONNECTIONS_MAX).map(room => {
    const fate = unreachable.includes(room) ? "does not let us connect" : "can be connected to";
    return `Heard: ${labelOf(room)} at ${joinLine(room).split(" ").slice(2, 4).join(" ")}, which ${fate}.`;
  });
  if (rooms.length > CONNECTIONS_MAX) lines.push(`Heard: ${rooms.length - CONNECTIONS_MAX} more rooms.`);
  if (rooms.length === 0) lines.push("Heard: no other room.");
  if (heard.newer > 0) lines.push(`Heard: ${heard.newer} answers of another version of p2pchat; is there an update?`);
  if (heard.malformed > 0) lines.push(`Heard: ${heard.malformed} packets of something else on UDP port of the beacon.`);
  return lines;
}

function linkLines(chat: ShownChat): string[] {
  const others = chat.members().filter(member => !member.self);
  const linked = others.filter(member => member.linked).length;
  if (others.length === 0) return ["In this room: nobody else yet, so whether others reach it is not known."];
  const dialled = chat.dialledByOthers;
  const reach =
    dialled > 0
      ? `${dialled} of these links ${dialled === 1 ? "was" : "were"} dialled by the others, so this node can be reached`
      : "none of these links was dialled by the others: perhaps they cannot reach this node, and need not";
  return [`In this room: ${countOf(others.length)}, ${linked} linked directly; ${reach}.`];
}

function hintLines(nothing: boolean, refused: boolean, { scope, port }: BeaconSetting, tcp?: number): string[] {
  if (scope !== "lan") return [];
  const ports = `UDP ${port} and TCP ${tcp ?? "the port of the room"}`;
  const lines: string[] = [];
  const firewall = firewallName();
  if (firewall !== undefined) lines.push(`Hint: ${firewall} runs here; let ${ports} in.`);
  else if (nothing || refused) lines.push(`Hint: a firewall, here or there, has to let ${ports} in.`);
  if (existsSync("/.dockerenv"))
    lines.push("Hint: this is a container; its network is not that of the machine around it.");
  if (existsSync("/proc/sys/fs/binfmt_misc/WSLInterop"))
    lines.push("Hint: WSL has a network of its own unless it is set to networkingMode=mirrored.");
  if (nothing)
    lines.push(
      "Hint: guest and conference Wi-Fi often keeps devices apart (client isolation); then nobody finds anybody there.",
    );
  return lines;
}

/** The last one is a line to paste. */
function pasteLines(
  rooms: readonly FoundRoom[],
  chat: ShownChat | undefined,
  isPrivate: boolean,
  host?: string,
): string[] {
  if (chat !== undefined) {
    const addresses = localAddresses(host).map(address => ({ host: address, port: chat.listensAt }));
    return ["A friend joins this room with:", joinLine({ private: isPrivate, addresses })];
  }
  const [room] = rooms;
  if (room !== undefined) return ["To join:", joinLine(room)];
  return ["Open a room, and it shows the line that a friend types:", "./p2pchat <name>"];
}

function firewallName(): string | undefined {
  if (existsSync("/run/firewalld")) return "firewalld";
  try {
    if (/^ENABLED=yes/m.test(readFileSync("/etc/ufw/ufw.conf", "utf8"))) return "ufw";
  } catch {
    // There is none.
  }
  return undefined;
}

/** Whether something accepts a connection there. */
async function connects({ host, port }: Address, timeoutMs: number = CONNECT_TIMEOUT_MS): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const timer = setTimeout(() => resolve(false), timeoutMs);
  const open = (socket: Bun.Socket) => {
    socket.end();
    resolve(true);
  };
  const socket = { open, data: () => {}, connectError: () => resolve(false) };
  Bun.connect({ hostname: host, port, socket }).catch(() => resolve(false));
  const connected = await promise;
  clearTimeout(timer);
  return connected;
}

/** The room with those of its names that can be shown; undefined where none is left. */
function named(room: FoundRoom): FoundRoom | undefined {
  const names = room.names.filter(isName);
  return names.length === 0 ? undefined : { ...room, names };
}

/** Of a private room even members see another mark in each ask, but every node knows its own name and port. */
function isOwn({ names, addresses }: FoundRoom, chat: ShownChat | undefined): boolean {
  return chat !== undefined && names.includes(chat.name) && addresses.some(({ port }) => port === chat.listensAt);
}

/** For who has opened a new room instead; the last one is a line to paste. */
export function wayBack({ names, addresses }: LastRoom, name: string): string[] {
  const who = list(names.filter(isName)) || "others";
  return [`this is a new room; to the last one, with ${who}:`, joinLine({ private: false, addresses }, name)];
}

function isLocal(host: string): boolean {
  return host === "localhost" || isLoopback(host);
}

function countOf(others: number): string {
  return others === 1 ? "1 other" : `${others} others`;
}

function list(words: readonly string[]): string {
  return words.length < 2 ? words.join() : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}

/**
 * Finds rooms on the local network, and lets this one be found: packets (packet.ts) by multicast and broadcast on every
 * card, answered one to one.
 *
 * Invariants. Nothing here is needed for a chat to work, so nothing here throws: a network that does not take part is a
 * line in a report. Only asks are sent to everybody, and only by who looks or has just opened a room. What comes in is a
 * hint, bounded in number by who sent it and over all, and costs a bounded amount of work.
 *
 * `node:dgram`, since several nodes of one machine share the port and `Bun.udpSocket` cannot; it costs 1.4 ms and is
 * imported by nobody at start-up.
 */
import { createSocket, type Socket } from "node:dgram";
import { Bucket } from "../bucket.ts";
import type { Address, RoomId } from "../codec/post.ts";
import { codeOf } from "../errors.ts";
import { limits } from "../limits.ts";
import { isLoopback, plainHost } from "./addresses.ts";
import {
  decodePacket,
  encodePacket,
  markOf,
  NONCE_BYTES,
  type Packet,
  provesTag,
  type RoomHint,
  withTag,
} from "./packet.ts";
import { isNear, type Place, placesOf, type Scope } from "./places.ts";

/** Not registered with anybody, and below the ports that systems give out. */
export const BEACON_PORT = 27_107;
/** Of the local scope that organisations use as they like (RFC 2365, 6.1). */
const GROUP_4 = "239.255.80.67";
/** Link-local and not assigned by IANA (RFC 4291, 2.7): "p2pc" in ASCII. */
const GROUP_6 = "ff12::7032:7063";

export interface BeaconSetting {
  readonly scope: Scope;
  /** UDP port. */
  readonly port: number;
}

/** What a node tells of the room it is in. */
export interface OwnRoom {
  readonly room: RoomId;
  /** This node's name. */
  readonly name: string;
  readonly members: number;
  /** TCP port of this node. */
  readonly port: number;
  /** In a private room: what its words lead to (key.ts). */
  readonly tag?: Uint8Array | undefined;
}

/** A room that somebody has told of. All of it is hints, and the names are not yet safe to show. */
export interface FoundRoom {
  /** 16 hex digits. */
  readonly mark: string;
  readonly private: boolean;
  /** The most that anybody has told. */
  readonly members: number;
  /** Those who have told of it. */
  readonly names: readonly string[];
  /** Where they listen, best first. */
  readonly addresses: readonly Address[];
}

/** How one place took part. */
export interface PlaceReport {
  readonly place: Place;
  /** Error code of the last thing that failed there. */
  readonly trouble: string | undefined;
}

export interface Heard {
  readonly rooms: FoundRoom[];
  readonly places: PlaceReport[];
  /** Packets by newer versions, and packets that were none. */
  readonly newer: number;
  readonly malformed: number;
}

/** Rooms as they are told of, within the limits. */
export class Rooms {
  private readonly byMark = new Map<string, { -readonly [Key in keyof FoundRoom]: FoundRoom[Key] }>();
  private readonly countBySource = new Map<string, number>();

  /** False where a limit left it out. */
  add({ mark, members, name, port, private: isPrivate }: RoomHint, host: string): boolean {
    const address = { host, port };
    const isSame = (other: Address) => other.host === host && other.port === port;
    const known = this.byMark.get(mark);
    if (known === undefined) {
      const count = this.countBySource.get(host) ?? 0;
      if (this.byMark.size >= limits.beaconRoomsMax || count >= limits.beaconRoomsPerSourceMax) return false;
      this.countBySource.set(host, count + 1);
      this.byMark.set(mark, { mark, private: isPrivate, members, names: [name], addresses: [address] });
      return true;
    }
    known.members = Math.max(known.members, members);
    if (known.names.length < limits.beaconNamesPerRoomMax && !known.names.includes(name))
      known.names = [...known.names, name];
    if (known.addresses.length < limits.beaconAddressesPerRoomMax && !known.addresses.some(isSame))
      known.addresses = [...known.addresses, address];
    return true;
  }

  /** The fullest first. */
  list(): FoundRoom[] {
    const rooms = [...this.byMark.values()].map(room => ({ ...room, addresses: room.addresses.toSorted(byEase) }));
    return rooms.sort((a, b) => b.members - a.members);
  }
}

export interface LookOptions {
  /** Look for the private room of this tag only. */
  readonly tag?: Uint8Array | undefined;
  readonly lookMs?: number;
  /** Ends as soon as one room was found. */
  readonly first?: boolean;
}

/** Asks everybody near which rooms there are. Resolves within `lookMs`; never rejects. */
export async function look(setting: BeaconSetting, options: LookOptions = {}): Promise<Heard> {
  const { lookMs = limits.beaconLookMs, tag, first = false } = options;
  const rooms = new Rooms();
  const unread = { newer: 0, malformed: 0 };
  const bucket = new Bucket(limits.beaconPacketsPerSecond, limits.beaconPacketsBurst);
  const enough = Promise.withResolvers<void>();
  const nonce = newNonce();
  const onTell = (bytes: Uint8Array, source: string): boolean => {
    if (!bucket.take(performance.now())) return false;
    const packet = decodePacket(bytes);
    if (typeof packet !== "object") {
      unread[packet ?? "malformed"]++;
      return false;
    }
    if (packet.kind !== "tell" || packet.room === undefined || !isEqual(packet.nonce, nonce)) return false;
    // Whoever cannot prove the tag has not understood the question.
    if (tag !== undefined && !provesTag(tag, packet)) return false;
    if (!rooms.add(packet.room, source)) return false;
    if (first) enough.resolve();
    return true;
  };
  const ask = encodePacket(withTag({ kind: "ask", nonce }, tag));
  const mouths = await Mouths.open(setting, undefined, onTell);
  mouths.send(ask);
  const again = setTimeout(() => void mouths.sendAgain(ask), limits.beaconRepeatMs);
  const over = setTimeout(enough.resolve, mouths.isEmpty ? 0 : lookMs);
  await enough.promise;
  clearTimeout(again);
  clearTimeout(over);
  mouths.close();
  return { rooms: rooms.list(), places: mouths.reports(), ...unread };
}

export interface BeaconConfig extends BeaconSetting {
  /** Address the node listens on; undefined for all. */
  readonly host?: string | undefined;
  /** Undefined while there is no room. */
  readonly room: () => OwnRoom | undefined;
  /** Another room near, told of by who has just opened it, or in answer to `announce`. */
  readonly heard?: (room: FoundRoom) => void;
}

/** Answers those who look, for as long as the chat runs. */
export class Beacon {
  private readonly asked = new Set<string>();
  private readonly sources = new Map<string, Bucket>();
  private readonly packets = new Bucket(limits.beaconPacketsPerSecond, limits.beaconPacketsBurst);
  private readonly answers = new Bucket(limits.beaconAnswersPerSecond, limits.beaconAnswersBurst);
  private readonly nonces: Uint8Array[] = [];
  private mouths: Mouths | undefined;
  private stopped = false;

  private constructor(
    private readonly config: BeaconConfig,
    private readonly ears: Ears,
  ) {}

  /** Begins to answer. Never rejects: where it cannot listen, nobody hears of this room by itself. */
  static async start(config: BeaconConfig): Promise<Beacon> {
    const ears = await Ears.open(config, config.host, (bytes, source, reply) => beacon.onAsk(bytes, source, reply));
    const beacon: Beacon = new Beacon(config, ears);
    return beacon;
  }

  /** Tells everybody near of this room, twice; those in other rooms answer. */
  async announce(): Promise<void> {
    this.mouths ??= await Mouths.open(this.config, this.config.host, (bytes, source) => this.onTell(bytes, source));
    if (this.stopped) return this.mouths.close();
    const send = () => {
      const own = this.config.room();
      if (own === undefined) return;
      const nonce = newNonce();
      this.nonces.push(nonce);
      this.mouths?.send(encodePacket(withTag({ kind: "ask", nonce, room: hintOf(own, nonce) }, own.tag)));
    };
    send();
    this.later(limits.beaconAnnounceAgainMs, send);
    this.later(limits.beaconAnnounceAgainMs + limits.beaconLookMs, () => {
      this.mouths?.close();
      this.mouths = undefined;
    });
  }

  stop(): void {
    this.stopped = true;
    this.ears.close();
    this.mouths?.close();
  }

  private onAsk(bytes: Uint8Array, source: Source, reply: (bytes: Uint8Array) => void): void {
    const now = performance.now();
    const own = this.config.room();
    if (own === undefined || this.stopped || !this.packets.take(now)) return;
    const packet = decodePacket(bytes);
    if (typeof packet !== "object" || packet.kind !== "ask" || !this.isNew(packet, source)) return;
    // Who has the words of another room, or of none, is not answered: it asks for a room that this one is not.
    const proved = own.tag !== undefined && provesTag(own.tag, packet);
    if (packet.tag !== undefined && !proved) return;
    const { nonce, room } = packet;
    const hint = hintOf(own, nonce);
    if (room?.mark === hint.mark || !this.mayAnswer(source.host, now)) return;
    if (room !== undefined && proved === (own.tag !== undefined)) this.tellUser(room, source.host);
    const answer = encodePacket(withTag({ kind: "tell", nonce, room: hint }, proved ? own.tag : undefined));
    this.later(Math.random() * limits.beaconJitterMaxMs, () => reply(answer));
  }

  /** The answer to an announcement. */
  private onTell(bytes: Uint8Array, source: string): boolean {
    const own = this.config.room();
    if (own === undefined || !this.packets.take(performance.now())) return false;
    const packet = decodePacket(bytes);
    if (typeof packet !== "object" || packet.kind !== "tell" || packet.room === undefined) return false;
    const { nonce, room } = packet;
    if (!this.nonces.some(known => isEqual(known, nonce)) || room.mark === hintOf(own, nonce).mark) return false;
    if (own.tag !== undefined && !provesTag(own.tag, packet)) return false;
    this.tellUser(room, source);
    return true;
  }

  private tellUser({ name, port, ...room }: RoomHint, host: string): void {
    this.config.heard?.({ ...room, names: [name], addresses: [{ host, port }] });
  }

  /** An ask comes by several ways, and is repeated. */
  private isNew({ nonce }: Packet, { host, port }: Source): boolean {
    const key = `${Buffer.from(nonce).toString("hex")} ${host} ${port}`;
    if (this.asked.has(key)) return false;
    this.asked.add(key);
    if (this.asked.size > limits.beaconAsksMax) forgetOldest(this.asked);
    return true;
  }

  private mayAnswer(host: string, now: number): boolean {
    const bucket =
      this.sources.get(host) ?? new Bucket(limits.beaconAnswersPerSourcePerSecond, limits.beaconAnswersPerSourceBurst);
    // To the end of the map: its first is who was silent longest.
    this.sources.delete(host);
    this.sources.set(host, bucket);
    if (this.sources.size > limits.beaconSourcesMax) forgetOldest(this.sources);
    return bucket.take(now) && this.answers.take(now);
  }

  private later(delayMs: number, run: () => void): void {
    setTimeout(() => {
      if (!this.stopped) run();
    }, delayMs).unref();
  }
}

interface Source {
  readonly host: string;
  readonly port: number;
}

type OnAsk = (bytes: Uint8Array, source: Source, reply: (bytes: Uint8Array) => void) => void;

/** The shared port: hears what is said to everybody. */
export class Ears {
  private readonly joined = new Set<string>();
  private readonly open: readonly Socket[];
  private readonly timer: ReturnType<typeof setInterval>;
  private places: readonly Place[] = [];
  private refreshedAt = 0;

  static async open(setting: BeaconSetting, host: string | undefined, onAsk: OnAsk): Promise<Ears> {
    if (setting.scope === "off") return new Ears(setting, host, onAsk, {});
    const [udp4, udp6] = await Promise.all([bound("udp4", "0.0.0.0", setting.port), bound("udp6", "::", setting.port)]);
    return new Ears(setting, host, onAsk, { udp4, udp6 });
  }

  private constructor(
    private readonly setting: BeaconSetting,
    private readonly host: string | undefined,
    onAsk: OnAsk,
    /** Of each kind a socket, or why there is none. */
    private readonly sockets: { readonly [Family in Place["family"]]?: Socket | string },
  ) {
    this.open = Object.values(sockets).filter(socket => typeof socket !== "string");
    for (const socket of this.open) {
      enlarge(socket);
      socket.on("message", (bytes, { address, port }) => {
        const source = plainHost(address);
        if (!this.isNear(source)) return;
        onAsk(bytes, { host: source, port }, answer => {
          socket.send(answer, port, address, () => {});
        });
      });
    }
    this.refresh();
    this.timer = setInterval(() => this.refresh(), limits.beaconRefreshMs);
    this.timer.unref();
  }

  close(): void {
    clearInterval(this.timer);
    this.open.forEach(closeQuietly);
  }

  /** Why nothing is heard at all. */
  get trouble(): string | undefined {
    const { udp4, udp6 } = this.sockets;
    return typeof udp4 === "string" && typeof udp6 === "string" ? udp4 : undefined;
  }

  /** Who is not may be on a card that has just come up. */
  private isNear(source: string): boolean {
    if (isNear(this.places, source)) return true;
    if (performance.now() - this.refreshedAt < limits.beaconRefreshMinMs) return false;
    this.refresh();
    return isNear(this.places, source);
  }

  private refresh(): void {
    this.refreshedAt = performance.now();
    this.places = placesOf(this.setting.scope, this.host);
    for (const { family, card, address } of this.places) {
      const key = `${card} ${address}`;
      const socket = this.sockets[family];
      if (typeof socket !== "object" || this.joined.has(key)) continue;
      try {
        if (family === "udp4") socket.addMembership(GROUP_4, address);
        else socket.addMembership(GROUP_6, `::%${card}`);
        this.joined.add(key);
      } catch {
        // A card without multicast: broadcast may do.
      }
    }
  }
}

interface Mouth {
  readonly place: Place;
  /** What is said is said from the last one. */
  readonly sockets: Socket[];
  trouble: string | undefined;
  answers: number;
}

/** One socket per place, to ask from and be answered at. */
class Mouths {
  private readonly mouths: readonly Mouth[];
  private isOpen = true;

  /** `onTell` says whether it was an answer. */
  static async open(
    setting: BeaconSetting,
    host: string | undefined,
    onTell: (bytes: Uint8Array, source: string) => boolean,
  ): Promise<Mouths> {
    const opened = new Mouths(placesOf(setting.scope, host), setting.port, onTell);
    await Promise.all(opened.mouths.map(mouth => opened.use(mouth, 0)));
    return opened;
  }

  private constructor(
    places: readonly Place[],
    private readonly port: number,
    private readonly onTell: (bytes: Uint8Array, source: string) => boolean,
  ) {
    this.mouths = places.map(place => ({ place, sockets: [], trouble: undefined, answers: 0 }));
  }

  get isEmpty(): boolean {
    return this.mouths.length === 0;
  }

  /** Says it at every place. */
  send(bytes: Uint8Array): void {
    if (!this.isOpen) return;
    for (const mouth of this.mouths) {
      const { card, family, broadcast } = mouth.place;
      const targets = family === "udp6" ? [`${GROUP_6}%${card}`] : broadcast ? [GROUP_4, broadcast] : [GROUP_4];
      for (const target of targets)
        attempt(mouth, socket =>
          socket.send(bytes, this.port, target, error => {
            if (error !== null) mouth.trouble = troubleOf(error);
          }),
        );
    }
  }

  /**
   * Says it once more. Where nobody has answered, from the shared port: a firewall that was told to let that one in lets
   * the answers in. Not so at first, since of several who ask from there at one moment only one hears the answers.
   */
  async sendAgain(bytes: Uint8Array): Promise<void> {
    const silent = this.mouths.filter(({ answers }) => answers === 0);
    await Promise.all(silent.map(mouth => this.use(mouth, this.port)));
    this.send(bytes);
  }

  /** Speaks and listens at `port` from now on, 0 for any; what comes to earlier ones is heard still. */
  private async use(mouth: Mouth, port: number): Promise<void> {
    const { family, address, card } = mouth.place;
    const socket = await bound(family, family === "udp6" ? `${address}%${card}` : address, port);
    if (typeof socket === "string") {
      mouth.trouble ??= socket;
      return;
    }
    if (!this.isOpen) return closeQuietly(socket);
    mouth.sockets.push(socket);
    socket.on("message", (bytes, { address: from }) => {
      const source = plainHost(from);
      if (isNear([mouth.place], source) && this.onTell(bytes, source)) mouth.answers++;
    });
    attempt(mouth, () => {
      socket.setMulticastInterface(family === "udp4" ? address : `::%${card}`);
      socket.setMulticastTTL(1);
      if (family === "udp4") socket.setBroadcast(true);
    });
    enlarge(socket);
  }

  reports(): PlaceReport[] {
    return this.mouths.map(({ place, trouble }) => ({ place, trouble }));
  }

  close(): void {
    this.isOpen = false;
    for (const { sockets } of this.mouths) sockets.forEach(closeQuietly);
  }
}

// Packets.

function hintOf({ room, name, members, port, tag }: OwnRoom, nonce: Uint8Array): RoomHint {
  const isPrivate = tag !== undefined;
  return { mark: markOf(room, isPrivate ? nonce : undefined), private: isPrivate, name, members, port };
}

function newNonce(): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

// Addresses.

/** This machine itself, then IPv4, then IPv6. */
function byEase(a: Address, b: Address): number {
  const rank = ({ host }: Address) => (isLoopback(host) ? 0 : host.includes(":") ? 2 : 1);
  return rank(a) - rank(b);
}

// Sockets.

/** A bound socket, or the code of the error why there is none. */
async function bound(type: "udp4" | "udp6", address: string, port: number): Promise<Socket | string> {
  const { promise, resolve } = Promise.withResolvers<Socket | string>();
  try {
    const socket = createSocket({ type, reuseAddr: true, ...(type === "udp6" && { ipv6Only: true }) });
    let isBound = false;
    socket.on("error", error => {
      // Once it is bound, an error is that of a send (an ICMP message), which changes nothing.
      if (isBound) return;
      closeQuietly(socket);
      resolve(troubleOf(error));
    });
    socket.bind({ port, address, exclusive: true }, () => {
      isBound = true;
      resolve(socket);
    });
    // The chat keeps the process alive, not its beacon.
    socket.unref();
  } catch (error) {
    resolve(troubleOf(error));
  }
  return promise;
}

function enlarge(socket: Socket): void {
  try {
    socket.setRecvBufferSize(limits.beaconReceiveBufferBytes);
  } catch {
    // As large as the system has it: enough where few speak.
  }
}

function attempt(mouth: Mouth, run: (socket: Socket) => void): void {
  const socket = mouth.sockets.at(-1);
  if (socket === undefined) return;
  try {
    run(socket);
  } catch (error) {
    mouth.trouble = troubleOf(error);
  }
}

function closeQuietly(socket: Socket): void {
  try {
    socket.close();
  } catch {
    // It was closed before.
  }
}

function troubleOf(error: unknown): string {
  return codeOf(error) || String(error);
}

function forgetOldest(held: Map<string, unknown> | Set<string>): void {
  const [oldest] = held.keys();
  if (oldest !== undefined) held.delete(oldest);
}

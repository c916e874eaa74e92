/**
 * Finds rooms on the local network, and lets this one be found: packets (packet.ts) by multicast and broadcast on every
 * card, answered one to one.
 *
 * Invariants. Nothing here is needed for a chat to work, so nothing here throws: a network that does not take part is a
 * line in a report. Only asks are sent to everybody, and only by who looks or has just opened a room. What comes in is a
 * hint, bounded in number by who sent it and over all, and costs a bounded amount of work.
 */
import { Bucket, Buckets } from "../bucket.ts";
import type { Address, RoomId } from "../codec/post.ts";
import { limits } from "../limits.ts";
import { isLoopback } from "./addresses.ts";
import { type BeaconSetting, Ears, Mouths, type PlaceReport, type Source } from "./ears.ts";
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

/** Not registered with anybody, and below the ports that systems give out. */
export const BEACON_PORT = 27_107;

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
  private readonly sources = new Buckets<string>(
    limits.beaconAnswersPerSourcePerSecond,
    limits.beaconAnswersPerSourceBurst,
    limits.beaconSourcesMax,
  );
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
    const [oldest] = this.asked;
    if (oldest !== undefined && this.asked.size > limits.beaconAsksMax) this.asked.delete(oldest);
    return true;
  }

  private mayAnswer(host: string, now: number): boolean {
    return this.sources.of(host, now).take(now) && this.answers.take(now);
  }

  private later(delayMs: number, run: () => void): void {
    setTimeout(() => {
      if (!this.stopped) run();
    }, delayMs).unref();
  }
}

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

/** This machine itself, then IPv4, then IPv6. */
function byEase(a: Address, b: Address): number {
  const rank = ({ host }: Address) => (isLoopback(host) ? 0 : host.includes(":") ? 2 : 1);
  return rank(a) - rank(b);
}

/**
 * What the beacon says, byte by byte. Version 1, big endian, one UDP datagram each:
 *
 * | bytes | field | |
 * |---|---|---|
 * | 4 | magic | "p2pb" |
 * | 1 | version | 1; packets of any other are ignored |
 * | 1 | kind | 1 ask, 2 tell |
 * | 1 | flags | 1 a room follows, 2 that room is private, 4 a tag follows; the others are 0 |
 * | 8 | nonce | random in an ask, and that of the ask in a tell |
 * | 16 | tag | if flagged |
 * | 8, 2, 2, 1 + n | mark, members, port, name | if flagged: the room; `name` is who speaks, in UTF-8 |
 *
 * An ask is filled up with zeros to `ASK_BYTES`, so that no tell is longer than the ask it answers: nobody can use a room
 * to shout at a third party with a forged sender. All of it is hints; who is who is proved on the link.
 *
 * Of a private room outsiders see only that there is one. Its mark is another for each ask, its tag is keyed with what
 * only the words give, and it is shown only to an ask that has shown the same knowledge for its own nonce.
 */
import { Reader, Writer } from "../codec/bytes.ts";
import type { RoomId } from "../codec/post.ts";
import { assert, PeerError } from "../errors.ts";
import { limits } from "../limits.ts";

export const ASK_BYTES = 192;
export const NONCE_BYTES = 8;

const MAGIC = 0x7032_7062;
const VERSION = 1;
const KINDS = { ask: 1, tell: 2 } as const;
const FLAGS = { room: 1, private: 2, tag: 4 } as const;
const TAG_BYTES = 16;
const MARK_BYTES = 8;
const HEADER_BYTES = 4 + 1 + 1 + 1 + NONCE_BYTES;
const MARK_LABEL = "p2pchat beacon mark v1\0";

/** What a room shows of itself. */
export interface RoomHint {
  /** 16 hex digits that tell rooms apart; in a private room they mean nothing beyond the ask. */
  readonly mark: string;
  readonly private: boolean;
  readonly members: number;
  /** TCP port of who speaks. */
  readonly port: number;
  /** Who speaks. Not yet safe to show. */
  readonly name: string;
}

export interface Packet {
  readonly kind: "ask" | "tell";
  readonly nonce: Uint8Array;
  readonly tag?: Uint8Array;
  /** In every tell; in an ask of somebody who has just opened a room. */
  readonly room?: RoomHint;
}

assert(
  HEADER_BYTES + TAG_BYTES + MARK_BYTES + 5 + limits.nameMaxBytes <= ASK_BYTES,
  "a tell is not longer than an ask",
);

export function encodePacket({ kind, nonce, tag, room }: Packet): Uint8Array {
  const flags = (room ? FLAGS.room : 0) | (room?.private ? FLAGS.private : 0) | (tag ? FLAGS.tag : 0);
  const writer = new Writer(ASK_BYTES).u32(MAGIC).u8(VERSION).u8(KINDS[kind]).u8(flags).raw(nonce);
  if (tag !== undefined) writer.raw(tag);
  if (room !== undefined) writeRoom(writer, room);
  return kind === "ask" ? writer.raw(new Uint8Array(ASK_BYTES - writer.length)).finish() : writer.finish();
}

/** "newer" for another version of ours; undefined for anything else that is no packet. Never throws. */
export function decodePacket(bytes: Uint8Array): Packet | "newer" | undefined {
  if (bytes.length < HEADER_BYTES || bytes.length > ASK_BYTES) return undefined;
  try {
    const reader = new Reader(bytes);
    if (reader.u32() !== MAGIC) return undefined;
    return reader.u8() === VERSION ? readBody(reader, bytes.length) : "newer";
  } catch (error) {
    if (error instanceof PeerError) return undefined;
    throw error;
  }
}

/** How a room is told from others: with `nonce` in a private room, without in a public one. */
export function markOf(room: RoomId, nonce?: Uint8Array): string {
  const hasher = new Bun.CryptoHasher("sha256").update(MARK_LABEL).update(Buffer.from(room, "hex"));
  if (nonce !== undefined) hasher.update(nonce);
  return hasher.digest("hex").slice(0, 2 * MARK_BYTES);
}

/** The proof, for this packet, of knowing the room's tag key; it covers all that the packet says. */
export function tagOf(key: Uint8Array, { kind, nonce, room }: Omit<Packet, "tag">): Uint8Array {
  const said = new Writer().u8(KINDS[kind]).raw(nonce);
  if (room !== undefined) writeRoom(said.u8(room.private ? 1 : 0), room);
  return new Bun.CryptoHasher("sha256", key).update(said.finish()).digest().subarray(0, TAG_BYTES);
}

/** The packet with its proof, where there is a key. */
export function withTag(packet: Omit<Packet, "tag">, key: Uint8Array | undefined): Packet {
  return key === undefined ? packet : { ...packet, tag: tagOf(key, packet) };
}

export function provesTag(key: Uint8Array, packet: Packet): boolean {
  return packet.tag !== undefined && crypto.timingSafeEqual(packet.tag, tagOf(key, packet));
}

function readBody(reader: Reader, length: number): Packet | undefined {
  const kind = reader.u8();
  const flags = reader.u8();
  if ((kind !== KINDS.ask && kind !== KINDS.tell) || flags > 7) return undefined;
  const isRoom = (flags & FLAGS.room) !== 0;
  if (!isRoom && (kind === KINDS.tell || (flags & FLAGS.private) !== 0)) return undefined;
  const nonce = reader.take(NONCE_BYTES);
  const tag = (flags & FLAGS.tag) === 0 ? undefined : reader.take(TAG_BYTES);
  const room = isRoom ? readRoom(reader, (flags & FLAGS.private) !== 0) : undefined;
  // Both kinds have one form only: an ask of another length, or filled with something else, is none.
  if (kind === KINDS.ask && (length !== ASK_BYTES || reader.rest().some(Boolean))) return undefined;
  reader.end();
  return { kind: kind === KINDS.ask ? "ask" : "tell", nonce, ...(tag && { tag }), ...(room && { room }) };
}

function readRoom(reader: Reader, isPrivate: boolean): RoomHint {
  const mark = reader.hex(MARK_BYTES);
  const [members, port] = [reader.u16(), reader.u16()];
  const name = reader.text(limits.nameMaxBytes);
  if (members === 0 || port === 0) throw new PeerError("malformed", "a room without members or port");
  return { mark, private: isPrivate, members, port, name };
}

function writeRoom(writer: Writer, { mark, members, port, name }: RoomHint): void {
  writer.hex(mark).u16(Math.min(members, 0xffff)).u16(port).text(name);
}

/**
 * Messages: what two linked nodes say to each other, one per frame. PROTOCOL.md, "Messages".
 *
 * `encode` returns a whole frame, so that one encoding serves every link it goes to; `decode` takes such a frame.
 */
import { PeerError, unreachable } from "../errors.ts";
import { limits } from "../limits.ts";
import { Reader, Writer } from "./bytes.ts";
import { FRAME_HEADER_BYTES } from "./frame.ts";
import {
  type Address,
  KEY_BYTES,
  type MemberId,
  POST_TYPE,
  type Post,
  ROOM_BYTES,
  type RoomId,
  readPost,
  SIGNATURE_BYTES,
} from "./post.ts";

export const PROTOCOL_VERSION = 2;
/** The first bytes of a `hello` and a `welcome`, before anything that may change between versions. */
const MAGIC = Buffer.from("p2pc");
/** A `hello` from somebody who has no room yet names this one. */
export const NO_ROOM: RoomId = "0".repeat(ROOM_BYTES * 2);
export const MAC_BYTES = 32;

/** Both introductions of the handshake: `hello` from who dialled, `welcome` as the answer. */
export interface Credentials {
  readonly version: number;
  readonly room: RoomId;
  readonly publicKey: Uint8Array;
  readonly session: number;
  /** The name it goes by or asks for. */
  readonly name: string;
  /** Under the room key, in a private room. */
  readonly mac?: Uint8Array;
  readonly signature: Uint8Array;
}

/** Why a listener does not let a dialler in. */
export const Refusal = {
  name_taken: 1,
  full: 2,
  wrong_key: 3,
  wrong_room: 4,
  bad_version: 5,
  own_key: 6,
  bad_name: 7,
} as const;
export type RefusalReason = keyof typeof Refusal;

/** One connection, from the first byte to the last. Even numbers were dialled, odd ones accepted; none is used twice. */
export type LinkId = number;

/** Who is at the other end of a link, as the handshake proved it. */
export interface PeerInfo {
  readonly member: MemberId;
  readonly publicKey: Uint8Array;
  readonly session: number;
  readonly name: string;
  /** The host it was seen to come from, or was dialled at. */
  readonly host: string;
  /** It has no room yet and asks to be let into ours. */
  readonly joining: boolean;
}

/** A `refuse` message without its type. */
export interface RefusalInfo {
  readonly reason: RefusalReason;
  /** A free name, with `name_taken`. */
  readonly suggestion: string;
  /** Others to try, with `full`. */
  readonly addresses: readonly Address[];
}

/** What a node holds of one session: post 0 and all from `floor` to `head`; nothing but post 0 where `floor` = `head` + 1. */
export interface HaveEntry {
  readonly author: MemberId;
  readonly session: number;
  readonly floor: number;
  readonly head: number;
}

/** Posts asked for, `from` and `to` included. `to` = `OPEN_END`: and all that follow, as they come. */
export interface WantEntry {
  readonly author: MemberId;
  readonly session: number;
  readonly from: number;
  readonly to: number;
}
export const OPEN_END = 0xffff_ffff;

/** Which stream of posts a `prune` means. */
export interface StreamKey {
  readonly author: MemberId;
  readonly session: number;
}

export type Message =
  | { readonly type: "hello"; readonly credentials: Credentials }
  | { readonly type: "welcome"; readonly credentials: Credentials }
  | ({ readonly type: "refuse" } & RefusalInfo)
  | { readonly type: "post"; readonly post: Post }
  /** The hash of all that a node holds; an equal one needs no list. */
  | { readonly type: "compare"; readonly digest: Uint8Array }
  /** The same over each bucket of sessions: what differs need not be looked for among all. */
  | { readonly type: "buckets"; readonly digests: Uint8Array }
  /** Asks for what the other holds in some buckets: one bit each. */
  | { readonly type: "list"; readonly buckets: Uint8Array }
  | { readonly type: "have"; readonly scope: HaveScope; readonly entries: readonly HaveEntry[] }
  | { readonly type: "want"; readonly entries: readonly WantEntry[] }
  | { readonly type: "prune"; readonly streams: readonly StreamKey[] }
  | { readonly type: "ping"; readonly token: number }
  | { readonly type: "pong"; readonly token: number }
  | { readonly type: "bye"; readonly reason: ByeReason };

/** `news`: what changed. `part` and `last`: the whole list, in one or more frames. `same`: the digests are equal. */
const HAVE_SCOPES = ["news", "part", "last", "same"] as const;
export type HaveScope = (typeof HAVE_SCOPES)[number];

/** Why a link ends: the member leaves, the link is a duplicate, there are too many, or a fault. */
const BYE_REASONS = ["leaving", "duplicate", "full", "fault"] as const;
export type ByeReason = (typeof BYE_REASONS)[number];

const types = {
  hello: 1,
  welcome: 2,
  refuse: 3,
  post: POST_TYPE,
  have: 5,
  want: 6,
  prune: 7,
  ping: 8,
  pong: 9,
  bye: 10,
  compare: 11,
  buckets: 12,
  list: 13,
} as const satisfies Record<Message["type"], number>;

/** Bytes of the digest of the whole, and of that of a bucket. */
export const DIGEST_BYTES = 8;
export const BUCKETS = 64;
export const BUCKET_DIGEST_BYTES = 4;
const refusalByCode = new Map(Object.entries(Refusal).map(([reason, code]) => [code, reason as RefusalReason]));

/** A whole frame: length, type, payload. */
export function encode(message: Message): Buffer {
  if (message.type === "post") return message.post.frame;
  const writer = new Writer(128);
  writer.u32(0).u8(types[message.type]);
  switch (message.type) {
    case "hello":
    case "welcome":
      writeCredentials(writer, message.credentials);
      break;
    case "refuse":
      writer.u8(Refusal[message.reason]).text(message.suggestion).u8(message.addresses.length);
      for (const address of message.addresses) writer.text(address.host).u16(address.port);
      break;
    case "compare":
      writer.raw(message.digest);
      break;
    case "buckets":
      writer.raw(message.digests);
      break;
    case "list":
      writer.raw(message.buckets);
      break;
    case "have":
      writer.u8(HAVE_SCOPES.indexOf(message.scope)).u16(message.entries.length);
      for (const { author, session, floor, head } of message.entries)
        writer.hex(author).u64(session).u32(floor).u32(head);
      break;
    case "want":
      writer.u16(message.entries.length);
      for (const { author, session, from, to } of message.entries) writer.hex(author).u64(session).u32(from).u32(to);
      break;
    case "prune":
      writer.u16(message.streams.length);
      for (const { author, session } of message.streams) writer.hex(author).u64(session);
      break;
    case "ping":
    case "pong":
      writer.u32(message.token);
      break;
    case "bye":
      writer.u8(BYE_REASONS.indexOf(message.reason));
      break;
    default:
      unreachable(message);
  }
  return writer.patchU32(0, writer.length - FRAME_HEADER_BYTES).finish();
}

/** Reads a whole frame, whose length was looked at already. Throws `PeerError` on anything but one well-formed message. */
export function decode(frame: Buffer): Message {
  if (frame[FRAME_HEADER_BYTES] === types.post) return { type: "post", post: readPost(frame) };
  const reader = new Reader(frame, FRAME_HEADER_BYTES);
  const message = decodeBody(reader.u8(), reader);
  reader.end();
  return message;
}

function decodeBody(type: number, reader: Reader): Message {
  switch (type) {
    case types.hello:
      return { type: "hello", credentials: readCredentials(reader) };
    case types.welcome:
      return { type: "welcome", credentials: readCredentials(reader) };
    case types.refuse: {
      const reason = refusalByCode.get(reader.u8() as (typeof Refusal)[RefusalReason]);
      if (reason === undefined) throw new PeerError("malformed", "an unknown refusal");
      const suggestion = reader.text(limits.nameMaxBytes);
      const count = reader.u8();
      if (count > limits.addressesMax) throw new PeerError("too_large", "too many addresses");
      const addresses = times(count, () => ({ host: reader.host(), port: reader.u16() }));
      return { type: "refuse", reason, suggestion, addresses };
    }
    case types.compare:
      return { type: "compare", digest: reader.take(DIGEST_BYTES) };
    case types.buckets:
      return { type: "buckets", digests: reader.take(BUCKETS * BUCKET_DIGEST_BYTES) };
    case types.list:
      return { type: "list", buckets: reader.take(BUCKETS / 8) };
    case types.have: {
      const scope = HAVE_SCOPES[reader.u8()];
      if (scope === undefined) throw new PeerError("malformed", "an unknown kind of have");
      const entries = times(entryCount(reader), () => {
        const entry = { author: reader.hex(8), session: reader.u64(), floor: reader.u32(), head: reader.u32() };
        if (entry.floor > entry.head + 1 || entry.head === OPEN_END)
          throw new PeerError("malformed", "an impossible range");
        return entry;
      });
      return { type: "have", scope, entries };
    }
    case types.want: {
      const entries = times(entryCount(reader), () => {
        const entry = { author: reader.hex(8), session: reader.u64(), from: reader.u32(), to: reader.u32() };
        if (entry.from > entry.to) throw new PeerError("malformed", "an impossible range");
        return entry;
      });
      return { type: "want", entries };
    }
    case types.prune:
      return {
        type: "prune",
        streams: times(entryCount(reader), () => ({ author: reader.hex(8), session: reader.u64() })),
      };
    case types.ping:
      return { type: "ping", token: reader.u32() };
    case types.pong:
      return { type: "pong", token: reader.u32() };
    case types.bye: {
      const reason = BYE_REASONS[reader.u8()];
      if (reason === undefined) throw new PeerError("malformed", "an unknown goodbye");
      return { type: "bye", reason };
    }
    default:
      throw new PeerError("malformed", `an unknown message, type ${type}`);
  }
}

function writeCredentials(writer: Writer, credentials: Credentials): void {
  writer
    .raw(MAGIC)
    .u8(credentials.version)
    .hex(credentials.room)
    .raw(credentials.publicKey)
    .u64(credentials.session)
    .text(credentials.name)
    .u8(credentials.mac === undefined ? 0 : 1)
    .raw(credentials.mac ?? new Uint8Array())
    .raw(credentials.signature);
}

function readCredentials(reader: Reader): Credentials {
  if (!MAGIC.equals(reader.take(MAGIC.length))) throw new PeerError("not_p2pchat", "it is not p2pchat");
  const version = reader.u8();
  if (version !== PROTOCOL_VERSION) throw new PeerError("bad_version", `it speaks version ${version} of the protocol`);
  const room = reader.hex(ROOM_BYTES);
  // Known for as long as the link is up; what else came with it need not be.
  const publicKey = Buffer.from(reader.take(KEY_BYTES));
  const session = reader.u64();
  const name = reader.text(limits.nameMaxBytes);
  const flag = reader.u8();
  if (flag > 1) throw new PeerError("malformed", "an unknown flag");
  const mac = flag === 1 ? reader.take(MAC_BYTES) : undefined;
  const signature = reader.take(SIGNATURE_BYTES);
  return { version, room, publicKey, session, name, ...(mac && { mac }), signature };
}

function entryCount(reader: Reader): number {
  const count = reader.u16();
  if (count > limits.digestEntriesMax) throw new PeerError("too_large", "too many entries");
  return count;
}

function times<T>(count: number, read: () => T): T[] {
  const list: T[] = [];
  for (let index = 0; index < count; index += 1) list.push(read());
  return list;
}

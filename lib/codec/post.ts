/**
 * Posts: what spreads through a room. Numbered from 0 in their session, signed once, relayed verbatim.
 *
 * Invariant: a post is one buffer, `post.frame`, as it goes to any link; all else is read from it, and nothing is ever
 * encoded a second time. PROTOCOL.md, "Posts".
 */
import { assert, PeerError } from "../errors.ts";
import { limits } from "../limits.ts";
import { Reader, u32At, u64At, Writer } from "./bytes.ts";
import { FRAME_HEADER_BYTES } from "./frame.ts";

/** `Bun.hash` of a public key, 16 hex digits. A table key, never an authority. */
export type MemberId = string;

/** What a post is. Kinds that a node does not know are relayed and not shown. */
export const PostKind = { text: 1, add: 2, remove: 3, direct: 4, lost: 5, topic: 6, away: 7, action: 8 } as const;

const SAID: ReadonlySet<number> = new Set([
  PostKind.text,
  PostKind.direct,
  PostKind.topic,
  PostKind.away,
  PostKind.action,
]);

/** Whether a post is something said, as against news of the roster. */
export function isSaid(post: Post): boolean {
  return SAID.has(post.kind);
}

/** What a post is about to hold. */
export interface Body {
  /** Words are encoded as UTF-8. */
  readonly body: Uint8Array | string;
  /** Of it as it is encoded, where that was counted. */
  readonly bodyBytes?: number | undefined;
  /** What it says, where it was made of texts. */
  readonly texts?: readonly string[] | undefined;
}

/** What an author puts into a post; the signature follows. */
export interface PostContent extends Body {
  readonly author: MemberId;
  /** Start of the author's run, ms since the epoch. */
  readonly session: number;
  /** 0, 1, 2 … without gaps; 0 is always an `add`. */
  readonly seq: number;
  /** Hybrid logical clock, µs since the epoch (see room/clock.ts). */
  readonly clock: number;
  readonly kind: number;
  /** The imprint of the post before it, so that who has signed this one vouches for that one, too. */
  readonly before?: Uint8Array | undefined;
}

/** A place a node listens: a host name or IP address, and a TCP port. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

/** The body of an `add`: who a member is and where it can be reached. A later `add` may carry another name. */
export interface Introduction {
  readonly name: string;
  /** Ed25519, 32 bytes. */
  readonly publicKey: Uint8Array;
  /** X25519, 32 bytes: for direct messages to this member. */
  readonly sealKey: Uint8Array;
  readonly port: number;
  /** Hosts to try with `port`, best first; may be empty. */
  readonly hosts: readonly string[];
}

/** One member that a `lost` post reports: gone, as far as seen when its session stood at `head`. */
export interface Loss {
  readonly member: MemberId;
  readonly session: number;
  readonly head: number;
}

export const POST_HEADER_BYTES = 8 + 8 + 4 + 8 + 1;
/** Nobody finds another post with the same 128 bits (a second preimage). */
export const IMPRINT_BYTES = 16;
/** Added to the kind of a post that bears the imprint of the one before. */
const HAS_BEFORE = 0x80;
export const SIGNATURE_BYTES = 64;
export const KEY_BYTES = 32;
/** A room is a random 128-bit number, in hex digits. */
export type RoomId = string;
export const ROOM_BYTES = 16;

/** The message type of a post (message.ts). */
export const POST_TYPE = 4;
const FRAME_PREFIX_BYTES = FRAME_HEADER_BYTES + 1;
const KIND_AT = FRAME_PREFIX_BYTES + POST_HEADER_BYTES - 1;

const SIGNING_LABEL = Buffer.from("p2pchat post v1\0");
const DIGEST_BYTES = 32;

/** The largest that a post with its frame can be. */
export const largestPostFrameBytes =
  FRAME_PREFIX_BYTES + POST_HEADER_BYTES + IMPRINT_BYTES + limits.bodyMaxBytes + SIGNATURE_BYTES;

/** What of a post is enough to check its signature, and to see whether the next one vouches for it. */
export interface Proof {
  readonly author: MemberId;
  readonly session: number;
  readonly seq: number;
  /** SHA-256 of all but the signature: what is signed. */
  readonly digest: Uint8Array;
  readonly signature: Uint8Array;
}

/** What whoever makes a post knows of it. */
interface Known {
  readonly digest?: Uint8Array | undefined;
  readonly texts?: readonly string[] | undefined;
}
const NOTHING: Known = {};

/** Views are made when somebody looks: most posts are looked at once. */
export class Post implements PostContent, Proof {
  readonly author: MemberId;
  readonly session: number;
  readonly seq: number;
  readonly clock: number;
  readonly kind: number;
  readonly #isBorrowed: boolean | undefined;
  readonly #known: Known;

  /**
   * `frame`: length and type of the message, header, body and signature. `isBorrowed`: it lies in memory that holds other
   * things as well, and is given back or used again; whoever keeps the post longer than the event it came with asks for `owned`.
   * Where that is not said the memory tells.
   */
  constructor(
    readonly frame: Buffer,
    isBorrowed?: boolean,
    known: Known = NOTHING,
  ) {
    this.#isBorrowed = isBorrowed;
    this.#known = known;
    this.author = frame.toString("hex", FRAME_PREFIX_BYTES, FRAME_PREFIX_BYTES + 8);
    this.session = u64At(frame, FRAME_PREFIX_BYTES + 8);
    this.seq = u32At(frame, FRAME_PREFIX_BYTES + 16);
    this.clock = u64At(frame, FRAME_PREFIX_BYTES + 20);
    this.kind = (frame[KIND_AT] as number) & ~HAS_BEFORE;
  }

  /** The same post in memory of its own. */
  get owned(): Post {
    // To ask what a buffer lies in is not cheap, and most posts are never asked.
    if (!(this.#isBorrowed ?? this.frame.buffer.byteLength > this.frame.length)) return this;
    const frame = Buffer.allocUnsafeSlow(this.frame.length);
    frame.set(this.frame);
    return new Post(frame, false);
  }

  /** Of `bytes`. */
  get size(): number {
    return this.frame.length - FRAME_PREFIX_BYTES;
  }

  /** Header, body and signature as they travel, and as they are stored. */
  get bytes(): Uint8Array {
    return this.frame.subarray(FRAME_PREFIX_BYTES);
  }

  get body(): Uint8Array {
    return this.frame.subarray(this.bodyAt, -SIGNATURE_BYTES);
  }

  /** The body as UTF-8; broken sequences become U+FFFD. */
  get words(): string {
    return this.frame.toString("utf8", this.bodyAt, this.frame.length - SIGNATURE_BYTES);
  }

  /** What a post of texts says: one decode and one split, however many lines it holds. */
  get texts(): readonly string[] {
    return this.#known.texts ?? this.words.split("\0", limits.textsPerPostMax);
  }

  get before(): Uint8Array | undefined {
    return this.hasBefore ? this.frame.subarray(KIND_AT + 1, KIND_AT + 1 + IMPRINT_BYTES) : undefined;
  }

  private get bodyAt(): number {
    return KIND_AT + 1 + (this.hasBefore ? IMPRINT_BYTES : 0);
  }

  private get hasBefore(): boolean {
    return ((this.frame[KIND_AT] as number) & HAS_BEFORE) !== 0;
  }

  get signature(): Uint8Array {
    return this.frame.subarray(-SIGNATURE_BYTES);
  }

  /** In memory of its own. */
  get signatureCopy(): Uint8Array {
    const copy = new Uint8Array(SIGNATURE_BYTES);
    this.frame.copy(copy, 0, this.frame.length - SIGNATURE_BYTES);
    return copy;
  }

  get digest(): Uint8Array {
    return this.#known.digest ?? digestOf(this.frame);
  }

  get imprint(): Uint8Array {
    return imprintOf(this);
  }

  /** In memory of its own, for who checks it when the post is not looked at any more. */
  get proof(): Proof {
    const { author, session, seq, digest, signatureCopy: signature } = this;
    return { author, session, seq, digest, signature };
  }

  /** Whether it bears that one's imprint: if this one is genuine, so is that. */
  vouchesFor(other: Proof): boolean {
    const { before } = this;
    if (before === undefined || this.seq !== other.seq + 1) return false;
    return (
      this.session === other.session && this.author === other.author && Buffer.compare(before, imprintOf(other)) === 0
    );
  }
}

/** For what is hashed at once and not kept. */
const scratch = Buffer.alloc(DIGEST_BYTES + SIGNATURE_BYTES);

/** The beginning of the SHA-256 of digest and signature: it stands for every byte of the post. */
function imprintOf({ digest, signature }: Proof): Uint8Array {
  scratch.set(digest);
  scratch.set(signature, DIGEST_BYTES);
  return (Bun.SHA256.hash(scratch) as Uint8Array).subarray(0, IMPRINT_BYTES);
}

/** The table key of a public key. */
export function memberIdOf(publicKey: Uint8Array): MemberId {
  return hash64(publicKey, 0);
}

/** The id of the nth text in a post: what people and scripts see, 16 hex digits. */
export function textIdOf({ signature }: { readonly signature: Uint8Array }, index: number): string {
  // The signature stands for all that was signed, and is 64 bytes whatever the post holds.
  return hash64(signature, index);
}

function hash64(bytes: Uint8Array, seed: number): string {
  return Bun.hash.wyhash(bytes, BigInt(seed)).toString(16).padStart(16, "0");
}

function digestOf(frame: Buffer): Uint8Array {
  return Bun.SHA256.hash(frame.subarray(FRAME_PREFIX_BYTES, -SIGNATURE_BYTES)) as Uint8Array;
}

/**
 * What an author signs: a label, the room, and the digest of the post. Hashed first, as SSHSIG does (OpenSSH,
 * PROTOCOL.sshsig), because Ed25519 hashes what it signs with SHA-512, twice and in software.
 */
export function signedBytes(room: RoomId, digest: Uint8Array): Uint8Array {
  const labelBytes = SIGNING_LABEL.length;
  const signed = Buffer.allocUnsafe(labelBytes + ROOM_BYTES + DIGEST_BYTES);
  signed.set(SIGNING_LABEL);
  signed.write(room, labelBytes, "hex");
  signed.set(digest, labelBytes + ROOM_BYTES);
  return signed;
}

/**
 * Makes and signs a post. `sign` gets `signedBytes` and returns 64 bytes. `place` gives memory for so many bytes where the post
 * shall lie among other things, or none where it may lie by itself.
 */
export function sealPost(
  room: RoomId,
  content: PostContent,
  sign: (bytes: Uint8Array) => Uint8Array,
  place: (bytes: number) => Buffer | undefined = () => undefined,
): Post {
  const { author, session, seq, clock, kind, body, bodyBytes = Buffer.byteLength(body), texts, before } = content;
  assert(bodyBytes <= limits.bodyMaxBytes, "a body fits");
  assert(kind < HAS_BEFORE, "a kind leaves a bit free");
  assert(before === undefined || before.length === IMPRINT_BYTES, "an imprint is whole");
  const length = FRAME_PREFIX_BYTES + POST_HEADER_BYTES + (before?.length ?? 0) + bodyBytes + SIGNATURE_BYTES;
  const placed = place(length);
  const frame = placed ?? Buffer.allocUnsafeSlow(length);
  const writer = beginning(frame).hex(author).u64(session).u32(seq).u64(clock);
  if (before === undefined) writer.u8(kind);
  else writer.u8(kind | HAS_BEFORE).raw(before);
  if (typeof body === "string") frame.write(body, writer.length);
  else frame.set(body, writer.length);
  const digest = digestOf(frame);
  frame.set(sign(signedBytes(room, digest)), writer.length + bodyBytes);
  return new Post(frame, placed !== undefined, { digest, texts });
}

/** Reads a post where it lies, in its frame. Throws `PeerError`; says nothing about the signature. */
export function readPost(frame: Buffer): Post {
  const hasBefore = ((frame[KIND_AT] ?? 0) & HAS_BEFORE) !== 0;
  const bodyBytes = frame.length - KIND_AT - 1 - (hasBefore ? IMPRINT_BYTES : 0) - SIGNATURE_BYTES;
  if (bodyBytes > limits.bodyMaxBytes) throw new PeerError("too_large", "a post is too long");
  if (bodyBytes < 0) throw new PeerError("malformed", "a post is cut short");
  return new Post(frame);
}

/** The same for one without a frame, as it is stored: it gets one. */
export function decodePost(bytes: Uint8Array): Post {
  const frame = Buffer.allocUnsafeSlow(FRAME_PREFIX_BYTES + bytes.length);
  beginning(frame).raw(bytes);
  return readPost(frame);
}

/** Writes what comes before the post itself into a frame of the right size. */
function beginning(frame: Buffer): Writer {
  return new Writer(frame).u32(frame.length - FRAME_HEADER_BYTES).u8(POST_TYPE);
}

/** The body of a `text` post: one or more texts, UTF-8, one NUL between two. */
export function encodeTexts(texts: readonly string[]): Uint8Array {
  return Buffer.from(texts.join("\0"));
}

/** A text as it travels: NUL divides those of a post, and half a surrogate pair has no UTF-8, so both become U+FFFD. */
export function travelling(text: string): string {
  return text.replaceAll("\0", "\ufffd").toWellFormed();
}

/** Whether all texts travel as they are. Looked for in all of them at once, since to look into each costs as much as to send it. */
function travelsAsItIs(joined: string, texts: number): boolean {
  if (!joined.isWellFormed()) return false;
  let at = -1;
  for (let divided = 0; divided < texts; divided += 1) at = joined.indexOf("\0", at + 1);
  return at < 0;
}

/** The bodies of as few `text` posts as hold these. No text is longer than a body, as it travels. */
export function bodiesOf(texts: readonly string[]): readonly Body[] {
  const joined = texts.join("\0");
  if (!travelsAsItIs(joined, texts.length)) return bodiesOf(texts.map(travelling));
  const bodyBytes = Buffer.byteLength(joined);
  if (bodyBytes <= limits.bodyMaxBytes) return [{ body: joined, bodyBytes, texts }];
  const body = Buffer.from(joined);
  const bodies: Uint8Array[] = [];
  let start = 0;
  while (body.length - start > limits.bodyMaxBytes) {
    const end = body.lastIndexOf(0, start + limits.bodyMaxBytes);
    assert(end >= start, "a text fits a post");
    bodies.push(body.subarray(start, end));
    start = end + 1;
  }
  bodies.push(body.subarray(start));
  return bodies.map(part => ({ body: part, bodyBytes: part.length }));
}

export function encodeIntroduction(introduction: Introduction): Uint8Array {
  const writer = new Writer()
    .text(introduction.name)
    .raw(introduction.publicKey)
    .raw(introduction.sealKey)
    .u16(introduction.port)
    .u8(introduction.hosts.length);
  for (const host of introduction.hosts) writer.text(host);
  return writer.finish();
}

export function decodeIntroduction(body: Uint8Array): Introduction {
  const reader = new Reader(body);
  const name = reader.text(limits.nameMaxBytes);
  // Members are remembered for longer than the post that told of them.
  const publicKey = Buffer.from(reader.take(KEY_BYTES));
  const sealKey = Buffer.from(reader.take(KEY_BYTES));
  const port = reader.u16();
  const count = reader.u8();
  if (count > limits.addressesMax) throw new PeerError("too_large", "too many addresses");
  const hosts = Array.from({ length: count }, () => reader.host());
  reader.end();
  return { name, publicKey, sealKey, port, hosts };
}

export function encodeLosses(losses: readonly Loss[]): Uint8Array {
  const writer = new Writer(2 + losses.length * 20).u16(losses.length);
  for (const loss of losses) writer.hex(loss.member).u64(loss.session).u32(loss.head);
  return writer.finish();
}

export function decodeLosses(body: Uint8Array): Loss[] {
  const reader = new Reader(body);
  const losses = Array.from({ length: reader.u16() }, () => ({
    member: reader.hex(8),
    session: reader.u64(),
    head: reader.u32(),
  }));
  reader.end();
  return losses;
}

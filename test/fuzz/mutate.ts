/**
 * Rubbish of every degree, by seeded chance: frames that were true once with a few bytes changed, frames that are well formed
 * and say absurd things, and posts that are properly signed by somebody who means no good.
 */
import { encode, type HaveScope, type Message, OPEN_END, type StreamKey } from "../../lib/codec/message.ts";
import {
  encodeIntroduction,
  encodeLosses,
  encodeTexts,
  type MemberId,
  type Post,
  type RoomId,
  sealPost,
} from "../../lib/codec/post.ts";
import { pick, type Random } from "../sim/random.ts";

/** Whoever has a key that signs. */
export interface Signer {
  readonly member: MemberId;
  readonly publicKey: Uint8Array;
  readonly session: number;
  readonly sign: (bytes: Uint8Array) => Uint8Array;
  /** Posts signed so far in this session. */
  head: number;
  /** Of the last one it signed. */
  imprint?: Uint8Array;
}

const NUMBERS = [
  0,
  1,
  2,
  3,
  7,
  8,
  64,
  255,
  256,
  257,
  1_024,
  65_535,
  65_536,
  2 ** 31 - 1,
  2 ** 31,
  OPEN_END - 1,
  OPEN_END,
];
const TIMES = [0, 1, 2 ** 31, 1_763_999_999_999, 1_764_000_000_000, 1_764_000_000_001, 2 ** 53 - 1];
const NAMES = ["", "Bob", "bob", "Alice", "a", "x".repeat(33), "\u202eevil", "\x1b[2J", "Ноb", "B".repeat(128)];
const SCOPES: readonly HaveScope[] = ["news", "part", "last", "same"];

export class Rubbish {
  constructor(
    private readonly random: Random,
    private readonly room: RoomId,
    /** Frames that honest nodes have sent, bodies with their headers. */
    private readonly recorded: readonly Buffer[],
    /** Sessions that exist; the first two are of those who are honest. */
    private readonly streams: readonly StreamKey[],
    private readonly signers: readonly Signer[],
  ) {}

  /** The next frame, or what is left of one. */
  frame(): Buffer {
    const kind = this.random();
    if (kind < 0.35) return this.mutated(this.recordedFrame());
    if (kind < 0.45) return this.mutated(encode(this.message()));
    if (kind < 0.7) return encode(this.message());
    if (kind < 0.97) return encode({ type: "post", post: this.post() });
    return this.bytes(this.below(64));
  }

  private recordedFrame(): Buffer {
    return pick(this.random, this.recorded) ?? this.bytes(16);
  }

  /** One to four changes, the length put right most of the time so that they are looked at. */
  private mutated(frame: Buffer): Buffer {
    let bytes: Buffer = Buffer.from(frame);
    for (let left = 1 + this.below(4); left > 0; left--) bytes = this.change(bytes);
    if (bytes.length >= 5 && this.random() < 0.9) bytes.writeUInt32BE(bytes.length - 4, 0);
    return bytes;
  }

  private change(bytes: Buffer): Buffer {
    const at = this.below(bytes.length);
    switch (this.below(7)) {
      case 0:
        bytes[at] = (bytes[at] ?? 0) ^ (1 << this.below(8));
        return bytes;
      case 1:
        bytes[at] = this.below(256);
        return bytes;
      case 2:
        return bytes.subarray(0, at);
      case 3:
        return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + this.below(8))]);
      case 4:
        return Buffer.concat([bytes.subarray(0, at), this.bytes(1 + this.below(8)), bytes.subarray(at)]);
      case 5: {
        const other = this.recordedFrame();
        return Buffer.concat([bytes.subarray(0, at), other.subarray(this.below(other.length))]).subarray(0, 70_000);
      }
      default:
        if (at + 4 <= bytes.length) bytes.writeUInt32BE(this.number(), at);
        return bytes;
    }
  }

  private message(): Message {
    switch (this.below(11)) {
      case 0:
      case 1:
        return { type: "have", scope: pick(this.random, SCOPES) ?? "news", entries: this.list(() => this.entry()) };
      case 2:
      case 3:
        return {
          type: "want",
          entries: this.list(() => {
            const from = this.number();
            return { ...this.stream(), from, to: Math.max(from, this.number()) };
          }),
        };
      case 4:
        return { type: "prune", streams: this.list(() => this.stream()) };
      case 5:
        return { type: "compare", digest: this.bytes(8) };
      case 8:
        return { type: "buckets", digests: this.bytes(256) };
      case 9:
        return { type: "list", buckets: this.bytes(8) };
      case 6:
        return this.random() < 0.5 ? { type: "ping", token: this.number() } : { type: "pong", token: this.below(4) };
      case 7:
        return {
          type: "bye",
          reason: pick(this.random, ["leaving", "duplicate", "full", "fault"] as const) ?? "fault",
        };
      default:
        return { type: "refuse", reason: "name_taken", suggestion: this.name(), addresses: [] };
    }
  }

  private entry() {
    const head = Math.min(this.number(), OPEN_END - 1);
    return { ...this.stream(), floor: Math.min(this.number(), head + 1), head };
  }

  /** Signed by whoever it says; what it says is another matter. */
  private post(): Post {
    const signer = pick(this.random, this.signers);
    if (signer === undefined) throw new Error("somebody signs");
    const chance = this.random();
    // Mostly in turn, so that it gets far; sometimes again, or ahead.
    const seq = chance < 0.75 ? ++signer.head : Math.max(0, signer.head + this.below(7) - 3);
    const session = this.random() < 0.97 ? signer.session : signer.session + this.below(3) - 1;
    const kind = seq === 0 || this.random() < 0.2 ? 2 : this.below(12);
    // Mostly the imprint of what it said last, or none; sometimes of nothing.
    const before = seq === 0 || this.random() < 0.3 ? undefined : this.random() < 0.9 ? signer.imprint : this.bytes(16);
    const body = this.body(kind, signer);
    const head = { author: signer.member, session, seq, clock: this.clock(), kind, body, before };
    // Under another's name, now and then.
    const other = this.random() < 0.03 ? this.streams[this.below(2)] : undefined;
    if (other !== undefined) return sealPost(this.room, { ...head, ...other, seq: this.below(20) }, signer.sign);
    const post = sealPost(this.room, head, this.random() < 0.98 ? signer.sign : () => this.bytes(64));
    signer.imprint = post.imprint;
    return post;
  }

  private body(kind: number, signer: Signer): Uint8Array {
    if (this.random() < 0.1) return this.bytes(this.below(200));
    switch (kind) {
      case 2:
        return encodeIntroduction({
          name: this.name(),
          publicKey: this.random() < 0.97 ? signer.publicKey : this.bytes(32),
          sealKey: this.bytes(32),
          port: this.below(65_536),
          hosts: this.list(() => pick(this.random, ["192.0.2.7", "localhost", "::1", "a".repeat(255)]) ?? "x", 8),
        });
      case 3:
        return this.random() < 0.9 ? new Uint8Array() : this.bytes(3);
      case 5:
        return encodeLosses(
          this.list(() => {
            const { author, session } = this.stream();
            return { member: author, session, head: this.number() };
          }, 20),
        );
      default:
        return encodeTexts(this.list(() => "x".repeat(this.below(this.random() < 0.01 ? 9_000 : 40)), 4));
    }
  }

  private stream(): StreamKey {
    const known = this.random() < 0.9 ? pick(this.random, this.streams) : undefined;
    if (known === undefined) return { author: Buffer.from(this.bytes(8)).toString("hex"), session: this.time() };
    return this.random() < 0.95 ? known : { ...known, session: this.time() };
  }

  private list<T>(item: () => T, most = 12): T[] {
    return Array.from({ length: this.below(most + 1) }, item);
  }

  private name(): string {
    return pick(this.random, NAMES) ?? "";
  }

  /** Near what posts have reached, most of the time. */
  private number(): number {
    return this.random() < 0.6 ? this.below(40) : (pick(this.random, NUMBERS) ?? 0);
  }

  private time(): number {
    return pick(this.random, TIMES) ?? 0;
  }

  private clock(): number {
    return this.random() < 0.9 ? 1_764_000_000_000_000 + this.below(1_000_000_000) : this.time();
  }

  private bytes(length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => this.below(256)));
  }

  private below(bound: number): number {
    return Math.floor(this.random() * bound);
  }
}

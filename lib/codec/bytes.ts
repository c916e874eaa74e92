/**
 * Reading and writing bytes, big endian, with bounds checked before anything is sliced.
 *
 * The reader never copies: what it hands out are views. A value that does not fit throws `PeerError`, and so does a
 * byte left over, since two readers that disagree about the end of a message are a hole in the protocol.
 */
import { assert, PeerError } from "../errors.ts";
import { limits } from "../limits.ts";

const TWO_32 = 2 ** 32;
const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export class Reader {
  constructor(
    private readonly bytes: Uint8Array,
    private offset = 0,
  ) {}

  get remaining(): number {
    return this.bytes.length - this.offset;
  }

  u8(): number {
    return this.bytes[this.advance(1)] as number;
  }

  u16(): number {
    return this.u8() * 256 + this.u8();
  }

  u32(): number {
    return u32At(this.bytes, this.advance(4));
  }

  /** An unsigned 64-bit integer that must be exact in a double. */
  u64(): number {
    return u64At(this.bytes, this.advance(8));
  }

  /** A view of the next `length` bytes. */
  take(length: number): Uint8Array {
    const offset = this.advance(length);
    return this.bytes.subarray(offset, offset + length);
  }

  /** The next `length` bytes in hex digits. */
  hex(length: number): string {
    return this.take(length).toHex();
  }

  /** UTF-8 behind a length of one byte. Strict: U+FFFD in place of a broken byte would be longer than what came in. */
  text(maxBytes: number): string {
    const length = this.u8();
    if (length > maxBytes) throw new PeerError("too_large", "a name or host is too long");
    const bytes = this.take(length);
    try {
      return strictUtf8.decode(bytes);
    } catch {
      throw new PeerError("malformed", "a name or host is not UTF-8");
    }
  }

  /** A host name or IP address, behind a length of one byte: printable ASCII, for it may be shown and dialled. */
  host(): string {
    const host = this.text(limits.hostMaxBytes);
    if (!/^[!-~]+$/.test(host)) throw new PeerError("malformed", "a host that cannot be one");
    return host;
  }

  rest(): Uint8Array {
    return this.take(this.remaining);
  }

  end(): void {
    if (this.remaining !== 0) throw new PeerError("malformed", "bytes left over");
  }

  private advance(length: number): number {
    const offset = this.offset;
    if (length > this.bytes.length - offset) throw new PeerError("malformed", "a message is cut short");
    this.offset = offset + length;
    return offset;
  }
}

export class Writer {
  private bytes: Buffer;
  private offset = 0;

  /** `room`: where to write, from its beginning; more is made when it is full. */
  constructor(room: number | Buffer = 256) {
    this.bytes = typeof room === "number" ? Buffer.allocUnsafe(room) : room;
  }

  u8(value: number): this {
    const offset = this.grow(1);
    this.bytes.writeUInt8(value, offset);
    return this;
  }

  u16(value: number): this {
    const offset = this.grow(2);
    this.bytes.writeUInt16BE(value, offset);
    return this;
  }

  u32(value: number): this {
    const offset = this.grow(4);
    this.bytes.writeUInt32BE(value, offset);
    return this;
  }

  u64(value: number): this {
    assert(Number.isSafeInteger(value) && value >= 0, "a u64 is exact");
    const offset = this.grow(8);
    this.bytes.writeUInt32BE(Math.floor(value / TWO_32), offset);
    this.bytes.writeUInt32BE(value % TWO_32, offset + 4);
    return this;
  }

  raw(value: Uint8Array): this {
    const offset = this.grow(value.length);
    this.bytes.set(value, offset);
    return this;
  }

  hex(value: string): this {
    const bytes = value.length / 2;
    const offset = this.grow(bytes);
    assert(this.bytes.write(value, offset, bytes, "hex") === bytes, "hex digits");
    return this;
  }

  text(value: string): this {
    const encoded = Buffer.from(value);
    assert(encoded.length <= 255, "a short text fits one byte of length");
    return this.u8(encoded.length).raw(encoded);
  }

  /** Overwrites four bytes that were written before, for a length known only at the end. */
  patchU32(offset: number, value: number): this {
    assert(offset + 4 <= this.offset, "a patch is inside");
    this.bytes.writeUInt32BE(value, offset);
    return this;
  }

  get length(): number {
    return this.offset;
  }

  finish(): Buffer {
    return this.bytes.subarray(0, this.offset);
  }

  /** Makes room and returns where it begins. Called before `this.bytes` is read, since it may put another one there. */
  private grow(length: number): number {
    const offset = this.offset;
    this.offset = offset + length;
    if (this.offset > this.bytes.length) {
      const larger = Buffer.allocUnsafe(Math.max(this.offset, this.bytes.length * 2));
      larger.set(this.bytes.subarray(0, offset));
      this.bytes = larger;
    }
    return offset;
  }
}

/** For who has checked that it is there. */
export function u32At(bytes: Uint8Array, at: number): number {
  const high = ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
  return high * 2 ** 16 + (((bytes[at + 2] as number) << 8) | (bytes[at + 3] as number));
}

/** The same for one that must be exact in a double; else throws `PeerError`. */
export function u64At(bytes: Uint8Array, at: number): number {
  const high = u32At(bytes, at);
  if (high >= 2 ** 21) throw new PeerError("malformed", "a number is too large");
  return high * TWO_32 + u32At(bytes, at + 4);
}

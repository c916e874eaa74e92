/**
 * Frames on a stream: u32 length, then that many bytes, of which the first is the message type.
 *
 * `FrameBuffer` takes chunks as the socket delivers them and hands out whole frames, length included, as they were sent. One
 * that fills its chunk is that chunk, one that lies inside it a view of it, not a copy; one cut by a chunk's end is put
 * together in a buffer of its own. A length of zero or over the limit throws before a byte of it is kept, so nothing larger
 * than one frame ever waits here. Whoever made this hears of each chunk that is used up (`onSpent`), but of none that was one
 * frame from end to end: that is whose frame it is.
 */
import { PeerError } from "../errors.ts";
import { limits } from "../limits.ts";

export const FRAME_HEADER_BYTES = 4;
const EMPTY = Buffer.alloc(0);

export class FrameBuffer {
  /** Room for a frame that was cut by the end of its chunk, or for its header only, and how much of it is there. */
  private cut: Buffer | undefined;
  private cutBytes = 0;
  /** The last chunk, and how far it was taken. */
  private rest: Buffer = EMPTY;
  private offset = 0;
  private maxBytes: number = limits.handshakeFrameMaxBytes;

  constructor(private readonly onSpent: (chunk: Buffer) => void = () => {}) {}

  /** The peer is known: from here on frames may be as large as posts are. */
  allowPosts(): void {
    this.maxBytes = limits.frameMaxBytes;
  }

  /** Calls `onFrame` with each whole frame, in order. */
  push(chunk: Buffer, onFrame: (frame: Buffer) => void): void {
    this.add(chunk);
    for (let frame = this.next(); frame !== undefined; frame = this.next()) onFrame(frame);
  }

  /** For who takes frames one by one: the chunk must not change until `next` has none any more. */
  add(chunk: Buffer): void {
    const joined = this.hasRest ? Buffer.concat([this.rest.subarray(this.offset), chunk]) : chunk;
    if (joined !== chunk) this.onSpent(chunk);
    this.drop();
    this.rest = joined;
  }

  /** Takes the next whole frame. */
  next(): Buffer | undefined {
    const { rest, offset } = this;
    if (this.cut === undefined && rest.length - offset >= FRAME_HEADER_BYTES) {
      const end = offset + FRAME_HEADER_BYTES + this.lengthAt(rest, offset);
      if (offset === 0 && end === rest.length) {
        this.rest = EMPTY;
        return rest;
      }
      if (end <= rest.length) {
        this.offset = end;
        return rest.subarray(offset, end);
      }
    }
    return this.hasRest ? this.fill() : this.drop();
  }

  /** Forgets what is left. */
  clear(): void {
    this.cut = undefined;
    this.cutBytes = 0;
    this.drop();
  }

  /** Whether there are bytes that `next` has not looked at. */
  get hasRest(): boolean {
    return this.offset < this.rest.length;
  }

  /** Whether one more whole frame has come. */
  get hasWhole(): boolean {
    const { rest, offset } = this;
    const bytes = rest.length - offset - FRAME_HEADER_BYTES;
    return this.cut === undefined && bytes >= 0 && bytes >= rest.readUInt32BE(offset);
  }

  private drop(): undefined {
    const { rest } = this;
    this.rest = EMPTY;
    this.offset = 0;
    if (rest.length > 0) this.onSpent(rest);
  }

  /** Puts a frame together that was cut: its header first, which tells how much there is to come. */
  private fill(): Buffer | undefined {
    this.cut ??= Buffer.allocUnsafeSlow(FRAME_HEADER_BYTES);
    const taken = this.rest.copy(this.cut, this.cutBytes, this.offset);
    this.offset += taken;
    this.cutBytes += taken;
    const { cut } = this;
    if (this.cutBytes < cut.length) return this.drop();
    if (cut.length === FRAME_HEADER_BYTES) {
      this.cut = Buffer.allocUnsafeSlow(FRAME_HEADER_BYTES + this.lengthAt(cut, 0));
      cut.copy(this.cut);
      return this.fill();
    }
    this.cut = undefined;
    this.cutBytes = 0;
    return cut;
  }

  private lengthAt(bytes: Buffer, offset: number): number {
    const length = bytes.readUInt32BE(offset);
    if (length === 0 || length > this.maxBytes) this.drop();
    if (length === 0) throw new PeerError("malformed", "an empty frame");
    if (length > this.maxBytes) throw new PeerError("too_large", `a frame of ${length} bytes`);
    return length;
  }

  /** Bytes that wait to be taken, or for the rest of their frame. */
  get pendingBytes(): number {
    return this.cutBytes + this.rest.length - this.offset;
  }
}

/**
 * Frames on a stream: u32 length, then that many bytes, of which the first is the message type.
 *
 * `FrameBuffer` takes chunks as the socket delivers them and hands out whole frames. A frame that lies inside one chunk
 * is a view of it, not a copy; only one cut by a chunk's end is put together. A length of zero or over the limit throws
 * before a byte of it is kept, so nothing larger than one frame ever waits here.
 */
import { PeerError } from "../errors.ts";
import { limits } from "../limits.ts";

export const FRAME_HEADER_BYTES = 4;

export class FrameBuffer {
  private pending: Buffer | undefined;
  private maxBytes: number = limits.handshakeFrameMaxBytes;

  /** The peer is known: from here on frames may be as large as posts are. */
  allowPosts(): void {
    this.maxBytes = limits.frameMaxBytes;
  }

  /** Calls `onFrame` with the body (type and payload) of each whole frame, in order. */
  push(chunk: Uint8Array, onFrame: (frame: Uint8Array) => void): void {
    let bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    if (this.pending !== undefined) bytes = this.finish(this.pending, bytes, onFrame);
    let offset = 0;
    while (bytes.length - offset >= FRAME_HEADER_BYTES) {
      const end = offset + FRAME_HEADER_BYTES + this.lengthAt(bytes, offset);
      if (end > bytes.length) break;
      onFrame(bytes.subarray(offset + FRAME_HEADER_BYTES, end));
      offset = end;
    }
    // A view would keep the whole chunk alive for the sake of a few bytes.
    if (offset < bytes.length) this.pending = Buffer.from(bytes.subarray(offset));
  }

  /** Puts together the frame that was cut, and returns what follows it; all the rest stays where it lies. */
  private finish(pending: Buffer, bytes: Buffer, onFrame: (frame: Uint8Array) => void): Buffer {
    this.pending = undefined;
    let cut = pending;
    let used = 0;
    if (cut.length < FRAME_HEADER_BYTES) {
      used = Math.min(FRAME_HEADER_BYTES - cut.length, bytes.length);
      cut = Buffer.concat([cut, bytes.subarray(0, used)]);
    }
    const whole = cut.length < FRAME_HEADER_BYTES ? FRAME_HEADER_BYTES : FRAME_HEADER_BYTES + this.lengthAt(cut, 0);
    const more = Math.min(whole - cut.length, bytes.length - used);
    cut = Buffer.concat([cut, bytes.subarray(used, used + more)]);
    if (cut.length < whole || whole === FRAME_HEADER_BYTES) this.pending = cut;
    else onFrame(cut.subarray(FRAME_HEADER_BYTES));
    return bytes.subarray(used + more);
  }

  private lengthAt(bytes: Buffer, offset: number): number {
    const length = bytes.readUInt32BE(offset);
    if (length === 0) throw new PeerError("malformed", "an empty frame");
    if (length > this.maxBytes) throw new PeerError("too_large", `a frame of ${length} bytes`);
    return length;
  }

  /** Bytes that wait for the rest of their frame. */
  get pendingBytes(): number {
    return this.pending?.length ?? 0;
  }
}

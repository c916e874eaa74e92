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
    let bytes: Buffer =
      this.pending === undefined
        ? Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
        : Buffer.concat([this.pending, chunk]);
    this.pending = undefined;
    while (bytes.length >= FRAME_HEADER_BYTES) {
      const length = bytes.readUInt32BE(0);
      if (length === 0) throw new PeerError("malformed", "an empty frame");
      if (length > this.maxBytes) throw new PeerError("too_large", `a frame of ${length} bytes`);
      if (bytes.length < FRAME_HEADER_BYTES + length) break;
      const frame = bytes.subarray(FRAME_HEADER_BYTES, FRAME_HEADER_BYTES + length);
      bytes = bytes.subarray(FRAME_HEADER_BYTES + length);
      onFrame(frame);
    }
    // A view would keep the whole chunk alive for the sake of a few bytes.
    if (bytes.length > 0) this.pending = Buffer.from(bytes);
  }

  /** Bytes that wait for the rest of their frame. */
  get pendingBytes(): number {
    return this.pending?.length ?? 0;
  }
}

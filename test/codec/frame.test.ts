import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { FRAME_HEADER_BYTES, FrameBuffer } from "../../lib/codec/frame.ts";
import { PeerError } from "../../lib/errors.ts";
import { limits } from "../../lib/limits.ts";
import { framed } from "./page.ts";

/** Feeds chunks and returns copies of what was in the frames that came out. */
function feed(buffer: FrameBuffer, chunks: readonly Uint8Array[]): Uint8Array[] {
  const bodies: Uint8Array[] = [];
  for (const chunk of chunks)
    buffer.push(Buffer.from(chunk), frame => {
      expect(frame.readUInt32BE(0)).toBe(frame.length - FRAME_HEADER_BYTES);
      bodies.push(new Uint8Array(frame.subarray(FRAME_HEADER_BYTES)));
    });
  return bodies;
}

/** Cuts at the given places, in whatever order they come. */
function cut(stream: Buffer, places: readonly number[]): Buffer[] {
  const marks = [0, ...places.map(place => place % (stream.length + 1)).sort((a, b) => a - b), stream.length];
  return marks.slice(1).map((end, index) => stream.subarray(marks[index], end));
}

function withLength(length: number): Uint8Array {
  const header = Buffer.alloc(FRAME_HEADER_BYTES);
  header.writeUInt32BE(length);
  return header;
}

const bodies = fc.array(fc.uint8Array({ minLength: 1, maxLength: limits.handshakeFrameMaxBytes }), { maxLength: 8 });

describe("frame buffer", () => {
  test("frames come out whole and in order, however the stream is cut", () => {
    fc.assert(
      fc.property(bodies, fc.array(fc.nat(), { maxLength: 40 }), (frames, places) => {
        const buffer = new FrameBuffer();
        expect(feed(buffer, cut(Buffer.concat(frames.map(framed)), places))).toEqual(frames);
        expect(buffer.pendingBytes).toBe(0);
      }),
    );
  });

  test("each chunk is told of when it is used up, and not one that a frame fills, since that is whose frame it is", () => {
    fc.assert(
      fc.property(bodies, fc.array(fc.nat(), { maxLength: 40 }), (frames, places) => {
        const stream = Buffer.concat(frames.map(framed));
        const chunks = cut(stream, places).filter(chunk => chunk.length > 0);
        const ends = frames.map((_, index) => Buffer.concat(frames.slice(0, index + 1).map(framed)).length);
        const spent: [at: number, bytes: number, frames: number][] = [];
        let handled = 0;
        const buffer = new FrameBuffer(chunk =>
          spent.push([chunk.byteOffset - stream.byteOffset, chunk.length, handled]),
        );
        for (const chunk of chunks) {
          buffer.push(chunk, () => {
            handled += 1;
          });
        }
        const expected = chunks
          .map(chunk => [chunk.byteOffset - stream.byteOffset, chunk.length] as const)
          .filter(([at, bytes]) => !([0, ...ends].includes(at) && ends.indexOf(at + bytes) === ends.indexOf(at) + 1))
          .map(([at, bytes]): [number, number, number] => [at, bytes, ends.filter(end => end <= at + bytes).length]);
        expect(spent).toEqual(expected);
      }),
    );
  });

  test("what is left of a chunk may be forgotten, and is told of as used up", () => {
    const spent: Buffer[] = [];
    const buffer = new FrameBuffer(chunk => spent.push(chunk));
    const chunk = Buffer.concat([framed(new Uint8Array(5)), framed(new Uint8Array(9)), withLength(3)]);
    buffer.add(chunk);
    expect(buffer.next()).toHaveLength(FRAME_HEADER_BYTES + 5);
    buffer.clear();
    expect([buffer.hasRest, buffer.next(), buffer.pendingBytes, spent.length]).toEqual([false, undefined, 0, 1]);
    feed(buffer, [withLength(3)]);
    buffer.clear();
    expect(feed(buffer, [framed(new Uint8Array(2))])).toEqual([new Uint8Array(2)]);
  });

  test("a stream that comes byte by byte gives the same frames", () => {
    const frames = [new Uint8Array([1]), new Uint8Array(300).fill(7), new Uint8Array([2, 3])];
    const stream = Buffer.concat(frames.map(framed));
    expect(
      feed(
        new FrameBuffer(),
        Array.from(stream, byte => new Uint8Array([byte])),
      ),
    ).toEqual(frames);
  });

  test("the beginning of a frame waits, and says how much of it does", () => {
    const buffer = new FrameBuffer();
    const stream = framed(new Uint8Array(10));
    for (let length = 0; length < stream.length; length++) {
      expect(feed(buffer, [stream.subarray(length, length + 1)])).toHaveLength(length + 1 === stream.length ? 1 : 0);
      expect(buffer.pendingBytes).toBe((length + 1) % stream.length);
    }
  });

  test("what waits does not change when the chunk it came in does", () => {
    const buffer = new FrameBuffer();
    const stream = framed(new Uint8Array([1, 2, 3]));
    const chunk = Buffer.from(stream.subarray(0, 6));
    buffer.push(chunk, () => expect.unreachable());
    chunk.fill(0xff);
    expect(feed(buffer, [stream.subarray(6)])).toEqual([new Uint8Array([1, 2, 3])]);
  });

  test("an empty frame is refused", () => {
    expect(() => feed(new FrameBuffer(), [withLength(0)])).toThrow(PeerError);
  });

  test("before the handshake is over a frame has 1 KiB at most, refused by its length alone", () => {
    const largest = new Uint8Array(limits.handshakeFrameMaxBytes).fill(1);
    expect(feed(new FrameBuffer(), [framed(largest)])).toEqual([largest]);
    expect(() => feed(new FrameBuffer(), [withLength(limits.handshakeFrameMaxBytes + 1)])).toThrow(PeerError);
  });

  test("after it a frame is as large as a post can be, and no larger", () => {
    const buffer = new FrameBuffer();
    buffer.allowPosts();
    const largest = new Uint8Array(limits.frameMaxBytes).fill(1);
    expect(feed(buffer, [framed(largest)])).toEqual([largest]);
    expect(() => feed(buffer, [withLength(limits.frameMaxBytes + 1)])).toThrow(PeerError);
    expect(() => feed(buffer, [withLength(0xffff_ffff)])).toThrow(PeerError);
  });

  test("large frames are allowed for the rest of the very chunk that ended the handshake", () => {
    const buffer = new FrameBuffer();
    const large = new Uint8Array(limits.handshakeFrameMaxBytes + 1);
    const sizes: number[] = [];
    buffer.push(Buffer.concat([framed(new Uint8Array([1])), framed(large)]), frame => {
      sizes.push(frame.length - FRAME_HEADER_BYTES);
      buffer.allowPosts();
    });
    expect(sizes).toEqual([1, large.length]);
  });

  test("any stream gives frames or a peer error, and never keeps more than one frame", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 2000 }), { maxLength: 10 }), chunks => {
        const buffer = new FrameBuffer();
        try {
          feed(buffer, chunks);
        } catch (error) {
          expect(error).toBeInstanceOf(PeerError);
        }
        expect(buffer.pendingBytes).toBeLessThanOrEqual(FRAME_HEADER_BYTES + limits.handshakeFrameMaxBytes);
      }),
    );
  });
});

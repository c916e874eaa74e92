import { describe, expect, test } from "bun:test";
import { Chunks } from "../../lib/net/chunks.ts";

const KiB = 1024;
const chunk = (bytes: number) => Buffer.allocUnsafeSlow(bytes);

describe("a chunk", () => {
  test("that nobody looked at is free at once", () => {
    const read = chunk(512 * KiB);
    new Chunks().giveBack(read);
    expect(read.length).toBe(0);
  });

  test("that was told keeps its bytes until nobody looks at it any more, and views of it have none then", () => {
    const chunks = new Chunks();
    const read = chunk(64 * KiB).fill(7);
    const view = read.subarray(10, 20);
    chunks.keep(read);
    expect(view).toEqual(Buffer.alloc(10, 7));
    chunks.free();
    expect([read.length, view.length]).toEqual([0, 0]);
    chunks.free();
  });

  test("that is small, or a part of something else, is left as it is", () => {
    const chunks = new Chunks();
    const all = chunk(64 * KiB);
    for (const read of [chunk(100), all.subarray(0, 32 * KiB)]) {
      chunks.giveBack(read);
      chunks.keep(read);
    }
    chunks.free();
    expect(all.length).toBe(64 * KiB);
  });

  test("of which too many are still looked at is left to the collector, and not held", () => {
    const chunks = new Chunks();
    const reads = Array.from({ length: 10 }, () => chunk(512 * KiB));
    for (const read of reads) chunks.keep(read);
    chunks.free();
    expect(reads.map(read => read.length)).toEqual([...Array(8).fill(0), 512 * KiB, 512 * KiB]);
    const next = chunk(512 * KiB);
    chunks.keep(next);
    chunks.free();
    expect(next.length).toBe(0);
  });
});

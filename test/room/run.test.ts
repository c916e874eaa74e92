import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { Post } from "../../lib/codec/post.ts";
import { largestPostFrameBytes, PostKind } from "../../lib/codec/post.ts";
import { limits } from "../../lib/limits.ts";
import { Run, Spares } from "../../lib/room/run.ts";
import { Author } from "./fixture.ts";

const alice = new Author("Alice");

function postOf(seq: number, bytes = 20): Post {
  return alice.post(PostKind.text, Buffer.alloc(bytes, String(seq)), { seq });
}

function hex(post: Post | undefined): string | undefined {
  return post?.frame.toString("hex");
}

describe("a run of posts", () => {
  test("holds whatever was put in and not taken out, byte by byte (properties)", () => {
    const step = fc.oneof(
      { weight: 3, arbitrary: fc.integer({ min: 0, max: 3_000 }) },
      { weight: 1, arbitrary: fc.constant(limits.bodyMaxBytes) },
      { weight: 3, arbitrary: fc.constant("drop" as const) },
    );
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2 ** 31 }), fc.array(step, { maxLength: 60 }), (first, steps) => {
        const run = new Run(new Spares(), first);
        const held: (string | undefined)[] = [];
        let [floor, next] = [first, first];
        for (const each of steps) {
          if (each !== "drop") {
            const post = postOf(next, each);
            run.push(post);
            held.push(hex(post));
            next += 1;
          } else if (held.length > 0) {
            run.shift();
            held.shift();
            floor += 1;
          }
        }
        expect(Array.from(held, (_, index) => hex(run.view(floor + index)))).toEqual(held);
        expect([run.view(floor - 1), run.view(next)]).toEqual([undefined, undefined]);
        if (held.length === 0) expect(run.memoryBytes).toBe(0);
      }),
      { numRuns: 200 },
    );
  });

  test("uses its memory again, which what was owned before does not notice", () => {
    const run = new Run(new Spares(), 1);
    const full = limits.bodyMaxBytes;
    let most = 0;
    let [kept, said]: (Post | undefined)[] = [];
    let [floor, buffers] = [1, new Set<ArrayBufferLike>()];
    for (let seq = 1; seq <= 200; seq += 1) {
      const post = postOf(seq, full);
      run.push(post);
      if (seq === 30) [kept, said] = [run.view(30)?.owned, post];
      if (seq > 40) {
        run.shift();
        floor += 1;
      }
      if (seq === 100) buffers = new Set();
      const view = run.view(seq);
      if (view !== undefined) buffers.add(view.frame.buffer);
      most = Math.max(most, run.memoryBytes);
    }
    expect(floor).toBe(161);
    expect(hex(kept) === hex(said)).toBe(true);
    // 41 posts, in pieces of which one is being filled and one being emptied.
    expect(most).toBeLessThanOrEqual((41 + 8) * largestPostFrameBytes);
    expect(buffers.size).toBeLessThanOrEqual(14);
  });

  test("takes little for little, and hardly more than twice what was said", () => {
    const run = new Run(new Spares(), 1);
    run.push(postOf(1));
    expect(run.memoryBytes).toBe(512);
    let said = 0;
    for (let seq = 2; seq < 500; seq += 1) {
      const post = postOf(seq, 100);
      said += post.frame.length;
      run.push(post);
      expect(run.memoryBytes).toBeLessThanOrEqual(2 * said + 2_048);
    }
  });
});

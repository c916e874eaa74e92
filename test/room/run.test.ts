import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { largestPostFrameBytes, Post, PostKind } from "../../lib/codec/post.ts";
import { limits } from "../../lib/limits.ts";
import { Run, Spares } from "../../lib/room/run.ts";
import { Author } from "./fixture.ts";

const alice = new Author("Alice");

function postOf(seq: number, bytes = 20): Post {
  return alice.post(PostKind.text, Buffer.alloc(bytes, String(seq)), { seq });
}

/** Puts a post in as who makes it does: written where it will lie. */
function write(run: Run, { frame, seq }: Post): Buffer {
  const place = run.reserve(frame.length, seq);
  place.set(frame);
  run.push(new Post(place, true));
  return place;
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
      { weight: 1, arbitrary: fc.constant("turn" as const) },
    );
    const entry = fc.tuple(step, fc.boolean());
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2 ** 31 }), fc.array(entry, { maxLength: 60 }), (first, steps) => {
        const spares = new Spares();
        const run = new Run(spares, first);
        const held: (string | undefined)[] = [];
        let [floor, next] = [first, first];
        for (const [each, inPlace] of steps) {
          if (each === "turn") spares.endTurn();
          else if (each !== "drop") {
            const post = postOf(next, each);
            if (inPlace) write(run, post);
            else run.push(post);
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

  test("leaves a frame that was lent as it is until the next turn is over, however much is said", () => {
    const spares = new Spares();
    const run = new Run(spares, 1);
    const full = limits.bodyMaxBytes;
    let seq = 0;
    let lent: { readonly place: Buffer; readonly said: string }[] = [];
    const say = (posts: number) => {
      for (let count = 0; count < posts; count += 1) {
        seq += 1;
        const post = postOf(seq, full);
        lent.push({ place: write(run, post), said: Bun.SHA256.hash(post.frame, "hex") });
        if (seq > 8) run.shift();
      }
    };
    const spoilt = () => lent.filter(({ place, said }) => Bun.SHA256.hash(place, "hex") !== said).length;
    say(60);
    expect(spoilt()).toBe(0);
    spares.endTurn();
    say(60);
    expect(spoilt()).toBe(0);
    const buffers = new Set(lent.map(({ place }) => place.buffer));
    lent = [];
    for (let turn = 0; turn < 20; turn += 1) {
      spares.endTurn();
      say(1);
    }
    // And then it is used again.
    expect(lent.filter(({ place }) => buffers.has(place.buffer)).length).toBeGreaterThanOrEqual(8);
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

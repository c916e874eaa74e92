import { describe, expect, test } from "bun:test";
import { OPEN_END } from "../../lib/codec/message.ts";
import { encodeTexts, type Post, PostKind } from "../../lib/codec/post.ts";
import { limits } from "../../lib/limits.ts";
import { Author, Bench, forgery } from "./fixture.ts";

/** Bob and Carol are linked to us; Carol gets what Bob says from us only where we relay. */
function room({ isVolatile = false, relays = false } = {}) {
  const [bob, carol] = [new Author("Bob"), new Author("Carol")];
  const bench = new Bench([bob, carol], { isVolatile });
  bench.meet(bob, 1);
  bench.meet(carol, 3);
  for (const [link, author] of [
    [1, carol],
    [3, bob],
  ] as const)
    bench.receive(link, { type: "prune", streams: [{ author: author.member, session: 1 }] });
  const wanted = (from: number) =>
    bench.receive(3, { type: "want", entries: [{ author: bob.member, session: 1, from, to: OPEN_END }] });
  if (relays) wanted(1);
  bench.checks = 0;
  const tells = (effects: readonly string[]) => effects.filter(effect => effect.startsWith("tell"));
  return { bob, carol, bench, wanted, tells };
}

const words = (count: number) => Array.from({ length: count }, (_, nth) => `${nth + 1}`);

/** A post under a wrong signature, and one of its author's that vouches for it. */
function badlySigned(author: Author): [Post, Post] {
  const bad = forgery(author.text("bad"));
  return [bad, author.post(PostKind.text, encodeTexts(["good"]), { before: bad.imprint })];
}

describe("posts in a row, each with the imprint of the one before,", () => {
  test("are what we say", () => {
    const { bench } = room();
    for (const text of ["one", "two"]) bench.handle({ type: "say", texts: [text] });
    const { self } = { self: bench.node.log.get(bench.me.member, 1) };
    const [one, two] = [self?.get(1), self?.get(2)];
    if (self === undefined || one === undefined || two === undefined) throw new Error("both are kept");
    expect([self.first.before, one.vouchesFor(self.first), two.vouchesFor(one)]).toEqual([undefined, true, true]);
  });

  test("wait for the last, whose signature alone is checked, and are then kept and told in order", () => {
    const { bob, bench } = room();
    const [one, two, three] = bob.row("1", "2", "3") as [Post, Post, Post];
    expect(bench.post(1, one, true)).toEqual([]);
    expect(bench.post(1, two, true)).toEqual([]);
    expect(bench.post(1, three)).toEqual(
      words(3).flatMap(n => [`persist Bob ${n} text "${n}"`, `tell said Bob ${n} text "${n}"`]),
    );
    expect(bench.checks).toBe(1);
  });

  test("wait no longer than a moment where nothing follows after all", () => {
    const { bob, bench } = room();
    bench.post(1, bob.text("1"), true);
    expect(bench.node.wakeAt).toBe(bench.now);
    expect(bench.handle({ type: "tick" })).toContain('tell said Bob 1 text "1"');
    bench.post(1, bob.text("2"), true);
    expect(bench.receive(3, { type: "ping", token: 1 })[0]).toBe('persist Bob 2 text "2"');
  });

  test("are told at once where nothing is stored, and checked by one signature all the same", () => {
    const { bob, bench, tells } = room({ isVolatile: true });
    const row = bob.row(...words(limits.uncheckedMaxPosts));
    expect(tells(bench.posts(1, row))).toHaveLength(row.length);
    expect(bench.checks).toBe(0);
    bench.wait(limits.checkWithinMs);
    expect(bench.checks).toBe(1);
  });

  test("must stay where they lie until they are checked, unless they were told", () => {
    const { bob, bench } = room();
    expect(bench.node.isSettled).toBe(true);
    bench.post(1, bob.text("1"), true);
    expect(bench.node.isSettled).toBe(false);
    bench.handle({ type: "tick" });
    expect(bench.node.isSettled).toBe(true);
    const { bob: other, bench: second } = room({ isVolatile: true });
    second.post(1, other.text("1"));
    expect(second.node.isSettled).toBe(true);
  });

  test("are checked in lots, and a lone one at once", () => {
    const { bob, bench, tells } = room();
    const row = bob.row(...words(limits.uncheckedMaxPosts + 2));
    expect(tells(bench.posts(1, row))).toHaveLength(row.length);
    expect(bench.checks).toBe(3);
    expect(tells(bench.post(1, bob.text("alone")))).toHaveLength(1);
    expect(bench.checks).toBe(4);
  });

  test("are checked one by one where they bear no imprint, a few at a time", () => {
    for (const isVolatile of [false, true]) {
      const { bob, bench, tells } = room({ isVolatile });
      const texts = words(20).map(text => bob.text(text));
      expect(tells(bench.posts(1, texts))).toHaveLength(texts.length);
      expect(bench.checks).toBeGreaterThanOrEqual(isVolatile ? limits.uncheckedMaxRows : texts.length);
      bench.wait(limits.checkWithinMs);
      expect(bench.checks).toBe(texts.length);
    }
  });

  test("that were not told wait no longer for those that were", () => {
    const { bob, carol, bench, tells, wanted } = room({ isVolatile: true });
    expect(tells(bench.post(3, carol.text("told")))).toHaveLength(1);
    wanted(1);
    expect(tells(bench.post(1, bob.text("to be handed on"), true))).toHaveLength(0);
    expect(bench.node.wakeAt).toBe(bench.now);
    expect(tells(bench.handle({ type: "tick" }))).toHaveLength(1);
  });

  test("of several authors keep the order in which they came", () => {
    const { bob, carol, bench, tells } = room();
    const [b1, b2] = bob.row("question", "thanks") as [Post, Post];
    const [c1, c2] = carol.row("answer", "welcome") as [Post, Post];
    expect(tells(bench.posts(3, [b1, c1, b2, c2]))).toEqual([
      'tell said Bob 1 text "question"',
      'tell said Carol 1 text "answer"',
      'tell said Bob 2 text "thanks"',
      'tell said Carol 2 text "welcome"',
    ]);
    expect(bench.checks).toBe(2);
  });

  test("are checked one by one where they are handed on, and only once", () => {
    const { bob, bench, wanted } = room();
    bench.posts(1, bob.row(...words(3)));
    expect(bench.checks).toBe(1);
    const sent = words(3).map(n => `send 3: post Bob ${n} text "${n}"`);
    expect(wanted(1)).toEqual(sent);
    expect(bench.checks).toBe(1 + 3);
    expect(wanted(1)).toEqual(sent);
    expect(bench.checks).toBe(1 + 3);
    // From now on Carol gets them at once.
    bench.posts(1, bob.row("4", "5"));
    expect(bench.checks).toBe(4 + 2);
  });
});

describe("a post whose own signature is wrong", () => {
  test("is told where a later one vouches for it, and handed to nobody", () => {
    const { bob, bench, wanted, tells } = room();
    const before = bob.row("before");
    const bad = badlySigned(bob);
    expect(tells(bench.posts(1, [...before, ...bad]))).toHaveLength(3);
    // It goes, and what lies before it; nobody is blamed.
    expect(wanted(1)).toEqual([
      'send 3: post Bob 1 text "before"',
      "send 3: have news [Bob/1 3-3]",
      'send 3: post Bob 3 text "good"',
    ]);
    expect(bench.node.log.get(bob.member, 1)?.floor).toBe(3);
  });

  test("reaches nobody at once either", () => {
    const { bob, bench, tells } = room({ relays: true });
    const effects = bench.posts(1, badlySigned(bob));
    expect(tells(effects)).toHaveLength(2);
    expect(effects.filter(effect => /^send .*: post/.test(effect))).toEqual(['send 3: post Bob 2 text "good"']);
  });

  test("is a fault where it comes alone, or last, and nothing of its row is kept", () => {
    const { bob, bench } = room();
    const row = bob.row("1", "2", "3");
    const effects = bench.posts(1, [...row.slice(0, 2), forgery(row[2] as Post)]);
    expect(effects.slice(0, 2)).toEqual(["close 1: fault", "blame 1: bad_signature"]);
    expect(bench.node.log.get(bob.member, 1)?.head).toBe(0);
    const { bob: other, bench: second } = room();
    expect(second.post(1, forgery(other.text("1")))).toContain("blame 1: bad_signature");
  });

  test("that somebody on the way has put in its place is found out, since the imprint covers it", () => {
    const { bob, bench, tells } = room();
    const [one, two, three] = bob.row("1", "2", "3") as [Post, Post, Post];
    const effects = bench.posts(3, [one, forgery(two), three]);
    expect(effects).toContain("blame 3: bad_signature");
    expect(tells(effects).filter(effect => effect.includes("said"))).toEqual([]);
    expect(tells(bench.posts(1, [one, two, three]))).toHaveLength(3);
  });

  test("is not laid to the charge of who brought the one before it", () => {
    const { bob, bench } = room();
    const [one, two] = bob.row("1", "2") as [Post, Post];
    bench.post(1, one, true);
    const effects = bench.post(3, forgery(two));
    expect(effects).toContain('tell said Bob 1 text "1"');
    expect(effects).toContain("blame 3: bad_signature");
    expect(effects).not.toContain("blame 1: bad_signature");
  });

  test("and that was stored in an earlier run is not handed on in this one", () => {
    const bob = new Author("Bob");
    const add = bob.add();
    const [bad, good] = badlySigned(bob);
    const bench = new Bench([bob], { joining: true, restored: [add, bad, good] });
    expect(bench.node.log.get(bob.member, 1)?.retained).toBe(2);
    const carol = new Author("Carol");
    bench.meet(carol, 3);
    const entries = [{ author: bob.member, session: 1, from: 1, to: OPEN_END }];
    expect(bench.receive(3, { type: "want", entries }).filter(effect => effect.includes("post Bob"))).toEqual([
      'send 3: post Bob 2 text "good"',
    ]);
  });
});

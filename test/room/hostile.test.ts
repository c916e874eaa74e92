/**
 * Bad input to one core, of the kinds that no signature stops: each costs its sender, and is bounded for everybody else.
 *
 * What is forged, and what floods, is in test/hostile; what an honest room does, in node.test.ts.
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { encode, type HaveEntry, OPEN_END, type StreamKey } from "../../lib/codec/message.ts";
import { encodeLosses, encodeTexts, PostKind } from "../../lib/codec/post.ts";
import { limits } from "../../lib/limits.ts";
import { World } from "../sim/world.ts";
import { Author, Bench } from "./fixture.ts";

/** A storm is 16,000 sessions, and the machine may be busy. */
setDefaultTimeout(60_000);

/** Longer than a node takes to gain what one more session costs. */
const OPENING_MS = 80;
const YEAR_9999 = 253_370_764_800_000;

/** Me in the middle: Bob by link 1, Carol by 3, Mallory by 5. */
function scene() {
  const [bob, carol, mallory] = [new Author("Bob"), new Author("Carol"), new Author("Mallory")];
  const bench = new Bench([bob, carol, mallory]);
  bench.meet(bob, 1);
  bench.meet(carol, 3);
  bench.meet(mallory, 5);
  return { bench, bob, carol, mallory };
}

function keyOf({ member: author, session }: Author): StreamKey {
  return { author, session };
}

function entry(author: Author, floor: number, head: number): HaveEntry {
  return { ...keyOf(author), floor, head };
}

function only(lines: readonly string[], start: string): string[] {
  return lines.filter(line => line.startsWith(start));
}

describe("a digest of what does not exist", () => {
  test("told again and again costs a few wants a second, all of them to the liar", () => {
    const { bench, bob } = scene();
    const effects: string[] = [];
    for (let round = 0; round < 100; round += 1) {
      effects.push(
        ...bench.receive(5, { type: "have", scope: "news", entries: [entry(bob, 1, 4_000_000_000 + round)] }),
      );
      effects.push(...bench.wait(100));
    }
    const wants = effects.filter(line => line.includes("want"));
    expect(wants.length).toBeGreaterThan(0);
    expect(wants.length).toBeLessThanOrEqual(12);
    expect(wants.filter(line => !line.startsWith("send 5: "))).toEqual([]);
    expect(bench.post(1, bob.text("still heard"))).toContain('tell said Bob 1 text "still heard"');
  });

  test("of our own session does not keep from the liar what we say next", () => {
    const { bench } = scene();
    bench.receive(5, { type: "have", scope: "last", entries: [entry(bench.me, 1, 1_000)] });
    expect(bench.handle({ type: "say", texts: ["hello"] })).toContain('send 1+3+5: post Me 1 text "hello"');
  });

  test("whose floor lies ahead does not make us pass over what somebody still has", () => {
    const { bench, bob } = scene();
    const posts = Array.from({ length: 5 }, (_, index) => bob.text(`text ${index + 1}`));
    bench.receive(3, { type: "have", scope: "news", entries: [entry(bob, 1, 5)] });
    bench.receive(5, { type: "have", scope: "news", entries: [entry(bob, 5, 5)] });
    const last = posts.at(-1);
    if (last === undefined) throw new Error("five posts");
    const told = [...bench.post(5, last), ...bench.wait(10_000), ...bench.post(5, last)];
    expect(only(told, "tell said")).toEqual([]);
    expect(told.filter(line => line === "send 3: want [Bob/1 1-∞]").length).toBeGreaterThan(0);
    const healed = posts.flatMap(post => bench.post(3, post));
    expect(only(healed, "tell said")).toEqual(
      posts.map((_, index) => `tell said Bob ${index + 1} text "text ${index + 1}"`),
    );
  });
});

describe("a want", () => {
  test("of everything, over and over, gets no more than the link's credit until it has drained", () => {
    const { bench, mallory } = scene();
    const text = "x".repeat(limits.bodyMaxBytes);
    for (let count = 0; count < 8; count += 1) bench.handle({ type: "say", texts: [text] });
    const entries = [{ ...keyOf(bench.me), from: 0, to: OPEN_END }];
    let sent = 0;
    for (let time = 0; time < 1_000; time += 1)
      sent += only(bench.receive(5, { type: "want", entries }), "send 5: post Me").length;
    // Post 0, which is small, comes with each of them.
    expect(sent).toBeLessThan(2 * (limits.linkCreditBytes / limits.bodyMaxBytes) + 2);
    expect(bench.post(5, mallory.text("hi"))).toContain('tell said Mallory 1 text "hi"');
    expect(bench.handle({ type: "say", texts: ["to the others"] })).toContain(
      'send 1+3: post Me 9 text "to the others"',
    );
  });

  test("that ends before it begins, or names nobody's session, is answered by nothing", () => {
    const { bench, bob } = scene();
    bench.handle({ type: "say", texts: ["hello"] });
    const entries = [
      { ...keyOf(bench.me), from: 1, to: 0 },
      { ...keyOf(bench.me), from: OPEN_END, to: OPEN_END },
      { ...keyOf(bob), session: 0, from: 0, to: OPEN_END },
    ];
    expect(bench.receive(5, { type: "want", entries })).toEqual([]);
  });
});

describe("a lost for somebody who is there", () => {
  const missing = (who: Author, head: number) => encodeLosses([{ member: who.member, session: who.session, head }]);

  test("whom we only hear of is believed, and put right by the next thing that member says", () => {
    const { bench, carol, mallory } = scene();
    const dora = new Author("Dora");
    bench.post(3, dora.add());
    const told = bench.post(5, mallory.post(PostKind.lost, missing(dora, 0)));
    expect(only(told, "tell")).toEqual([`tell left ${dora.member} Dora lost`]);
    expect(only(bench.post(3, dora.add()), "tell")).toEqual([`tell joined ${dora.member} false`]);
    // The same report again is about what is past.
    expect(only(bench.post(5, mallory.post(PostKind.lost, missing(dora, 0))), "tell")).toEqual([]);
    expect(bench.node.members.get(dora.member)?.present).toBe(true);
    expect(bench.node.members.get(carol.member)?.present).toBe(true);
  });

  test("said of more of its posts to come than are remembered does not silence it", () => {
    const { bench, mallory } = scene();
    const dora = new Author("Dora");
    bench.post(3, dora.add());
    for (let head = 1; head <= 100; head += 1) bench.post(5, mallory.post(PostKind.lost, missing(dora, head)));
    for (let count = 0; count < limits.lossesPerSessionMax + 1; count += 1) bench.post(3, dora.text("here"));
    expect(bench.node.members.get(dora.member)?.present).toBe(true);
  });

  test("who is linked to us does not end that link, nor is it told when the link is all there is", () => {
    const { bench, bob, mallory } = scene();
    const told = bench.post(5, mallory.post(PostKind.lost, missing(bob, 0)));
    expect([only(told, "tell"), only(told, "close")]).toEqual([[], []]);
    expect(bench.node.linkTo(bob.member)?.link).toBe(1);
    expect(bench.post(1, bob.text("I am here"))).toContain('tell said Bob 1 text "I am here"');
  });
});

describe("a storm of adds", () => {
  test("of one member's sessions leaves the newest, and as many as one member may have", () => {
    const { bench, mallory } = scene();
    const before = bench.node.log.sessions;
    for (let session = 2; session < 1_000; session += 1) {
      bench.now += OPENING_MS;
      bench.post(3, new Author("Mallory", session).add());
    }
    expect([...bench.node.log.sessionsOf(mallory.member)]).toHaveLength(limits.sessionsPerMemberMax);
    expect(bench.node.log.sessions - before).toBeLessThan(limits.sessionsPerMemberMax);
    expect(bench.node.members.get(mallory.member)?.stream.session).toBe(999);
    expect(bench.node.members.presentCount).toBe(4);
  });

  test("of one session is told as renames and kept as posts, within the log", () => {
    const { bench, mallory } = scene();
    const before = bench.node.log.sessions;
    for (let count = 0; count < 1_000; count += 1) bench.post(5, mallory.add(`M${count}`));
    expect(bench.node.log.sessions).toBe(before);
    expect(bench.node.members.presentCount).toBe(4);
    expect(bench.node.members.displayName(mallory.member)).toBe("M999");
  });

  test("of members made up is kept up to the limits, and those who were there notice nothing", () => {
    const { bench, bob, carol } = scene();
    for (let count = 0; count < limits.sessionsMax + 200; count += 1) {
      bench.now += OPENING_MS;
      bench.post(5, new Author(`Sybil${count}`).add());
    }
    expect(bench.node.log.sessions).toBeLessThanOrEqual(limits.sessionsMax);
    expect(bench.node.log.posts).toBeLessThanOrEqual(limits.logMaxPosts);
    expect(bench.post(1, bob.text("hello"))).toContain('tell said Bob 1 text "hello"');
    for (const { member } of [bench.me, bob, carol]) expect(bench.node.members.get(member)?.present).toBe(true);
    // And there is room for a newcomer.
    const dora = new Author("Dora");
    expect(bench.post(1, dora.add())).toContain(`tell joined ${dora.member} false`);
    for (let count = 0; count < 1_000; count += 1) {
      bench.now += OPENING_MS;
      bench.post(5, new Author(`Another${count}`).add());
    }
    expect(bench.node.members.get(dora.member)?.present).toBe(true);
  });
});

describe("members made up, whose posts somebody says to hand on,", () => {
  /** Mallory's creature, which we only know of by Mallory. */
  const creature = (bench: Bench) => {
    const sybil = new Author("Sybil");
    bench.post(5, sybil.add());
    return sybil;
  };

  test("are let pass once they have had their share, and what others say by the same link is told", () => {
    const { bench, bob, carol } = scene();
    const sybil = creature(bench);
    bench.post(1, bob.text("I am talking"));
    const told = Array.from({ length: 2_000 }, () => bench.post(5, sybil.text("spam")));
    const taken = told.filter(effects => only(effects, "tell").length > 0).length;
    // A fifth of a millisecond each; links that came up together share what there is for newcomers.
    expect(taken).toBeGreaterThan(20);
    expect(taken).toBeLessThan(5.1 * limits.relayedStartMs);
    expect(told.at(taken)).toEqual([`send 5: prune [${sybil.member}/1]`]);
    // At once, and then now and again, should the first have been lost.
    expect(told.slice(taken).flat().length).toBeLessThan(300);
    expect(only(bench.post(5, carol.text("by way of Mallory")), "tell")).toHaveLength(1);
    expect(bench.node.linkTo(new Author("Mallory").member)?.link).toBe(5);
  });

  test("are asked for what was let pass, a few posts at a time, and nothing of it is missing", () => {
    const { bench, bob } = scene();
    const sybil = creature(bench);
    const said = Array.from({ length: 500 }, (_, index) => sybil.text(`${index}`));
    const told = said.flatMap(post => {
      bench.post(1, bob.text("I am talking"));
      return bench.post(5, post);
    });
    const wants: string[] = [];
    for (let ms = 0; ms < 60_000 && !wants.at(-1)?.includes("∞"); ms += 100) {
      bench.post(1, bob.text("still talking"));
      for (const line of bench.wait(100)) {
        const [, from, to] = /want \[.* (\d+)-(\d+|∞)\]/.exec(line) ?? [];
        if (from === undefined) continue;
        wants.push(line);
        for (const post of said.slice(Number(from) - 1, to === "∞" ? said.length : Number(to)))
          told.push(...bench.post(5, post));
      }
    }
    expect(wants.length).toBeGreaterThan(2);
    for (const want of wants) expect(want).toStartWith(`send 5: want [${sybil.member}/1 `);
    const heard = only(told, `tell said ${sybil.member}`);
    expect(heard).toEqual(said.map((_, index) => `tell said ${sybil.member} ${index + 1} text "${index}"`));
    // And what comes then is heard as ever.
    expect(only(bench.post(5, sybil.text("next")), "tell")).toHaveLength(1);
  });

  test("have as few of their posts checked where the one before is missing", () => {
    const { bench, bob } = scene();
    const sybil = creature(bench);
    sybil.text("never told");
    bench.post(1, bob.text("I am talking"));
    const before = bench.checks;
    for (let count = 0; count < 2_000; count += 1) bench.post(5, sybil.text("ahead"));
    expect(bench.checks - before).toBeLessThan(5.1 * limits.relayedStartMs);
  });

  test("may say as much as they like while nobody else does", () => {
    const { bench } = scene();
    const sybil = creature(bench);
    bench.wait(limits.conversationMs);
    for (let count = 0; count < 2_000; count += 1)
      expect(only(bench.post(5, sybil.text("alone")), "tell")).toHaveLength(1);
  });

  test("are no longer let pass once they turn out to be there, by a link of their own", () => {
    const { bench, bob } = scene();
    const sybil = creature(bench);
    bench.post(1, bob.text("I am talking"));
    let next = sybil.text("first");
    while (only(bench.post(5, next), "tell").length > 0) next = sybil.text("more");
    bench.handle({ type: "up", link: 7, peer: bench.peerOf(sybil), dialled: false });
    expect(only(bench.post(7, next), "tell")).toHaveLength(1);
    expect(only(bench.post(7, sybil.text("and more")), "tell")).toHaveLength(1);
  });

  test("get no more together than one, and little on credit, however many they are", () => {
    const { bench, bob } = scene();
    const sybils = Array.from({ length: 50 }, (_, index) => new Author(`Sybil${index}`));
    for (const sybil of sybils) bench.post(5, sybil.add());
    let taken = 0;
    const rounds = 200;
    for (let round = 0; round < rounds; round += 1) {
      bench.post(1, bob.text("I am talking"));
      bench.wait(20);
      for (const sybil of sybils) taken += only(bench.post(5, sybil.text("spam")), "tell").length;
    }
    // Who has said little may be heard on credit.
    const gainedMs = limits.allowancePerSecondMs * ((rounds * 20) / 1_000);
    expect(taken).toBeLessThan(5 * (limits.relayedStartMs + gainedMs + limits.quietDebtMs));
    expect(only(bench.post(1, bob.text("I am still heard")), "tell")).toHaveLength(1);
  });

  test("are opened as fast as they come while nobody talks, as where two halves of a room meet again", () => {
    const { bench } = scene();
    bench.wait(limits.conversationMs);
    const sybils = Array.from({ length: 2_000 }, (_, index) => new Author(`Sybil${index}`));
    for (const sybil of sybils) expect(only(bench.post(5, sybil.add()), "tell")).toHaveLength(1);
  });

  test("are not even opened beyond so many a second while others talk, nor asked about, but who has a link of its own is", () => {
    const { bench, bob } = scene();
    bench.post(1, bob.text("I am talking"));
    const sybils = Array.from({ length: 2_000 }, (_, index) => new Author(`Sybil${index}`));
    const opened = sybils.filter(sybil => only(bench.post(5, sybil.add()), "tell").length > 0).length;
    expect(opened).toBeGreaterThan(10);
    expect(opened).toBeLessThan(2.1 * limits.relayedStartMs);
    const last = new Author("Sybil1999");
    bench.post(1, bob.text("I am still talking"));
    expect(bench.receive(5, { type: "have", scope: "news", entries: [entry(last, 1, 0)] })).toEqual([]);
    const dora = new Author("Dora");
    bench.handle({ type: "up", link: 7, peer: bench.peerOf(dora), dialled: false });
    expect(only(bench.post(7, dora.add()), "tell")).toEqual([`tell joined ${dora.member} false`]);
    bench.wait(OPENING_MS);
    expect(bench.receive(5, { type: "have", scope: "news", entries: [entry(last, 1, 0)] })).toEqual([
      `send 5: want [${last.member}/1 0-∞]`,
    ]);
  });

  test("cost a newcomer nothing of what it asked for", () => {
    const bob = new Author("Bob");
    const bench = new Bench([bob], { joining: true });
    bench.meet(bob, 1);
    const sybils = Array.from({ length: 2_000 }, (_, index) => new Author(`Sybil${index}`));
    for (const sybil of sybils) for (const post of [sybil.add(), sybil.text("x")]) bench.post(1, post);
    expect(bench.node.log.sessions).toBe(2_002);
    expect(bench.node.log.posts).toBe(2_000);
  });
});

describe("a session that was forgotten for want of room", () => {
  test("is not told twice when it is heard of again", () => {
    const { bench } = scene();
    const dora = new Author("Dora");
    const add = dora.add();
    const text = dora.text("once");
    // Brought by the same neighbour as all that were made up.
    bench.post(5, add);
    expect(bench.post(5, text)).toContain(`tell said ${dora.member} 1 text "once"`);
    const isKnown = () => bench.node.log.get(dora.member, 1) !== undefined;
    for (let count = 0; isKnown() && count < 4 * limits.sessionsMax; count += 1) {
      const sybil = new Author(`Sybil${count}`);
      bench.now += OPENING_MS;
      bench.post(5, sybil.add());
      bench.post(5, sybil.text("x"));
    }
    expect([isKnown(), bench.node.members.get(dora.member)]).toEqual([false, undefined]);
    expect(only(bench.post(3, add), "tell")).toEqual([`tell joined ${dora.member} false`]);
    expect(only(bench.post(3, text), "tell")).toEqual([]);
    expect(bench.post(3, dora.text("again"))).toContain(`tell said ${dora.member} 2 text "again"`);
  });
});

describe("two posts at one number", () => {
  test("ahead of a hole are found out once it is filled; the first one counts, and the talk goes on", () => {
    const { bench, bob, mallory } = scene();
    const [first, white] = [mallory.text("first"), mallory.text("white")];
    const black = new Author("Mallory").post(PostKind.text, encodeTexts(["black"]), { seq: 2 });
    expect([...bench.post(5, white), ...bench.post(3, black)]).toEqual([]);
    expect(only(bench.post(5, first), "tell")).toEqual([
      'tell said Mallory 1 text "first"',
      'tell said Mallory 2 text "white"',
    ]);
    expect(bench.post(3, black)).toEqual(["tell equivocated Mallory"]);
    const { checks } = bench;
    for (let count = 0; count < 100; count += 1) expect(bench.post(3, black)).toEqual([]);
    expect(bench.checks).toBe(checks);
    // Carol, who showed it to us, is not blamed for what Mallory has signed.
    expect(bench.node.linkTo(new Author("Carol").member)?.link).toBe(3);
    expect(bench.post(1, bob.text("hello"))).toContain('tell said Bob 1 text "hello"');
    expect(bench.post(5, mallory.text("third"))).toContain('tell said Mallory 3 text "third"');
  });
});

describe("a session from the future", () => {
  test("binds its own key and nobody else: later runs are turned away until that time", () => {
    const { bench, bob } = scene();
    const future = new Author("Mallory", YEAR_9999);
    bench.post(1, future.add());
    expect(bench.node.members.get(future.member)?.stream.session).toBe(YEAR_9999);
    const effects = bench.handle({ type: "up", link: 7, peer: bench.peerOf(new Author("Mallory", 2)), dialled: false });
    expect(effects).toEqual(["send 7: post Mallory 0 add", "close 7: duplicate"]);
    expect(bench.post(1, bob.text("hello"))).toContain('tell said Bob 1 text "hello"');
  });

  test("with a clock to match does not move ours beyond what is allowed", () => {
    const { bench, mallory } = scene();
    bench.post(5, mallory.post(PostKind.text, encodeTexts(["soon"]), { clock: Number.MAX_SAFE_INTEGER }));
    bench.handle({ type: "say", texts: ["now"] });
    const own = () => {
      const stream = bench.node.log.get(bench.me.member, bench.me.session);
      return stream?.get(stream.head)?.clock ?? 0;
    };
    const first = own();
    bench.now += 1_000;
    bench.handle({ type: "say", texts: ["a second later"] });
    expect(first).toBeLessThan(Number.MAX_SAFE_INTEGER / 2);
    expect(own() - first).toBeLessThanOrEqual(1_000_000);
  });

  test("far ahead of its name's holder does not take the name", () => {
    const { bench, bob } = scene();
    const other = new Author("bob", YEAR_9999, 1_000);
    bench.post(5, other.add());
    expect(bench.node.members.displayName(bob.member)).toBe("Bob");
    expect(bench.node.members.displayName(other.member)).toBe(`bob#${other.member.slice(0, 4)}`);
  });
});

describe("a member that prunes everyone", () => {
  test("is not sent what is said, and all others are", () => {
    const { bench, bob, carol, mallory } = scene();
    const strangers = Array.from({ length: limits.digestEntriesMax - 4 }, (_, session) => ({
      author: "0000000000000000",
      session,
    }));
    const streams = [bench.me, bob, carol, mallory].map(keyOf);
    const sessions = bench.node.log.sessions;
    for (let time = 0; time < 100; time += 1)
      expect(bench.receive(5, { type: "prune", streams: [...streams, ...strangers] })).toEqual([]);
    expect(bench.node.log.sessions).toBe(sessions);
    expect(bench.handle({ type: "say", texts: ["hello"] })).toContain('send 1+3: post Me 1 text "hello"');
  });

  test("is told of what it misses, and gets it when it asks", () => {
    const { bench } = scene();
    bench.receive(5, { type: "prune", streams: [keyOf(bench.me)] });
    bench.handle({ type: "say", texts: ["hello"] });
    const later = bench.wait(limits.haveIntervalMs * limits.haveRounds * 2);
    expect(later.filter(line => /^send 5: have news .*\bMe\/1 1-1\b/.test(line)).length).toBeGreaterThan(0);
    const entries = [{ ...keyOf(bench.me), from: 1, to: OPEN_END }];
    expect(bench.receive(5, { type: "want", entries })).toEqual(['send 5: post Me 1 text "hello"']);
  });

  test("in a room too large for a full mesh keeps nothing from anybody", () => {
    const world = new World({ seed: 7, latencyMs: [10, 50] });
    const founder = world.add();
    for (let count = 1; count < 48; count += 1) {
      world.runFor(30);
      world.add(founder);
    }
    world.runFor(30_000);
    const [mallory, ...others] = world.nodes.toReversed();
    const pruneAll = () => {
      const streams = others.map(({ member: author, ownStream }) => ({ author, session: ownStream?.session ?? 0 }));
      const frame = encode({ type: "prune", streams });
      for (const link of mallory?.links.keys() ?? []) if (mallory !== undefined) world.send(mallory, link, frame);
    };
    for (let count = 0; count < 60; count += 1) {
      pruneAll();
      others[count % others.length]?.say(`text ${count}`);
      world.runFor(100);
    }
    world.runFor(10_000);
    const missing = others.filter(node => node.heard.length !== 60).map(node => [node.index, node.heard.length]);
    expect(missing).toEqual([]);
    expect(world.violations).toEqual([]);
  });
});

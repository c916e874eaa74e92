/**
 * What one member can make another keep, send or do by talking nonsense at it: bounded, each, by a number in limits.ts.
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import type { HaveEntry } from "../../lib/codec/message.ts";
import { encodeLosses, encodeTexts, PostKind, sealPost } from "../../lib/codec/post.ts";
import { limits } from "../../lib/limits.ts";
import { Log } from "../../lib/room/log.ts";
import { Hand, join, Node, newIdentity, ROOM, START, sealFor } from "./core.ts";

setDefaultTimeout(60_000);

const OPEN_END = 0xffff_ffff;

/** Digest entries of members that nobody has ever met. */
function strangers(count: number, from = 0): HaveEntry[] {
  return Array.from({ length: count }, (_, index) => ({
    author: (from + index).toString(16).padStart(16, "0"),
    session: START,
    floor: 1,
    head: 7,
  }));
}

/** All frames that a node was made to send to one link, in bytes. */
function sentTo(node: Node, link: number): number {
  let bytes = 0;
  for (const effect of node.effects)
    if (effect.type === "send" && effect.links.includes(link)) bytes += effect.frame.length;
  return bytes;
}

describe("rubbish in digests", () => {
  test("of strangers that do not exist does not keep out those who do", () => {
    const [alice, bob] = [new Node("Alice"), new Node("Bob")];
    const mallory = new Hand("Mallory").attach(alice, 9);
    for (let frame = 0; frame < 20; frame++)
      mallory.send({ type: "have", scope: "news", entries: strangers(limits.digestEntriesMax, frame * 2_048) });
    join(bob, alice, 1);
    expect(alice.core.members.get(bob.identity.member)?.present).toBe(true);
    // And heard of by digest alone, as everybody in a large room is.
    const carol = new Hand("Carol").attach(alice, 11);
    const entry = { author: carol.identity.member, session: carol.info.session, floor: 1, head: 0 };
    carol.send({ type: "have", scope: "news", entries: [entry] });
    expect(carol.of("want").flatMap(({ entries }) => entries)).toContainEqual({
      author: entry.author,
      session: entry.session,
      from: 0,
      to: OPEN_END,
    });
  });

  test("is answered by no more than was sent", () => {
    const alice = new Node("Alice");
    const mallory = new Hand("Mallory").attach(alice, 9);
    const before = sentTo(alice, 9);
    let said = 0;
    for (let frame = 0; frame < 50; frame++) {
      const entries = strangers(limits.digestEntriesMax);
      said += entries.length * 24;
      mallory.send({ type: "have", scope: "news", entries });
    }
    expect(sentTo(alice, 9) - before).toBeLessThan(said / 10);
  });

  test("that promises posts which do not exist does not keep back those which do", () => {
    const [alice, bob] = [new Node("Alice"), new Node("Bob")];
    join(bob, alice, 1);
    const mallory = new Hand("Mallory").attach(bob, 9);
    const promise = { author: alice.identity.member, session: alice.session, floor: 1, head: 4_000_000_000 };
    for (let round = 0; round < 20; round++) {
      mallory.send({ type: "have", scope: "news", entries: [promise] });
      alice.say(`text ${round}`);
      bob.run(500);
      alice.run(500);
    }
    expect(bob.heard).toEqual(Array.from({ length: 20 }, (_, round) => `text ${round}`));
  });

  test("whole lists that nobody asked for are not answered with whole lists", () => {
    const alice = new Node("Alice");
    for (let member = 0; member < 500; member++) new Hand("Sybil").attach(alice, 101 + 2 * member).introduce();
    const mallory = new Hand("Mallory").attach(alice, 9);
    alice.effects.length = 0;
    for (let time = 0; time < 100; time++) mallory.send({ type: "have", scope: "last", entries: [] });
    // Once it may be the answer to a compare of ours.
    expect(sentTo(alice, 9)).toBeLessThan(2 * 500 * 24);
  });

  test("of buckets is answered once for each time that we have compared", () => {
    const alice = new Node("Alice");
    for (let member = 0; member < 2 * limits.wholeListSessions; member++)
      new Hand("Sybil").attach(alice, 101 + 2 * member).introduce();
    // Dialled by us, so we compare at once.
    const mallory = new Hand("Mallory").attach(alice, 8);
    expect(mallory.of("compare")).toHaveLength(1);
    for (let time = 0; time < 100; time++) mallory.send({ type: "buckets", digests: Buffer.alloc(256, time) });
    expect(mallory.of("list")).toHaveLength(1);
  });

  test("a storm of compares is answered as often as an honest neighbour might ask", () => {
    const alice = new Node("Alice");
    const mallory = new Hand("Mallory").attach(alice, 9);
    for (let member = 0; member < 500; member++) new Hand("Sybil").attach(alice, 101 + 2 * member).introduce();
    alice.effects.length = 0;
    const all = Buffer.alloc(8, 255);
    for (let time = 0; time < 1_000; time++) {
      mallory.send({ type: "compare", digest: Buffer.alloc(8, time) });
      mallory.send({ type: "buckets", digests: Buffer.alloc(256, time) });
      mallory.send({ type: "list", buckets: all });
    }
    expect(sentTo(alice, 9)).toBeLessThan(limits.comparesBurst * 2 * 500 * 24);
    expect(mallory.isClosed).toBe(false);
    alice.run(limits.compareAgainMs);
    alice.effects.length = 0;
    const answers = () =>
      mallory.of("buckets").length + mallory.of("have").filter(({ scope }) => scope === "last").length;
    expect(answers()).toBe(limits.comparesBurst);
    for (let time = 0; time < 10; time++) mallory.send({ type: "list", buckets: all });
    expect(answers()).toBe(limits.comparesBurst + 1);
  });
});

describe("posts ahead of a hole", () => {
  const body = Buffer.alloc(limits.bodyMaxBytes, "x");

  test("are kept only if their author has signed them", () => {
    const [alice, bob] = [new Node("Alice"), new Node("Bob")];
    join(bob, alice, 1);
    const mallory = new Hand("Mallory").attach(bob, 9);
    const { identity, session } = alice;
    mallory.post(sealFor({ ...identity, sign: () => Buffer.alloc(64) }, { session, seq: 9, kind: 1, body }));
    expect([bob.blames, mallory.isClosed]).toEqual([["bad_signature"], true]);
  });

  test("of any number of sessions are kept up to one limit", () => {
    const alice = new Node("Alice");
    const mallory = new Hand("Mallory").attach(alice, 9);
    const posts = Math.ceil(limits.aheadMaxBytes / body.length);
    const sessions = Math.ceil((2 * limits.aheadTotalMaxBytes) / limits.aheadMaxBytes);
    for (let session = 0; session < sessions; session++) {
      const identity = newIdentity();
      const add = new Hand("Sybil", identity, START).introduction();
      mallory.post(sealFor(identity, { session: START, seq: 0, kind: PostKind.add, body: add }));
      for (let seq = 2; seq < posts + 2; seq++)
        mallory.post(sealFor(identity, { session: START, seq, kind: PostKind.text, body }));
    }
    expect(alice.core.log.aheadBytes).toBeGreaterThan(limits.aheadTotalMaxBytes / 2);
    expect(alice.core.log.aheadBytes).toBeLessThanOrEqual(limits.aheadTotalMaxBytes);
    expect(mallory.isClosed).toBe(false);
  });

  test("are counted out again when the hole is filled", () => {
    const alice = new Node("Alice");
    const mallory = new Hand("Mallory").attach(alice, 9);
    mallory.introduce();
    const [first, ...rest] = Array.from({ length: 5 }, (_, index) => mallory.text(`text ${index}`));
    if (first === undefined) throw new Error("five posts");
    for (const post of rest.toReversed()) mallory.post(post);
    expect(alice.core.log.aheadBytes).toBeGreaterThan(0);
    mallory.post(first);
    expect(alice.heard).toEqual(["text 0", "text 1", "text 2", "text 3", "text 4"]);
    expect(alice.core.log.aheadBytes).toBe(0);
  });
});

describe("more than the log holds", () => {
  test("from one member pushes out its own posts, and nobody else's", () => {
    const alice = new Node("Alice");
    const [bob, mallory] = [new Hand("Bob").attach(alice, 9), new Hand("Mallory").attach(alice, 11)];
    for (const hand of [bob, mallory]) hand.introduce();
    const count = 20;
    for (let text = 0; text < count; text++) bob.post(bob.text(`text ${text}`));
    const body = Buffer.alloc(limits.bodyMaxBytes, "x");
    const torrent = Math.ceil(limits.logMaxBytes / body.length) + 20;
    for (let post = 0; post < torrent; post++) mallory.post(mallory.seal(PostKind.text, body));
    const held = ({ identity, info }: Hand) => alice.core.log.get(identity.member, info.session)?.retained ?? 0;
    expect(held(bob)).toBe(count);
    expect(held(mallory)).toBeGreaterThan(torrent - 60);
    expect(alice.core.log.posts).toBe(count + held(mallory));
    // The same by number instead of size, and in as many sessions as one may have.
    const log = new Log(
      () => {},
      () => false,
      () => false,
      () => 0,
    );
    const small = (author: Hand, session: number) =>
      sealFor(author.identity, { session, seq: 0, kind: PostKind.add, body: author.introduction() });
    const quiet = log.open(small(bob, 1));
    const loud = Array.from({ length: limits.sessionsPerMemberMax }, (_, session) => log.open(small(mallory, session)));
    const text = { author: bob.identity.member, session: 1, clock: 0, kind: PostKind.text, body: encodeTexts(["x"]) };
    const numbered = (seq: number) => sealPost(ROOM, { ...text, seq }, () => new Uint8Array(64));
    if (quiet !== undefined) log.append(quiet, numbered(1));
    for (let post = 0; post < limits.logMaxPosts + 100; post++) {
      const stream = loud[post % loud.length];
      if (stream !== undefined) log.append(stream, numbered(stream.head + 1));
    }
    expect([quiet?.retained, log.posts]).toEqual([1, limits.logMaxPosts]);
  });

  test("takes no more memory, however many have said much and little of it is left", () => {
    const log = new Log(
      () => {},
      () => false,
      () => false,
      () => 0,
    );
    const body = Buffer.alloc(10_000, "x");
    const POSTS = 40;
    for (let author = 0; author < 200; author++) {
      const hand = new Hand(`Mallory${author}`);
      const stream = log.open(
        sealFor(hand.identity, { session: START, seq: 0, kind: PostKind.add, body: hand.introduction() }),
      );
      if (stream === undefined) throw new Error("no room for one more");
      const text = { author: stream.author, session: START, clock: author, kind: PostKind.text, body };
      for (let seq = 1; seq <= POSTS; seq++)
        log.append(
          stream,
          sealPost(ROOM, { ...text, seq }, () => new Uint8Array(64)),
        );
      let taken = 0;
      for (const each of log.all()) taken += each.memoryBytes;
      expect(log.memoryBytes).toBe(taken);
      expect(taken).toBeLessThanOrEqual(limits.logMaxBytes);
    }
    const heard = [...log.all()].filter(({ retained }) => retained > 0).length;
    expect(heard).toBeGreaterThan(limits.logMaxBytes / body.length / POSTS / 2);
    log.expire(1_000);
    expect([log.posts, log.memoryBytes]).toEqual([0, 0]);
  });
});

describe("a reader who has fallen behind", () => {
  test("gets every session's posts in turns, though others talk without end", () => {
    const alice = new Node("Alice");
    const reader = new Hand("Reader").attach(alice, 9);
    const body = Buffer.alloc(limits.bodyMaxBytes, "x");
    const big = Math.ceil(limits.linkCreditBytes / body.length) + 4;
    const want = (author: string) => ({ author, session: START, from: 0, to: OPEN_END });
    const entries = [];
    for (let member = 0; member < big + 1; member++) {
      const isQuiet = member === big;
      const hand = new Hand(isQuiet ? "Quiet" : "Loud", newIdentity(), START).attach(alice, 101 + 2 * member);
      hand.introduce();
      for (let post = 0; post < 10; post++) hand.post(hand.seal(PostKind.text, isQuiet ? encodeTexts(["hi"]) : body));
      entries.push(want(hand.identity.member));
    }
    // Until nothing is under way any more.
    for (let turn = 0; turn < 40; turn++) reader.drained();
    const before = reader.received.length;
    reader.send({ type: "want", entries });
    for (let turn = 0; turn < 6; turn++) reader.drained();
    const later = reader.received.slice(before);
    const quiet = later.filter(
      message => message.type === "post" && Buffer.from(message.post.body).toString() === "hi",
    );
    expect(quiet.length).toBeGreaterThanOrEqual(2);
  });
});

describe("a flood of small posts", () => {
  test("is under way to a neighbour in so small a number that nobody waits behind it for long", () => {
    const alice = new Node("Alice");
    const [reader, loud] = [new Hand("Reader").attach(alice, 9), new Hand("Loud").attach(alice, 11)];
    loud.introduce();
    const { member: author } = loud.identity;
    reader.send({ type: "want", entries: [{ author, session: loud.info.session, from: 0, to: OPEN_END }] });
    for (let post = 0; post < 1_000; post++) loud.post(loud.text("x"));
    // Each takes about as long to check as 16 KiB to move.
    expect(reader.of("post").length).toBeLessThanOrEqual(65);
    for (let turn = 0; turn < 100; turn++) reader.drained();
    expect(
      reader
        .of("post")
        .filter(({ post }) => post.author === author)
        .at(-1)?.post.seq,
    ).toBe(1_000);
  });
});

describe("a quiet author", () => {
  test("does not wait until a neighbour has handled what others pour out", () => {
    const alice = new Node("Alice");
    const reader = new Hand("Reader").attach(alice, 9);
    const loud = Array.from({ length: 8 }, (_, index) => new Hand("Loud").attach(alice, 11 + 2 * index));
    for (const hand of loud) hand.introduce();
    const entries = loud.map(({ identity, info }) => ({ author: identity.member, session: info.session }));
    reader.send({ type: "want", entries: entries.map(entry => ({ ...entry, from: 0, to: OPEN_END })) });
    for (let post = 0; post < 50; post++) for (const hand of loud) hand.post(hand.text("x"));
    const before = reader.of("post").length;
    for (const hand of loud) hand.post(hand.text("x"));
    expect(reader.of("post")).toHaveLength(before);
    const post = alice.say("hello");
    expect(reader.of("post").at(-1)?.post).toEqual(post);
    // However many quiet authors there are, they cannot have more under way than as much again.
    const bytes = Buffer.alloc(limits.bodyMaxBytes, "x");
    for (let sybil = 0; sybil < 40; sybil++) {
      const hand = new Hand("Sybil").attach(alice, 101 + 2 * sybil);
      hand.introduce();
      const { member: author } = hand.identity;
      reader.send({ type: "want", entries: [{ author, session: hand.info.session, from: 0, to: OPEN_END }] });
      hand.post(hand.seal(PostKind.text, bytes));
    }
    expect(sentTo(alice, 9)).toBeLessThan(2 * limits.windowBytes);
  });
});

describe("a storm of lost", () => {
  test("makes whoever is called lost say so once in a while, not every time", () => {
    const [alice, bob] = [new Node("Alice"), new Node("Bob")];
    join(bob, alice, 1);
    const mallory = new Hand("Mallory").attach(bob, 9);
    mallory.introduce();
    const bobs = () => bob.core.log.get(bob.identity.member, bob.session)?.head ?? 0;
    const before = bobs();
    for (let time = 0; time < 200; time++) {
      const loss = { member: bob.identity.member, session: bob.session, head: bobs() };
      mallory.post(mallory.seal(PostKind.lost, encodeLosses([loss])));
      bob.run(10);
    }
    expect(bobs() - before).toBeLessThanOrEqual(1 + Math.ceil(2_000 / limits.refuteIntervalMs));
    bob.run(limits.refuteIntervalMs);
    // In the end everybody knows that Bob is here.
    expect(bob.core.log.get(bob.identity.member, bob.session)?.live).toBe(true);
    expect(alice.core.members.get(bob.identity.member)?.present).toBe(true);
    expect(alice.told("left")).toEqual([]);
  });
});

describe("a storm of adds", () => {
  test("with addresses that lead nowhere makes a node dial few of them at a time", () => {
    const alice = new Node("Alice");
    const mallory = new Hand("Mallory").attach(alice, 9);
    for (let member = 0; member < 400; member++) {
      const identity = newIdentity();
      const add = new Hand("Sybil", identity, START).introduction({ port: 80, hosts: ["198.51.100.7"] });
      mallory.post(sealFor(identity, { session: START, seq: 0, kind: PostKind.add, body: add }));
    }
    let most = 0;
    let open = 0;
    for (let second = 0; second < 60; second++) {
      alice.effects.length = 0;
      alice.run(1_000);
      const dials = alice.effects.flatMap(effect => (effect.type === "dial" ? [effect.link] : []));
      open += dials.length;
      most = Math.max(most, open);
      // Each takes its connectTimeoutMs.
      if (second % 4 === 3) {
        for (const link of allDials(alice)) alice.handle({ type: "dialFailed", link });
        open = 0;
      }
    }
    expect(most).toBeLessThanOrEqual(limits.dialsMax);
  });
});

describe("more members than a node can know, all of them made up", () => {
  test("do not shut out a newcomer, wherever it comes in, nor do those who were there notice", () => {
    // So many checks would take longer than all the rest.
    const trusting = (name: string) => new Node(name, newIdentity(), START, ROOM, () => true);
    const [alice, bob] = [trusting("Alice"), trusting("Bob")];
    join(bob, alice, 1);
    const zoe = new Hand("Zoe", newIdentity(), START).attach(bob, 31);
    zoe.introduce();
    zoe.post(zoe.text("I was here"));
    const mallory = new Hand("Mallory").attach(alice, 9);
    const drain = () => {
      for (const link of [3, 5]) alice.handle({ type: "drained", link });
      for (const link of [2, 7]) bob.handle({ type: "drained", link });
    };
    const invent = (count: number, isSilent: boolean) => {
      for (let member = 0; member < count; member++) {
        const identity = newIdentity();
        // As fast as sessions are opened at all.
        for (const node of [alice, bob]) node.now += 100;
        const add = new Hand("Sybil", identity, START).introduction();
        mallory.post(sealFor(identity, { session: START, seq: 0, kind: PostKind.add, body: add }));
        drain();
        if (isSilent) continue;
        mallory.post(sealFor(identity, { session: START, seq: 1, kind: PostKind.text, body: encodeTexts(["x"]) }));
      }
    };
    invent(limits.sessionsMax / 16, false);
    invent((limits.sessionsMax / 16) * 15 + 500, true);
    expect(alice.core.log.sessions).toBeGreaterThan(limits.sessionsMax - limits.forgottenAtOnce);
    expect(alice.core.members.presentCount).toBeLessThanOrEqual(limits.sessionsMax);
    // One comes in at Alice, who is attacked, the other at Bob.
    const [carol, dora] = [trusting("Carol"), trusting("Dora")];
    join(carol, alice, 2);
    join(dora, bob, 3);
    carol.say("hello from Carol");
    dora.say("hello from Dora");
    invent(500, false);
    for (const node of [alice, bob]) {
      const isPresent = ({ identity }: Node | Hand) => node.core.members.get(identity.member)?.present;
      expect([alice, bob, carol, dora, zoe, mallory].map(isPresent)).toEqual([true, true, true, true, true, undefined]);
      const heard = node.heard.filter(text => text !== "x").toSorted();
      expect(heard).toEqual(["I was here", "hello from Carol", "hello from Dora"]);
      expect(node.core.log.sessions).toBeLessThanOrEqual(limits.sessionsMax);
    }
  });
});

describe("links to many members that somebody made up", () => {
  test("do not push out those that a node has had for longest", () => {
    const alice = new Node("Alice");
    const friends = ["Bob", "Carol", "Dora", "Emil"].map((name, index) => new Hand(name).attach(alice, 9 + 2 * index));
    const made = Array.from({ length: 60 }, (_, index) => new Hand("Sybil").attach(alice, 101 + 2 * index));
    const all = [...friends, ...made];
    for (const hand of all) hand.introduce();
    for (let time = 0; time < 40; time++) {
      alice.run(2_000);
      for (const hand of all) hand.drained();
    }
    expect(all.filter(({ isClosed }) => !isClosed)).toHaveLength(limits.meshLinksHigh);
    expect(friends.filter(({ isClosed }) => isClosed)).toEqual([]);
  });
});

const settled = new Set<number>();
function allDials(node: Node): number[] {
  const dials = node.effects.flatMap(effect =>
    effect.type === "dial" && !settled.has(effect.link) ? [effect.link] : [],
  );
  for (const link of dials) settled.add(link);
  return dials;
}

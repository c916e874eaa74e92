/**
 * Nobody speaks under another's name: what is changed in a post, and what is shown in the wrong place, goes nowhere.
 *
 * Alice and Carol are linked through Bob, an honest relay, and Mallory is linked to Bob. Whatever Mallory hands Bob must
 * reach neither Bob's screen nor Carol, and what Alice then says herself must arrive unharmed.
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { decodePost, encodeTexts, type Post, PostKind } from "../../lib/codec/post.ts";
import { Hand, introductionOf, join, Node, newIdentity, START, sealFor } from "./core.ts";

// On a busy machine processes and sockets take their time.
setDefaultTimeout(60_000);

interface Scene {
  readonly alice: Node;
  readonly bob: Node;
  readonly carol: Node;
  readonly mallory: Hand;
}

function scene(): Scene {
  const [alice, bob, carol] = [new Node("Alice"), new Node("Bob"), new Node("Carol")] as const;
  join(bob, alice, 1);
  join(carol, bob, 2);
  const mallory = new Hand("Mallory").attach(bob, 9);
  mallory.introduce();
  alice.say("one");
  expect([bob.heard, carol.heard]).toEqual([["one"], ["one"]]);
  expect(bob.core.members.presentCount).toBe(4);
  return { alice, bob, carol, mallory };
}

/** A post with other bytes at `offset`. */
function changed(post: Post, offset: number, bytes: Uint8Array): Post {
  const copy = Buffer.from(post.bytes);
  copy.set(bytes, offset);
  return decodePost(copy);
}

const flipped = (post: Post, offset: number): Post =>
  changed(post, offset, Buffer.of((post.bytes.at(offset) ?? 0) ^ 1));

/** Alice's next post as she would sign it, held back from Bob. */
function nextOf({ alice }: Scene, text: string): Post {
  const { identity, session } = alice;
  return sealFor(identity, { session, seq: 2, kind: PostKind.text, body: encodeTexts([text]) });
}

/** Nothing of it got through, and the room goes on. */
function expectUnharmed({ alice, bob, carol }: Scene): void {
  expect([bob.heard, carol.heard, alice.heard]).toEqual([["one"], ["one"], ["one"]]);
  expect(carol.blames).toEqual([]);
  alice.say("two");
  expect([bob.heard, carol.heard, alice.heard]).toEqual([
    ["one", "two"],
    ["one", "two"],
    ["one", "two"],
  ]);
  expect([bob.isLinkedTo(alice), bob.isLinkedTo(carol)]).toEqual([true, true]);
}

const OFFSETS = { author: 0, session: 8, seq: 16, clock: 20, kind: 28, body: 29 } as const;

describe("a post of Alice's that is passed on by Mallory with another", () => {
  for (const [field, offset] of Object.entries({ clock: 27, kind: OFFSETS.kind, body: OFFSETS.body }))
    test(`${field} ends Mallory's link and goes no further`, () => {
      const room = scene();
      room.mallory.post(flipped(nextOf(room, "two"), offset));
      expect([room.bob.blames, room.mallory.isClosed]).toEqual([["bad_signature"], true]);
      expectUnharmed(room);
    });

  test("signature, at any byte of it, ends Mallory's link and goes no further", () => {
    const room = scene();
    for (let byte = 1; byte <= 64; byte++) {
      const mallory = new Hand(`Mallory${byte}`).attach(room.bob, 9 + 2 * byte);
      const post = nextOf(room, "two");
      mallory.post(flipped(post, post.bytes.length - byte));
      expect(mallory.isClosed).toBe(true);
    }
    expect(new Set(room.bob.blames)).toEqual(new Set(["bad_signature"]));
    expectUnharmed(room);
  });

  test("author is nobody's: an unknown one is not heard, a known one is a forgery", () => {
    const room = scene();
    const post = nextOf(room, "two");
    room.mallory.post(flipped(post, OFFSETS.author));
    expect([room.bob.blames, room.mallory.isClosed]).toEqual([[], false]);
    // Carol's session began at the same time, and stands one post earlier.
    const carols = changed(post, OFFSETS.author, Buffer.from(room.carol.identity.member, "hex"));
    room.mallory.post(changed(carols, OFFSETS.seq, Buffer.of(0, 0, 0, 1)));
    expect([room.bob.blames, room.mallory.isClosed]).toEqual([["bad_signature"], true]);
    expectUnharmed(room);
  });

  test("session is no session's: an unknown one is not heard, another of hers is a forgery", () => {
    const room = scene();
    const { identity, session } = room.alice;
    const earlier = session - 1_000;
    room.mallory.post(
      sealFor(identity, {
        session: earlier,
        seq: 0,
        kind: PostKind.add,
        body: introductionOf(identity, { name: "Alice" }),
      }),
    );
    const number = (value: number) => {
      const bytes = Buffer.alloc(8);
      bytes.writeBigUInt64BE(BigInt(value));
      return bytes;
    };
    const post = nextOf(room, "two");
    room.mallory.post(changed(post, OFFSETS.session, number(session + 1)));
    expect([room.bob.blames, room.mallory.isClosed]).toEqual([[], false]);
    const moved = changed(post, OFFSETS.session, number(earlier));
    room.mallory.post(changed(moved, OFFSETS.seq, Buffer.of(0, 0, 0, 1)));
    expect([room.bob.blames, room.mallory.isClosed]).toEqual([["bad_signature"], true]);
    expectUnharmed(room);
  });

  test("seq is a forgery wherever it stands: shown again, next, ahead of a hole, as a beginning", () => {
    for (const seq of [0, 1, 3, 4, 200]) {
      const room = scene();
      const post = nextOf(room, "two");
      const number = Buffer.alloc(4);
      number.writeUInt32BE(seq);
      room.mallory.post(changed(post, OFFSETS.seq, number));
      expect([seq, room.bob.blames, room.mallory.isClosed]).toEqual([seq, ["bad_signature"], true]);
      expectUnharmed(room);
    }
  });
});

describe("a whole post under another's name", () => {
  test("signed by Mallory is a forgery", () => {
    const room = scene();
    const { session, identity } = room.alice;
    const head = { session, seq: 2, kind: PostKind.text, body: encodeTexts(["give Mallory my keys"]) };
    const { sign } = room.mallory.identity;
    room.mallory.post(sealFor({ ...identity, sign }, head));
    expect([room.bob.blames, room.mallory.isClosed]).toEqual([["bad_signature"], true]);
    expectUnharmed(room);
  });

  test("that begins a session of hers is a forgery, with her key as with Mallory's", () => {
    for (const owner of ["alice", "mallory"] as const) {
      const room = scene();
      const { identity, session } = room.alice;
      const body = introductionOf(room[owner].identity, { name: "Alice" });
      const { sign } = room.mallory.identity;
      room.mallory.post(sealFor({ ...identity, sign }, { session: session + 5, seq: 0, kind: PostKind.add, body }));
      expect(room.mallory.isClosed).toBe(true);
      expect(room.bob.blames).toEqual([owner === "alice" ? "bad_signature" : "malformed"]);
      expect(room.bob.core.members.get(identity.member)?.stream.session).toBe(session);
      expectUnharmed(room);
    }
  });

  test("cannot take over her session by an add with Mallory's key", () => {
    const room = scene();
    const body = introductionOf(room.mallory.identity, { name: "Alice" });
    const { identity, session } = room.alice;
    // Even she herself may not hand it on.
    room.mallory.post(sealFor(identity, { session, seq: 2, kind: PostKind.add, body }));
    expect([room.bob.blames, room.mallory.isClosed]).toEqual([["malformed"], true]);
    expectUnharmed(room);
  });

  test("shown to its own author is found out too", () => {
    const alice = new Node("Alice");
    const mallory = new Hand("Mallory").attach(alice, 9);
    const { identity, session } = alice;
    const { sign } = mallory.identity;
    mallory.post(
      sealFor({ ...identity, sign }, { session, seq: 1, kind: PostKind.text, body: encodeTexts(["mine?"]) }),
    );
    expect([alice.blames, mallory.isClosed, alice.heard]).toEqual([["bad_signature"], true, []]);
  });
});

describe("a true post in the wrong place", () => {
  test("shown again is not heard again, however often, and whoever shows it keeps its link", () => {
    const room = scene();
    const stream = room.bob.core.log.get(room.alice.identity.member, room.alice.session);
    const first = stream?.get(1);
    if (first === undefined) throw new Error("Bob keeps what Alice says");
    for (let time = 0; time < 50; time++) room.mallory.post(first);
    expect(room.mallory.isClosed).toBe(false);
    expectUnharmed(room);
  });

  test("of another room is a forgery in this one", () => {
    const room = scene();
    const { identity, session } = room.alice;
    const elsewhere = sealFor(
      identity,
      { session, seq: 2, kind: PostKind.text, body: encodeTexts(["said elsewhere"]) },
      "ff".repeat(16),
    );
    room.mallory.post(elsewhere);
    expect([room.bob.blames, room.mallory.isClosed]).toEqual([["bad_signature"], true]);
    expectUnharmed(room);
  });

  test("of another room does not even begin a session in this one", () => {
    const room = scene();
    const { identity, session } = room.alice;
    const body = introductionOf(identity, { name: "Alice" });
    room.mallory.post(sealFor(identity, { session: session + 9, seq: 0, kind: PostKind.add, body }, "ff".repeat(16)));
    expect(room.bob.blames).toEqual(["bad_signature"]);
    expectUnharmed(room);
  });

  test("of an earlier session stays in that session: it does not become news, nor does it end the new one", () => {
    const alice = new Node("Alice", newIdentity(), START - 5_000);
    const old = alice.say("said yesterday");
    alice.handle({ type: "leave" });
    const first = alice.core.log.get(alice.identity.member, alice.session)?.first;
    const again = new Node("Alice", alice.identity, START);
    const bob = new Node("Bob");
    join(bob, again, 1);
    again.say("said today");
    const mallory = new Hand("Mallory").attach(bob, 9);
    const stream = alice.core.log.get(alice.identity.member, alice.session);
    const remove = stream?.get(stream.head);
    if (first === undefined || remove === undefined) throw new Error("the old session is kept");
    for (const post of [first, old, remove]) mallory.post(post);
    const member = bob.core.members.get(alice.identity.member);
    expect([member?.stream.session, member?.present, bob.told("left")]).toEqual([START, true, []]);
    again.say("and this");
    expect(bob.heard).toEqual(["said today", "said yesterday", "and this"]);
  });

  test("reflected to its author is not heard, and answered by silence or a prune", () => {
    const alice = new Node("Alice");
    const mallory = new Hand("Mallory").attach(alice, 9);
    const post = alice.say("one");
    for (let time = 0; time < 20; time++) mallory.post(post);
    expect([alice.heard, alice.blames, mallory.isClosed]).toEqual([["one"], [], false]);
    expect(mallory.of("post").filter(({ post: sent }) => sent.seq === 1)).toHaveLength(1);
  });
});

describe("two posts with one number", () => {
  test("flag their author once with everybody who sees both; the first one stays", () => {
    const room = scene();
    const { mallory, bob, carol } = room;
    const said = { session: mallory.info.session, seq: 1, kind: PostKind.text };
    mallory.post(sealFor(mallory.identity, { ...said, body: encodeTexts(["yes"]) }));
    mallory.post(sealFor(mallory.identity, { ...said, body: encodeTexts(["no"]) }));
    mallory.post(sealFor(mallory.identity, { ...said, body: encodeTexts(["perhaps"]) }));
    expect(bob.heard).toEqual(["one", "yes"]);
    expect(bob.told("equivocated")).toEqual([{ type: "equivocated", member: mallory.identity.member }]);
    // Carol, who gets the other one first, finds out by the copy that Bob has.
    const late = new Node("Dora");
    const second = new Hand("Mallory", mallory.identity, mallory.info.session).attach(late, 9);
    second.introduce();
    second.post(sealFor(mallory.identity, { ...said, body: encodeTexts(["no"]) }));
    second.post(sealFor(mallory.identity, { ...said, body: encodeTexts(["yes"]) }));
    expect([late.heard, late.told("equivocated").length]).toEqual([["no"], 1]);
    expect(carol.heard).toEqual(["one", "yes"]);
  });

  test("cannot be pinned on somebody else", () => {
    const room = scene();
    const { identity, session } = room.alice;
    const { sign } = room.mallory.identity;
    const body = encodeTexts(["not one"]);
    room.mallory.post(sealFor({ ...identity, sign }, { session, seq: 1, kind: PostKind.text, body }));
    expect([room.bob.blames, room.bob.told("equivocated")]).toEqual([["bad_signature"], []]);
    expectUnharmed(room);
  });
});

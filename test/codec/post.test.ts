import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { FrameBuffer } from "../../lib/codec/frame.ts";
import { encode } from "../../lib/codec/message.ts";
import {
  bodiesOf,
  decodeIntroduction,
  decodeLosses,
  decodePost,
  encodeIntroduction,
  encodeLosses,
  encodeTexts,
  type Introduction,
  type Loss,
  memberIdOf,
  type PostContent,
  PostKind,
  readPost,
  sealPost,
  signedBytes,
  textIdOf,
} from "../../lib/codec/post.ts";
import { PeerError } from "../../lib/errors.ts";
import { identityOf, verifySignature } from "../../lib/identity.ts";
import { limits } from "../../lib/limits.ts";
import { aliceSecrets, bobSecrets, hex, linesOf, plain, room, titlesOf, vector, withBytes } from "./page.ts";
import { wyhash } from "./wyhash.ts";

const alice = identityOf(aliceSecrets);
const bob = identityOf(bobSecrets);

/** What `decode` makes of any bytes: a value or a peer's fault. Anything else escapes. */
function faultOf(decode: () => unknown): string {
  try {
    decode();
  } catch (error) {
    if (error instanceof PeerError) return error.fault;
    throw error;
  }
  return "none";
}

/** What a text post with this body says. */
function textsIn(body: Uint8Array): readonly string[] {
  const content = { author: alice.member, session: 1, seq: 1, clock: 1, kind: PostKind.text, body };
  return sealPost(room, content, alice.sign).texts;
}

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const shortText = (maxBytes: number) =>
  fc.string({ unit: "binary", maxLength: maxBytes }).filter(text => Buffer.byteLength(text) <= maxBytes);
const memberId = bytes(8).map(id => Buffer.from(id).toString("hex"));
const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const introduction: fc.Arbitrary<Introduction> = fc.record({
  name: shortText(limits.nameMaxBytes),
  publicKey: bytes(32),
  sealKey: bytes(32),
  port: fc.integer({ min: 0, max: 0xffff }),
  hosts: fc.array(fc.stringMatching(/^[!-~]{1,60}$/), { maxLength: limits.addressesMax }),
});
const loss: fc.Arbitrary<Loss> = fc.record({ member: memberId, session: fc.maxSafeNat(), head: u32 });
const head = fc.record({
  author: memberId,
  session: fc.maxSafeNat(),
  seq: u32,
  clock: fc.maxSafeNat(),
  kind: fc.integer({ min: 0, max: 127 }),
  body: fc.uint8Array({ maxLength: 300 }),
  before: fc.option(bytes(16), { nil: undefined }),
});

describe("golden vectors of PROTOCOL.md", () => {
  test("the hash is the one that the page spells out", () => {
    for (const line of linesOf("wyhash")) {
      const [digits = "", seed = "", input = ""] = line.split(" ");
      const data = input === "-" ? new Uint8Array(0) : hex(input);
      expect(Bun.hash.wyhash(data, BigInt(seed)).toString(16).padStart(16, "0")).toBe(digits);
      expect(wyhash(data, BigInt(seed)).toString(16).padStart(16, "0")).toBe(digits);
    }
  });

  test("the hash as the page spells it out agrees with Bun's at every length", () => {
    for (let length = 0; length <= 200; length++) {
      const data = Uint8Array.from({ length }, (_, index) => (index * 37 + length) & 0xff);
      for (const seed of [0n, 1n, 0xffff_ffffn]) expect(wyhash(data, seed)).toBe(Bun.hash.wyhash(data, seed));
    }
  });

  test("member ids and text ids are those of the page", () => {
    const remarks = new Map(linesOf("wyhash").map(line => [line.split("  ")[1] ?? "", line.slice(0, 16)]));
    expect(memberIdOf(alice.publicKey)).toBe(remarks.get("Alice's public key: her member id") ?? "");
    expect(memberIdOf(bob.publicKey)).toBe(remarks.get("Bob's") ?? "");
    const post = decodePost(vector("post text").bytes);
    expect(textIdOf(post, 0)).toBe(remarks.get('signature of the post "text": the id of its first text') ?? "");
    expect(textIdOf(post, 1)).toBe(remarks.get("and of its second") ?? "");
  });

  test("the digest of a compare is the xor that the page says", () => {
    const [list = "[]", , digits = ""] = linesOf("digest");
    let sum = 0n;
    for (const { author, session, head } of JSON.parse(list))
      sum ^= wyhash(Buffer.from(`${author} ${session} ${head}`), 0n);
    expect(sum.toString(16).padStart(16, "0")).toBe(digits);
  });

  test("the digests of buckets are those of the sessions whose authors' ids begin alike", () => {
    const sums = Buffer.alloc(256);
    for (const { author, session, head } of JSON.parse(linesOf("digest")[0] ?? "[]")) {
      const term = wyhash(Buffer.from(`${author} ${session} ${head}`), 0n);
      sums.writeUInt32BE(Number(term & 0xffff_ffffn), 4 * Math.floor(Number.parseInt(author.slice(0, 2), 16) / 4));
    }
    expect(plain(sums)).toEqual(plain(vector("message buckets").bytes.subarray(5)));
  });

  test.each(titlesOf("post"))("the post %s is sealed and read as the page says", title => {
    const { json, bytes: golden } = vector(`post ${title}`);
    const values = withBytes(json, ["body", "before"]) as PostContent;
    const sealed = sealPost(room, values, alice.sign);
    expect(Buffer.from(sealed.bytes).toString("hex")).toBe(golden.toString("hex"));
    const read = decodePost(golden);
    expect(plain(read)).toEqual(plain(sealed));
    expect(verifySignature(alice.publicKey, signedBytes(room, read.digest), read.signature)).toBe(true);
    // The same where it lies among other things.
    const memory = Buffer.alloc(2 * sealed.frame.length, "among");
    const placed = sealPost(room, values, alice.sign, bytes => memory.subarray(3, 3 + bytes));
    expect(memory.indexOf(sealed.frame)).toBe(3);
    expect([placed.frame.buffer === memory.buffer, placed.owned.frame.buffer === memory.buffer]).toEqual([true, false]);
  });

  test("bodies know how long they are when they are encoded (properties)", () => {
    const texts = fc.array(fc.string({ unit: "binary", maxLength: 40_000 }), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(texts, said => {
        for (const { body, bodyBytes } of bodiesOf(said.map(text => text.slice(0, 20_000).toWellFormed())))
          expect(Buffer.from(body as string).length).toBe(bodyBytes ?? -1);
      }),
      { numRuns: 50 },
    );
  });

  test("the signed bytes of a post are those of the page", () => {
    const post = decodePost(vector("post text").bytes);
    expect(plain(signedBytes(room, post.digest))).toEqual(plain(vector("signed post").bytes));
  });

  test("the bodies are encoded and decoded as the page says", () => {
    const add = vector("body add");
    const expected = withBytes(add.json, ["publicKey", "sealKey"]) as Introduction;
    expect(plain(encodeIntroduction(expected))).toEqual(plain(add.bytes));
    expect(plain(decodeIntroduction(add.bytes))).toEqual(plain(expected));
    const text = vector("body text");
    expect(plain(encodeTexts(text.json as string[]))).toEqual(plain(text.bytes));
    expect(textsIn(text.bytes)).toEqual(text.json as string[]);
    const lost = vector("body lost");
    expect(plain(encodeLosses(lost.json as Loss[]))).toEqual(plain(lost.bytes));
    expect(decodeLosses(lost.bytes)).toEqual(lost.json as Loss[]);
  });

  test("a body cut short anywhere, or with a byte too many, is malformed", () => {
    for (const [title, decode] of [
      ["body add", decodeIntroduction],
      ["body lost", decodeLosses],
    ] as const) {
      const { bytes: body } = vector(title);
      for (let length = 0; length < body.length; length++)
        expect(faultOf(() => decode(body.subarray(0, length)))).toBe("malformed");
      expect(faultOf(() => decode(Buffer.concat([body, Buffer.of(0)])))).toBe("malformed");
    }
  });
});

describe("any post", () => {
  test("is read as it was sealed, and its bytes are header, body and signature", () => {
    fc.assert(
      fc.property(head, bytes(64), (values, signature) => {
        const sealed = sealPost(room, values, () => signature);
        expect(sealed.bytes.length).toBe(29 + (values.before?.length ?? 0) + values.body.length + 64);
        const read = decodePost(sealed.bytes);
        const { author, session, seq, clock, kind, body, before } = read;
        expect(plain({ author, session, seq, clock, kind, body, before })).toEqual(plain(values));
        expect(plain([read.signature, read.frame])).toEqual(plain([signature, sealed.frame]));
        expect(plain(encode({ type: "post", post: sealed }))).toEqual(plain(sealed.frame));
      }),
    );
  });

  test("is read where it lies, and is owned by nobody who keeps anything else alive", () => {
    const { frame } = decodePost(vector("post text").bytes);
    const read = (...chunks: Buffer[]) => {
      const frames = new FrameBuffer();
      frames.allowPosts();
      const found: Buffer[] = [];
      for (const chunk of chunks) frames.push(chunk, one => found.push(one));
      const [whole = frame] = found;
      return { whole, post: readPost(whole) };
    };
    const cut = read(frame.subarray(0, 50), frame.subarray(50));
    const alone = read(Buffer.concat([frame]));
    for (const { whole, post } of [cut, alone]) {
      expect(post.frame).toBe(whole);
      expect(post.owned).toBe(post);
    }
    for (const behind of [Buffer.alloc(3), frame]) {
      const { whole, post } = read(Buffer.concat([frame, behind]));
      expect(post.frame).toBe(whole);
      expect(post.owned.frame.buffer.byteLength).toBe(frame.length);
      for (const each of [post, post.owned]) expect(plain(each.frame)).toEqual(plain(frame));
    }
    for (const { post } of [cut, alone]) expect(plain(post.frame)).toEqual(plain(frame));
  });

  test("gets a frame where it comes without one, whatever lies before it", () => {
    const { frame, bytes: inner } = decodePost(vector("post text").bytes);
    for (const before of [Buffer.alloc(0), Buffer.alloc(5), Buffer.from(frame.subarray(0, 4)), Buffer.alloc(100, 4)]) {
      const post = decodePost(Buffer.concat([before, inner]).subarray(before.length));
      expect(plain(post.frame)).toEqual(plain(frame));
    }
  });

  test("no longer verifies once any bit of it, or the room, is changed", () => {
    fc.assert(
      fc.property(head, fc.nat(), (values, place) => {
        const sealed = sealPost(room, values, alice.sign);
        const changed = Buffer.from(sealed.bytes);
        const at = place % (changed.length * 8);
        changed.writeUInt8(changed.readUInt8(at >> 3) ^ (1 << (at & 7)), at >> 3);
        const digest = (data: Uint8Array) => Bun.SHA256.hash(data.subarray(0, -64)) as Uint8Array;
        const check = (inRoom: string, data: Uint8Array) =>
          verifySignature(alice.publicKey, signedBytes(inRoom, digest(data)), data.subarray(-64));
        expect(check(room, sealed.bytes)).toBe(true);
        expect(check(room, changed)).toBe(false);
        expect(check("f".repeat(32), sealed.bytes)).toBe(false);
      }),
      { numRuns: 50 },
    );
  });

  test("whose bytes are at random gives a post that keeps them, or a peer error", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), data => {
        expect(faultOf(() => expect(plain(decodePost(data).bytes)).toEqual(plain(data)))).toBeOneOf([
          "none",
          "malformed",
        ]);
      }),
    );
  });

  test("has a body of up to 64 KiB", () => {
    for (const [kind, head] of [
      [1, 29],
      [0x81, 29 + 16],
    ] as const) {
      const ofSize = (size: number) => {
        const data = new Uint8Array(size);
        if (size > 28) data[28] = kind;
        return data;
      };
      const full = ofSize(head + limits.bodyMaxBytes + 64);
      expect(decodePost(full).body.length).toBe(limits.bodyMaxBytes);
      expect(decodePost(ofSize(head + 64)).body.length).toBe(0);
      expect(faultOf(() => decodePost(ofSize(full.length + 1)))).toBe("too_large");
      expect(faultOf(() => decodePost(ofSize(head + 63)))).toBe("malformed");
    }
    const values = { author: alice.member, session: 0, seq: 0, clock: 0, kind: 1 };
    expect(() => sealPost(room, { ...values, body: new Uint8Array(limits.bodyMaxBytes + 1) }, alice.sign)).toThrow(
      "a body fits",
    );
  });

  test("vouches for the one before where it has its session, the next number and its imprint, and for no other", () => {
    const values = { author: alice.member, session: 1, seq: 1, clock: 0, kind: 1, body: "one" };
    const one = sealPost(room, values, alice.sign);
    const before = one.imprint;
    const two = (change: Partial<PostContent>) => sealPost(room, { ...values, seq: 2, before, ...change }, alice.sign);
    expect(two({}).vouchesFor(one)).toBe(true);
    expect(decodePost(two({}).bytes).vouchesFor(decodePost(one.bytes))).toBe(true);
    const other = Buffer.from(before);
    other[15] = (other[15] ?? 0) ^ 1;
    for (const change of [{ seq: 3 }, { session: 2 }, { author: bob.member }, { before: undefined }, { before: other }])
      expect(two(change).vouchesFor(one)).toBe(false);
    expect(two({}).vouchesFor(sealPost(room, { ...values, body: "two" }, alice.sign))).toBe(false);
    // Nobody on the way can have put another signature in its place.
    expect(two({}).vouchesFor(sealPost(room, values, () => new Uint8Array(64)))).toBe(false);
  });

  test("has text ids that differ with the text and with the signature", () => {
    const values = { author: alice.member, session: 0, seq: 1, clock: 0, kind: 1, body: new Uint8Array(0) };
    const one = sealPost(room, values, alice.sign);
    const other = sealPost(room, { ...values, seq: 2 }, alice.sign);
    expect(new Set([textIdOf(one, 0), textIdOf(one, 1), textIdOf(other, 0), textIdOf(other, 1)]).size).toBe(4);
    expect(textIdOf(one, 0)).toMatch(/^[0-9a-f]{16}$/);
  });
});

describe("any body", () => {
  test("of an add is decoded to what was encoded", () => {
    fc.assert(
      fc.property(introduction, value => {
        expect(plain(decodeIntroduction(encodeIntroduction(value)))).toEqual(plain(value));
      }),
    );
  });

  test("of a lost post is decoded to what was encoded", () => {
    fc.assert(
      fc.property(fc.array(loss, { maxLength: 20 }), value => {
        expect(decodeLosses(encodeLosses(value))).toEqual(value);
      }),
    );
  });

  test("of a text post is decoded to what was encoded", () => {
    const text = fc.string({ unit: "binary", maxLength: 40 }).map(value => value.replaceAll("\0", "."));
    fc.assert(
      fc.property(fc.array(text, { minLength: 1, maxLength: 10 }), value => {
        expect(textsIn(encodeTexts(value))).toEqual(value);
      }),
    );
  });

  test("whose bytes are at random gives a value that is encoded to them again, or a peer error", () => {
    const rubbish = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      introduction.map(encodeIntroduction).chain(body => fc.nat(body.length).map(length => body.subarray(0, length))),
      fc.uint8Array({ maxLength: 100 }).map(tail => Buffer.concat([new Uint8Array([0, 2]), tail])),
    );
    fc.assert(
      fc.property(rubbish, data => {
        const same = (encoded: Uint8Array) => expect(new Uint8Array(encoded)).toEqual(new Uint8Array(data));
        expect(faultOf(() => same(encodeIntroduction(decodeIntroduction(data))))).toBeOneOf([
          "none",
          "malformed",
          "too_large",
        ]);
        expect(faultOf(() => same(encodeLosses(decodeLosses(data))))).toBeOneOf(["none", "malformed"]);
        expect(faultOf(() => textsIn(data))).toBe("none");
      }),
      { numRuns: 500 },
    );
  });

  test("of an add has eight hosts at most, a name of 128 bytes, hosts of 255", () => {
    const value = { name: "", publicKey: new Uint8Array(32), sealKey: new Uint8Array(32), port: 0 };
    const fault = (change: Partial<Introduction>) =>
      faultOf(() => decodeIntroduction(encodeIntroduction({ ...value, hosts: [], ...change })));
    expect(fault({ hosts: Array(limits.addressesMax).fill("h".repeat(limits.hostMaxBytes)) })).toBe("none");
    expect(fault({ hosts: Array(limits.addressesMax + 1).fill("h") })).toBe("too_large");
    expect(fault({ name: "x".repeat(limits.nameMaxBytes) })).toBe("none");
    expect(fault({ name: "x".repeat(limits.nameMaxBytes + 1) })).toBe("too_large");
  });

  test("of a text post without a text is one empty text", () => {
    expect(textsIn(new Uint8Array(0))).toEqual([""]);
    expect(textsIn(Buffer.from("a\0\0b"))).toEqual(["a", "", "b"]);
    expect(textsIn(Buffer.from("61ff00ff", "hex"))).toEqual(["a\ufffd", "\ufffd"]);
  });

  test("is shown with replacement characters where it is not UTF-8, and a byte order mark is a character like any other", () => {
    expect(textsIn(hex("61ff62"))).toEqual(["a\ufffdb"]);
    expect(textsIn(hex("efbbbf"))).toEqual(["\ufeff"]);
  });
});

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { FRAME_HEADER_BYTES, FrameBuffer } from "../../lib/codec/frame.ts";
import { decode, encode, type Message, OPEN_END, PROTOCOL_VERSION } from "../../lib/codec/message.ts";
import { decodePost, type Post } from "../../lib/codec/post.ts";
import { PeerError } from "../../lib/errors.ts";
import { verifySignature } from "../../lib/identity.ts";
import { limits } from "../../lib/limits.ts";
import { framed, hex, plain, titlesOf, vector, withBytes } from "./page.ts";

const BYTE_FIELDS = ["publicKey", "signature", "mac", "digest", "digests", "buckets"];

/** A message as the page has it; a post there is only the name of another vector. */
function messageOf(json: unknown): Message {
  const message = withBytes(json, BYTE_FIELDS) as Message;
  if (message.type !== "post") return message;
  return { type: "post", post: decodePost(vector(`post ${String(message.post)}`).bytes) };
}

function faultOf(frame: Buffer): string {
  try {
    decode(frame);
  } catch (error) {
    if (error instanceof PeerError) return error.fault;
    throw error;
  }
  return "none";
}

const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const u64 = fc.maxSafeNat();
const memberId = fc.uint8Array({ minLength: 8, maxLength: 8 }).map(bytes => Buffer.from(bytes).toString("hex"));
const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const shortText = (maxBytes: number) =>
  fc.string({ unit: "binary", maxLength: maxBytes }).filter(text => Buffer.byteLength(text) <= maxBytes);
const name = shortText(limits.nameMaxBytes);
const hostName = fc.stringMatching(/^[!-~]{1,60}$/);
const address = fc.record({ host: hostName, port: fc.integer({ min: 0, max: 0xffff }) });
const credentials = fc.record(
  {
    version: fc.constant(PROTOCOL_VERSION),
    room: bytes(16).map(room => Buffer.from(room).toString("hex")),
    publicKey: bytes(32),
    session: u64,
    name,
    mac: bytes(32),
    signature: bytes(64),
  },
  { requiredKeys: ["version", "room", "publicKey", "session", "name", "signature"] },
);
const post: fc.Arbitrary<Post> = fc.uint8Array({ minLength: 29 + 16 + 64, maxLength: 400 }).map(random => {
  // The two u64 must be exact.
  random.fill(0, 8, 10);
  random.fill(0, 20, 22);
  return decodePost(random);
});
const range = fc.tuple(u32, u32).map(([one, other]) => ({ from: Math.min(one, other), to: Math.max(one, other) }));
const heads = fc.tuple(fc.integer({ min: 0, max: OPEN_END - 1 }), u32).map(([head, seed]) => ({
  floor: seed % (head + 2),
  head,
}));
const entries = <T>(entry: fc.Arbitrary<T>) =>
  fc.array(
    fc.tuple(fc.record({ author: memberId, session: u64 }), entry).map(([key, rest]) => ({ ...key, ...rest })),
    { maxLength: 20 },
  );

const message = fc.oneof(
  fc.record({ type: fc.constantFrom("hello" as const, "welcome" as const), credentials }),
  fc.record({
    type: fc.constant("refuse" as const),
    reason: fc.constantFrom(
      ...(["name_taken", "full", "wrong_key", "wrong_room", "bad_version", "own_key", "bad_name"] as const),
    ),
    suggestion: name,
    addresses: fc.array(address, { maxLength: limits.addressesMax }),
  }),
  fc.record({ type: fc.constant("post" as const), post }),
  fc.record({ type: fc.constant("compare" as const), digest: bytes(8) }),
  fc.record({ type: fc.constant("buckets" as const), digests: bytes(256) }),
  fc.record({ type: fc.constant("list" as const), buckets: bytes(8) }),
  fc.record({
    type: fc.constant("have" as const),
    scope: fc.constantFrom("news" as const, "part" as const, "last" as const, "same" as const),
    entries: entries(heads),
  }),
  fc.record({ type: fc.constant("want" as const), entries: entries(range) }),
  fc.record({ type: fc.constant("prune" as const), streams: entries(fc.constant({})) }),
  fc.record({ type: fc.constantFrom("ping" as const, "pong" as const), token: u32 }),
  fc.record({
    type: fc.constant("bye" as const),
    reason: fc.constantFrom("leaving" as const, "duplicate" as const, "full" as const, "fault" as const),
  }),
) as fc.Arbitrary<Message>;

describe("golden vectors of PROTOCOL.md", () => {
  const titles = titlesOf("message");

  test("every kind of message has one", () => {
    const types = titles.map(title => messageOf(vector(`message ${title}`).json).type);
    expect(new Set(types).size).toBe(13);
  });

  test.each(titles)("%s is encoded and decoded as the page says", title => {
    const { json, bytes: frame } = vector(`message ${title}`);
    const expected = messageOf(json);
    expect(Buffer.from(encode(expected)).toString("hex")).toBe(frame.toString("hex"));
    expect(plain(decode(frame))).toEqual(plain(expected));
  });

  test.each(titles)("%s passes a frame buffer byte by byte", title => {
    const { json, bytes: frame } = vector(`message ${title}`);
    const buffer = new FrameBuffer();
    buffer.allowPosts();
    const seen: Message[] = [];
    for (const byte of frame) buffer.push(Buffer.of(byte), whole => seen.push(decode(whole)));
    expect(seen.map(plain)).toEqual([plain(messageOf(json))]);
  });

  test.each(titles)("%s with a byte too many is refused, or is another post", title => {
    const { bytes: frame } = vector(`message ${title}`);
    const longer = framed(Buffer.concat([frame.subarray(FRAME_HEADER_BYTES), Buffer.of(0)]));
    // A post takes the rest of its frame, so that its signature shows a byte too many.
    if (title === "post") expect(plain(decode(longer))).not.toEqual(plain(messageOf(vector("message post").json)));
    else expect(faultOf(longer)).toBe("malformed");
  });

  test.each(titles)("%s is refused wherever it is cut short, or is another post", title => {
    const body = vector(`message ${title}`).bytes.subarray(FRAME_HEADER_BYTES);
    const shortest = title === "post" ? 1 + 29 + 64 : body.length;
    for (let length = 0; length < shortest; length++)
      expect(faultOf(framed(body.subarray(0, length)))).toBe("malformed");
  });
});

describe("golden handshakes of PROTOCOL.md", () => {
  test.each(["hello", "welcome", "hello-private"])("%s signs exactly the bytes of the page", title => {
    const { json, bytes: signed } = vector(`signed ${title}`);
    const { exporter, roomKey } = withBytes(json, ["exporter", "roomKey"]) as Record<string, Uint8Array>;
    const shown = messageOf(vector(`message ${title}`).json);
    if (shown.type !== "hello" && shown.type !== "welcome") throw new Error("an introduction");
    const { version, room, publicKey, session, name, mac, signature } = shown.credentials;
    const number = Buffer.alloc(8);
    number.writeBigUInt64BE(BigInt(session));
    const parts = [
      Buffer.from(`p2pchat ${shown.type} v1\0`),
      Buffer.of(version),
      hex(room),
      exporter ?? Buffer.alloc(0),
      publicKey,
      number,
      Buffer.of(Buffer.byteLength(name)),
      Buffer.from(name),
    ];
    expect(Buffer.concat(parts).toString("hex")).toBe(signed.toString("hex"));
    expect(verifySignature(publicKey, signed, signature)).toBe(true);
    const expectedMac = roomKey && new Bun.CryptoHasher("sha256", roomKey).update(signed).digest("hex");
    expect(mac && Buffer.from(mac).toString("hex")).toBe(expectedMac);
  });
});

describe("any message", () => {
  test("is decoded to what was encoded", () => {
    fc.assert(
      fc.property(message, value => {
        const frame = encode(value);
        expect(Buffer.from(frame).readUInt32BE(0)).toBe(frame.length - FRAME_HEADER_BYTES);
        expect(plain(decode(frame))).toEqual(plain(value));
      }),
      { numRuns: 500 },
    );
  });

  test("cut short, lengthened or changed in one byte gives a message or a peer error", () => {
    fc.assert(
      fc.property(message, fc.nat(), fc.nat(255), fc.uint8Array({ maxLength: 4 }), (value, place, byte, tail) => {
        const body = Buffer.from(encode(value).subarray(FRAME_HEADER_BYTES));
        const at = place % body.length;
        faultOf(framed(body.subarray(0, at)));
        faultOf(framed(Buffer.concat([body, tail])));
        body[at] = byte;
        faultOf(framed(body));
      }),
      { numRuns: 500 },
    );
  });

  test("whose bytes are at random gives a message that is encoded to them again, or a peer error", () => {
    const rubbish = fc.tuple(fc.integer({ min: 0, max: 12 }), fc.uint8Array({ maxLength: 200 }));
    fc.assert(
      fc.property(rubbish, ([type, payload]) => {
        const frame = framed(Buffer.concat([Buffer.of(type), payload]));
        try {
          expect(plain(encode(decode(frame)))).toEqual(plain(frame));
        } catch (error) {
          if (!(error instanceof PeerError)) throw error;
        }
      }),
      { numRuns: 2000 },
    );
  });
});

describe("limits and rules of messages", () => {
  const entry = { author: "00".repeat(8), session: 0 };
  const bytesIn = (value: Message) => encode(value).length - FRAME_HEADER_BYTES;

  test("lists hold as many entries as a digest may, and fit a frame, but no more", () => {
    const lists = (count: number): Message[] => [
      { type: "have", scope: "news", entries: Array(count).fill({ ...entry, floor: 0, head: 0 }) },
      { type: "want", entries: Array(count).fill({ ...entry, from: 0, to: 0 }) },
      { type: "prune", streams: Array(count).fill(entry) },
    ];
    for (const list of lists(limits.digestEntriesMax)) {
      expect(faultOf(encode(list))).toBe("none");
      expect(bytesIn(list)).toBeLessThanOrEqual(limits.frameMaxBytes);
    }
    for (const list of lists(limits.digestEntriesMax + 1)) expect(faultOf(encode(list))).toBe("too_large");
  });

  test("a refusal offers eight addresses, not nine", () => {
    const refusal = (count: number): Message => ({
      type: "refuse",
      reason: "full",
      suggestion: "",
      addresses: Array(count).fill({ host: "h", port: 1 }),
    });
    expect(faultOf(encode(refusal(limits.addressesMax)))).toBe("none");
    expect(faultOf(encode(refusal(limits.addressesMax + 1)))).toBe("too_large");
  });

  test("a name has 128 bytes at most", () => {
    const refusal = (suggestion: string): Message => ({
      type: "refuse",
      reason: "name_taken",
      suggestion,
      addresses: [],
    });
    expect(faultOf(encode(refusal("x".repeat(limits.nameMaxBytes))))).toBe("none");
    expect(faultOf(encode(refusal("x".repeat(limits.nameMaxBytes + 1))))).toBe("too_large");
  });

  test("the largest hello fits the frame that is allowed before the handshake", () => {
    const shown = {
      version: PROTOCOL_VERSION,
      room: "ff".repeat(16),
      publicKey: new Uint8Array(32),
      session: Number.MAX_SAFE_INTEGER,
      name: "x".repeat(limits.nameMaxBytes),
      mac: new Uint8Array(32),
      signature: new Uint8Array(64),
    };
    expect(bytesIn({ type: "hello", credentials: shown })).toBeLessThanOrEqual(limits.handshakeFrameMaxBytes);
  });

  test("the largest post fits a frame, one byte more does not decode", () => {
    const largest = new Uint8Array(29 + 16 + limits.bodyMaxBytes + 64);
    largest[28] = 0x80;
    const frame = encode({ type: "post", post: decodePost(largest) });
    expect(frame.length - FRAME_HEADER_BYTES).toBeLessThanOrEqual(limits.frameMaxBytes);
    expect(faultOf(Buffer.concat([frame, Buffer.of(0)]))).toBe("too_large");
  });

  test("a post that is kept keeps no more memory than itself", () => {
    const { bytes: frame } = vector("message post");
    const chunk = Buffer.alloc(100_000);
    frame.copy(chunk, 500);
    const read = decode(chunk.subarray(500, 500 + frame.length));
    if (read.type !== "post") throw new Error("a post");
    const { owned } = read.post;
    chunk.fill(0);
    expect(owned.bytes.buffer.byteLength).toBe(frame.length);
    expect(plain({ type: "post", post: owned })).toEqual(plain(messageOf(vector("message post").json)));
  });

  test("a range that runs backwards is malformed; one that says nothing but post 0 is not", () => {
    const have = (floor: number, head: number) =>
      encode({ type: "have", scope: "news", entries: [{ ...entry, floor, head }] });
    expect(faultOf(have(1, 0))).toBe("none");
    expect(faultOf(have(2, 0))).toBe("malformed");
    expect(faultOf(have(0, OPEN_END))).toBe("malformed");
    const want = (from: number, to: number) => encode({ type: "want", entries: [{ ...entry, from, to }] });
    expect(faultOf(want(OPEN_END, OPEN_END))).toBe("none");
    expect(faultOf(want(1, 0))).toBe("malformed");
  });

  test("something else than p2pchat and another version are told apart before all else", () => {
    const other = Buffer.from(vector("message hello").bytes);
    other.write("GET ", FRAME_HEADER_BYTES + 1);
    expect(faultOf(other)).toBe("not_p2pchat");
    const newer = Buffer.from(vector("message hello").bytes.subarray(0, FRAME_HEADER_BYTES + 6));
    newer[FRAME_HEADER_BYTES + 5] = PROTOCOL_VERSION + 1;
    expect(faultOf(newer)).toBe("bad_version");
  });

  test("unknown types, scopes, reasons and flags are malformed", () => {
    expect(faultOf(framed(Buffer.alloc(0)))).toBe("malformed");
    for (const digits of ["00", "0c", "ff", "05ff0000", "0304", "0aff", "0aff00", "03ff00", "0300000000"])
      expect(faultOf(framed(hex(digits)))).toBe("malformed");
    const hello = Buffer.from(vector("message hello").bytes);
    hello[FRAME_HEADER_BYTES + 1 + 4 + 1 + 16 + 32 + 8 + 1 + 3] = 2;
    expect(faultOf(hello)).toBe("malformed");
  });
});

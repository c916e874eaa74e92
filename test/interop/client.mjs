/**
 * A second p2pchat client, written from lib/codec/PROTOCOL.md alone: plain Node, not a line of lib. It shows that the page is
 * complete; it is no example of a good client (it does not listen, and keeps links to nobody but the one it dialled).
 *
 * node client.mjs <name> <host> <port> [room key in hex]
 * Lines on stdin are said; at the end of stdin it leaves. What happens comes out as one JSON object a line.
 */
import {
  createHash,
  createHmac,
  createPublicKey,
  generateKeyPairSync,
  sign,
  timingSafeEqual,
  verify,
} from "node:crypto";
import { createInterface } from "node:readline";
import { connect } from "node:tls";

const [name, host, port, roomKeyHex] = process.argv.slice(2);
const roomKey = roomKeyHex === undefined ? undefined : Buffer.from(roomKeyHex, "hex");
const TYPES = {
  hello: 1,
  welcome: 2,
  refuse: 3,
  post: 4,
  have: 5,
  want: 6,
  prune: 7,
  ping: 8,
  pong: 9,
  bye: 10,
  compare: 11,
  buckets: 12,
  list: 13,
};
const KINDS = { text: 1, add: 2, remove: 3, lost: 5 };
const NEWS = 0;
const LAST = 2;
const OPEN_END = 0xffffffff;
const LEAVING = 0;

const tell = event => process.stdout.write(`${JSON.stringify(event)}\n`);
const fail = why => {
  tell({ event: "error", message: why });
  process.exit(1);
};

// Hash.

const MASK = (1n << 64n) - 1n;
const S = [0xa0761d6478bd642fn, 0xe7037ed1a0b428dbn, 0x8ebc6af09c88c6e3n, 0x589965cc75374cc3n];
const mum = (a, b) => [(a * b) & MASK, (a * b) >> 64n];
const mix = (a, b) => {
  const [low, high] = mum(a, b);
  return low ^ high;
};

export function hash(bytes, seed = 0n) {
  const read8 = at => bytes.readBigUInt64LE(at);
  const read4 = at => BigInt(bytes.readUInt32LE(at));
  const n = bytes.length;
  let s = seed ^ mix(seed ^ S[0], S[1]);
  let a = 0n;
  let b = 0n;
  if (n <= 16) {
    if (n >= 4) {
      const q = (n >> 3) << 2;
      a = (read4(0) << 32n) | read4(q);
      b = (read4(n - 4) << 32n) | read4(n - 4 - q);
    } else if (n > 0) a = BigInt((bytes[0] << 16) | (bytes[n >> 1] << 8) | bytes[n - 1]);
  } else {
    let i = 0;
    if (n >= 48) {
      let t = s;
      let u = s;
      while (i + 48 < n) {
        s = mix(read8(i) ^ S[1], read8(i + 8) ^ s);
        t = mix(read8(i + 16) ^ S[2], read8(i + 24) ^ t);
        u = mix(read8(i + 32) ^ S[3], read8(i + 40) ^ u);
        i += 48;
      }
      s ^= t ^ u;
    }
    while (i + 16 < n) {
      s = mix(read8(i) ^ S[1], read8(i + 8) ^ s);
      i += 16;
    }
    a = read8(n - 16);
    b = read8(n - 8);
  }
  [a, b] = mum(a ^ S[1], b ^ s);
  return mix(a ^ S[0] ^ BigInt(n), b ^ S[1]);
}
const hexOf64 = value => value.toString(16).padStart(16, "0");

// Keys.

const raw = key => Buffer.from(key.export({ format: "jwk" }).x, "base64url");
const signing = generateKeyPairSync("ed25519");
const publicKey = raw(signing.publicKey);
const sealKey = raw(generateKeyPairSync("x25519").publicKey);
const me = hexOf64(hash(publicKey));
const session = Date.now();
const isSigned = (key, bytes, signature) => {
  const jwk = { kty: "OKP", crv: "Ed25519", x: Buffer.from(key).toString("base64url") };
  return verify(null, bytes, createPublicKey({ key: jwk, format: "jwk" }), signature);
};

// Bytes.

const u8 = value => Buffer.of(value);
const u16 = value => Buffer.of(value >> 8, value & 255);
const u32 = value => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};
const u64 = value => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
};
const hex = digits => Buffer.from(digits, "hex");
const short = text => Buffer.concat([u8(Buffer.byteLength(text)), Buffer.from(text)]);

class Reader {
  at = 0;
  constructor(bytes) {
    this.bytes = bytes;
  }
  take(length) {
    if (this.at + length > this.bytes.length) fail("a message is cut short");
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }
  u8 = () => this.take(1)[0];
  u16 = () => this.take(2).readUInt16BE();
  u32 = () => this.take(4).readUInt32BE();
  u64 = () => Number(this.take(8).readBigUInt64BE());
  id = () => this.take(8).toString("hex");
  short = () => this.take(this.u8()).toString();
  get left() {
    return this.bytes.length - this.at;
  }
}

// Link.

let room = Buffer.alloc(16);
let exporter;
let isUp = false;
let pending = Buffer.alloc(0);

const socket = connect({ host, port: Number(port), rejectUnauthorized: false, minVersion: "TLSv1.3" });
socket.setNoDelay(true);
socket.on("secureConnect", () => {
  exporter = socket.exportKeyingMaterial(32, "EXPORTER-Channel-Binding", Buffer.alloc(0));
  const signed = introduction("hello", { room, publicKey, session, name });
  const mac = roomKey && createHmac("sha256", roomKey).update(signed).digest();
  send(
    TYPES.hello,
    Buffer.from("p2pc"),
    u8(2),
    room,
    publicKey,
    u64(session),
    short(name),
    mac ? Buffer.concat([u8(1), mac]) : u8(0),
    sign(null, signed, signing.privateKey),
  );
});
socket.on("data", chunk => {
  pending = Buffer.concat([pending, chunk]);
  while (pending.length >= 4 && pending.length >= 4 + pending.readUInt32BE(0)) {
    const end = 4 + pending.readUInt32BE(0);
    const frame = pending.subarray(4, end);
    pending = pending.subarray(end);
    receive(frame[0], new Reader(frame.subarray(1)));
  }
});
socket.on("error", error => fail(error.message));
socket.on("close", () => {
  tell({ event: "closed" });
  process.exit(isLeaving ? 0 : 1);
});

function send(type, ...parts) {
  const payload = Buffer.concat(parts);
  socket.write(Buffer.concat([u32(payload.length + 1), u8(type), payload]));
}

function introduction(which, shown) {
  const label = Buffer.from(`p2pchat ${which} v1\0`);
  return Buffer.concat([label, u8(2), shown.room, exporter, shown.publicKey, u64(shown.session), short(shown.name)]);
}

function receive(type, reader) {
  if (!isUp) {
    if (type === TYPES.welcome) return onWelcome(reader);
    if (type === TYPES.refuse) return fail(`refused ${reader.u8()} ${reader.short()}`);
    return fail(`type ${type} before the welcome`);
  }
  switch (type) {
    case TYPES.post:
      return onPost(reader.take(reader.left));
    case TYPES.have:
      return onHave(reader);
    case TYPES.want:
      return onWant(reader);
    case TYPES.prune:
      return;
    case TYPES.ping:
      return send(TYPES.pong, reader.take(4));
    case TYPES.pong:
      return;
    case TYPES.bye:
      return socket.end();
    case TYPES.compare: {
      const isSame = reader.take(8).equals(digest());
      return isSame ? send(TYPES.have, u8(3), u16(0)) : send(TYPES.have, u8(LAST), entries([...streams.values()]));
    }
    case TYPES.buckets: {
      const theirs = reader.take(256);
      const mine = buckets();
      asked = Buffer.alloc(8);
      for (let n = 0; n < 64; n++)
        if (theirs.readUInt32BE(4 * n) !== mine.readUInt32BE(4 * n)) asked[n >> 3] |= 0x80 >> (n & 7);
      return send(TYPES.list, asked);
    }
    case TYPES.list: {
      const bits = reader.take(8);
      return send(TYPES.have, u8(LAST), entries([...streams.values()].filter(stream => isIn(bits, stream))));
    }
    default:
      return fail(`type ${type}`);
  }
}

function onWelcome(reader) {
  if (reader.take(4).toString() !== "p2pc" || reader.u8() !== 2) fail("not p2pchat");
  const shown = { room: reader.take(16), publicKey: reader.take(32), session: reader.u64(), name: reader.short() };
  const signed = introduction("welcome", shown);
  const mac = reader.u8() === 1 ? reader.take(32) : undefined;
  if ((mac === undefined) !== (roomKey === undefined)) fail("private or not");
  if (mac && !timingSafeEqual(createHmac("sha256", roomKey).update(signed).digest(), mac)) fail("wrong key");
  if (!isSigned(shown.publicKey, signed, reader.take(64))) fail("somebody sits in the middle");
  room = Buffer.from(shown.room);
  isUp = true;
  tell({ event: "up", name: shown.name, member: hexOf64(hash(shown.publicKey)) });
  publish(KINDS.add, Buffer.concat([short(name), publicKey, sealKey, u16(0), u8(0)]));
  send(TYPES.compare, digest());
  createInterface({ input: process.stdin })
    .on("line", line => publish(KINDS.text, Buffer.from(line)))
    .on("close", leave);
}

// Posts.

/** By author and session: its posts from 0, without gaps. */
const streams = new Map();
const ahead = new Map();
let clock = 0;
let isLeaving = false;

const signedOf = unsigned =>
  Buffer.concat([Buffer.from("p2pchat post v1\0"), room, createHash("sha256").update(unsigned).digest()]);

const imprintOf = post =>
  createHash("sha256")
    .update(createHash("sha256").update(post.subarray(0, -64)).digest())
    .update(post.subarray(-64))
    .digest()
    .subarray(0, 16);

function publish(kind, body) {
  const key = `${me} ${session}`;
  const seq = streams.get(key)?.posts.length ?? 0;
  clock = Math.max(Date.now() * 1000, clock + 1);
  const before = seq === 0 ? [u8(kind)] : [u8(kind | 128), imprintOf(streams.get(key).posts[seq - 1])];
  const unsigned = Buffer.concat([hex(me), u64(session), u32(seq), u64(clock), ...before, body]);
  const bytes = Buffer.concat([unsigned, sign(null, signedOf(unsigned), signing.privateKey)]);
  keep(key, { author: me, session, publicKey }, bytes);
  send(TYPES.post, bytes);
}

function keep(key, { author, session: of, publicKey: by }, bytes) {
  const stream = streams.get(key) ?? { author, session: of, publicKey: by, posts: [] };
  streams.set(key, stream);
  stream.posts.push(bytes);
}

function onPost(bytes) {
  const reader = new Reader(bytes);
  const [author, of, seq, at, first] = [reader.id(), reader.u64(), reader.u32(), reader.u64(), reader.u8()];
  const kind = first & 127;
  const before = first > 127 ? reader.take(16) : undefined;
  const body = reader.take(reader.left - 64);
  const signature = reader.take(64);
  const key = `${author} ${of}`;
  const stream = streams.get(key);
  const head = (stream?.posts.length ?? 0) - 1;
  if (seq <= head) return;
  if (seq > head + 1) {
    ahead.set(`${key} ${seq}`, bytes);
    return want(author, of, head + 1);
  }
  const introduced = kind === KINDS.add ? readAdd(body) : undefined;
  const by = stream?.publicKey ?? introduced?.publicKey;
  if (by === undefined || hexOf64(hash(by)) !== author) return fail("a session without a beginning");
  if (!isSigned(by, signedOf(bytes.subarray(0, -64)), signature)) return fail("a forged post");
  // What we know stands in its place, so another imprint would be the author's lie about what it said before.
  if (before && stream && !imprintOf(stream.posts[head]).equals(before)) return fail("a wrong imprint");
  clock = Math.max(clock, at);
  keep(key, { author, session: of, publicKey: Buffer.from(by) }, Buffer.from(bytes));
  show(author, kind, body, signature, introduced);
  const next = ahead.get(`${key} ${seq + 1}`);
  ahead.delete(`${key} ${seq + 1}`);
  if (next !== undefined) onPost(next);
}

const names = new Map();
function show(author, kind, body, signature, introduced) {
  if (introduced !== undefined) {
    names.set(author, introduced.name);
    tell({ event: "add", member: author, name: introduced.name });
  } else if (kind === KINDS.remove) tell({ event: "remove", member: author });
  else if (kind === KINDS.text)
    for (const [n, text] of body.toString().split("\0").entries())
      tell({ event: "text", name: names.get(author), text, id: hexOf64(hash(signature, BigInt(n))) });
}

function readAdd(body) {
  const reader = new Reader(body);
  return { name: reader.short(), publicKey: reader.take(32) };
}

// Digests.

function entries(list) {
  const parts = list.map(({ author, session: of, posts }) =>
    Buffer.concat([hex(author), u64(of), u32(1), u32(posts.length - 1)]),
  );
  return Buffer.concat([u16(list.length), ...parts]);
}

function digest() {
  let sum = 0n;
  for (const { author, session: of, posts } of streams.values())
    sum ^= hash(Buffer.from(`${author} ${of} ${posts.length - 1}`));
  return u64(sum);
}

/** Of which buckets the list was asked for. */
let asked = Buffer.alloc(8, 0xff);
const bucketOf = ({ author }) => Number.parseInt(author.slice(0, 2), 16) >> 2;
const isIn = (bits, stream) => (bits[bucketOf(stream) >> 3] & (0x80 >> (bucketOf(stream) & 7))) !== 0;

function buckets() {
  const sums = Buffer.alloc(256);
  for (const stream of streams.values()) {
    const at = 4 * bucketOf(stream);
    const term = hash(Buffer.from(`${stream.author} ${stream.session} ${stream.posts.length - 1}`));
    sums.writeUInt32BE((sums.readUInt32BE(at) ^ Number(term & 0xffff_ffffn)) >>> 0, at);
  }
  return sums;
}

function want(author, of, from) {
  send(TYPES.want, u16(1), hex(author), u64(of), u32(from), u32(OPEN_END));
}

function onHave(reader) {
  const scope = reader.u8();
  const theirs = new Map();
  for (let left = reader.u16(); left > 0; left--) {
    const [author, of, , head] = [reader.id(), reader.u64(), reader.u32(), reader.u32()];
    theirs.set(`${author} ${of}`, head);
    const next = streams.get(`${author} ${of}`)?.posts.length ?? 0;
    if (head >= next) want(author, of, next);
  }
  if (scope !== LAST) return;
  const lacking = [...streams].filter(
    ([key, stream]) => isIn(asked, stream) && (theirs.get(key) ?? -1) < stream.posts.length - 1,
  );
  if (lacking.length > 0) send(TYPES.have, u8(NEWS), entries(lacking.map(([, stream]) => stream)));
}

function onWant(reader) {
  for (let left = reader.u16(); left > 0; left--) {
    const [author, of, from, to] = [reader.id(), reader.u64(), reader.u32(), reader.u32()];
    for (const bytes of streams.get(`${author} ${of}`)?.posts.slice(from, to + 1) ?? []) send(TYPES.post, bytes);
  }
}

function leave() {
  isLeaving = true;
  publish(KINDS.remove, Buffer.alloc(0));
  send(TYPES.bye, u8(LEAVING));
}

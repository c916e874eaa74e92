import { afterEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { createSocket, type Socket } from "node:dgram";
import type { NetworkInterfaceInfo } from "node:os";
import fc from "fast-check";
import { Bucket } from "../../lib/bucket.ts";
import { roomTag } from "../../lib/key.ts";
import { limits } from "../../lib/limits.ts";
import { Beacon, type FoundRoom, look, type OwnRoom, Rooms } from "../../lib/net/beacon.ts";
import { ASK_BYTES, decodePacket, encodePacket, markOf, type Packet, provesTag, tagOf } from "../../lib/net/packet.ts";
import { isNear, placesOf } from "../../lib/net/places.ts";

// On a busy machine processes and sockets take their time.
setDefaultTimeout(60_000);

const nonce = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
const key = roomTag(new Uint8Array(32).fill(7));
const otherKey = roomTag(new Uint8Array(32).fill(8));
const room = { mark: "0123456789abcdef", private: false, members: 3, port: 55107, name: "Zoë" };
const tell: Packet = { kind: "tell", nonce, room };
const ask: Packet = { kind: "ask", nonce };

/** What is to be ended, whatever becomes of the test. */
const open: { stop(): void }[] = [];
afterEach(() => {
  for (const each of open.splice(0)) each.stop();
});

/** A UDP port of its own for each test, so that no two runs hear each other. */
async function freePort(): Promise<number> {
  const socket = await bound("127.0.0.1");
  const { port } = socket.address();
  await new Promise<void>(resolve => socket.close(() => resolve()));
  return port;
}

async function bound(address: string, port = 0): Promise<Socket> {
  const socket = createSocket({ type: "udp4", reuseAddr: true });
  await new Promise<void>(resolve => socket.bind(port, address, resolve));
  return socket;
}

function ownRoom(name: string, id: string, tag?: Uint8Array): OwnRoom {
  return { room: id.repeat(32), name, members: 1, port: 50_000 + name.length, ...(tag && { tag }) };
}

async function beacon(port: number, own: OwnRoom, heard?: (room: FoundRoom) => void): Promise<Beacon> {
  const started = await Beacon.start({ scope: "loopback", port, room: () => own, ...(heard && { heard }) });
  open.push(started);
  return started;
}

/** Hears every ask on the port, on loopback, and answers what `answer` says from `from`. */
async function responder(
  port: number,
  answer: (asked: Uint8Array, say: (bytes: Uint8Array, from: Socket) => void, back: number) => void,
) {
  const ear = await bound("127.255.255.255", port);
  open.push({ stop: () => ear.close() });
  ear.on("message", (bytes, { port: back }) =>
    answer(bytes, (said, from) => from.send(said, back, "127.0.0.1", () => {}), back),
  );
}

async function mouth(address = "127.0.0.1"): Promise<Socket> {
  const socket = await bound(address);
  open.push({ stop: () => socket.close() });
  return socket;
}

function nonceOf(bytes: Uint8Array): Uint8Array {
  const packet = decodePacket(bytes);
  if (packet === undefined || packet === "newer") throw new Error("this is no packet");
  return packet.nonce;
}

describe("a packet", () => {
  test("has these bytes", () => {
    const hex = (packet: Packet) => Buffer.from(encodePacket(packet)).toString("hex");
    expect(hex(tell)).toBe("7032706201020101020304050607080123456789abcdef0003d743045a6fc3ab");
    expect(hex(ask)).toBe("703270620101000102030405060708".padEnd(2 * ASK_BYTES, "0"));
    expect(Buffer.from(tagOf(key, ask)).toString("hex")).toBe("be224ed0fca602c500687870ce60a992");
    expect(Buffer.from(tagOf(key, tell)).toString("hex")).toBe("8b59772adcc711e8b0fac1c765bb4d05");
    expect([markOf("ab".repeat(16)), markOf("ab".repeat(16), nonce)]).toEqual(["734704ec3fa4ff2f", "ef18518402112e6e"]);
  });

  test("comes back as it was", () => {
    const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
    const hints = fc.record({
      mark: bytes(8).map(mark => Buffer.from(mark).toString("hex")),
      private: fc.boolean(),
      members: fc.integer({ min: 1, max: 0xffff }),
      port: fc.integer({ min: 1, max: 0xffff }),
      name: fc.string({ unit: "grapheme", maxLength: 10 }).filter(name => Buffer.byteLength(name) <= 128),
    });
    const packets = fc.oneof(
      fc.record({ kind: fc.constant("tell" as const), nonce: bytes(8), room: hints, tag: bytes(16) }),
      fc.record({ kind: fc.constant("ask" as const), nonce: bytes(8), room: hints }),
      fc.record({ kind: fc.constant("ask" as const), nonce: bytes(8), tag: bytes(16) }),
    );
    fc.assert(
      fc.property(packets, packet => {
        const encoded = encodePacket(packet);
        expect(encoded.length).toBeLessThanOrEqual(ASK_BYTES);
        const decoded = decodePacket(encoded);
        expect(decoded).toEqual(packet);
        // Nothing shorter is a packet, and nothing longer.
        for (let length = 0; length < encoded.length; length++)
          expect(decodePacket(encoded.subarray(0, length))).toBeUndefined();
        expect(decodePacket(Buffer.concat([encoded, Buffer.of(0)]))).toBeUndefined();
      }),
      { numRuns: 50 },
    );
  });

  test("is nothing else: any bytes give a packet, another version, or nothing", () => {
    const rubbish = fc.uint8Array({ maxLength: 300 });
    const near = fc
      .tuple(fc.uint8Array({ maxLength: 200 }), fc.integer({ min: 0, max: 3 }))
      .map(([tail, version]) => Buffer.concat([Buffer.from("p2pb"), Buffer.of(version, 1 + (tail.length % 2)), tail]));
    fc.assert(
      fc.property(fc.oneof(rubbish, near), bytes => {
        const packet = decodePacket(bytes);
        if (typeof packet === "object") expect(encodePacket(packet)).toEqual(Buffer.from(bytes));
      }),
      { numRuns: 2_000 },
    );
  });

  test("of a newer version is known as one, whatever is in it", () => {
    const newer = encodePacket(ask);
    newer[4] = 2;
    newer[5] = 77;
    expect(decodePacket(newer)).toBe("newer");
  });

  test.each([
    ["an unknown kind", 5, 3],
    ["an unknown flag", 6, 9],
    ["a tell without a room", 6, 0],
    ["a port of 0", 26, 0],
  ])("with %s is none", (_what, at, value) => {
    const bytes = encodePacket({ ...tell, room: { ...room, port: 256 * 3 } });
    bytes[at] = value;
    if (at === 26) bytes[25] = 0;
    expect(decodePacket(bytes)).toBeUndefined();
  });

  test("an ask that is not filled with zeros, or too short, is none", () => {
    const bytes = encodePacket(ask);
    bytes[ASK_BYTES - 1] = 1;
    expect(decodePacket(bytes)).toBeUndefined();
    expect(decodePacket(encodePacket(ask).subarray(0, 40))).toBeUndefined();
  });

  test("proves its tag to whoever has the words, and only as it was said", () => {
    const tagged = { ...tell, tag: tagOf(key, tell) };
    expect(provesTag(key, tagged)).toBe(true);
    expect(provesTag(otherKey, tagged)).toBe(false);
    expect(provesTag(key, tell)).toBe(false);
    for (const change of [{ port: 1 }, { name: "Eve" }, { members: 4 }, { private: true }, { mark: "00".repeat(8) }])
      expect(provesTag(key, { ...tagged, room: { ...room, ...change } })).toBe(false);
    expect(provesTag(key, { ...tagged, nonce: new Uint8Array(8) })).toBe(false);
    // An ask cannot be sent back as its own answer.
    expect(provesTag(key, { ...tagged, tag: tagOf(key, { kind: "ask", nonce, room }) })).toBe(false);
  });
});

describe("the places", () => {
  const info = (address: string, cidr: string, internal = false): NetworkInterfaceInfo => {
    const shared = { address, netmask: "", mac: "", internal, cidr };
    return address.includes(":") ? { ...shared, family: "IPv6", scopeid: 0 } : { ...shared, family: "IPv4" };
  };
  const machine = {
    lo: [info("127.0.0.1", "127.0.0.1/8", true), info("::1", "::1/128", true)],
    eth0: [
      info("192.168.1.20", "192.168.1.20/24"),
      info("2001:db8::5", "2001:db8::5/64"),
      info("fe80::1", "fe80::1/64"),
    ],
    wlan0: [info("10.20.30.40", "10.20.30.40/20")],
    tun0: [info("10.8.0.2", "10.8.0.2/32")],
  };
  const shown = (...args: Parameters<typeof placesOf>) =>
    placesOf(...args).map(({ card, address, broadcast }) => `${card} ${address} ${broadcast}`);

  test("are every card, and loopback for two nodes on one machine", () => {
    expect(shown("lan", undefined, machine)).toEqual([
      "eth0 192.168.1.20 192.168.1.255",
      "eth0 fe80::1 undefined",
      "wlan0 10.20.30.40 10.20.31.255",
      "tun0 10.8.0.2 undefined",
      "lo 127.0.0.1 127.255.255.255",
    ]);
  });

  test("are loopback alone, or none, where that is asked for", () => {
    expect(shown("loopback", undefined, machine)).toEqual(["lo 127.0.0.1 127.255.255.255"]);
    expect(shown("off", undefined, machine)).toEqual([]);
  });

  test("are those where a listener on one address is reached", () => {
    expect(shown("lan", "10.20.30.40", machine)).toEqual(["wlan0 10.20.30.40 10.20.31.255"]);
    expect(shown("lan", "fe80::1%eth0", machine)).toEqual(["eth0 fe80::1 undefined"]);
    expect(shown("lan", "localhost", machine)).toEqual(["lo 127.0.0.1 127.255.255.255"]);
    expect(shown("lan", "0.0.0.0", machine)).toHaveLength(5);
    expect(shown("lan", "::1", machine)).toEqual([]);
  });

  test("are bounded", () => {
    const many = { eth0: Array.from({ length: 200 }, (_, index) => info(`10.0.0.${index}`, `10.0.0.${index}/24`)) };
    expect(placesOf("lan", undefined, many)).toHaveLength(32);
  });

  test("tell who is near: on the same network, and not routed", () => {
    const places = placesOf("lan", undefined, machine);
    for (const source of ["192.168.1.99", "10.20.16.1", "127.0.0.9", "fe80::99%eth0"])
      expect([source, isNear(places, source)]).toEqual([source, true]);
    for (const source of ["192.168.2.1", "8.8.8.8", "10.20.32.1", "2001:db8::9", "fe80::99%wlan0", "::1", ""])
      expect([source, isNear(places, source)]).toEqual([source, false]);
    expect(isNear(placesOf("loopback", undefined, machine), "192.168.1.99")).toBe(false);
  });
});

describe("a look round", () => {
  /** For those who answer it is a deadline, which a busy machine must not make them miss. */
  const lookMs = 1_500;

  test("finds nothing where nobody is, in less than half a second", async () => {
    const port = await freePort();
    let isInTime = false;
    // A timer goes with it, since all on a busy machine is late. The best of five: opening sockets may take its time.
    for (let round = 0; round < 5 && !isInTime; round++) {
      let isLate = false;
      const late = setTimeout(() => {
        isLate = true;
      }, 500);
      const { rooms, places } = await look({ scope: "loopback", port });
      clearTimeout(late);
      expect([rooms.length, places.length]).toEqual([0, 1]);
      isInTime = !isLate;
    }
    expect(isInTime).toBe(true);
    expect((await look({ scope: "off", port: 1 })).places).toEqual([]);
  });

  test("finds several nodes of one machine, and puts those of one room together", async () => {
    const port = await freePort();
    await beacon(port, ownRoom("Alice", "a"));
    await beacon(port, ownRoom("Bobby1", "a"));
    await beacon(port, ownRoom("Carol12", "b"));
    const { rooms } = await look({ scope: "loopback", port }, { lookMs });
    const seen = rooms.map(
      found => `${found.names.toSorted()} ${found.addresses.map(at => `${at.host}:${at.port}`).sort()}`,
    );
    expect(seen.sort()).toEqual(["Alice,Bobby1 127.0.0.1:50005,127.0.0.1:50006", "Carol12 127.0.0.1:50007"]);
  });

  test("sees of a private room that there is one; who has the words recognises it, and nobody else", async () => {
    const port = await freePort();
    await beacon(port, ownRoom("Alice", "a", key));
    await beacon(port, ownRoom("Bobby1", "a", key));
    const setting = { scope: "loopback", port } as const;
    const [first, second] = await Promise.all([look(setting, { lookMs }), look(setting, { lookMs })]);
    expect(first.rooms.map(found => [found.private, found.names.length])).toEqual([[true, 2]]);
    // The mark means nothing beyond one look.
    expect(first.rooms[0]?.mark).not.toBe(second.rooms[0]?.mark);
    expect((await look(setting, { tag: key, lookMs, first: true })).rooms).toHaveLength(1);
    expect((await look(setting, { tag: otherKey, lookMs: 150 })).rooms).toEqual([]);
  });

  test("believes nobody who only pretends to know the words", async () => {
    const port = await freePort();
    const from = await mouth();
    await responder(port, (asked, say) => {
      const said: Packet = { ...tell, nonce: nonceOf(asked), room: { ...room, private: true } };
      say(encodePacket(said), from);
      say(encodePacket({ ...said, tag: tagOf(otherKey, said) }), from);
    });
    expect((await look({ scope: "loopback", port }, { tag: key, lookMs: 150 })).rooms).toEqual([]);
  });

  test("takes no answer to another question, and counts what it cannot read", async () => {
    const port = await freePort();
    const from = await mouth();
    await responder(port, (asked, say) => {
      const newer = encodePacket({ ...tell, nonce: nonceOf(asked) });
      newer[4] = 9;
      for (const bytes of [newer, Buffer.from("HTTP/1.1 200 OK\r\n\r\n"), new Uint8Array(), new Uint8Array(60_000)])
        say(bytes, from);
      say(encodePacket(tell), from);
      say(encodePacket({ ...tell, nonce: nonceOf(asked), room: { ...room, mark: "ff".repeat(8) } }), from);
    });
    const { rooms, newer, malformed } = await look({ scope: "loopback", port }, { lookMs });
    expect(rooms.map(found => found.mark)).toEqual(["ff".repeat(8)]);
    // Asked twice, answered twice.
    expect([newer, malformed]).toEqual([2, 6]);
  });

  test("finds through a firewall that lets in what comes to the shared port, and nothing else", async () => {
    const port = await freePort();
    const from = await mouth();
    const backs: number[] = [];
    await responder(port, (asked, say, back) => {
      backs.push(back);
      if (back === port) say(encodePacket({ ...tell, nonce: nonceOf(asked) }), from);
    });
    expect((await look({ scope: "loopback", port }, { lookMs })).rooms).toHaveLength(1);
    expect([backs.length, backs.filter(back => back === port).length]).toEqual([2, 1]);
  });

  test("keeps two thousand rooms, and no more than its limit", async () => {
    const port = await freePort();
    const senders = await Promise.all(Array.from({ length: 40 }, (_, index) => mouth(`127.0.1.${index + 1}`)));
    const crowd = await mouth("127.0.2.1");
    const answered = new Set<string>();
    await responder(port, (asked, say) => {
      const asker = Buffer.from(nonceOf(asked)).toString("hex");
      if (answered.has(asker)) return;
      answered.add(asker);
      const hint = (index: number) => ({ ...room, mark: index.toString(16).padStart(16, "0"), members: index + 1 });
      const said = (index: number) => encodePacket({ ...tell, nonce: nonceOf(asked), room: hint(index) });
      senders.forEach((sender, at) => {
        for (let index = 0; index < 50; index++) say(said(at * 50 + index), sender);
      });
      for (let index = 5_000; index < 5_200; index++) say(said(index), crowd);
    });
    let rooms: readonly FoundRoom[] = [];
    // So many answers take a busy machine longer than one look.
    for (let patienceMs = lookMs; rooms.length < limits.beaconRoomsMax && patienceMs < 30_000; patienceMs *= 2)
      ({ rooms } = await look({ scope: "loopback", port }, { lookMs: patienceMs }));
    const ofCrowd = rooms.filter(found => found.addresses[0]?.host === "127.0.2.1").length;
    expect([rooms.length - ofCrowd, ofCrowd]).toEqual([2_000, 48]);
  });
});

describe("a beacon", () => {
  test("answers one ask once, however often it comes, and not one that is malformed or newer", async () => {
    const port = await freePort();
    await beacon(port, ownRoom("Alice", "a"));
    const socket = await mouth();
    socket.setBroadcast(true);
    const answers: string[] = [];
    const last = Promise.withResolvers<void>();
    const end = Uint8Array.of(9, 9, 9, 9, 9, 9, 9, 9);
    socket.on("message", bytes => {
      answers.push(Buffer.from(nonceOf(bytes)).toString("hex"));
      if (answers.at(-1) === Buffer.from(end).toString("hex")) last.resolve();
    });
    const newer = encodePacket({ ...ask, nonce: new Uint8Array(8).fill(2) });
    newer[4] = 2;
    const short = encodePacket({ ...ask, nonce: new Uint8Array(8).fill(3) }).subarray(0, 50);
    const packets = [newer, short, encodePacket(tell), encodePacket(ask), encodePacket(ask), encodePacket(ask)];
    for (const bytes of packets) socket.send(bytes, port, "127.255.255.255");
    // An answer waits by chance: the end is asked for when the first has come.
    socket.once("message", () => socket.send(encodePacket({ ...ask, nonce: end }), port, "127.255.255.255"));
    await last.promise;
    expect(answers).toEqual([Buffer.from(nonce).toString("hex"), Buffer.from(end).toString("hex")]);
  });

  test("answers a flood from one address a few times, and others still", async () => {
    const port = await freePort();
    await beacon(port, ownRoom("Alice", "a"));
    const [flooder, friend] = [await mouth("127.0.3.1"), await mouth("127.0.3.2")];
    flooder.setBroadcast(true);
    friend.setBroadcast(true);
    let answered = 0;
    flooder.on("message", () => {
      answered++;
      // The system drops what does not fit its buffer.
      friend.send(encodePacket(ask), port, "127.255.255.255");
    });
    const startedAt = performance.now();
    for (let index = 0; index < 1_000; index++) {
      const fresh = new Uint8Array(8);
      new DataView(fresh.buffer).setUint32(0, index);
      flooder.send(encodePacket({ ...ask, nonce: fresh }), port, "127.255.255.255");
    }
    await new Promise<void>(resolve => friend.once("message", () => resolve()));
    // The burst, and what came back meanwhile.
    const seconds = (performance.now() - startedAt) / 1_000;
    const { beaconAnswersPerSourceBurst: burst, beaconAnswersPerSourcePerSecond: perSecond } = limits;
    expect(answered).toBeGreaterThan(0);
    expect(answered).toBeLessThanOrEqual(burst + perSecond * seconds + 1);
  });

  test("tells two who open rooms at the same moment of each other", async () => {
    const port = await freePort();
    const heard: string[] = [];
    const both = Promise.withResolvers<void>();
    const hear = (who: string) => (found: FoundRoom) => {
      const line = `${who} of ${found.names} at ${found.addresses[0]?.port}`;
      if (!heard.includes(line)) heard.push(line);
      if (heard.length === 2) both.resolve();
    };
    const [alice, bob] = [
      await beacon(port, ownRoom("Alice", "a"), hear("Alice")),
      await beacon(port, ownRoom("Bobby1", "b"), hear("Bobby1")),
    ];
    await Promise.all([alice.announce(), bob.announce(), both.promise]);
    expect(heard.sort()).toEqual(["Alice of Bobby1 at 50006", "Bobby1 of Alice at 50005"]);
  });

  test("of a private room hears nothing of others, and they nothing of it", async () => {
    const port = await freePort();
    const heard: string[] = [];
    const same = Promise.withResolvers<void>();
    await beacon(port, ownRoom("Public1", "a"), found => heard.push(`public of ${found.names}`));
    await beacon(port, ownRoom("Other12", "b", otherKey), found => heard.push(`other of ${found.names}`));
    await beacon(port, ownRoom("Twin123", "c", key), () => same.resolve());
    const alice = await beacon(port, ownRoom("Alice", "d", key));
    await alice.announce();
    await same.promise;
    expect(heard).toEqual([]);
  });
});

test("a bucket fills up with time, and not beyond its burst", () => {
  const bucket = new Bucket(10, 3);
  const taken = (now: number) => Array.from({ length: 5 }, () => bucket.take(now)).filter(Boolean).length;
  expect([taken(0), taken(0), taken(100), taken(250), taken(60_000)]).toEqual([3, 0, 1, 1, 3]);
});

test("rooms remember a few names and ways each, and the largest number of members", () => {
  const rooms = new Rooms();
  for (let index = 1; index <= 30; index++)
    rooms.add({ ...room, name: `N${index}`, port: index, members: index % 7 || 9 }, "10.0.0.1");
  const [found] = rooms.list();
  expect([rooms.list().length, found?.names.length, found?.addresses.length, found?.members]).toEqual([1, 8, 8, 9]);
});

test("one address tells of so many rooms and no more", () => {
  const rooms = new Rooms();
  const add = (index: number, host: string) => rooms.add({ ...room, mark: index.toString(16).padStart(16, "0") }, host);
  expect(Array.from({ length: 200 }, (_, index) => add(index, "10.0.0.1")).filter(Boolean)).toHaveLength(64);
  expect([add(1_000, "10.0.0.2"), add(3, "10.0.0.1"), rooms.list().length]).toEqual([true, true, 65]);
});

/** One link between a station and a peer that obeys nobody: bytes, queues, ends. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { encode, type Message } from "../../lib/codec/message.ts";
import { PeerError } from "../../lib/errors.ts";
import { limits } from "../../lib/limits.ts";
import { inside, LOOPBACK, linked, NO_CREDENTIALS, RawPeer, Station, type StationOptions, tcpServer } from "./world.ts";

// On a busy machine processes and sockets take their time.
setDefaultTimeout(60_000);

const ping = (token: number) => encode({ type: "ping", token });
const BYE_FAULT: Message = { type: "bye", reason: "fault" };

/** A post of `size` bytes on the wire after its header, filled so that no two are alike. Nobody checks it here. */
function postFrame(size: number, seed: number): Uint8Array {
  const frame = Buffer.alloc(5 + size, seed & 0xff);
  frame.writeUInt32BE(1 + size, 0);
  frame[4] = 4;
  // A session and a clock below 2^53, and the seed as the sequence number.
  frame.fill(0, 5, 5 + 29).writeUInt32BE(seed, 5 + 16);
  return frame;
}

/** A station and a raw peer that it has let in. */
async function entered(options: Partial<StationOptions> = {}): Promise<[Station, number, RawPeer]> {
  const station = await new Station(options).listening();
  const peer = await (await RawPeer.dial(station.port)).enter();
  await station.take("knock");
  const { link } = await station.take("up");
  return [station, link, peer];
}

describe("frames", () => {
  test("come up both ways with equal knowledge, and messages follow", async () => {
    const [listener, accepted, dialler, dialled] = await linked();
    expect([accepted % 2, dialled]).toEqual([1, 2]);
    listener.transport.send(accepted, ping(1));
    dialler.transport.send(dialled, ping(2));
    expect(await dialler.take("message")).toEqual({
      type: "message",
      link: dialled,
      message: { type: "ping", token: 1 },
    });
    expect(await listener.take("message")).toEqual({
      type: "message",
      link: accepted,
      message: { type: "ping", token: 2 },
    });
  });

  test("may dribble in byte by byte, hello included", async () => {
    const station = await new Station().listening();
    const peer = await RawPeer.dial(station.port);
    for (const byte of await peer.secured()) {
      await peer.write(Buffer.of(byte));
      await new Promise<void>(resolve => setImmediate(resolve));
    }
    await station.take("up");
    for (const byte of Buffer.concat([ping(5), ping(6)])) {
      await peer.write(Buffer.of(byte));
      await new Promise<void>(resolve => setImmediate(resolve));
    }
    expect((await station.take("message")).message).toEqual({ type: "ping", token: 5 });
    expect((await station.take("message")).message).toEqual({ type: "ping", token: 6 });
  });

  test("that come in one piece with the welcome follow it", async () => {
    const peer = new RawPeer("listener", { name: "Alice", room: "1f".repeat(16) });
    const port = await RawPeer.listen(peer);
    const station = new Station();
    station.transport.dial(2, [{ host: LOOPBACK, port }]);
    await peer.secured();
    peer.handshake.receive((await peer.take("message")).message);
    await peer.write(Buffer.concat([peer.handshake.admit().frame, ping(1), postFrame(60_000, 2)]));
    await station.take("message");
    await station.take("message");
    expect((await station.take("up")).link).toBe(2);
  });

  test("are not sent to a peer that is not let in", async () => {
    const station = await new Station({ door: "wait" }).listening();
    const peer = await RawPeer.dial(station.port);
    await peer.hello();
    const { link } = await station.take("knock");
    station.transport.send(link, ping(1));
    station.transport.admit(link);
    station.transport.send(link, ping(2));
    expect((await peer.take("message")).message.type).toBe("welcome");
    expect((await peer.take("message")).message).toEqual({ type: "ping", token: 2 });
  });

  test("after a close in the middle of a chunk are not delivered", async () => {
    const heard: Message[] = [];
    const [station, , peer] = await entered({
      onMessage: (self, link, message) => {
        heard.push(message);
        self.transport.close(link, "full");
      },
    });
    await peer.write(Buffer.concat([ping(1), ping(2), ping(3)]));
    await station.take("down");
    await peer.take("closed");
    expect(heard).toEqual([{ type: "ping", token: 1 }]);
  });

  test("lie in memory that is free again when all of it was told and its owner says so", async () => {
    const COUNT = 1_000;
    const digests: Buffer[] = [];
    const views: Uint8Array[] = [];
    const whole = Promise.withResolvers<void>();
    const [listener, , dialler, link] = await linked({
      onMessage: ({ transport }, __, message) => {
        // Nothing of a chunk is free before its end.
        transport.free();
        if (message.type !== "compare") return;
        digests.push(Buffer.from(message.digest));
        if (digests.length === 1) views.push(message.digest);
        if (digests.length === COUNT) whole.resolve();
      },
    });
    for (let number = 0; number < COUNT; number++) {
      const digest = Buffer.alloc(8);
      digest.writeUInt32BE(number);
      dialler.transport.send(link, encode({ type: "compare", digest }));
    }
    await whole.promise;
    expect(digests.every((digest, number) => digest.readUInt32BE() === number)).toBe(true);
    await new Promise<void>(resolve => setImmediate(resolve));
    listener.transport.free();
    expect(views.map(view => view.length)).toEqual([0]);
  });
});

describe("a peer that breaks the protocol is dropped with the reason", () => {
  const rubbish: Record<string, [Uint8Array, string]> = {
    "an empty frame": [Buffer.alloc(4), "malformed"],
    "an oversize frame": [Buffer.from([0xff, 0xff, 0xff, 0xff, 4]), "too_large"],
    "a frame one byte over the limit": [
      Buffer.from(Uint32Array.of(limits.frameMaxBytes + 1).buffer).swap32(),
      "too_large",
    ],
    "an unknown message": [Buffer.from([0, 0, 0, 1, 99]), "malformed"],
    "a message cut short": [Buffer.from([0, 0, 0, 2, 8, 0]), "malformed"],
    "a second hello": [NO_CREDENTIALS, "out_of_turn"],
    "a refusal after the welcome": [
      encode({ type: "refuse", reason: "full", suggestion: "", addresses: [] }),
      "out_of_turn",
    ],
  };
  for (const [what, [bytes, fault]] of Object.entries(rubbish)) {
    test(`${what} on a link that is up: ${fault}, and a bye`, async () => {
      const [station, link, peer] = await entered();
      await peer.write(bytes);
      expect(await station.take("down")).toEqual({ type: "down", link, fault });
      expect((await peer.take("message")).message).toEqual(BYE_FAULT);
      await peer.take("closed");
    });
  }

  const unready: Record<string, [Uint8Array, string]> = {
    "an empty frame": [Buffer.alloc(4), "malformed"],
    garbage: [Buffer.alloc(4_096, 0xa5), "too_large"],
    "a frame larger than a hello can be": [Buffer.from([0, 0, 4, 1]), "too_large"],
    "a ping": [ping(1), "out_of_turn"],
    "a hello without the magic": [Buffer.from([0, 0, 0, 5, 1, 1, 2, 3, 4]), "not_p2pchat"],
  };
  for (const [what, [bytes, fault]] of Object.entries(unready)) {
    test(`${what} instead of a hello: ${fault}, without a word`, async () => {
      const station = await new Station().listening();
      const peer = await RawPeer.dial(station.port);
      await peer.write(bytes);
      expect((await station.take("rejected")).fault.fault).toBe(fault as PeerError["fault"]);
      await peer.take("closed");
      expect(peer.received).toEqual([]);
      expect(station.events).toEqual([]);
    });
  }

  test("talk in one piece with the hello is ahead of the welcome", async () => {
    const station = await new Station().listening();
    const peer = await RawPeer.dial(station.port);
    await peer.write(Buffer.concat([await peer.secured(), ping(1)]));
    expect((await station.take("rejected")).fault.fault).toBe("out_of_turn");
    expect(station.events).toEqual([]);
  });

  test("another version is told which fault it is", async () => {
    const station = await new Station().listening();
    const peer = await RawPeer.dial(station.port);
    const hello = await peer.secured();
    hello[9] = 9;
    await peer.write(hello);
    expect((await peer.take("message")).message).toMatchObject({ type: "refuse", reason: "bad_version" });
    expect((await station.take("rejected")).fault.fault).toBe("bad_version");
  });

  test("bytes that are not TLS", async () => {
    const station = await new Station().listening();
    const closed = Promise.withResolvers<void>();
    const socket = await Bun.connect({
      hostname: LOOPBACK,
      port: station.port,
      socket: { data() {}, close: () => closed.resolve() },
    });
    socket.write("GET / HTTP/1.1\r\n\r\n");
    expect((await station.take("rejected")).fault.fault).toBe("not_p2pchat");
    await closed.promise;
  });

  test("a fault that the owner finds in a message", async () => {
    const [station, link, peer] = await entered({
      onMessage: () => {
        throw new PeerError("flooding");
      },
    });
    await peer.write(ping(1));
    expect(await station.take("down")).toEqual({ type: "down", link, fault: "flooding" });
    expect((await peer.take("message")).message).toEqual(BYE_FAULT);
  });
});

test("an error of our own closes the link and is passed on", async () => {
  const ours = new Error("our fault");
  const [station, link, peer] = await entered({
    onMessage: () => {
      throw ours;
    },
  });
  await peer.write(ping(1));
  expect((await station.take("bug")).error).toBe(ours);
  expect(await station.take("down")).toEqual({ type: "down", link, fault: undefined });
  await peer.take("closed");
});

describe("the end of a link", () => {
  test("by the peer's half-close is heard once", async () => {
    const [station, link, peer] = await entered();
    (await peer.raw()).shutdown();
    expect(await station.take("down")).toEqual({ type: "down", link, fault: undefined });
    await peer.take("closed");
    expect(station.events).toEqual([]);
  });

  test("by a reset is heard once", async () => {
    const [station, link, peer] = await entered();
    (await peer.raw()).terminate();
    expect(await station.take("down")).toEqual({ type: "down", link, fault: undefined });
  });

  test("by our close says why, then closes, and is forgotten", async () => {
    const [station, link, peer] = await entered();
    station.transport.send(link, ping(1));
    station.transport.close(link, "duplicate");
    station.transport.send(link, ping(2));
    expect(await station.take("down")).toEqual({ type: "down", link, fault: undefined });
    await peer.take("closed");
    expect((await peer.take("message")).message).toEqual({ type: "ping", token: 1 });
    expect((await peer.take("message")).message).toEqual({ type: "bye", reason: "duplicate" });
    expect(peer.events).toEqual([]);
    await station.transport.stop();
    expect(inside(station).links.size + inside(station).sockets.size).toBe(0);
  });

  test("by our close does not take from the peer what it has not read yet", async () => {
    const [station, link, peer] = await entered({ deadlines: { followTimeoutMs: 20_000 } });
    const socket = await peer.raw();
    socket.pause();
    // It has written to us too: closing with that unread would reset the connection.
    await peer.write(ping(9));
    for (let sent = 0; sent < 5; sent++) station.transport.send(link, postFrame(65_000, sent));
    await station.take("drained");
    station.transport.close(link, "leaving");
    await station.take("down");
    socket.resume();
    await peer.take("closed");
    const types = peer.events.map(event => (event.type === "message" ? event.message.type : event.type));
    expect(types).toEqual(["post", "post", "post", "post", "post", "bye"]);
  });

  test("does not wait for a peer that never closes its side", async () => {
    const [station, link, peer] = await entered({ deadlines: { followTimeoutMs: 50 } });
    (await peer.raw()).pause();
    station.transport.close(link, "full");
    await station.take("down");
    await station.transport.stop();
    expect(inside(station).sockets.size).toBe(0);
  });

  test("is no error for what is still sent, admitted or closed", async () => {
    const [station, link, peer] = await entered();
    (await peer.raw()).terminate();
    await station.take("down");
    station.transport.send(link, ping(1));
    station.transport.admit(link);
    station.transport.refuse(link, { reason: "full", suggestion: "", addresses: [] });
    station.transport.close(link, "full");
    expect(station.events).toEqual([]);
  });
});

describe("the queue", () => {
  test("of 64 MiB arrives whole through partial writes", async () => {
    const FRAME_BYTES = 65_000;
    const COUNT = Math.ceil((64 * 1024 * 1024) / FRAME_BYTES);
    let next = 0;
    const whole = Promise.withResolvers<void>();
    const [, , dialler, link] = await linked({
      onMessage: (_, __, message) => {
        if (message.type !== "post") throw new Error("not a post");
        const { seq, body } = message.post;
        if (seq !== next || body.length !== FRAME_BYTES - 93 || body.some(byte => byte !== (seq & 0xff)))
          whole.reject(new Error(`post ${next} is not what was sent`));
        if (++next === COUNT) whole.resolve();
      },
    });
    for (let sent = 0; sent < COUNT; ) {
      for (let bytes = 0; bytes < 4 * 1024 * 1024 && sent < COUNT; bytes += FRAME_BYTES)
        dialler.transport.send(link, postFrame(FRAME_BYTES, sent++));
      await dialler.take("drained");
    }
    await whole.promise;
    expect(next).toBe(COUNT);
  });

  test("keeps what the kernel did not take, whatever becomes of the memory that it lay in", async () => {
    const FRAME_BYTES = 65_000;
    const memory = Buffer.alloc(128 * (5 + FRAME_BYTES));
    let next = 0;
    const whole = Promise.withResolvers<void>();
    const [, , dialler, link] = await linked({
      onMessage: (_, __, message) => {
        if (message.type !== "post" || message.post.seq !== next || message.post.body.some(byte => byte !== next))
          whole.reject(new Error(`frame ${next} is not what was sent`));
        if (++next === 128) whole.resolve();
      },
    });
    for (let sent = 0; sent < 128; sent++) {
      const at = sent * (5 + FRAME_BYTES);
      memory.set(postFrame(FRAME_BYTES, sent), at);
      dialler.transport.send(link, memory.subarray(at, at + 5 + FRAME_BYTES));
    }
    await new Promise(resolve => setImmediate(resolve));
    memory.fill(0xff);
    await whole.promise;
    expect(next).toBe(128);
  });

  test("of a hundred thousand small frames keeps their order", async () => {
    const COUNT = 100_000;
    const tokens: number[] = [];
    const whole = Promise.withResolvers<void>();
    const [, , dialler, link] = await linked({
      onMessage: (_, __, message) => {
        if (message.type === "ping") tokens.push(message.token);
        if (tokens.length === COUNT) whole.resolve();
      },
    });
    for (let token = 0; token < COUNT; token++) dialler.transport.send(link, ping(token));
    await whole.promise;
    expect(tokens.every((token, index) => token === index)).toBe(true);
  });

  test("goes out in one write per turn", async () => {
    const [listener, accepted, dialler] = await linked();
    const link = inside(listener).links.get(accepted);
    const socket = link?.socket;
    const writes: number[] = [];
    const write = socket?.write.bind(socket);
    if (socket && write)
      socket.write = (bytes: Bun.BufferSource | string) => {
        writes.push(typeof bytes === "string" ? bytes.length : bytes.byteLength);
        return write(bytes);
      };
    for (let token = 0; token < 100; token++) listener.transport.send(accepted, ping(token));
    for (let token = 0; token < 100; token++) await dialler.take("message");
    expect(writes).toEqual([100 * 9]);
  });

  test("that is empty again is told of when much was sent, and not after each word", async () => {
    const [listener, accepted, dialler, dialled] = await linked();
    for (let word = 0; word < 10; word++) {
      listener.transport.send(accepted, ping(word));
      await dialler.take("message");
      dialler.transport.send(dialled, ping(word));
      await listener.take("message");
    }
    expect([...listener.events, ...dialler.events].filter(({ type }) => type === "drained")).toEqual([]);
    for (let bytes = 0; bytes < limits.linkDrainedBytes; bytes += 65_000)
      listener.transport.send(accepted, postFrame(65_000, bytes));
    await listener.take("drained");
  });

  test("that is empty leaves no timer behind", async () => {
    const [listener, accepted, dialler, dialled] = await linked();
    listener.transport.send(accepted, ping(1));
    await dialler.take("message");
    expect(inside(listener).links.get(accepted)?.timer).toBeUndefined();
    expect(inside(dialler).links.get(dialled)?.timer).toBeUndefined();
  });

  test("of a reader that stops is given up", async () => {
    const [station, link, peer] = await entered({ deadlines: { linkStuckTimeoutMs: 100 } });
    (await peer.raw()).pause();
    for (let sent = 0; sent < 100; sent++) station.transport.send(link, postFrame(65_000, sent));
    expect(await station.take("down")).toEqual({ type: "down", link, fault: "too_slow" });
  });

  test("of a reader that is slow is not", async () => {
    // For the reader it is a deadline: a busy machine may keep it from reading for a while.
    const patienceMs = 1_000;
    const [station, link, peer] = await entered({ deadlines: { linkStuckTimeoutMs: patienceMs } });
    const socket = await peer.raw();
    socket.pause();
    peer.data = () => socket.pause();
    // One look at the socket every 20 ms: much slower than the sender, never as slow as patience.
    const pace = setInterval(() => socket.resume(), 20);
    const startedAt = performance.now();
    try {
      while (performance.now() - startedAt < 2 * patienceMs) {
        for (let sent = 0; sent < 100; sent++) station.transport.send(link, postFrame(65_000, sent));
        await station.take("drained");
      }
    } finally {
      clearInterval(pace);
    }
    expect(station.events).toEqual([]);
    expect(inside(station).links.get(link)?.timer).toBeUndefined();
  });

  test("that outgrows its limit ends the link, not the program", async () => {
    const [station, link, peer] = await entered();
    (await peer.raw()).pause();
    for (let bytes = 0; bytes <= 2 * limits.linkQueueMaxBytes; bytes += 65_000)
      station.transport.send(link, postFrame(65_000, 1));
    expect(await station.take("down")).toEqual({ type: "down", link, fault: "too_slow" });
    expect(inside(station).sockets.size).toBe(0);
  });
});

describe("deadlines", () => {
  /** Within it the other end gets through with TLS, and says hello, on a busy machine as well. */
  const handshakeTimeoutMs = 1_000;

  test("end a connection that never says a byte", async () => {
    const station = await new Station({ deadlines: { firstByteTimeoutMs: 30 } }).listening();
    const closed = Promise.withResolvers<void>();
    await Bun.connect({ hostname: LOOPBACK, port: station.port, socket: { data() {}, close: () => closed.resolve() } });
    await closed.promise;
    expect(inside(station).sockets.size).toBe(0);
  });

  test("end a connection that never says hello", async () => {
    const station = await new Station({ deadlines: { handshakeTimeoutMs } }).listening();
    const peer = await RawPeer.dial(station.port);
    await peer.take("secured");
    await peer.write(Buffer.from([0, 0]));
    await peer.take("closed");
    expect(inside(station).sockets.size).toBe(0);
  });

  test("end a knock that nobody answers", async () => {
    const station = await new Station({ door: "wait", deadlines: { handshakeTimeoutMs } }).listening();
    const peer = await RawPeer.dial(station.port);
    await peer.hello();
    await station.take("knock");
    await peer.take("closed");
    expect(station.events).toEqual([]);
  });

  test("do not end a link that came up", async () => {
    const [listener, accepted, dialler, dialled] = await linked();
    expect(inside(listener).links.get(accepted)?.timer).toBeUndefined();
    expect(inside(dialler).links.get(dialled)?.timer).toBeUndefined();
  });
});

test("a listener does not start TLS 1.2", async () => {
  const station = await new Station().listening();
  const ended = Promise.withResolvers<Error | null>();
  await Bun.connect({
    hostname: LOOPBACK,
    port: station.port,
    tls: { rejectUnauthorized: false, maxVersion: 0x0303 } as Bun.TLSOptions,
    socket: { data() {}, handshake: (_, __, error) => ended.resolve(error) },
  });
  expect(await ended.promise).toMatchObject({ code: "EPROTO" });
  expect((await station.take("rejected")).fault.fault).toBe("not_p2pchat");
});

test("a plain server never sees more than a ClientHello", async () => {
  const seen: Buffer[] = [];
  const closed = Promise.withResolvers<void>();
  const server = tcpServer({ data: (_, chunk) => void seen.push(chunk), close: () => closed.resolve() });
  const station = new Station({ name: "Carla", deadlines: { firstByteTimeoutMs: 50 } });
  await station.dial(server);
  await closed.promise;
  expect(Buffer.concat(seen)[0]).toBe(0x16);
  expect(Buffer.concat(seen).includes("Carla")).toBe(false);
});

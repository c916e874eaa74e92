/**
 * A scripted attacker on real sockets. Every attack goes on until it is told to stop, and takes nothing back: where it is
 * thrown out it comes again, with a new key.
 */
import { connect as connectTcp, type Socket as TcpSocket } from "node:net";
import { FrameBuffer } from "../../lib/codec/frame.ts";
import { decode, encode, type Message, NO_ROOM, OPEN_END, type StreamKey } from "../../lib/codec/message.ts";
import { encodeLosses, encodeTexts, type Post, PostKind, type RoomId, sealPost } from "../../lib/codec/post.ts";
import { type Identity, identityOf, newSecrets } from "../../lib/identity.ts";
import { limits } from "../../lib/limits.ts";
import { Handshake } from "../../lib/net/handshake.ts";
import { introductionOf } from "./core.ts";

const HOST = "127.0.0.1";

/** What went out, for the figures at the end. */
export interface Tally {
  connections: number;
  bytes: number;
}

/** When to stop, and what has been done. */
export interface Siege {
  readonly port: number;
  readonly over: () => boolean;
  readonly tally: Tally;
}

const pause = (): Promise<void> => new Promise(resolve => setImmediate(resolve));

/** One TLS connection that sends whatever it is told to. */
export class Rogue {
  readonly heard: Message[] = [];
  /** Sessions that it has been told of. */
  readonly streams: StreamKey[] = [];
  room: RoomId = NO_ROOM;
  isClosed = false;
  private seq = 0;
  private socket: Bun.Socket<Rogue> | undefined;
  private readonly frames = new FrameBuffer();
  private readonly handshake: Handshake;
  private readonly entered = Promise.withResolvers<void>();

  private constructor(
    private readonly siege: Siege,
    readonly identity: Identity,
    private readonly isMember: boolean,
    private readonly isReading: boolean,
  ) {
    const name = `M${identity.member.slice(0, 12)}`;
    this.handshake = new Handshake(
      "dialler",
      { identity, session: () => 1, name: () => name, room: () => NO_ROOM },
      HOST,
    );
    this.frames.allowPosts();
  }

  /** Through with TLS, and with `isMember` let into the room. */
  static async dial(siege: Siege, isMember: boolean, isReading = true): Promise<Rogue> {
    const rogue = new Rogue(siege, identityOf(newSecrets()), isMember, isReading);
    siege.tally.connections += 1;
    try {
      rogue.socket = await Bun.connect<Rogue>({
        hostname: HOST,
        port: siege.port,
        data: rogue,
        tls: { rejectUnauthorized: false },
        socket: HANDLERS,
      });
      await rogue.entered.promise;
    } catch {
      rogue.close();
    }
    return rogue;
  }

  /** Writes all of it, unless the siege is over, the other end closes, or it no longer reads. */
  async write(bytes: Uint8Array): Promise<void> {
    this.siege.tally.bytes += bytes.length;
    for (let offset = 0; offset < bytes.length && !this.isClosed && !this.siege.over(); ) {
      const written = this.socket?.write(bytes, offset, bytes.length - offset) ?? -1;
      if (written < 0) return this.close();
      offset += written;
      if (written === 0) await Bun.sleep(1);
    }
    await pause();
  }

  async send(...messages: readonly Message[]): Promise<void> {
    await this.write(Buffer.concat(messages.map(encode)));
  }

  /** Ends only our half. */
  end(): void {
    this.socket?.end();
  }

  close(): void {
    this.isClosed = true;
    this.entered.resolve();
    this.socket?.terminate();
  }

  seal(kind: number, body: Uint8Array, skip = 0): Post {
    const seq = this.seq + skip;
    this.seq = seq + 1;
    return sealAs(this.identity, this.room, 1, seq, kind, body);
  }

  introduction(): Post {
    return this.seal(PostKind.add, introductionOf(this.identity, { name: `M${this.identity.member.slice(0, 12)}` }));
  }

  // Socket callbacks.

  async secured(socket: Bun.Socket<Rogue>): Promise<void> {
    this.socket = socket;
    const hello = this.handshake.secured(socket.exportKeyingMaterial(32, "EXPORTER-Channel-Binding", Buffer.alloc(0)));
    if (!this.isMember || hello === undefined) return this.entered.resolve();
    await this.write(hello);
  }

  read(socket: Bun.Socket<Rogue>, chunk: Buffer): void {
    if (!this.isMember) return;
    this.frames.push(chunk, frame => {
      const message = decode(frame);
      if (message.type === "refuse") return this.close();
      if (message.type === "welcome") {
        const outcome = this.handshake.receive(message);
        if (outcome.type === "up") this.room = outcome.room;
        this.entered.resolve();
        if (!this.isReading) socket.pause();
      }
      if (message.type === "have")
        for (const { author, session } of message.entries)
          if (this.streams.length < 256) this.streams.push({ author, session });
    });
  }
}

const HANDLERS: Bun.SocketHandler<Rogue> = {
  open: () => {},
  handshake: (socket, isDone) => {
    if (isDone || socket.getTLSVersion() === "TLSv1.3")
      void socket.data.secured(socket).catch(() => socket.data.close());
  },
  data: (socket, chunk) => {
    try {
      socket.data.read(socket, chunk);
    } catch {
      socket.data.close();
    }
  },
  close: socket => socket.data.close(),
  error: socket => socket.data.close(),
  connectError: () => {},
};

function sealAs(identity: Identity, room: RoomId, session: number, seq: number, kind: number, body: Uint8Array): Post {
  const clock = Date.now() * 1000;
  return sealPost(room, { author: identity.member, session, seq, clock, kind, body }, identity.sign);
}

function isOpen(siege: Siege, rogue: Rogue): boolean {
  return !siege.over() && !rogue.isClosed;
}

/** A plain TCP connection, whatever becomes of it. */
function tcp(siege: Siege): TcpSocket {
  siege.tally.connections += 1;
  const socket = connectTcp({ host: HOST, port: siege.port });
  socket.on("error", () => {});
  socket.resume();
  return socket;
}

const frame = (length: number, body: Uint8Array): Buffer => {
  const header = Buffer.alloc(4);
  header.writeUInt32BE(length);
  return Buffer.concat([header, body]);
};

/** As a member: one attack after the other, with a new key where it was thrown out. */
function asMember(attack: (rogue: Rogue, siege: Siege) => Promise<void>, isReading = true) {
  return async (siege: Siege): Promise<void> => {
    while (!siege.over()) {
      const rogue = await Rogue.dial(siege, true, isReading);
      if (isOpen(siege, rogue)) await rogue.send({ type: "post", post: rogue.introduction() });
      while (isOpen(siege, rogue)) await attack(rogue, siege);
      rogue.close();
      // No faster than it takes a machine to come again.
      await Bun.sleep(5);
    }
  };
}

/** As a stranger who got through TLS. */
function asStranger(attack: (rogue: Rogue, siege: Siege) => Promise<void>) {
  return async (siege: Siege): Promise<void> => {
    while (!siege.over()) {
      const rogue = await Rogue.dial(siege, false);
      if (isOpen(siege, rogue)) await attack(rogue, siege);
      rogue.close();
      await Bun.sleep(5);
    }
  };
}

const random = (length: number): Buffer => crypto.getRandomValues(Buffer.alloc(length));
const strangers = (count: number) =>
  Array.from({ length: count }, () => ({ author: random(8).toString("hex"), session: 1, floor: 1, head: 9 }));

/** By name, as the figures show them. */
export const attacks: Readonly<Record<string, (siege: Siege) => Promise<void>>> = {
  "garbage instead of TLS": async siege => {
    while (!siege.over()) {
      const socket = tcp(siege);
      await new Promise<void>(resolve => socket.write(random(16_384), () => resolve()));
      siege.tally.bytes += 16_384;
      socket.destroy();
      await Bun.sleep(2);
    }
  },
  "dribble instead of TLS": async siege => {
    const sockets = Array.from({ length: 64 }, () => tcp(siege));
    // The beginning of a ClientHello, byte by byte.
    const hello = Buffer.concat([Buffer.from("16030102000100", "hex"), Buffer.alloc(500)]);
    for (let at = 0; !siege.over(); at++) {
      for (const socket of sockets) if (!socket.destroyed) socket.write(hello.subarray(at % 500, (at % 500) + 1));
      await Bun.sleep(20);
    }
    for (const socket of sockets) socket.destroy();
  },
  "a hello without end": asStranger(async (rogue, siege) => {
    for (let at = 0; isOpen(siege, rogue); at++) {
      await rogue.write(at === 0 ? Buffer.of(0, 0, 4, 0, 1) : Buffer.of(0x70));
      await Bun.sleep(20);
    }
  }),
  "half-closed before hello": asStranger(async (rogue, siege) => {
    rogue.end();
    while (isOpen(siege, rogue)) await Bun.sleep(20);
  }),
  "frames before hello: oversize, empty, unknown, out of turn": asStranger(async rogue => {
    const bodies = [
      frame(0, Buffer.alloc(0)),
      frame(0xffff_ffff, random(99)),
      frame(1, Buffer.of(99)),
      frame(5, Buffer.of(8, 0, 0, 0, 1)),
    ];
    await rogue.write(bodies[Math.floor(Math.random() * bodies.length)] ?? Buffer.alloc(9));
  }),
  "flood before hello": asStranger(async rogue => await rogue.write(random(1_000_000))),
  "frames of members: oversize, empty, unknown": asMember(async rogue => {
    const bodies = [frame(0, Buffer.alloc(0)), frame(limits.frameMaxBytes + 1, random(99)), frame(1, Buffer.of(99))];
    await rogue.write(bodies[Math.floor(Math.random() * bodies.length)] ?? Buffer.alloc(9));
    await Bun.sleep(10);
  }),
  "half-closed member": asMember(async (rogue, siege) => {
    rogue.end();
    while (isOpen(siege, rogue)) await Bun.sleep(20);
  }),
  pings: asMember(async rogue => {
    await rogue.send(...Array.from({ length: 2_000 }, (_, token) => ({ type: "ping", token }) as const));
  }),
  "pings that are not read": asMember(async rogue => {
    await rogue.send(...Array.from({ length: 2_000 }, (_, token) => ({ type: "ping", token }) as const));
  }, false),
  "rubbish digests": asMember(async rogue => {
    await rogue.send({ type: "have", scope: "news", entries: strangers(2_048) });
    await rogue.send({ type: "have", scope: "last", entries: strangers(9) });
    await rogue.send(...Array.from({ length: 200 }, () => ({ type: "compare", digest: random(8) }) as const));
  }),
  "impossible promises": asMember(async rogue => {
    const entries = rogue.streams.map(stream => ({ ...stream, floor: 1, head: OPEN_END - 1 }));
    await rogue.send({ type: "have", scope: "news", entries });
  }),
  "want everything": asMember(async rogue => {
    await rogue.send({ type: "want", entries: rogue.streams.map(stream => ({ ...stream, from: 0, to: OPEN_END })) });
  }),
  "want everything, read nothing": asMember(async rogue => {
    await rogue.send({ type: "want", entries: rogue.streams.map(stream => ({ ...stream, from: 0, to: OPEN_END })) });
  }, false),
  "absurd wants and prunes": asMember(async rogue => {
    const entries = strangers(2_048).map(({ author, session }) => ({
      author,
      session,
      from: 4_000_000_000,
      to: OPEN_END,
    }));
    await rogue.send({ type: "want", entries }, { type: "prune", streams: entries });
    await rogue.send({ type: "prune", streams: rogue.streams });
  }),
  "storms of adds": asMember(async rogue => {
    await rogue.send(
      ...Array.from({ length: 20 }, () => {
        const identity = identityOf(newSecrets());
        const body = introductionOf(identity, { name: `S${identity.member.slice(0, 9)}` });
        return { type: "post", post: sealAs(identity, rogue.room, 1, 0, PostKind.add, body) } as const;
      }),
    );
    // As many as keep a storm going, no more: each costs us as much as them.
    await Bun.sleep(50);
  }),
  "posts by members that it makes up": asMember(async (rogue, siege) => {
    const made = Array.from({ length: 8 }, () => ({ identity: identityOf(newSecrets()), seq: 1 }));
    for (const { identity } of made) {
      const body = introductionOf(identity, { name: `S${identity.member.slice(0, 9)}` });
      await rogue.send({ type: "post", post: sealAs(identity, rogue.room, 1, 0, PostKind.add, body) });
    }
    while (isOpen(siege, rogue))
      await rogue.send(
        ...Array.from({ length: 40 }, (_, at) => {
          const author = made[at % made.length] as (typeof made)[number];
          const body = encodeTexts(["x"]);
          return {
            type: "post",
            post: sealAs(author.identity, rogue.room, 1, author.seq++, PostKind.text, body),
          } as const;
        }),
      );
  }),
  "storms of lost": asMember(async rogue => {
    const losses = rogue.streams.map(({ author, session }) => ({
      member: author,
      session,
      head: Math.floor(Math.random() * 600),
    }));
    await rogue.send({ type: "post", post: rogue.seal(PostKind.lost, encodeLosses(losses)) });
    await Bun.sleep(10);
  }),
  "a torrent of small posts": asMember(async rogue => {
    const posts = Array.from(
      { length: 500 },
      () => ({ type: "post", post: rogue.seal(PostKind.text, encodeTexts(["x"])) }) as const,
    );
    await rogue.send(...posts);
  }),
  "a torrent of large posts": asMember(async rogue => {
    await rogue.send({ type: "post", post: rogue.seal(PostKind.text, Buffer.alloc(limits.bodyMaxBytes, "x")) });
  }),
  "posts ahead of a hole": asMember(async rogue => {
    await rogue.send({ type: "post", post: rogue.seal(PostKind.text, Buffer.alloc(limits.bodyMaxBytes, "x"), 1) });
  }),
  "forged posts": asMember(async rogue => {
    const victim = rogue.streams[0] ?? { author: "00".repeat(8), session: 1 };
    const head = { ...victim, seq: 99, clock: 1, kind: 1, body: Buffer.from("forged") };
    await rogue.send({ type: "post", post: sealPost(rogue.room, head, () => random(64)) });
    await Bun.sleep(10);
  }),
};

/** Opens `count` connections that say nothing, `atOnce` at a time, and holds all that are not closed until it is over. */
export async function holdIdle(siege: Siege, count: number, atOnce = 250): Promise<number> {
  const sockets: TcpSocket[] = [];
  for (let opened = 0; opened < count && !siege.over(); opened += atOnce) {
    const wave = Array.from({ length: Math.min(atOnce, count - opened) }, () => tcp(siege));
    sockets.push(...wave);
    await Promise.all(
      wave.map(
        socket =>
          new Promise<void>(resolve => {
            socket.once("connect", resolve);
            socket.once("close", () => resolve());
          }),
      ),
    );
  }
  while (!siege.over()) await Bun.sleep(20);
  for (const socket of sockets) socket.destroy();
  return sockets.length;
}

/**
 * What the tests of lib/net stand on: stations (a transport whose events can be awaited), raw peers that speak TLS and
 * frames but obey nobody, and a list of all that must be closed after each test.
 */
import { afterEach } from "bun:test";
import { FrameBuffer } from "../../lib/codec/frame.ts";
import {
  decode,
  encode,
  type Message,
  NO_ROOM,
  type PeerInfo,
  PROTOCOL_VERSION,
  type RefusalInfo,
} from "../../lib/codec/message.ts";
import type { RoomId } from "../../lib/codec/post.ts";
import type { PeerError } from "../../lib/errors.ts";
import { type Identity, identityOf, newSecrets } from "../../lib/identity.ts";
import { makeCertificate } from "../../lib/net/certificate.ts";
import { Handshake, type Role, type Self } from "../../lib/net/handshake.ts";
import type { Deadlines } from "../../lib/net/link.ts";
import { type DialFailure, Transport } from "../../lib/net/transport.ts";

export const ROOM: RoomId = "1f".repeat(16);
export const OTHER_ROOM: RoomId = "2e".repeat(16);
export const LOOPBACK = "127.0.0.1";

/** A whole hello that proves nothing. */
export const NO_CREDENTIALS = encode({
  type: "hello",
  credentials: {
    version: PROTOCOL_VERSION,
    room: NO_ROOM,
    publicKey: Buffer.alloc(32),
    session: 0,
    name: "",
    signature: Buffer.alloc(64),
  },
});

/** Closed after each test, in reverse order. */
const open: (() => unknown)[] = [];
export function afterwards(close: () => unknown): void {
  open.push(close);
}
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

export function newIdentity(): Identity {
  return identityOf(newSecrets());
}

export function selfOf(options: Partial<SelfOptions> = {}): Self {
  const { identity = newIdentity(), name = "Alice", room = ROOM, session = 1_700_000_000_000, roomKey } = options;
  return { identity, session: () => session, name: () => name, room: () => room, ...(roomKey && { roomKey }) };
}

export interface SelfOptions {
  readonly identity: Identity;
  readonly name: string;
  readonly room: RoomId;
  readonly session: number;
  readonly roomKey: Uint8Array | undefined;
}

/** Events in the order they came; taken from the front, awaited where they have not come yet. */
export class Inbox<Event extends { readonly type: string }> {
  readonly events: Event[] = [];
  private waiters: (() => void)[] = [];

  put(event: Event): void {
    this.events.push(event);
    for (const wake of this.waiters.splice(0)) wake();
  }

  /** Takes out the first event of this type, when it is there. */
  async take<Type extends Event["type"]>(type: Type): Promise<Extract<Event, { readonly type: Type }>> {
    for (;;) {
      const index = this.events.findIndex(event => event.type === type);
      const [event] = index < 0 ? [] : this.events.splice(index, 1);
      if (event !== undefined) return event as Extract<Event, { readonly type: Type }>;
      await new Promise<void>(wake => this.waiters.push(wake));
    }
  }
}

export type StationEvent =
  | { readonly type: "knock"; readonly link: number; readonly peer: PeerInfo }
  | {
      readonly type: "up";
      readonly link: number;
      readonly peer: PeerInfo;
      readonly dialled: boolean;
      readonly room: RoomId;
    }
  | { readonly type: "message"; readonly link: number; readonly message: Message }
  | { readonly type: "drained"; readonly link: number }
  | { readonly type: "down"; readonly link: number; readonly fault: string | undefined }
  | { readonly type: "dialFailed"; readonly link: number; readonly failure: DialFailure }
  | { readonly type: "rejected"; readonly host: string; readonly fault: PeerError }
  | { readonly type: "bug"; readonly error: unknown };

export interface StationOptions extends SelfOptions {
  /** What knocking leads to. */
  readonly door: "admit" | "wait" | RefusalInfo;
  readonly deadlines: Partial<Deadlines>;
  readonly onMessage: (station: Station, link: number, message: Message) => void;
  readonly onUp: (station: Station, link: number) => void;
}

/** A transport whose events land in an inbox. */
export class Station extends Inbox<StationEvent> {
  readonly self: Self;
  readonly transport: Transport;
  port = 0;

  constructor(options: Partial<StationOptions> = {}) {
    super();
    const { door = "admit" } = options;
    this.self = selfOf(options);
    this.transport = new Transport({
      ...this.self,
      deadlines: { followTimeoutMs: 500, ...options.deadlines },
      onBug: error => this.put({ type: "bug", error }),
      handlers: {
        knock: (link, peer) => {
          this.put({ type: "knock", link, peer });
          if (door === "admit") this.transport.admit(link);
          else if (door !== "wait") this.transport.refuse(link, door);
        },
        up: (link, peer, dialled, room) => {
          this.put({ type: "up", link, peer, dialled, room });
          options.onUp?.(this, link);
        },
        message: (link, message) => {
          if (options.onMessage === undefined) this.put({ type: "message", link, message });
          else options.onMessage(this, link, message);
        },
        drained: link => this.put({ type: "drained", link }),
        down: (link, fault) => this.put({ type: "down", link, fault: fault?.fault }),
        dialFailed: (link, failure) => this.put({ type: "dialFailed", link, failure }),
        rejected: (host, fault) => this.put({ type: "rejected", host, fault }),
      },
    });
    afterwards(() => this.transport.stop());
  }

  async listening(host: string | undefined = LOOPBACK): Promise<this> {
    this.port = (await this.transport.listen(host, 0)).port;
    return this;
  }

  /** Dials a station or a port on loopback and waits for what comes of it. */
  async dial(target: { readonly port: number }, link = 2, expect?: string): Promise<DialFailure | undefined> {
    this.transport.dial(link, [{ host: LOOPBACK, port: target.port }], expect);
    return await this.outcome();
  }

  /** The failure of a dial, or undefined when it came up. */
  async outcome(): Promise<DialFailure | undefined> {
    const up = this.take("up").then(event => {
      this.events.unshift(event);
      return undefined;
    });
    return await Promise.race([up, this.take("dialFailed").then(event => event.failure)]);
  }
}

/** Two stations with a link between them: `[listener, its link, dialler, its link]`. */
export async function linked(
  listening: Partial<StationOptions> = {},
  dialling: Partial<StationOptions> = {},
): Promise<[Station, number, Station, number]> {
  const listener = await new Station({ name: "Alice", ...listening }).listening();
  const dialler = new Station({ name: "Bob", ...dialling });
  dialler.transport.dial(2, [{ host: LOOPBACK, port: listener.port }]);
  const [accepted, dialled] = await Promise.all([listener.take("up"), dialler.take("up")]);
  return [listener, accepted.link, dialler, dialled.link];
}

export type RawEvent =
  | { readonly type: "secured"; readonly exporter: Buffer }
  | { readonly type: "message"; readonly message: Message }
  | { readonly type: "closed" };

/** One end of a TLS connection that sends whatever bytes it is told to. */
export class RawPeer extends Inbox<RawEvent> {
  readonly received: Buffer[] = [];
  readonly handshake: Handshake;
  private socket: Bun.Socket<RawPeer> | undefined;
  private readonly frames = new FrameBuffer();
  private readonly opened = Promise.withResolvers<Bun.Socket<RawPeer>>();

  constructor(role: Role, options: Partial<SelfOptions> = {}) {
    super();
    this.handshake = new Handshake(role, selfOf({ name: "Mallory", room: NO_ROOM, ...options }), "raw");
    this.frames.allowPosts();
    afterwards(() => this.socket?.terminate());
  }

  /** A raw dialler, connected and through with TLS. */
  static async dial(port: number, options: Partial<SelfOptions> = {}): Promise<RawPeer> {
    const peer = new RawPeer("dialler", options);
    await Bun.connect<RawPeer>({
      hostname: LOOPBACK,
      port,
      data: peer,
      tls: { rejectUnauthorized: false },
      socket: RAW_HANDLERS,
    });
    return peer;
  }

  /** A raw listener; every connection gets the next of `peers`. */
  static async listen(...peers: RawPeer[]): Promise<number> {
    const { key, cert } = await makeCertificate();
    const left = [...peers];
    const listener = Bun.listen<RawPeer>({
      hostname: LOOPBACK,
      port: 0,
      tls: { key, cert },
      socket: {
        ...RAW_HANDLERS,
        open(socket) {
          socket.data = left.shift() ?? new RawPeer("listener");
          socket.data.open(socket);
        },
      },
    });
    afterwards(() => listener.stop(true));
    return listener.port;
  }

  /** Gets TLS through; a dialler's hello is returned, not sent. */
  async secured(): Promise<Buffer> {
    const { exporter } = await this.take("secured");
    return Buffer.from(this.handshake.secured(exporter) ?? []);
  }

  /** Says hello as an honest node would. */
  async hello(): Promise<void> {
    await this.write(await this.secured());
  }

  /** Says hello and is let in. */
  async enter(): Promise<this> {
    await this.hello();
    this.handshake.receive((await this.take("message")).message);
    return this;
  }

  async write(bytes: Uint8Array): Promise<void> {
    const socket = await this.opened.promise;
    // Waiting for the handshake or for room is the peer's own business here.
    for (let offset = 0; offset < bytes.length; ) {
      const written = socket.write(bytes, offset, bytes.length - offset);
      if (written < 0) return;
      offset += written;
      if (offset < bytes.length) await new Promise<void>(resolve => setImmediate(resolve));
    }
  }

  async raw(): Promise<Bun.Socket<RawPeer>> {
    return await this.opened.promise;
  }

  open(socket: Bun.Socket<RawPeer>): void {
    this.socket = socket;
    this.opened.resolve(socket);
  }

  data(chunk: Buffer): void {
    this.received.push(chunk);
    this.frames.push(chunk, frame => this.put({ type: "message", message: decode(frame) }));
  }
}

const RAW_HANDLERS: Bun.SocketHandler<RawPeer> = {
  open: socket => socket.data.open(socket),
  handshake(socket, _success, error) {
    if (socket.getTLSVersion() !== "TLSv1.3" || (error !== null && "code" in error && error.code === "ECONNRESET"))
      return;
    const exporter = socket.exportKeyingMaterial(32, "EXPORTER-Channel-Binding", Buffer.alloc(0));
    socket.data.put({ type: "secured", exporter });
  },
  data: (socket, chunk) => socket.data.data(chunk),
  close: socket => socket.data.put({ type: "closed" }),
  error: () => {},
};

/** A plain TCP server on a port of its own. */
export function tcpServer(socket: Bun.SocketHandler<undefined>): { readonly port: number } {
  const listener = Bun.listen({ hostname: LOOPBACK, port: 0, socket: { data() {}, ...socket } });
  afterwards(() => listener.stop(true));
  return listener;
}

/** What is inside a transport, for looking only: nothing of a closed link may be left there. */
export interface Inside {
  readonly links: ReadonlyMap<number, { readonly timer: unknown; readonly socket: Bun.Socket | undefined }>;
  readonly dials: ReadonlyMap<number, unknown>;
  readonly sockets: ReadonlySet<unknown>;
}
export function inside(station: Station): Inside {
  return station.transport as unknown as Inside;
}

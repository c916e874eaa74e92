/**
 * The outside of a node: one listener, any number of dials and links. It moves messages and knows no room.
 *
 * Invariants. A handler is never called from inside a method. `up` comes at most once for a link, `down` exactly once
 * for every link that was up, `dialFailed` exactly once for every dial that did not come up; after either nothing more
 * is heard of that link and nothing of it is kept. Accepted links have odd ids, made here; dialled ones even ids, chosen
 * by the caller and never used twice.
 */
import { Buckets } from "../bucket.ts";
import type { ByeReason, LinkId, Message, PeerInfo, RefusalInfo, RefusalReason } from "../codec/message.ts";
import type { Address, MemberId, RoomId } from "../codec/post.ts";
import { assert, ChatError, codeOf, type PeerError, type PeerFault } from "../errors.ts";
import { limits } from "../limits.ts";
import { isLoopback, LOOPBACKS, originOf, plainHost } from "./addresses.ts";
import { type Certificate, makeCertificate, NOBODY } from "./certificate.ts";
import { Chunks } from "./chunks.ts";
import { Handshake, type Self } from "./handshake.ts";
import { DEADLINES, type Deadlines, Link, type LinkEnd, type LinkEvents, SOCKET_HANDLERS } from "./link.ts";
import { Turns } from "./turns.ts";

const TLS_1_3 = { minVersion: 0x0304 } as const;
/** Certificates prove nothing here, so any will do (handshake.ts). */
const DIAL_TLS = { rejectUnauthorized: false, ca: NOBODY, ...TLS_1_3 } as const;
/** An option of `upgradeTLS` that its types lack. */
const AS_SERVER = { isServer: true } as const;

export interface TransportHandlers {
  /** A dialler has proved who it is. Answered by `admit` or `refuse`, now or before the handshake's deadline. */
  knock(link: LinkId, peer: PeerInfo): void;
  /** `room` is the listener's, which is news to a dialler that had none. */
  up(link: LinkId, peer: PeerInfo, dialled: boolean, room: RoomId): void;
  /** `more`: the next one has come as well, and follows at once. */
  message(link: LinkId, message: Message, more: boolean): void;
  /** All that was sent on this link has gone to the kernel; told once for each `linkDrainedBytes`. */
  drained(link: LinkId): void;
  down(link: LinkId, fault?: PeerError): void;
  dialFailed(link: LinkId, failure: DialFailure): void;
  /** An accepted connection broke the protocol before it was let in, `wrong_key` for instance. For counting. */
  rejected?(host: string, fault: PeerError): void;
}

/** How far it got; beyond that, what the peer did wrong or why it does not let us in. */
export type DialFailureReason =
  | "not_found"
  | "no_route"
  | "timeout"
  | "refused"
  | "closed"
  | "silent"
  | Extract<PeerFault, "not_p2pchat" | "bad_binding" | "wrong_peer">
  | RefusalReason;

export interface DialFailure {
  readonly reason: DialFailureReason;
  /** One clause without a capital or full stop, such as "connection refused". Holds nothing that the peer sent. */
  readonly message: string;
  /** What a p2pchat node answered, if one did. */
  readonly refusal?: RefusalInfo;
}

export interface TransportConfig extends Self {
  readonly handlers: TransportHandlers;
  readonly deadlines?: Partial<Deadlines>;
  /** Gets errors that are our own; without it they are thrown where nobody catches them. */
  readonly onBug?: (error: unknown) => void;
}

/** A dial under way: one address after the other, until one comes up. */
interface Dial {
  readonly id: LinkId;
  readonly addresses: Address[];
  readonly expect: MemberId | undefined;
  /** By `performance.now()`. */
  readonly giveUpAt: number;
  failure: DialFailure | undefined;
}

export class Transport {
  /** By id, from the first byte until `ended`. */
  private readonly links = new Map<LinkId, Link>();
  private readonly dials = new Map<LinkId, Dial>();
  /** Every link whose socket may still be open: those that are closing too. */
  private readonly sockets = new Set<Link>();
  /** Those of them that were accepted and are not up, by whom they are charged to; oldest first. */
  private readonly halfOpen = new Map<string, Set<Link>>();
  private halfOpenCount = 0;
  /** How often they come, by the same; who was silent longest first. */
  private readonly origins = new Buckets<string>(
    limits.connectionsPerSecond,
    limits.connectionsBurst,
    limits.originsMax,
  );
  private readonly deadlines: Deadlines;
  private readonly events: LinkEvents;
  private readonly turns = new Turns();
  private listener: Bun.TCPSocketListener<Link> | undefined;
  private nextAcceptedId = 1;
  /** Made when the first connection comes: with what TLS loads it is a quarter of an idle node's own memory. */
  private certificate: Promise<Certificate> | undefined;
  private stopping: PromiseWithResolvers<void> | undefined;
  private readonly chunks = new Chunks();

  constructor(private readonly config: TransportConfig) {
    const { handlers } = config;
    this.deadlines = { ...DEADLINES, ...config.deadlines };
    this.events = {
      knock: (link, peer) => handlers.knock(link.id, peer),
      up: (link, peer, room) => {
        this.dials.delete(link.id);
        this.release(link);
        handlers.up(link.id, peer, !link.accepted, room);
      },
      message: (link, message, more) => handlers.message(link.id, message, more),
      drained: link => handlers.drained(link.id),
      ended: (link, end) => this.onEnded(link, end),
      gone: link => this.onGone(link),
      bug: error => this.onBug(error),
    };
  }

  /**
   * Starts to listen; `port` 0 lets the system choose. Without a host: everywhere, by IPv6 and IPv4.
   * Throws `ChatError` "unreachable".
   */
  async listen(host: string | undefined, port: number): Promise<{ readonly port: number }> {
    assert(this.listener === undefined && this.stopping === undefined, "one listener");
    const { close, drain, error } = SOCKET_HANDLERS;
    const open = (socket: Bun.Socket<Link>) => this.accept(socket);
    // What comes in is TLS's alone. Any other program may not share the port (`exclusive`), or messages would go astray.
    const options = { port, exclusive: true, socket: { open, close, drain, error } };
    try {
      this.listener = listenOnFirst(host === undefined ? ["::", "0.0.0.0"] : [host], options);
    } catch (error) {
      throw new ChatError("unreachable", listenSentence(host, port, codeOf(error)));
    }
    return { port: this.listener.port };
  }

  /** Whoever comes may enter: the room is not private. */
  get isOpen(): boolean {
    return this.config.roomKey === undefined;
  }

  /** As long as this holds no link is read: what others say waits in the network. */
  holdWhile(isHeld: () => boolean): void {
    this.turns.holdWhile(isHeld);
  }

  /** A newcomer has asked for all that was said: for so long nobody who tells it is slowed down. */
  hurry(ms: number): void {
    this.turns.hurry(performance.now() + ms);
  }

  /** Of what was told so far nobody keeps a view: its memory is free again. */
  free(): void {
    this.chunks.free();
  }

  /** Tries the addresses in order. Ends in `up` or `dialFailed`, within `handshakeTimeoutMs`. */
  dial(id: LinkId, addresses: readonly Address[], expect?: MemberId): void {
    assert(id % 2 === 0 && !this.dials.has(id) && !this.links.has(id), "a dial has a fresh even id");
    const giveUpAt = performance.now() + this.deadlines.handshakeTimeoutMs;
    const dial = { id, addresses: addresses.flatMap(resolved), expect, giveUpAt, failure: undefined };
    this.dials.set(id, dial);
    queueMicrotask(() => this.tryNext(dial));
  }

  admit(id: LinkId): void {
    this.links.get(id)?.admit();
  }

  refuse(id: LinkId, refusal: RefusalInfo): void {
    this.links.get(id)?.turnAway(refusal);
  }

  /** Sends a whole frame, as `encode` makes it. To a link that is gone: nothing happens. */
  send(id: LinkId, frame: Uint8Array): void {
    this.links.get(id)?.send(frame);
  }

  /** Says goodbye, hands over what is queued, closes. Gives up a dial that is under way. */
  close(id: LinkId, reason: ByeReason): void {
    const dial = this.dials.get(id);
    if (dial !== undefined) dial.addresses.length = 0;
    this.links.get(id)?.close(reason);
  }

  /** Closes everything, handing over what is queued. Resolves when the last socket is closed, in bounded time. */
  async stop(): Promise<void> {
    if (this.stopping === undefined) {
      this.stopping = Promise.withResolvers();
      this.listener?.stop();
      this.listener = undefined;
      for (const dial of this.dials.values()) dial.addresses.length = 0;
      for (const link of this.links.values()) link.close("leaving");
      if (this.sockets.size === 0) this.stopping.resolve();
    }
    await this.stopping.promise;
  }

  private accept(socket: Bun.Socket<Link>): void {
    const host = plainHost(socket.remoteAddress ?? "");
    const id = this.nextAcceptedId;
    this.nextAcceptedId += 2;
    const giveUpAt = performance.now() + this.deadlines.handshakeTimeoutMs;
    const handshake = new Handshake("listener", this.config, host);
    const link = this.makeLink(id, host, handshake, giveUpAt);
    socket.data = link;
    link.attach(socket);
    if (this.stopping !== undefined || !this.mayShakeHands(host)) return link.kill({ type: "closed" });
    this.makeRoom(link);
    void this.secure(link, socket);
  }

  /** TLS begins. Who comes first waits, unread, until there is a certificate. */
  private async secure(link: Link, socket: Bun.Socket<Link>): Promise<void> {
    socket.pause();
    try {
      this.certificate ??= makeCertificate();
      const { key, cert } = await this.certificate;
      if (!link.isOn(socket)) return;
      socket.resume();
      socket.upgradeTLS({
        ...AS_SERVER,
        data: link,
        socket: SOCKET_HANDLERS,
        tls: { key, cert, ca: cert, ...TLS_1_3 },
      });
    } catch (error) {
      link.kill({ type: "closed" });
      this.onBug(error);
    }
  }

  /** On one machine an address tells nobody apart, and whoever is there has our CPU anyway. */
  private mayShakeHands(host: string): boolean {
    if (isLoopback(host)) return true;
    const now = performance.now();
    return this.origins.of(originOf(host), now).take(now);
  }

  private makeLink(id: LinkId, host: string, handshake: Handshake, giveUpAt: number): Link {
    const { events, turns, chunks, deadlines } = this;
    const link = new Link(id, host, handshake, events, turns, chunks, deadlines, giveUpAt);
    this.links.set(id, link);
    this.sockets.add(link);
    return link;
  }

  /** Keeps the number of connections that are not up within bounds, at the expense of whoever holds most of them. */
  private makeRoom(newest: Link): void {
    const own = this.hold(newest);
    // On one machine an address tells nobody apart: whoever shares it is bounded by the total alone.
    if (own.size > limits.handshakesPerAddressMax && !isLoopback(newest.host)) dropLeast(own);
    else if (this.halfOpenCount > limits.handshakesMax)
      dropLeast([...this.halfOpen.values()].reduce((most, group) => (group.size > most.size ? group : most)));
  }

  /** Counts a link among those that are not up, and returns all that are charged to the same. */
  private hold(link: Link): Set<Link> {
    const origin = originOf(link.host);
    const group = this.halfOpen.get(origin) ?? new Set();
    if (group.size === 0) this.halfOpen.set(origin, group);
    if (!group.has(link)) this.halfOpenCount++;
    return group.add(link);
  }

  private release(link: Link): void {
    const origin = originOf(link.host);
    const group = this.halfOpen.get(origin);
    if (group?.delete(link) !== true) return;
    this.halfOpenCount--;
    if (group.size === 0) this.halfOpen.delete(origin);
  }

  private tryNext(dial: Dial): void {
    const leftMs = dial.giveUpAt - performance.now();
    const address = leftMs > 0 && this.stopping === undefined ? dial.addresses.shift() : undefined;
    if (address === undefined) {
      this.dials.delete(dial.id);
      this.config.handlers.dialFailed(dial.id, dial.failure ?? { reason: "closed", message: "given up" });
      return;
    }
    const handshake = new Handshake("dialler", this.config, address.host, dial.expect);
    const link = this.makeLink(dial.id, address.host, handshake, dial.giveUpAt);
    // Every address gets its share of the time, so that two dead ones do not hide a live third.
    link.connect(address, DIAL_TLS, Math.min(this.deadlines.connectTimeoutMs, leftMs / (dial.addresses.length + 1)));
  }

  private onEnded(link: Link, end: LinkEnd): void {
    this.links.delete(link.id);
    if (link.accepted && this.sockets.has(link)) this.hold(link);
    const dial = this.dials.get(link.id);
    if (dial !== undefined) {
      const failure = failureOf(end, this.config.roomKey !== undefined);
      if (dial.failure === undefined || progressOf(failure) >= progressOf(dial.failure)) dial.failure = failure;
      // A node's answer is final, unless a certain member is looked for, who may be at the next address.
      if (progressOf(failure) >= ANSWERED && dial.expect === undefined) dial.addresses.length = 0;
      this.tryNext(dial);
      return;
    }
    const { handlers } = this.config;
    const fault = end.type === "fault" ? end.fault : undefined;
    if (link.wasUp) handlers.down(link.id, fault);
    else if (fault !== undefined) handlers.rejected?.(link.host, fault);
  }

  private onGone(link: Link): void {
    this.sockets.delete(link);
    this.release(link);
    if (this.sockets.size === 0) this.stopping?.resolve();
  }

  private onBug(error: unknown): void {
    if (this.config.onBug !== undefined) this.config.onBug(error);
    else
      queueMicrotask(() => {
        throw error;
      });
  }
}

/** One clear clause each; what is left of "cannot reach example.org:55107: …". */
const SENTENCES: Readonly<Record<DialFailureReason, string>> = {
  not_found: "no such host",
  no_route: "no way to reach that address",
  timeout: "no answer",
  refused: "connection refused",
  closed: "it closed the connection",
  silent: "it accepted the connection and then said nothing",
  not_p2pchat: "something answered, but it is not p2pchat",
  bad_version: "it speaks another version of the protocol",
  bad_binding: "somebody in between tampers with the connection",
  own_key: "it has this very identity",
  wrong_peer: "somebody else answered",
  wrong_room: "it is in another room",
  wrong_key: "the key is not the room's",
  name_taken: "the name is taken",
  bad_name: "it does not allow the name",
  full: "it has no free place",
};

/** Of several addresses the one that got furthest has the most to tell; the order of `SENTENCES` says how far. */
const PROGRESS = Object.keys(SENTENCES);
const progressOf = (failure: DialFailure): number => PROGRESS.indexOf(failure.reason);
/** From here on it was a node of ours that answered. */
const ANSWERED = PROGRESS.indexOf("bad_version");

const UNREACHED: Readonly<Record<string, DialFailureReason>> = {
  ECONNREFUSED: "refused",
  ECONNRESET: "closed",
  ETIMEDOUT: "timeout",
  ENETUNREACH: "no_route",
  EHOSTUNREACH: "no_route",
  EADDRNOTAVAIL: "no_route",
  EAFNOSUPPORT: "no_route",
};

function failureOf(end: LinkEnd, isPrivate: boolean): DialFailure {
  const reason = failureReason(end);
  const refusal = end.type === "refused" ? { refusal: end.refusal } : {};
  let message = SENTENCES[reason];
  if (end.type === "timeout") message += ` within ${Math.ceil(end.afterMs / 100) / 10} s`;
  if (reason === "wrong_key" && !isPrivate) message = "the room is private and needs its key";
  return { reason, message, ...refusal };
}

function failureReason(end: LinkEnd): DialFailureReason {
  switch (end.type) {
    case "unreached":
      return UNREACHED[end.code] ?? "not_found";
    case "refused":
      return end.refusal.reason;
    case "fault": {
      // Before a welcome any other fault (malformed, too large, out of turn) only shows that it is something else.
      const { fault } = end.fault;
      return Object.hasOwn(SENTENCES, fault) ? (fault as DialFailureReason) : "not_p2pchat";
    }
    default:
      return end.type;
  }
}

type ListenOptions = Omit<Bun.TCPSocketListenOptions<Link>, "hostname">;

/** The next host is tried only where the machine does not have the one before (no IPv6). */
function listenOnFirst(hosts: readonly string[], options: ListenOptions): Bun.TCPSocketListener<Link> {
  const [hostname, ...others] = hosts;
  assert(hostname !== undefined, "there is a host to listen on");
  try {
    return Bun.listen<Link>({ ...options, hostname });
  } catch (error) {
    if (others.length === 0 || ["EADDRINUSE", "EACCES"].includes(codeOf(error))) throw error;
    return listenOnFirst(others, options);
  }
}

function listenSentence(host: string | undefined, port: number, code: string): string {
  switch (code) {
    case "EADDRINUSE":
      return `port ${port} is taken by another program`;
    case "EACCES":
    case "EPERM":
      return `cannot listen on port ${port}: permission denied`;
    default:
      return host === undefined
        ? `cannot listen on port ${port}: ${code || "unknown error"}`
        : `cannot listen on ${host}: it is not an address of this machine`;
  }
}

/** "localhost" is two addresses, and a node may listen on either; asked one by one, the other hears nothing of it. */
function resolved(address: Address): Address[] {
  if (address.host.toLowerCase() !== "localhost") return [address];
  return LOOPBACKS.map(host => ({ host, port: address.port }));
}

/** The one that got least far, and of those the oldest: a friend passes the first stage in a millisecond. */
function dropLeast(links: ReadonlySet<Link>): void {
  const [oldest] = links;
  const victim = links.values().find(link => !link.isSecured) ?? oldest;
  victim?.kill({ type: "closed" });
}

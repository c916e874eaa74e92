/**
 * One link: a TLS socket with frames coming in, a queue going out, the handshake in between and a deadline on each.
 *
 * Invariants. Nothing is reported from inside a method of `Link`, only from socket callbacks, timers and microtasks, so
 * the owner is never entered twice. `ended` comes once, and no knock, message or drain after it. At most one timer runs,
 * and none on a link that is up and has nothing queued. What is queued leaves in one write per turn of the loop; what the
 * kernel does not take then is copied, so a frame that is sent need not last longer than its turn. What comes
 * in is handled in order, and what there is no time for (turns.ts) is at most what one read of the socket brought, or, of a
 * peer that has hung up, its share of `heldMaxBytes`.
 */

import { costOfPost, isTalk } from "../allowances.ts";
import { FrameBuffer } from "../codec/frame.ts";
import { type ByeReason, decode, encode, type Message, type PeerInfo, type RefusalInfo } from "../codec/message.ts";
import type { Address, MemberId, RoomId } from "../codec/post.ts";
import { codeOf, PeerError, unreachable } from "../errors.ts";
import { nodeCrypto } from "../identity.ts";
import { limits } from "../limits.ts";
import type { Chunks } from "./chunks.ts";
import type { Handshake } from "./handshake.ts";
import type { Turns, Worker } from "./turns.ts";

/** How long a link waits for what. Tests make them shorter. */
export interface Deadlines {
  readonly connectTimeoutMs: number;
  readonly firstByteTimeoutMs: number;
  readonly handshakeTimeoutMs: number;
  readonly linkStuckTimeoutMs: number;
  readonly leaveTimeoutMs: number;
  readonly followTimeoutMs: number;
  readonly flushTimeoutMs: number;
}

export const DEADLINES: Deadlines = limits;

/** Why a link is no more. */
export type LinkEnd =
  /** By the peer, by us, or by the network. */
  | { readonly type: "closed" }
  /** It never connected: the system's error code. */
  | { readonly type: "unreached"; readonly code: string }
  /** It never connected in time. */
  | { readonly type: "timeout"; readonly afterMs: number }
  /** It connected, and then nothing came. */
  | { readonly type: "silent" }
  | { readonly type: "fault"; readonly fault: PeerError }
  | { readonly type: "refused"; readonly refusal: RefusalInfo };

export interface LinkEvents {
  /** Answer with `admit` or `turnAway`. */
  knock(link: Link, peer: PeerInfo): void;
  up(link: Link, peer: PeerInfo, room: RoomId): void;
  /** `more`: the next one has come as well, and follows at once. */
  message(link: Link, message: Message, more: boolean): void;
  /** `linkDrainedBytes` or more were sent since it was told last, and all of it has gone to the kernel. */
  drained(link: Link): void;
  ended(link: Link, end: LinkEnd): void;
  /** The socket is closed for good; after `ended`. */
  gone(link: Link): void;
  /** An error that is our own fault. The link is closed already. */
  bug(error: unknown): void;
}

/** Small frames are put together up to this size for one write: four TLS records, and little is copied twice. */
const WRITE_BYTES = 64 * 1024;
const SMALL_BYTES = 1024;
const LOOSE_MAX = 1024;
const EXPORTER_BYTES = 32;
const NO_CONTEXT = Buffer.alloc(0);

type Phase = "connecting" | "open" | "closing" | "gone";

export class Link implements Worker {
  private phase: Phase = "connecting";
  private socket: Bun.Socket<Link> | undefined;
  private readonly frames = new FrameBuffer(chunk => this.onSpent(chunk));
  /** It is behind, and its socket is read no further. */
  private isPaused = false;
  /** The peer has closed, and what it said before waits to be handled. */
  private isOrphan = false;
  private undrainedBytes = 0;
  private drainDue = false;
  private queue: Uint8Array[] = [];
  private queuedBytes = 0;
  /** Small frames at the end of the queue. */
  private loose = 0;
  private flushDue = false;
  private progressAt = 0;
  private closingSince = 0;
  private timer: Timer | undefined;
  private everUp = false;
  /** Who is there, once it is up. */
  peer: MemberId | undefined;

  constructor(
    readonly id: number,
    /** The host alone decides whom a flood is charged to. */
    readonly host: string,
    private readonly handshake: Handshake,
    private readonly events: LinkEvents,
    private readonly turns: Turns,
    private readonly chunks: Chunks,
    private readonly deadlines: Deadlines,
    /** By `performance.now()`: the handshake is over by then, or the link is. */
    private readonly giveUpAt: number,
  ) {}

  get up(): boolean {
    return this.phase === "open" && this.handshake.state === "up";
  }

  /** It was up, whatever it is now. */
  get wasUp(): boolean {
    return this.everUp;
  }

  get accepted(): boolean {
    return this.handshake.role === "listener";
  }

  /** It got through TLS, for choosing whom to drop: idle connections, which cost nothing to make, never do. */
  get isSecured(): boolean {
    return this.phase === "open" && this.handshake.state !== "securing";
  }

  /** Dials, for a link that was not accepted. */
  connect(address: Address, tls: Bun.TLSOptions, timeoutMs: number): void {
    this.arm(timeoutMs, () => this.kill({ type: "timeout", afterMs: timeoutMs }));
    const unreached = (error: unknown) => this.kill({ type: "unreached", code: codeOf(error) });
    try {
      const { host: hostname, port } = address;
      Bun.connect<Link>({ hostname, port, data: this, tls, socket: SOCKET_HANDLERS }).catch(unreached);
    } catch (error) {
      unreached(error);
    }
  }

  /** It is open, by this socket and no other: TLS takes an accepted connection over from the socket that it came by. */
  isOn(socket: Bun.Socket<Link>): boolean {
    return this.phase === "open" && this.socket === socket;
  }

  /** The TCP connection stands, or TLS has taken it over. */
  attach(socket: Bun.Socket<Link>): void {
    if (this.phase === "gone") {
      // Given up while it was connecting.
      socket.terminate();
      return;
    }
    this.phase = "open";
    this.socket = socket;
    socket.setNoDelay(true);
    // Both ends sign as soon as TLS is through: what that takes is loaded while each waits for the other.
    setImmediate(nodeCrypto);
    const timeoutMs = Math.min(this.deadlines.firstByteTimeoutMs, this.giveUpAt - performance.now());
    this.arm(timeoutMs, () => this.kill({ type: "silent" }));
  }

  /** Queues a frame for a peer that is let in. What it does not take in time ends the link, not the program. */
  send(frame: Uint8Array): void {
    if (!this.up) return;
    this.enqueue(frame);
    if (this.queuedBytes > limits.linkQueueMaxBytes)
      this.kill({ type: "fault", fault: new PeerError("too_slow", "it does not read what it is sent") });
  }

  /** Lets in who knocks. Nothing happens if they have gone meanwhile. */
  admit(): void {
    if (this.phase !== "open") return;
    const { frame, peer, room } = this.handshake.admit();
    this.opened(peer);
    // Ahead of the flush, so that what the owner says at once leaves together with the welcome.
    this.later(() => this.events.up(this, peer, room));
    this.enqueue(frame);
  }

  turnAway(refusal: RefusalInfo): void {
    if (this.phase !== "open") return;
    this.enqueue(this.handshake.turnAway(refusal));
    this.finish({ type: "closed" });
  }

  /** Says goodbye, hands over what is queued, then closes. Before it is up: closes at once. */
  close(reason: ByeReason): void {
    if (this.phase === "closing" || this.phase === "gone") return;
    if (this.up) {
      this.enqueue(encode({ type: "bye", reason }));
      this.finish({ type: "closed" });
    } else {
      this.kill({ type: "closed" });
    }
  }

  /** Ends the link now, whatever is queued. */
  kill(end: LinkEnd): void {
    if (this.phase === "gone") return;
    const before = this.phase;
    this.phase = "gone";
    this.disarm();
    this.queue = [];
    this.queuedBytes = 0;
    this.frames.clear();
    this.turns.remove(this, performance.now());
    this.socket?.terminate();
    this.socket = undefined;
    if (before !== "closing") this.later(() => this.events.ended(this, end));
    this.later(() => this.events.gone(this));
  }

  // Socket callbacks.

  onHandshake(socket: Bun.Socket<Link>, error: Error | null): void {
    if (this.phase !== "open") return;
    this.guard(() => {
      const exporter = exporterOf(socket);
      if (exporter === undefined) {
        // The end of the connection is reported here too, before `close`.
        if (codeOf(error) === "ECONNRESET") this.kill({ type: "closed" });
        else throw new PeerError("not_p2pchat", "it does not speak TLS 1.3");
        return;
      }
      this.arm(this.giveUpAt - performance.now(), () => this.kill({ type: "silent" }));
      const hello = this.handshake.secured(exporter);
      if (hello !== undefined) this.enqueue(hello);
    });
  }

  onData(chunk: Buffer): void {
    if (this.phase !== "open") return this.chunks.giveBack(chunk);
    this.guard(() => this.frames.add(chunk));
    if (this.turns.isBehind(this)) {
      // The last of a read comes after the pause; but where the peer has hung up, all that the kernel holds.
      if (!this.turns.mayHold(this.frames.pendingBytes)) this.kill({ type: "closed" });
      return;
    }
    const now = performance.now();
    const isBehind = this.turns.mustWait(this, now) || this.work(now + limits.sliceMs);
    if (!isBehind || this.isOrphan) return;
    this.isPaused = true;
    this.socket?.pause();
    this.turns.add(this);
  }

  /** Handles what came in, until then at least one frame. */
  work(until: number): boolean {
    this.guard(() => {
      let now = 0;
      while (this.phase === "open") {
        const frame = this.frames.next();
        if (frame === undefined) break;
        const message = this.onFrame(frame);
        now = performance.now();
        if (message !== undefined) this.account(message, frame.length, now);
        // The handshake is three frames at most, and each is in its place or the last.
        if (this.up && now >= until && this.frames.hasRest) break;
      }
    });
    // Whoever closes a link in the middle of a chunk hears nothing of the rest.
    if (this.phase !== "open") return false;
    if (this.frames.hasRest) return true;
    if (this.isOrphan) this.kill({ type: "closed" });
    else if (this.isPaused) this.readOn();
    return false;
  }

  private readOn(): void {
    this.isPaused = false;
    this.socket?.resume();
  }

  onDrain(): void {
    if (this.queuedBytes > 0) this.guard(() => this.flush());
  }

  onClose(socket: Bun.Socket<Link>): void {
    // That of an accepted connection closes when TLS has not yet told all that came in.
    if (socket !== this.socket) return;
    if (this.phase !== "open" || !this.frames.hasRest) return this.kill({ type: "closed" });
    // It may have said all it had to say and left; it is heard to the end.
    this.isOrphan = true;
    this.socket = undefined;
  }

  /** All that a chunk brought was told; before a link is up all is copied that is kept. */
  private onSpent(chunk: Buffer): void {
    if (this.everUp) this.chunks.keep(chunk);
    else this.chunks.giveBack(chunk);
  }

  /** Returns what was said, once the handshake is over. */
  private onFrame(frame: Buffer): Message | undefined {
    const outcome = this.handshake.receive(decode(frame));
    switch (outcome.type) {
      case "talk":
        this.events.message(this, outcome.message, this.frames.hasWhole);
        return outcome.message;
      case "knock":
        // Not before the whole chunk is read: nobody may talk ahead of the welcome.
        this.later(() => {
          if (this.phase === "open") this.events.knock(this, outcome.peer);
        });
        break;
      case "up":
        this.opened(outcome.peer);
        this.events.up(this, outcome.peer, outcome.room);
        break;
      case "refused":
        this.kill({ type: "refused", refusal: outcome.refusal });
        break;
      default:
        unreachable(outcome);
    }
    return undefined;
  }

  /** Charges to this link what it takes to handle a message of so many bytes. */
  private account(message: Message, bytes: number, now: number): void {
    if (this.phase !== "open") return;
    if (message.type !== "post")
      return this.turns.charge(this, limits.messageCostUs + (bytes * limits.entryByteCostNs) / 1_000, now);
    const { post } = message;
    const { author, kind } = post;
    const costUs = costOfPost(kind, bytes);
    this.turns.charge(this, author === this.peer ? costUs : costUs / limits.relayDiscount, now);
    if (isTalk(post)) this.turns.said(author, now);
  }

  private opened({ member }: PeerInfo): void {
    this.everUp = true;
    this.peer = member;
    this.turns.begin(this, performance.now());
    this.disarm();
    this.frames.allowPosts();
  }

  /** Runs what may throw: a peer's fault ends this link, any other error is ours and is passed on once it is closed. */
  private guard(work: () => void): void {
    try {
      work();
    } catch (error) {
      if (error instanceof PeerError) {
        this.fail(error);
      } else {
        this.kill({ type: "closed" });
        this.events.bug(error);
      }
    }
  }

  private later(work: () => void): void {
    queueMicrotask(() => this.guard(work));
  }

  private fail(fault: PeerError): void {
    if (this.phase !== "open") return;
    const end: LinkEnd = { type: "fault", fault };
    const farewell = this.handshake.farewell(fault.fault);
    // Behind what it has not read yet a word would come too late.
    if (farewell === undefined || this.queuedBytes > 0) {
      this.kill(end);
    } else {
      this.enqueue(farewell);
      this.finish(end);
    }
  }

  private finish(end: LinkEnd): void {
    if (this.isOrphan) return this.kill(end);
    this.phase = "closing";
    this.frames.clear();
    this.closingSince = performance.now();
    this.disarm();
    this.later(() => this.events.ended(this, end));
  }

  private enqueue(frame: Uint8Array): void {
    this.queue.push(frame);
    this.queuedBytes += frame.length;
    this.pack(frame);
    if (this.flushDue) return;
    this.flushDue = true;
    this.later(() => {
      this.flushDue = false;
      this.flush();
    });
  }

  /** Small frames are put together as they pile up: each costs ten times its bytes, and is counted by its bytes. */
  private pack(newest: Uint8Array): void {
    this.loose = newest.length < SMALL_BYTES ? Math.min(this.loose, this.queue.length - 1) + 1 : 0;
    if (this.loose < LOOSE_MAX) return;
    this.queue.push(Buffer.concat(this.queue.splice(-this.loose)));
    this.loose = 0;
  }

  private flush(): void {
    const { socket } = this;
    if (socket === undefined || this.queuedBytes === 0) return;
    while (this.queuedBytes > 0) {
      const bytes = this.takeWrite();
      const written = socket.write(bytes);
      if (written < 0) this.kill({ type: "closed" });
      if (this.phase === "gone") return;
      this.queuedBytes -= written;
      this.undrainedBytes += written;
      if (written > 0) this.progressAt = performance.now();
      if (written < bytes.length) {
        this.queue = [bytes.subarray(written), ...this.queue].map(owned);
        if (this.timer === undefined) {
          this.progressAt = performance.now();
          this.watch();
        }
        return;
      }
    }
    if (this.phase === "closing") {
      socket.end();
      this.arm(this.deadlines.followTimeoutMs, () => this.kill({ type: "closed" }));
    } else if (this.up) {
      this.disarm();
      this.tellDrained();
    }
  }

  /** In another turn of the loop: a peer that reads as fast as we write must not keep us at it. */
  private tellDrained(): void {
    if (this.drainDue || this.undrainedBytes < limits.linkDrainedBytes) return;
    this.drainDue = true;
    setImmediate(() => {
      this.drainDue = false;
      this.undrainedBytes = 0;
      if (this.up && this.queuedBytes === 0) this.guard(() => this.events.drained(this));
    });
  }

  /** The next bytes to write: one frame as it is, or several small ones put together. */
  private takeWrite(): Uint8Array {
    let count = 0;
    let length = 0;
    for (const frame of this.queue) {
      if (count > 0 && length + frame.length > WRITE_BYTES) break;
      count++;
      length += frame.length;
    }
    const frames = this.queue.splice(0, count);
    const [only] = frames;
    return only !== undefined && count === 1 ? only : Buffer.concat(frames, length);
  }

  /** Data waits: looks again when the time without progress would be over, rather than at every write. */
  private watch(): void {
    const leaving = this.phase === "closing";
    const patienceMs = leaving ? this.deadlines.leaveTimeoutMs : this.deadlines.linkStuckTimeoutMs;
    const now = performance.now();
    const leftMs = Math.min(
      this.progressAt + patienceMs - now,
      leaving ? this.closingSince + this.deadlines.flushTimeoutMs - now : patienceMs,
    );
    if (leftMs > 0) this.arm(leftMs, () => this.watch());
    else this.kill({ type: "fault", fault: new PeerError("too_slow", "it stopped reading") });
  }

  private arm(timeoutMs: number, work: () => void): void {
    this.disarm();
    this.timer = setTimeout(
      () => {
        this.timer = undefined;
        this.guard(work);
      },
      Math.max(0, timeoutMs),
    );
  }

  private disarm(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
  }
}

/** In memory of its own: what waits for the next turn may lie in memory that is used again by then. */
function owned(bytes: Uint8Array): Uint8Array {
  return bytes.buffer.byteLength === bytes.length ? bytes : new Uint8Array(bytes);
}

/** For every socket, dialled or accepted; a listener's `open` must set `data` and attach. */
export const SOCKET_HANDLERS = {
  open: socket => socket.data.attach(socket),
  handshake: (socket, _success, error) => socket.data.onHandshake(socket, error),
  data: (socket, chunk) => socket.data.onData(chunk),
  drain: socket => socket.data.onDrain(),
  close: socket => socket.data.onClose(socket),
  // Our own errors never get here (`guard`), so this is TLS: a record that does not decrypt, an alert.
  error: socket => socket.data.onClose(socket),
  // The promise of Bun.connect tells.
  connectError: () => {},
} satisfies Bun.SocketHandler<Link>;

/** The tls-exporter channel binding (RFC 9266); undefined if TLS failed. */
function exporterOf(socket: Bun.Socket<Link>): Uint8Array | undefined {
  try {
    if (socket.getTLSVersion() !== "TLSv1.3") return undefined;
    return socket.exportKeyingMaterial(EXPORTER_BYTES, "EXPORTER-Channel-Binding", NO_CONTEXT);
  } catch {
    return undefined;
  }
}

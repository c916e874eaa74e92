/**
 * The limit: a mesh of bare Bun sockets that does what a chat cannot do without, and nothing else. Variants "tcp", "tls".
 *
 * Frames of u32 length and UTF-8, all that is said within one turn put together and written once to every link, one string
 * made per text that arrives, back-pressure by what the kernel does not take. No signatures, no order between members, no
 * history, no names, no second chance for whoever is cut off.
 */
import { makeCertificate } from "../../../lib/net/certificate.ts";
import { type OpenRequest, type Room, runMember } from "./room.ts";

const HEADER_BYTES = 4;
/** More waits for a slow reader than this: the speaker pauses. */
const READY_MAX_BYTES = 1024 * 1024;

interface Link {
  readonly queue: Buffer[];
  queuedBytes: number;
  /** A frame that was cut by the end of a chunk. */
  rest: Buffer | undefined;
}

class Mesh implements Room {
  private readonly links = new Map<Bun.Socket<Link>, Link>();
  private said: string[] = [];
  private drained: PromiseWithResolvers<void> | undefined;
  port = 0;

  constructor(private readonly hear: (texts: readonly string[]) => void) {}

  async open({ ports, variant }: OpenRequest): Promise<this> {
    const tls = variant === "tls";
    const socket = this.handlers(tls);
    const listener = Bun.listen<Link>({
      hostname: "127.0.0.1",
      port: 0,
      socket: { ...socket, open: opened => this.onOpen(opened, tls) },
      ...(tls && { tls: await makeCertificate() }),
    });
    this.port = listener.port;
    for (const port of ports)
      await Bun.connect<Link>({
        hostname: "127.0.0.1",
        port,
        data: newLink(),
        socket,
        ...(tls && { tls: { rejectUnauthorized: false } }),
      });
    return this;
  }

  say(text: string): void {
    this.said.push(text);
    if (this.said.length === 1) queueMicrotask(() => this.send());
  }

  async ready(): Promise<void> {
    if (!this.isFull()) return;
    this.drained ??= Promise.withResolvers();
    await this.drained.promise;
  }

  reaches(others: number): boolean {
    return this.links.size >= others;
  }

  async close(): Promise<void> {
    for (const socket of this.links.keys()) socket.terminate();
  }

  private handlers(tls: boolean): Bun.SocketHandler<Link> {
    return {
      open: socket => this.onOpen(socket, tls),
      handshake: socket => void this.links.set(socket, socket.data),
      data: (socket, chunk) => this.onData(socket.data, chunk),
      drain: socket => this.onDrain(socket),
      close: socket => void this.links.delete(socket),
      error: () => {},
    };
  }

  private onOpen(socket: Bun.Socket<Link>, tls: boolean): void {
    socket.data ??= newLink();
    socket.setNoDelay(true);
    if (!tls) this.links.set(socket, socket.data);
  }

  private send(): void {
    const texts = this.said;
    this.said = [];
    let bytes = 0;
    for (const text of texts) bytes += HEADER_BYTES + Buffer.byteLength(text);
    const frames = Buffer.allocUnsafe(bytes);
    let offset = 0;
    for (const text of texts) {
      const length = frames.write(text, offset + HEADER_BYTES);
      frames.writeUInt32BE(length, offset);
      offset += HEADER_BYTES + length;
    }
    for (const socket of this.links.keys()) this.write(socket, frames);
  }

  private write(socket: Bun.Socket<Link>, bytes: Buffer): void {
    const link = socket.data;
    const written = link.queuedBytes > 0 ? 0 : Math.max(0, socket.write(bytes));
    if (written === bytes.length) return;
    link.queue.push(bytes.subarray(written));
    link.queuedBytes += bytes.length - written;
  }

  private onDrain(socket: Bun.Socket<Link>): void {
    const link = socket.data;
    for (let head = link.queue[0]; head !== undefined; head = link.queue[0]) {
      const written = Math.max(0, socket.write(head));
      link.queuedBytes -= written;
      if (written < head.length) {
        link.queue[0] = head.subarray(written);
        break;
      }
      link.queue.shift();
    }
    if (this.drained === undefined || this.isFull()) return;
    this.drained.resolve();
    this.drained = undefined;
  }

  private isFull(): boolean {
    for (const { queuedBytes } of this.links.values()) if (queuedBytes > READY_MAX_BYTES) return true;
    return false;
  }

  private onData(link: Link, chunk: Buffer): void {
    const bytes = link.rest === undefined ? chunk : Buffer.concat([link.rest, chunk]);
    const texts: string[] = [];
    let offset = 0;
    while (bytes.length - offset >= HEADER_BYTES) {
      const end = offset + HEADER_BYTES + bytes.readUInt32BE(offset);
      if (end > bytes.length) break;
      texts.push(bytes.toString("utf8", offset + HEADER_BYTES, end));
      offset = end;
    }
    link.rest = offset === bytes.length ? undefined : Buffer.from(bytes.subarray(offset));
    if (texts.length > 0) this.hear(texts);
  }
}

function newLink(): Link {
  return { queue: [], queuedBytes: 0, rest: undefined };
}

await runMember((request, hear) => new Mesh(hear).open(request));

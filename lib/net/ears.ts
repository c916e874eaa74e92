/**
 * The beacon's sockets: ears at the shared port, where everybody asks, and mouths on every card, to ask from.
 *
 * Invariant: nothing throws. A card that does not take part, a port that is in use, a packet that cannot be sent is a code
 * in a report, and the others go on.
 *
 * `node:dgram`, since several nodes of one machine share the port and `Bun.udpSocket` cannot; it costs 1.4 ms and is
 * imported by nobody at start-up.
 */
import { createSocket, type Socket } from "node:dgram";
import { codeOf } from "../errors.ts";
import { limits } from "../limits.ts";
import { plainHost } from "./addresses.ts";
import { isNear, type Place, placesOf, type Scope } from "./places.ts";

/** Of the local scope that organisations use as they like (RFC 2365, 6.1). */
const GROUP_4 = "239.255.80.67";
/** Link-local and not assigned by IANA (RFC 4291, 2.7): "p2pc" in ASCII. */
const GROUP_6 = "ff12::7032:7063";

export interface BeaconSetting {
  readonly scope: Scope;
  /** UDP port. */
  readonly port: number;
}

/** How one place took part. */
export interface PlaceReport {
  readonly place: Place;
  /** Error code of the last thing that failed there. */
  readonly trouble: string | undefined;
}

/** Whom a packet came from. */
export interface Source {
  readonly host: string;
  readonly port: number;
}

type OnAsk = (bytes: Uint8Array, source: Source, reply: (bytes: Uint8Array) => void) => void;

/** The shared port: hears what is said to everybody. */
export class Ears {
  private readonly joined = new Set<string>();
  private readonly open: readonly Socket[];
  private readonly timer: ReturnType<typeof setInterval>;
  private places: readonly Place[] = [];
  private refreshedAt = 0;

  static async open(setting: BeaconSetting, host: string | undefined, onAsk: OnAsk): Promise<Ears> {
    if (setting.scope === "off") return new Ears(setting, host, onAsk, {});
    const [udp4, udp6] = await Promise.all([bound("udp4", "0.0.0.0", setting.port), bound("udp6", "::", setting.port)]);
    return new Ears(setting, host, onAsk, { udp4, udp6 });
  }

  private constructor(
    private readonly setting: BeaconSetting,
    private readonly host: string | undefined,
    onAsk: OnAsk,
    /** Of each kind a socket, or why there is none. */
    private readonly sockets: { readonly [Family in Place["family"]]?: Socket | string },
  ) {
    this.open = Object.values(sockets).filter(socket => typeof socket !== "string");
    for (const socket of this.open) {
      enlarge(socket);
      socket.on("message", (bytes, { address, port }) => {
        const source = plainHost(address);
        if (!this.isNear(source)) return;
        onAsk(bytes, { host: source, port }, answer => {
          socket.send(answer, port, address, () => {});
        });
      });
    }
    this.refresh();
    this.timer = setInterval(() => this.refresh(), limits.beaconRefreshMs);
    this.timer.unref();
  }

  close(): void {
    clearInterval(this.timer);
    this.open.forEach(closeQuietly);
  }

  /** Why nothing is heard at all. */
  get trouble(): string | undefined {
    const { udp4, udp6 } = this.sockets;
    return typeof udp4 === "string" && typeof udp6 === "string" ? udp4 : undefined;
  }

  /** Who is not may be on a card that has just come up. */
  private isNear(source: string): boolean {
    if (isNear(this.places, source)) return true;
    if (performance.now() - this.refreshedAt < limits.beaconRefreshMinMs) return false;
    this.refresh();
    return isNear(this.places, source);
  }

  private refresh(): void {
    this.refreshedAt = performance.now();
    this.places = placesOf(this.setting.scope, this.host);
    for (const { family, card, address } of this.places) {
      const key = `${card} ${address}`;
      const socket = this.sockets[family];
      if (typeof socket !== "object" || this.joined.has(key)) continue;
      try {
        if (family === "udp4") socket.addMembership(GROUP_4, address);
        else socket.addMembership(GROUP_6, `::%${card}`);
        this.joined.add(key);
      } catch {
        // A card without multicast: broadcast may do.
      }
    }
  }
}

interface Mouth {
  readonly place: Place;
  /** What is said is said from the last one. */
  readonly sockets: Socket[];
  trouble: string | undefined;
  answers: number;
}

/** One socket per place, to ask from and be answered at. */
export class Mouths {
  private readonly mouths: readonly Mouth[];
  private isOpen = true;

  /** `onTell` says whether it was an answer. */
  static async open(
    setting: BeaconSetting,
    host: string | undefined,
    onTell: (bytes: Uint8Array, source: string) => boolean,
  ): Promise<Mouths> {
    const opened = new Mouths(placesOf(setting.scope, host), setting.port, onTell);
    await Promise.all(opened.mouths.map(mouth => opened.use(mouth, 0)));
    return opened;
  }

  private constructor(
    places: readonly Place[],
    private readonly port: number,
    private readonly onTell: (bytes: Uint8Array, source: string) => boolean,
  ) {
    this.mouths = places.map(place => ({ place, sockets: [], trouble: undefined, answers: 0 }));
  }

  get isEmpty(): boolean {
    return this.mouths.length === 0;
  }

  /** Says it at every place. */
  send(bytes: Uint8Array): void {
    if (!this.isOpen) return;
    for (const mouth of this.mouths) {
      const { card, family, broadcast } = mouth.place;
      const targets = family === "udp6" ? [`${GROUP_6}%${card}`] : broadcast ? [GROUP_4, broadcast] : [GROUP_4];
      for (const target of targets)
        attempt(mouth, socket =>
          socket.send(bytes, this.port, target, error => {
            if (error !== null) mouth.trouble = troubleOf(error);
          }),
        );
    }
  }

  /**
   * Says it once more. Where nobody has answered, from the shared port: a firewall that was told to let that one in lets
   * the answers in. Not so at first, since of several who ask from there at one moment only one hears the answers.
   */
  async sendAgain(bytes: Uint8Array): Promise<void> {
    const silent = this.mouths.filter(({ answers }) => answers === 0);
    await Promise.all(silent.map(mouth => this.use(mouth, this.port)));
    this.send(bytes);
  }

  /** Speaks and listens at `port` from now on, 0 for any; what comes to earlier ones is heard still. */
  private async use(mouth: Mouth, port: number): Promise<void> {
    const { family, address, card } = mouth.place;
    const socket = await bound(family, family === "udp6" ? `${address}%${card}` : address, port);
    if (typeof socket === "string") {
      mouth.trouble ??= socket;
      return;
    }
    if (!this.isOpen) return closeQuietly(socket);
    mouth.sockets.push(socket);
    socket.on("message", (bytes, { address: from }) => {
      const source = plainHost(from);
      if (isNear([mouth.place], source) && this.onTell(bytes, source)) mouth.answers++;
    });
    attempt(mouth, () => {
      socket.setMulticastInterface(family === "udp4" ? address : `::%${card}`);
      socket.setMulticastTTL(1);
      if (family === "udp4") socket.setBroadcast(true);
    });
    enlarge(socket);
  }

  reports(): PlaceReport[] {
    return this.mouths.map(({ place, trouble }) => ({ place, trouble }));
  }

  close(): void {
    this.isOpen = false;
    for (const { sockets } of this.mouths) sockets.forEach(closeQuietly);
  }
}

/** A bound socket, or the code of the error why there is none. */
async function bound(type: "udp4" | "udp6", address: string, port: number): Promise<Socket | string> {
  const { promise, resolve } = Promise.withResolvers<Socket | string>();
  try {
    const socket = createSocket({ type, reuseAddr: true, ...(type === "udp6" && { ipv6Only: true }) });
    let isBound = false;
    socket.on("error", error => {
      // Once it is bound, an error is that of a send (an ICMP message), which changes nothing.
      if (isBound) return;
      closeQuietly(socket);
      resolve(troubleOf(error));
    });
    socket.bind({ port, address, exclusive: true }, () => {
      isBound = true;
      resolve(socket);
    });
    // The chat keeps the process alive, not its beacon.
    socket.unref();
  } catch (error) {
    resolve(troubleOf(error));
  }
  return promise;
}

function enlarge(socket: Socket): void {
  try {
    socket.setRecvBufferSize(limits.beaconReceiveBufferBytes);
  } catch {
    // As large as the system has it: enough where few speak.
  }
}

function attempt(mouth: Mouth, run: (socket: Socket) => void): void {
  const socket = mouth.sockets.at(-1);
  if (socket === undefined) return;
  try {
    run(socket);
  } catch (error) {
    mouth.trouble = troubleOf(error);
  }
}

function closeQuietly(socket: Socket): void {
  try {
    socket.close();
  } catch {
    // It was closed before.
  }
}

function troubleOf(error: unknown): string {
  return codeOf(error) || String(error);
}

/**
 * Who is at the other end: hello, welcome or refuse, right after TLS. PROTOCOL.md, "Handshake".
 *
 * Sans-IO: it is told what happened and returns frames; the socket is link.ts's. The TLS certificate proves nothing, so
 * each end signs the exporter value of this very connection (RFC 9266) together with its role. A man in the middle has
 * two connections, and so two values; a replayed or reflected introduction is one of another connection or role.
 *
 * Invariant: no state but `up` lets talk through, and nobody gets there whose signature, room, and in a private room
 * whose knowledge of the key, was not checked. A private listener says nothing before the dialler has proved itself.
 */
import { Writer } from "../codec/bytes.ts";
import {
  type Credentials,
  encode,
  type Message,
  NO_ROOM,
  type PeerInfo,
  PROTOCOL_VERSION,
  type RefusalInfo,
  type RefusalReason,
} from "../codec/message.ts";
import { memberIdOf, type RoomId } from "../codec/post.ts";
import { assert, PeerError, type PeerFault } from "../errors.ts";
import { type Identity, verifySignature } from "../identity.ts";

/** What this node shows of itself. All but the identity is asked for when it is needed: name and room may change, and the number of a run is written down when it is used. */
export interface Self {
  readonly identity: Identity;
  /** Start of this run, ms since the epoch. */
  readonly session: () => number;
  readonly name: () => string;
  /** `NO_ROOM` while looking for one. */
  readonly room: () => RoomId;
  /** 32 bytes; present in a private room. */
  readonly roomKey?: Uint8Array;
}

export type Role = "dialler" | "listener";

/** `asking`: hello is said. `awaiting`: hello is to come. `knocking`: it came and is true; the owner decides. */
export type State = "securing" | "asking" | "awaiting" | "knocking" | "up" | "over";

/** From the peer: TLS is through, or a message (`talk`: any that needs a proven peer). From the owner: the last two. */
export type Input = "secured" | "hello" | "welcome" | "refuse" | "talk" | "admit" | "turn_away";

/** Every state of both roles, and where each input leads. What is not here is out of turn. */
export const TRANSITIONS: Readonly<Record<Role, Readonly<Record<State, Readonly<Partial<Record<Input, State>>>>>>> = {
  dialler: {
    securing: { secured: "asking" },
    asking: { welcome: "up", refuse: "over" },
    awaiting: {},
    knocking: {},
    up: { talk: "up" },
    over: {},
  },
  listener: {
    securing: { secured: "awaiting" },
    asking: {},
    awaiting: { hello: "knocking" },
    knocking: { admit: "up", turn_away: "over" },
    up: { talk: "up" },
    over: {},
  },
};

export type Outcome =
  | { readonly type: "knock"; readonly peer: PeerInfo }
  | { readonly type: "up"; readonly peer: PeerInfo; readonly room: RoomId }
  | { readonly type: "refused"; readonly refusal: RefusalInfo }
  | { readonly type: "talk"; readonly message: Message };

const LABELS = { hello: Buffer.from("p2pchat hello v1\0"), welcome: Buffer.from("p2pchat welcome v1\0") } as const;
type Introduction = keyof typeof LABELS;

/** What a listener answers to a hello that it cannot accept. To any other fault it answers nothing. */
const REFUSALS: Readonly<Partial<Record<PeerFault, RefusalReason>>> = {
  wrong_key: "wrong_key",
  wrong_room: "wrong_room",
  bad_version: "bad_version",
  own_key: "own_key",
};

export class Handshake {
  private current: State = "securing";
  private exporter: Uint8Array = new Uint8Array();
  private knocker: PeerInfo | undefined;

  constructor(
    readonly role: Role,
    private readonly self: Self,
    /** Goes into `PeerInfo` as it is. */
    private readonly host: string,
    /** The only key that may answer, if given. */
    private readonly expect?: string,
  ) {}

  get state(): State {
    return this.current;
  }

  /** TLS is through. Returns the hello, which only a dialler sends. */
  secured(exporter: Uint8Array): Buffer | undefined {
    const next = this.next("secured");
    this.exporter = exporter;
    this.current = next;
    return this.role === "dialler" ? this.introduce("hello") : undefined;
  }

  /** A message came in. Throws `PeerError`, after which `farewell` says what to answer. */
  receive(message: Message): Outcome {
    switch (message.type) {
      case "hello":
        return this.onHello(message.credentials);
      case "welcome":
        return this.onWelcome(message.credentials);
      case "refuse": {
        this.current = this.next("refuse");
        const { reason, suggestion, addresses } = message;
        return { type: "refused", refusal: { reason, suggestion, addresses } };
      }
      default:
        this.current = this.next("talk");
        return { type: "talk", message };
    }
  }

  /** Lets in who knocks. Returns the welcome. */
  admit(): { readonly frame: Buffer; readonly peer: PeerInfo; readonly room: RoomId } {
    const next = this.next("admit");
    assert(this.knocker !== undefined, "whoever knocks is known");
    this.current = next;
    return { frame: this.introduce("welcome"), peer: this.knocker, room: this.self.room() };
  }

  /** Turns away who knocks. Returns the refusal to send. */
  turnAway(refusal: RefusalInfo): Buffer {
    this.current = this.next("turn_away");
    return encode({ type: "refuse", ...refusal });
  }

  /** The peer broke the protocol. Returns what to tell it before closing, if anything. */
  farewell(fault: PeerFault): Buffer | undefined {
    const was = this.current;
    this.current = "over";
    if (was === "up") return encode({ type: "bye", reason: "fault" });
    const reason = was === "awaiting" ? REFUSALS[fault] : undefined;
    return reason && encode({ type: "refuse", reason, suggestion: "", addresses: [] });
  }

  private onHello(credentials: Credentials): Outcome {
    const next = this.next("hello");
    this.verify("hello", credentials);
    const room = this.self.room();
    if (room === NO_ROOM || (credentials.room !== room && credentials.room !== NO_ROOM))
      throw new PeerError("wrong_room", "it asks for another room");
    this.current = next;
    this.knocker = this.peerOf(credentials);
    return { type: "knock", peer: this.knocker };
  }

  private onWelcome(credentials: Credentials): Outcome {
    const next = this.next("welcome");
    this.verify("welcome", credentials);
    const peer = this.peerOf(credentials);
    if (this.expect !== undefined && peer.member !== this.expect)
      throw new PeerError("wrong_peer", "somebody else answered");
    // Asked now and not when hello was said: another dial may have found a room since.
    const room = this.self.room();
    if (credentials.room === NO_ROOM || (room !== NO_ROOM && credentials.room !== room))
      throw new PeerError("wrong_room", "it is in another room");
    this.current = next;
    return { type: "up", peer, room: credentials.room };
  }

  /** The room key comes first: whoever does not know it learns nothing else, not even that this is its own node. */
  private verify(introduction: Introduction, credentials: Credentials): void {
    const signed = this.signedBytes(introduction, credentials);
    if (!this.provesRoomKey(credentials.mac, signed))
      throw new PeerError("wrong_key", "it does not know the room's key");
    if (Buffer.compare(credentials.publicKey, this.self.identity.publicKey) === 0)
      throw new PeerError("own_key", "it has this node's own key");
    // One fault for a forged signature and for another connection's: nobody could tell them apart.
    if (!verifySignature(credentials.publicKey, signed, credentials.signature))
      throw new PeerError("bad_binding", "its proof is not for this connection");
  }

  private provesRoomKey(mac: Uint8Array | undefined, signed: Uint8Array): boolean {
    const { roomKey } = this.self;
    // A public room and a private one never meet, whoever of the two listens.
    if (roomKey === undefined || mac === undefined) return roomKey === undefined && mac === undefined;
    return crypto.timingSafeEqual(macOf(roomKey, signed), mac);
  }

  private introduce(introduction: Introduction): Buffer {
    const { identity, roomKey } = this.self;
    const shown = {
      version: PROTOCOL_VERSION,
      room: this.self.room(),
      publicKey: identity.publicKey,
      session: this.self.session(),
      name: this.self.name(),
    };
    const signed = this.signedBytes(introduction, shown);
    const mac = roomKey && macOf(roomKey, signed);
    const credentials = { ...shown, ...(mac && { mac }), signature: identity.sign(signed) };
    return encode({ type: introduction, credentials });
  }

  private signedBytes(introduction: Introduction, shown: Omit<Credentials, "mac" | "signature">): Uint8Array {
    return new Writer()
      .raw(LABELS[introduction])
      .u8(shown.version)
      .hex(shown.room)
      .raw(this.exporter)
      .raw(shown.publicKey)
      .u64(shown.session)
      .text(shown.name)
      .finish();
  }

  private peerOf({ publicKey, session, name, room }: Credentials): PeerInfo {
    // A copy, since the view would keep the chunk it came in for as long as the peer is known.
    const key = new Uint8Array(publicKey);
    return { member: memberIdOf(key), publicKey: key, session, name, host: this.host, joining: room === NO_ROOM };
  }

  /** The state that `input` leads to; it is entered by the caller once all that came with it proved true. */
  private next(input: Input): State {
    const next = TRANSITIONS[this.role][this.current][input];
    if (next !== undefined) return next;
    assert(input !== "secured" && input !== "admit" && input !== "turn_away", `${input} while ${this.current}`);
    throw new PeerError("out_of_turn", `a ${input} while ${this.current}`);
  }
}

function macOf(roomKey: Uint8Array, signed: Uint8Array): Uint8Array {
  return new Bun.CryptoHasher("sha256", roomKey).update(signed).digest();
}

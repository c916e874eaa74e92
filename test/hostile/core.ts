/**
 * Cores with real keys and nothing between them but this file: what one sends, the other decodes and handles at once.
 * Attackers are hands: they are linked like anybody else, and say whatever a test tells them to.
 */
import { decode, encode, type LinkId, type Message, type PeerInfo } from "../../lib/codec/message.ts";
import {
  encodeIntroduction,
  encodeTexts,
  type Introduction,
  type Post,
  PostKind,
  type RoomId,
  sealPost,
  signedBytes,
} from "../../lib/codec/post.ts";
import { type Identity, identityOf, newSecrets, verifySignature } from "../../lib/identity.ts";
import type { RoomConfig } from "../../lib/room/context.ts";
import type { Effect, News } from "../../lib/room/event.ts";
import { RoomNode } from "../../lib/room/node.ts";
import { randomStream } from "../sim/random.ts";

export const ROOM: RoomId = "000102030405060708090a0b0c0d0e0f";
export const START = 1_764_000_000_000;

export function newIdentity(): Identity {
  return identityOf(newSecrets());
}

/** Whoever can be linked to a core. */
export interface End {
  readonly info: PeerInfo;
  /** A frame's body has come. */
  receive(link: LinkId, message: Message): void;
  closed(link: LinkId): void;
}

/** One core, its virtual clock, and all that came out of it. */
export class Node implements End {
  readonly core: RoomNode;
  readonly effects: Effect[] = [];
  /** Where each link leads, and by which id the other end knows it. */
  private readonly links = new Map<LinkId, { readonly to: End; readonly as: LinkId }>();
  now = 0;

  constructor(
    readonly name: string,
    readonly identity: Identity = newIdentity(),
    readonly session: number = START,
    readonly room: RoomId = ROOM,
    verify: RoomConfig["verify"] = (publicKey, post) =>
      verifySignature(publicKey, signedBytes(room, post.digest), post.signature),
  ) {
    this.core = new RoomNode({
      room,
      identity,
      verify,
      isVolatile: false,
      random: randomStream(1, name),
      session,
      name,
      hosts: ["192.0.2.1"],
      port: 9,
      entry: undefined,
    });
    this.handle({ type: "start", restored: [], joining: false });
  }

  get info(): PeerInfo {
    const { member, publicKey } = this.identity;
    return { member, publicKey, session: this.session, name: this.name, host: "192.0.2.1", joining: false };
  }

  handle(event: Parameters<RoomNode["handle"]>[0]): void {
    for (const effect of this.core.handle(event, this.now, START + this.now)) this.perform(effect);
  }

  /** Lets time pass, with every timer at its time. */
  run(ms: number): void {
    const end = this.now + ms;
    while (this.core.wakeAt <= end) {
      this.now = Math.max(this.now, this.core.wakeAt);
      this.handle({ type: "tick" });
    }
    this.now = end;
  }

  link(id: LinkId, to: End, as: LinkId): void {
    this.links.set(id, { to, as });
    this.handle({ type: "up", link: id, peer: to.info, dialled: id % 2 === 0 });
  }

  receive(link: LinkId, message: Message): void {
    this.handle({ type: "message", link, message });
  }

  closed(link: LinkId): void {
    if (this.links.delete(link)) this.handle({ type: "down", link });
  }

  isLinkedTo(other: End): boolean {
    return this.core.linkTo(other.info.member) !== undefined;
  }

  say(...texts: string[]): Post {
    this.handle({ type: "say", texts });
    const stream = this.core.log.get(this.identity.member, this.session);
    const post = stream?.get(stream.head);
    if (post === undefined) throw new Error("what was said is kept");
    return post;
  }

  told<Type extends News["type"]>(type: Type): Extract<News, { type: Type }>[] {
    const news = this.effects.flatMap(effect => (effect.type === "tell" ? [effect.news] : []));
    return news.filter(each => each.type === type) as Extract<News, { type: Type }>[];
  }

  /** Everything said that this node shows, as texts. */
  get heard(): string[] {
    return this.told("said").map(({ post }) => Buffer.from(post.body).toString());
  }

  get blames(): string[] {
    return this.effects.flatMap(effect => (effect.type === "blame" ? [effect.fault.fault] : []));
  }

  private perform(effect: Effect): void {
    this.effects.push(effect);
    if (effect.type === "send")
      for (const id of effect.links) {
        const link = this.links.get(id);
        // Through bytes, as on a wire.
        link?.to.receive(link.as, decode(effect.frame));
      }
    else if (effect.type === "close") {
      const link = this.links.get(effect.link);
      this.links.delete(effect.link);
      link?.to.closed(link.as);
    }
  }
}

/** An attacker with a key of its own. */
export class Hand implements End {
  readonly received: Message[] = [];
  readonly info: PeerInfo;
  isClosed = false;
  private victim: { readonly node: Node; readonly link: LinkId } | undefined;
  private readonly heads = new Map<number, number>();

  constructor(
    readonly name: string,
    readonly identity: Identity = newIdentity(),
    session: number = START + 1,
    readonly room: RoomId = ROOM,
  ) {
    const { member, publicKey } = identity;
    this.info = { member, publicKey, session, name, host: "192.0.2.66", joining: false };
  }

  /** Sits down beside `node`, by the link `id` there. */
  attach(node: Node, id: LinkId): this {
    this.victim = { node, link: id };
    this.isClosed = false;
    node.link(id, this, id);
    return this;
  }

  receive(_: LinkId, message: Message): void {
    this.received.push(message);
  }

  closed(): void {
    this.isClosed = true;
  }

  send(message: Message): void {
    if (this.victim === undefined || this.isClosed) return;
    this.victim.node.receive(this.victim.link, decode(encode(message)));
  }

  post(post: Post): void {
    this.send({ type: "post", post });
  }

  /** What came is handled, and pings are answered: the victim may send more. */
  drained(): void {
    const ping = this.of("ping").at(-1);
    if (ping !== undefined) this.send({ type: "pong", token: ping.token });
    this.victim?.node.handle({ type: "drained", link: this.victim.link });
  }

  of<Type extends Message["type"]>(type: Type): Extract<Message, { type: Type }>[] {
    return this.received.filter(each => each.type === type) as Extract<Message, { type: Type }>[];
  }

  /** The next post of its session. */
  seal(kind: number, body: Uint8Array, session: number = this.info.session, skip = 0): Post {
    const seq = (this.heads.get(session) ?? -1) + 1 + skip;
    this.heads.set(session, seq);
    return sealFor(this.identity, { session, seq, kind, body }, this.room);
  }

  introduction(options: Partial<Introduction> = {}): Uint8Array {
    return introductionOf(this.identity, { name: this.name, ...options });
  }

  /** Posts 0 of a session, so that it may talk. */
  introduce(session: number = this.info.session): Post {
    const post = this.seal(PostKind.add, this.introduction(), session);
    this.post(post);
    return post;
  }

  text(text: string): Post {
    return this.seal(PostKind.text, encodeTexts([text]));
  }
}

export function introductionOf(identity: Identity, options: Partial<Introduction> = {}): Uint8Array {
  const { publicKey, sealKey } = identity;
  return encodeIntroduction({ name: "Mallory", publicKey, sealKey, port: 0, hosts: [], ...options });
}

/** A post signed by its author. */
export function sealFor(
  identity: Identity,
  {
    session,
    seq,
    kind,
    body,
    clock = (START + seq) * 1000,
  }: Pick<Post, "session" | "seq" | "kind" | "body"> & { clock?: number },
  room: RoomId = ROOM,
): Post {
  return sealPost(room, { author: identity.member, session, seq, clock, kind, body }, identity.sign);
}

/** Links two cores. Ids are theirs alone: even for the one that dialled. */
export function join(dialler: Node, listener: Node, id: number): void {
  const [even, odd] = [2 * id, 2 * id + 1];
  const pipe = (node: Node, link: LinkId): End => ({
    info: node.info,
    receive: (_, message) => node.receive(link, message),
    closed: () => node.closed(link),
  });
  // Both ends are up before either speaks.
  const early: (() => void)[] = [];
  let open = false;
  const later = (end: End): End => ({
    info: end.info,
    receive: (link, message) => {
      if (open) end.receive(link, message);
      else early.push(() => end.receive(link, message));
    },
    closed: link => end.closed(link),
  });
  dialler.link(even, later(pipe(listener, odd)), odd);
  listener.link(odd, later(pipe(dialler, even)), even);
  open = true;
  for (const deliver of early) deliver();
}

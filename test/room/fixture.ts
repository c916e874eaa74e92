/**
 * One core and hand-made peers: what goes in is written out, what comes out is compared whole, as short sentences.
 */
import { decode, type LinkId, type Message } from "../../lib/codec/message.ts";
import {
  encodeIntroduction,
  encodeTexts,
  memberIdOf,
  Post,
  PostKind,
  SIGNATURE_BYTES,
  sealPost,
} from "../../lib/codec/post.ts";
import type { Effect, RoomEvent } from "../../lib/room/event.ts";
import { RoomNode } from "../../lib/room/node.ts";
import { seal, sealsIn } from "../stand-in.ts";

export const ROOM = "0123456789abcdef0123456789abcdef";
const WALL = 1_764_000_000_000;

/** A member outside, whose posts a test makes by hand. */
export class Author {
  readonly publicKey: Uint8Array;
  readonly member: string;
  private clock: number;
  private seq = 0;
  private last: Post | undefined;

  constructor(
    readonly name: string,
    readonly session = 1,
    startMs = 0,
  ) {
    this.clock = (WALL + startMs) * 1000;
    this.publicKey = Buffer.alloc(32, `${name} `);
    this.member = memberIdOf(this.publicKey);
  }

  sign = (bytes: Uint8Array): Uint8Array => seal(this.publicKey, bytes);

  /** The next post of its session. */
  post(kind: number, body: Uint8Array, change: Partial<Pick<Post, "seq" | "clock" | "session" | "before">> = {}): Post {
    const { member: author, session, clock, seq } = this;
    this.clock += 1000;
    this.seq += 1;
    const content = { author, session, seq, clock, kind, body, ...change };
    this.last = sealPost(ROOM, content, this.sign);
    return this.last;
  }

  add(name = this.name): Post {
    const { publicKey } = this;
    const body = encodeIntroduction({ name, publicKey, sealKey: publicKey, port: 7, hosts: [this.name.toLowerCase()] });
    return this.post(PostKind.add, body);
  }

  text(...texts: string[]): Post {
    return this.post(PostKind.text, encodeTexts(texts));
  }

  /** Texts of which each bears the imprint of the post before it. */
  row(...texts: string[]): Post[] {
    return texts.map(text => this.post(PostKind.text, encodeTexts([text]), { before: this.last?.imprint }));
  }
}

/** The same post under a signature that nobody has made. */
export function forgery({ frame }: Post): Post {
  return new Post(Buffer.concat([frame.subarray(0, -SIGNATURE_BYTES), Buffer.alloc(SIGNATURE_BYTES)]));
}

/** The core under test, "Me", started alone in its room. */
export class Bench {
  now = 1_000;
  readonly me = new Author("Me");
  readonly node: RoomNode;
  /** Signatures of posts that the core had checked. */
  checks = 0;
  private readonly names = new Map<string, string>();
  private pinged = 0;

  constructor(authors: readonly Author[] = [], { joining = false, isVolatile = false, restored = [] as Post[] } = {}) {
    for (const { member, name } of [this.me, ...authors]) this.names.set(member, name);
    const { member, publicKey, sign } = this.me;
    const verify = sealsIn(ROOM);
    this.node = new RoomNode({
      room: ROOM,
      identity: { member, publicKey, sealKey: publicKey, sign },
      verify: (key, proof) => {
        this.checks += 1;
        return verify(key, proof);
      },
      isVolatile,
      random: () => 0.5,
      session: this.me.session,
      name: "Me",
      hosts: ["me"],
      port: 7,
      entry: undefined,
    });
    this.handle({ type: "start", restored, joining });
  }

  /** Feeds one event and returns all effects as sentences. */
  handle(event: RoomEvent): string[] {
    return this.node.handle(event, this.now, WALL + this.now).map(effect => this.show(effect));
  }

  receive(link: LinkId, message: Message): string[] {
    return this.handle({ type: "message", link, message });
  }

  /** The peer answers the newest ping. */
  pong(link: LinkId): string[] {
    return this.receive(link, { type: "pong", token: this.pinged });
  }

  /** `more`: another one follows at once. */
  post(link: LinkId, post: Post, more = false): string[] {
    return this.handle({ type: "message", link, message: { type: "post", post }, more });
  }

  /** Posts that came together. */
  posts(link: LinkId, posts: readonly Post[]): string[] {
    return posts.flatMap((post, index) => this.post(link, post, index < posts.length - 1));
  }

  /** `author` dials us: the link is up and its `add` is here. */
  meet(author: Author, link: LinkId): void {
    this.handle({ type: "up", link, peer: this.peerOf(author), dialled: false });
    this.post(link, author.add());
  }

  peerOf({ member, publicKey, session, name }: Author, joining = false) {
    return { member, publicKey, session, name, host: "10.0.0.1", joining };
  }

  /** Lets time pass, timer by timer; returns all that came of it. */
  wait(ms: number): string[] {
    const end = this.now + ms;
    const seen: string[] = [];
    while (this.node.wakeAt <= end) {
      this.now = Math.max(this.now, this.node.wakeAt);
      seen.push(...this.handle({ type: "tick" }));
    }
    this.now = end;
    return seen;
  }

  private show(effect: Effect): string {
    switch (effect.type) {
      case "send":
        return `send ${effect.links.join("+")}: ${this.describe(decode(effect.frame))}`;
      case "admit":
        return `admit ${effect.link}`;
      case "refuse":
        return `refuse ${effect.link}: ${effect.refusal.reason} ${effect.refusal.suggestion}`.trim();
      case "close":
        return `close ${effect.link}: ${effect.reason}`;
      case "dial":
        return `dial ${effect.link}: ${effect.addresses.map(({ host, port }) => `${host}:${port}`).join(" ")}`;
      case "persist":
        return `persist ${this.describePost(effect.post)}`;
      case "blame":
        return `blame ${effect.link}: ${effect.fault.fault}`;
      case "tell": {
        const { news } = effect;
        if (news.type === "said") return `tell said ${this.describePost(news.post)}${news.history ? " (history)" : ""}`;
        const words = Object.values(news).map(value => this.names.get(String(value)) ?? String(value));
        return `tell ${words.join(" ")}`;
      }
    }
  }

  private describe(message: Message): string {
    const stream = ({ author, session }: { author: string; session: number }) =>
      `${this.names.get(author) ?? author}/${session}`;
    switch (message.type) {
      case "post":
        return `post ${this.describePost(message.post)}`;
      case "have":
        return `have ${message.scope} [${message.entries.map(e => `${stream(e)} ${e.floor}-${e.head}`).join(", ")}]`;
      case "want":
        return `want [${message.entries.map(e => `${stream(e)} ${e.from}-${e.to === 2 ** 32 - 1 ? "∞" : e.to}`).join(", ")}]`;
      case "prune":
        return `prune [${message.streams.map(stream).join(", ")}]`;
      case "bye":
        return `bye ${message.reason}`;
      case "ping":
        this.pinged = message.token;
        return "ping";
      default:
        return message.type;
    }
  }

  private describePost(post: Post): string {
    const { author, seq, kind } = post;
    const word = Object.entries(PostKind).find(([, code]) => code === kind)?.[0] ?? `kind ${kind}`;
    const text = kind === PostKind.text ? ` ${JSON.stringify(post.texts.join("|"))}` : "";
    return `${this.names.get(author) ?? author} ${seq} ${word}${text}`;
  }
}

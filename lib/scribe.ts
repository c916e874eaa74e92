/**
 * What the core tells, as events for people: texts with their authors' names, what was sealed for us, topic, who is away,
 * who has what we said.
 *
 * Invariant: every text passes here on its way to a front, so what an ignored key says is dropped in one place.
 */
import { type MemberId, type Post, PostKind, type RoomId, textIdOf } from "./codec/post.ts";
import type { Identity } from "./identity.ts";
import type { News } from "./room/event.ts";
import type { Member } from "./room/members.ts";
import type { RoomNode } from "./room/node.ts";
import { openDirect, readerOf } from "./seal.ts";
import type { Store } from "./store.ts";
import type { Acquaintance, Trust } from "./trust.ts";
import type { ChatEvent, MemberView, MessageView, PresenceView } from "./ui/view.ts";

export interface ScribeConfig {
  readonly identity: Identity;
  readonly store: Store;
  readonly trust: Trust;
  readonly node: () => RoomNode | undefined;
  readonly room: () => RoomId;
  readonly tell: (event: ChatEvent) => unknown;
}

/** A text of ours on its way. */
interface Receipt {
  readonly id: string;
  readonly seq: number;
  shown: string;
}

/** Texts of ours whose way is followed; of a script that pipes only the last few. */
const RECEIPTS_MAX = 32;
/** Texts that were read: since when each member is idle. */
const IDLE_MAX = 10_000;

export class Scribe {
  topic = "";
  /** Clock of the topic, µs. */
  private topicAt = -1;
  private readonly away = new Map<MemberId, { readonly session: number; readonly text: string }>();
  /** ms since the epoch. */
  private readonly heardAt = new Map<MemberId, number>();
  /** Heads that were restored from the store: what lies below was seen in an earlier run. */
  private readonly restored = new Map<string, number>();
  /** What direct posts say; null for those that are none of our business. */
  private readonly opened = new WeakMap<Post, string | null>();
  /** Our own direct text whose post is about to be made. */
  private sealing: { readonly seq: number; readonly text: string } | undefined;
  private receipts: Receipt[] | undefined;

  constructor(private readonly config: ScribeConfig) {}

  /** These posts were here in an earlier run. */
  restore(posts: readonly Post[]): void {
    for (const post of posts) {
      const key = keyOf(post);
      this.restored.set(key, Math.max(post.seq, this.restored.get(key) ?? 0));
    }
  }

  // Posts.

  said(post: Post, history: boolean): void {
    const { trust, identity } = this.config;
    if (trust.isIgnored(post.author)) return;
    const own = post.author === identity.member;
    if (!history || !own) this.hear(post, history);
    switch (post.kind) {
      case PostKind.text:
      case PostKind.action:
        return this.onTexts(post, history, own);
      case PostKind.direct:
        return this.onDirect(post, history, own);
      case PostKind.topic:
        if (!history) this.takeTopic(post, false);
        return;
      case PostKind.away:
        if (!history) this.onAway(post, true);
        return;
      default:
        return;
    }
  }

  private onTexts(post: Post, history: boolean, own: boolean): void {
    const { texts } = post;
    // Whoever keeps an event does not keep what else came with its post.
    const heading = { ...this.headingOf(post, history, own), signature: post.signatureCopy };
    for (let index = 0; index < texts.length; index += 1)
      this.config.tell(new TextEvent(texts[index] as string, index, heading));
    if (own && !history) this.follow(post, texts.length);
  }

  private onDirect(post: Post, history: boolean, own: boolean): void {
    const text = this.textOf(post);
    const reader = readerOf(post.body);
    if (text === undefined || reader === undefined) return;
    const heading = this.headingOf(post, history, own);
    this.config.tell({ event: "direct", to: this.nameOf(reader), ...heading, id: textIdOf(post, 0), text });
    if (own && !history) this.follow(post, 1);
  }

  private headingOf(post: Post, history: boolean, own: boolean): Heading {
    return {
      name: this.nameOf(post.author),
      member: post.author,
      at: Math.floor(post.clock / 1000),
      own,
      history,
      action: post.kind === PostKind.action || undefined,
      seen: (history && post.seq <= (this.restored.get(keyOf(post)) ?? -1)) || undefined,
    };
  }

  // Direct messages.

  /** The post with this number will be ours, and says this. */
  expect(seq: number, text: string): void {
    this.sealing = { seq, text };
  }

  /** What a direct post says, if it is by us or for us. */
  textOf(post: Post): string | undefined {
    if (post.kind !== PostKind.direct) return undefined;
    let text = this.opened.get(post);
    if (text === undefined) {
      text = this.read(post) ?? null;
      this.opened.set(post, text);
    }
    return text ?? undefined;
  }

  private read(post: Post): string | undefined {
    const { identity, store } = this.config;
    const { author, session, seq, body } = post;
    if (author === identity.member) {
      const { sealing } = this;
      this.sealing = undefined;
      return sealing?.seq === seq ? sealing.text : store.direct(post);
    }
    const authorKey = this.config.node()?.log.get(author, session)?.publicKey;
    if (readerOf(body) !== identity.member || authorKey === undefined) return undefined;
    const envelope = { room: this.config.room(), authorKey, readerKey: identity.publicKey, session, seq };
    return openDirect(body, identity.secrets.sealing, envelope);
  }

  // The state of the room.

  /** The first comparison with the room is done: what it is about, and who is away. */
  synced(): void {
    const node = this.config.node();
    if (node === undefined) return;
    let topic: Post | undefined;
    for (const post of node.log.views()) {
      if (this.config.trust.isIgnored(post.author)) continue;
      if (post.kind === PostKind.topic && isLater(post, topic)) topic = post;
      else if (post.kind === PostKind.away) this.onAway(post, false);
    }
    if (topic !== undefined) this.takeTopic(topic, true);
  }

  private takeTopic(post: Post, history: boolean): void {
    if (post.clock <= this.topicAt) return;
    this.topicAt = post.clock;
    this.topic = post.words;
    if (history && this.topic === "") return;
    const { name, member, at } = this.headingOf(post, history, false);
    this.config.tell({ event: "topic", name, member, text: this.topic, at, history });
  }

  private onAway(post: Post, tells: boolean): void {
    const member = this.config.node()?.members.get(post.author);
    if (member?.stream.session !== post.session) return;
    const wasAway = this.away.has(post.author);
    const reason = post.words;
    if (reason === "") this.away.delete(post.author);
    else this.away.set(post.author, { session: post.session, text: reason });
    if (!tells || (!wasAway && reason === "")) return;
    const text = reason === "" ? null : reason;
    this.config.tell({ event: "away", name: this.nameOf(post.author), member: post.author, text });
  }

  /** Somebody came, or was there: who it is, and what one should know of that. */
  joined(id: MemberId, present: boolean): void {
    const member = this.config.node()?.members.get(id);
    if (member === undefined || id === this.config.identity.member) return;
    const { name, address, port } = this.view(member);
    this.config.tell({ event: "join", name, member: id, address, port, present });
    this.meet(member);
  }

  /** A name that is taken later may look like another as well. */
  renamed({ member: id, from, to }: Extract<News, { type: "renamed" }>): void {
    const members = this.config.node()?.members;
    this.config.tell({ event: "rename", member: id, from, to });
    const member = members?.get(id);
    if (member !== undefined && id !== this.config.identity.member) this.meet(member);
    else for (const other of members?.present() ?? []) this.warn(this.twin(other));
  }

  private meet(member: Member): void {
    const { trust, node, room } = this.config;
    const { hosts, port } = member.introduction;
    const isHere = (other: Acquaintance) => {
      const known = node()?.members.get(other.member);
      return known?.present === true && known.name === other.name;
    };
    const addresses = hosts.map(host => ({ host, port }));
    this.warn(trust.meet(acquaintanceOf(member), addresses, room(), isHere));
    this.warn(this.twin(member));
  }

  private twin(member: Member): string[] {
    const { identity, node, trust } = this.config;
    const name = node()?.members.ownName ?? "";
    return trust.twin(acquaintanceOf(member), { member: identity.member, name });
  }

  private warn(messages: readonly string[]): void {
    for (const message of messages) this.config.tell({ event: "notice", level: "warning", message });
  }

  private hear(post: Post, history: boolean): void {
    if (this.heardAt.size >= IDLE_MAX && !this.heardAt.has(post.author)) return;
    const at = history ? Math.min(Math.floor(post.clock / 1000), Date.now()) : Date.now();
    this.heardAt.set(post.author, Math.max(at, this.heardAt.get(post.author) ?? 0));
  }

  nameOf(id: MemberId): string {
    return this.config.node()?.members.displayName(id) ?? id;
  }

  view({ id, introduction }: Member): MemberView {
    const peer = this.config.node()?.linkTo(id);
    return {
      name: this.nameOf(id),
      member: id,
      address: introduction.hosts[0] ?? peer?.info.host ?? "",
      port: introduction.port,
      self: id === this.config.identity.member,
      linked: peer !== undefined,
      rtt_ms: peer?.roundTripMs === undefined ? null : Math.round(peer.roundTripMs * 100) / 100,
    };
  }

  presence(member: Member): PresenceView {
    const { id, stream } = member;
    const away = this.away.get(id);
    const heardAt = this.heardAt.get(id);
    return {
      ...this.view(member),
      idle_ms: heardAt === undefined ? null : Math.max(0, Date.now() - heardAt),
      away: away !== undefined && away.session === stream.session ? away.text : null,
      verified: this.config.trust.verifiedAt(id) > 0,
    };
  }

  // Who has what we said.

  watchReach(): void {
    this.receipts ??= [];
  }

  /** Some texts of ours have not reached everybody who is linked to us. */
  get isFollowing(): boolean {
    return this.receipts !== undefined && this.receipts.length > 0;
  }

  /** Tells how far our texts have come, where that has changed. */
  tellReach(): void {
    const node = this.config.node();
    if (!this.isFollowing || node === undefined) return;
    this.receipts = this.receipts?.filter(receipt => {
      const { reached, linked } = node.confirmedBy(receipt.seq);
      const shown = `${reached}/${linked}`;
      if (shown !== receipt.shown) this.config.tell({ event: "reached", id: receipt.id, reached, linked });
      receipt.shown = shown;
      return linked === 0 || reached < linked;
    });
  }

  private follow(post: Post, texts: number): void {
    if (this.receipts === undefined) return;
    for (let index = Math.max(0, texts - RECEIPTS_MAX); index < texts; index += 1)
      this.receipts.push({ id: textIdOf(post, index), seq: post.seq, shown: "" });
    this.receipts.splice(0, this.receipts.length - RECEIPTS_MAX);
  }
}

/** What the texts of one post have in common. */
type Heading = Omit<MessageView, "id" | "text">;

/**
 * A text as an event: one small object for each, of which there may be a million a second. The id is made when somebody
 * looks, which most who listen never do.
 */
class TextEvent implements MessageView {
  constructor(
    readonly text: string,
    private readonly index: number,
    private readonly heading: Heading & { readonly signature: Uint8Array },
  ) {}

  get event(): "message" {
    return "message";
  }

  get id(): string {
    return textIdOf(this.heading, this.index);
  }

  get name(): string {
    return this.heading.name;
  }

  get member(): MemberId {
    return this.heading.member;
  }

  get at(): number {
    return this.heading.at;
  }

  get own(): boolean {
    return this.heading.own;
  }

  get history(): boolean {
    return this.heading.history;
  }

  get action(): true | undefined {
    return this.heading.action;
  }

  get seen(): true | undefined {
    return this.heading.seen;
  }

  /** For scripts: what was seen in an earlier run matters to a screen only. */
  toJSON(): ChatEvent {
    const { event, id, text, heading } = this;
    const { signature, ...shared } = heading;
    return { event, id, text, ...shared, seen: undefined };
  }
}

export function acquaintanceOf({ id, name, stream }: Member): Acquaintance {
  return { member: id, name, publicKey: stream.publicKey };
}

function keyOf(post: Post): string {
  return `${post.author} ${post.session}`;
}

function isLater(post: Post, other: Post | undefined): boolean {
  if (other === undefined || post.clock !== other.clock) return post.clock > (other?.clock ?? -1);
  return post.author > other.author;
}

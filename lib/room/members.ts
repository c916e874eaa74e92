/**
 * The roster: who is in the room, under which name, reachable where.
 *
 * All of it follows from the posts alone, so every node comes to the same roster: a member is present while its newest
 * session has not said `remove` and has a higher head than anybody has missed it at. Only a direct link is believed
 * more than that: whoever I talk to is here, whatever others say.
 */

import type { LinkId } from "../codec/message.ts";
import {
  decodeIntroduction,
  decodeLosses,
  encodeIntroduction,
  encodeLosses,
  type Introduction,
  type Loss,
  type MemberId,
  memberIdOf,
  type Post,
  PostKind,
} from "../codec/post.ts";
import { assert, PeerError } from "../errors.ts";
import { limits } from "../limits.ts";
import type { Context } from "./context.ts";
import { keyOf, type Stream } from "./log.ts";
import { isName, NameTable } from "./names.ts";
import type { Peer } from "./peer.ts";

/** How dialling somebody went so far (see mesh.ts). */
export class Reach {
  failures = 0;
  /** So many failures make us doubt that it is still here. Twice as many after each time we were wrong. */
  doubt: number = limits.doubtAfterFailures;
  /** The dial under way. */
  dialling: LinkId | undefined;
  /** The host of its last link, which may work where its own idea of its address does not. */
  seenFrom: string | undefined;

  constructor(
    /** Not to be dialled before; 0 where nothing is known. */
    public notBefore = 0,
  ) {}
}

export class Member extends Reach {
  name: string;
  /** When it took this name: the clock of that post. */
  namedAt: number;
  present = false;
  /** We had a link to it, lost it, and are about to say so unless it shows up again. */
  suspect: { readonly at: number; readonly head: number } | undefined;
  /** What it has said of itself since post 0 of its session. */
  private renewed: Introduction | undefined;

  constructor(
    /** Its newest session. */
    public stream: Stream,
    introduction: Introduction,
    post: Post,
  ) {
    super();
    this.name = introduction.name;
    this.namedAt = post.clock;
    this.renew(introduction, post);
  }

  get id(): MemberId {
    return this.stream.author;
  }

  /** What it says of itself: read anew each time, since a room has many members and few are looked at. */
  get introduction(): Introduction {
    const introduction = this.renewed ?? introductionOf(this.stream.first);
    assert(introduction !== undefined, "a session begins with an add");
    return introduction;
  }

  /** It has begun a newer session. */
  begin(stream: Stream, introduction: Introduction, post: Post): void {
    this.stream = stream;
    this.namedAt = post.clock;
    this.suspect = undefined;
    this.notBefore = 0;
    this.renew(introduction, post);
  }

  /** It introduces itself, once more unless this is post 0. */
  renew(introduction: Introduction, { seq, clock }: Post): void {
    if (introduction.name !== this.name) this.namedAt = clock;
    this.name = introduction.name;
    this.renewed = seq === 0 ? undefined : introduction;
  }
}

export class Members {
  private readonly members = new Map<MemberId, Member>();
  private readonly names = new NameTable();
  /** Losses of sessions that have not arrived yet. */
  private readonly unknownLosses = new Map<string, number[]>();
  private count = 0;
  /** As many as one has to know before some are forgotten. */
  private forgetAt: number = limits.membersMax;
  /** No further refutation before. */
  private refuteAt = 0;

  /** `onChange` hears of everybody who comes or goes. */
  constructor(
    private readonly context: Context,
    private readonly onChange: (member: Member) => void,
  ) {}

  get(id: MemberId): Member | undefined {
    return this.members.get(id);
  }

  /** Everybody ever met in this room, present or not. */
  all(): IterableIterator<Member> {
    return this.members.values();
  }

  *present(): Generator<Member> {
    for (const member of this.members.values()) if (member.present) yield member;
  }

  /** How many are present, oneself included. */
  get presentCount(): number {
    return this.count;
  }

  /** The name to show: bare for whoever holds it, `Bob#3f2a` for others, the last known one for those who left. */
  displayName(id: MemberId): string {
    return this.names.displayName(id) ?? this.members.get(id)?.name ?? id;
  }

  /** Whoever is present and holds this name. */
  holder(name: string): MemberId | undefined {
    return this.names.holder(name);
  }

  find(text: string): MemberId[] {
    return this.names.find(text);
  }

  /** Interprets a post that concerns the roster. */
  onPost(stream: Stream, post: Post): void {
    switch (post.kind) {
      case PostKind.add:
        return this.onAdd(stream, post);
      case PostKind.remove:
        stream.end();
        break;
      case PostKind.lost:
        for (const loss of lossesOf(post)) this.onLoss(loss);
        break;
      default:
        break;
    }
    // Any post from a member that was missed shows that it is back, or the last one we lacked that it is gone.
    this.refresh(stream.author, stream.ended ? "quit" : "lost");
    // Somebody has called us lost at a post that we had not said yet.
    if (stream === this.context.self) this.refute();
  }

  private onAdd(stream: Stream, post: Post): void {
    const introduction = introductionOf(post);
    if (introduction === undefined) return;
    const known = this.members.get(stream.author);
    if (known !== undefined && known.stream.session > stream.session) {
      stream.end();
      return;
    }
    if (known === undefined || known.stream !== stream) this.begin(stream, introduction, post, known);
    else this.renew(known, introduction, post);
    this.refresh(stream.author, stream.ended ? "quit" : "lost");
  }

  /** A member's newest session has begun. */
  private begin(stream: Stream, introduction: Introduction, post: Post, known: Member | undefined): void {
    if (this.unknownLosses.size > 0) {
      const key = keyOf(stream);
      for (const head of this.unknownLosses.get(key) ?? []) stream.missAt(head);
      this.unknownLosses.delete(key);
    }
    if (known !== undefined) {
      known.stream.end();
      this.refresh(known.id, "lost");
      return known.begin(stream, introduction, post);
    }
    if (this.members.size >= this.forgetAt) this.forgetAbsent();
    this.members.set(stream.author, new Member(stream, introduction, post));
  }

  /** The same session introduces itself again: another name, other addresses, or only a sign of life. */
  private renew(member: Member, introduction: Introduction, post: Post): void {
    const { name } = member;
    member.renew(introduction, post);
    if (introduction.name === name || !member.present) return;
    const from = this.displayName(member.id);
    this.claim(member);
    this.context.tell({ type: "renamed", member: member.id, from, to: this.displayName(member.id) });
  }

  private onLoss({ member: id, session, head }: Loss): void {
    const { log, self } = this.context;
    const stream = log.get(id, session);
    if (stream === undefined) {
      const key = keyOf({ author: id, session });
      const heads = this.unknownLosses.get(key) ?? [];
      if (this.unknownLosses.size < limits.sessionsMax && heads.length < limits.lossesPerSessionMax)
        this.unknownLosses.set(key, [...heads, head]);
      return;
    }
    stream.missAt(head);
    if (stream === self && !stream.ended) {
      this.refute();
    } else this.refresh(id, "lost");
  }

  /** Says that we are here, if anybody doubts it; not so often that a liar could make everybody talk without end. */
  refute(): void {
    const { self, now, timers } = this.context;
    if (self.ended || self.live) return;
    if (this.refuteAt > now) return timers.arm({ type: "refute" }, this.refuteAt);
    this.refuteAt = now + limits.refuteIntervalMs;
    this.introduce();
    if (!self.live) timers.arm({ type: "refute" }, this.refuteAt);
  }

  /** Looks again whether a member is here, and tells when that has changed. */
  refresh(id: MemberId, reason: "quit" | "lost"): void {
    const member = this.members.get(id);
    if (member === undefined) return;
    const { stream } = member;
    const link = this.context.linked.get(id);
    const isLinked = link !== undefined && link.info.session === stream.session;
    const present = !stream.ended && (stream.live || isLinked || stream === this.context.self);
    if (present === member.present) return;
    member.present = present;
    this.count += present ? 1 : -1;
    if (present) {
      // It was missed, wrongly: where it cannot be dialled, that is no proof any more.
      if (link === undefined && stream.head > 0) member.doubt *= 2;
      member.failures = 0;
      this.claim(member);
      this.context.tell({ type: "joined", member: id, present: false });
    } else {
      member.suspect = undefined;
      const name = this.displayName(id);
      this.names.remove(id);
      this.context.tell({ type: "left", member: id, name, reason });
    }
    this.onChange(member);
  }

  private claim(member: Member): void {
    this.names.set({ member: member.id, name: member.name, clock: member.namedAt });
  }

  // Those who vanish.

  /** The link to a member is gone. */
  onDown(peer: Peer): void {
    const member = this.members.get(peer.info.member);
    if (member === undefined || member.stream.session !== peer.info.session || member.stream.ended) return;
    if (member.stream.live) this.suspect(member);
    else this.refresh(member.id, "lost");
  }

  /** A member cannot be reached. If it gives no sign of life soon, we say so, unless somebody else does. */
  suspect(member: Member): void {
    if (member.suspect !== undefined) return;
    const { lostPauseMinMs, lostPauseMaxMs } = limits;
    const pause = lostPauseMinMs + this.context.config.random() * (lostPauseMaxMs - lostPauseMinMs);
    member.suspect = { at: this.context.now + pause, head: member.stream.head };
    this.context.timers.arm({ type: "suspect", member: member.id }, member.suspect.at);
  }

  onSuspectTimer(id: MemberId): void {
    const { now, linked } = this.context;
    const due = this.members.get(id)?.suspect;
    if (due === undefined || due.at > now) return;
    const losses: Loss[] = [];
    // Whoever else is under suspicion goes into the same post: when a cable is cut, many are.
    for (const member of this.members.values()) {
      const { suspect, stream } = member;
      if (suspect === undefined || suspect.at > now + limits.lostPauseMinMs) continue;
      member.suspect = undefined;
      if (linked.has(member.id) || !stream.live || stream.head > suspect.head) continue;
      losses.push({ member: member.id, session: stream.session, head: stream.head });
    }
    if (losses.length > 0) this.context.publish(PostKind.lost, encodeLosses(losses));
  }

  /** Says who we are, again: to refute that we are lost, or under another name. */
  introduce(name: string = this.ownName): void {
    const { config } = this.context;
    const { publicKey, sealKey } = config.identity;
    const { hosts, port } = config;
    this.context.publish(PostKind.add, encodeIntroduction({ name, publicKey, sealKey, hosts, port }));
  }

  get ownName(): string {
    return this.members.get(this.context.config.identity.member)?.name ?? this.context.config.name;
  }

  /** Its session is over for us: if it is here all the same, we shall hear of it again. */
  forget(stream: Stream): void {
    if (this.members.get(stream.author)?.stream !== stream) return;
    this.refresh(stream.author, "lost");
    this.members.delete(stream.author);
  }

  /** Many at once; and where all are present, not again at every one who comes. */
  private forgetAbsent(): void {
    const absent = [...this.members.values()].filter(member => !member.present);
    for (const { id } of absent.slice(0, limits.forgottenAtOnce)) this.members.delete(id);
    this.forgetAt = Math.max(limits.membersMax, this.members.size + limits.forgottenAtOnce);
  }
}

/** Several parts ask what an `add` says; it is read once. */
const introductions = new WeakMap<Post, Introduction>();

/** What an `add` says; undefined where it is not one, or not of the key that its author's id is made of. Whoever bears a name that nobody may bear is shown by its id. */
export function introductionOf(post: Post): Introduction | undefined {
  if (post.kind !== PostKind.add) return undefined;
  const known = introductions.get(post);
  if (known !== undefined) return known;
  try {
    const read = decodeIntroduction(post.body);
    if (memberIdOf(read.publicKey) !== post.author) return undefined;
    const introduction = isName(read.name) ? read : { ...read, name: post.author };
    introductions.set(post, introduction);
    return introduction;
  } catch (error) {
    if (error instanceof PeerError) return undefined;
    throw error;
  }
}

function lossesOf(post: Post): Loss[] {
  try {
    return decodeLosses(post.body);
  } catch (error) {
    if (error instanceof PeerError) return [];
    throw error;
  }
}

/**
 * Which links a node keeps: to everybody while they are few, to some at random when they are many.
 *
 * Members are dialled with back-off and jitter, newcomers first by themselves; those remembered from before a split are
 * probed one at a time, because a mesh of full views never meets again by itself.
 */
import type { LinkId, PeerInfo, RefusalInfo } from "../codec/message.ts";
import type { Address, MemberId } from "../codec/post.ts";
import { limits } from "../limits.ts";
import { type Context, jitter, randomBelow, sample } from "./context.ts";
import { type Member, type Members, Reach } from "./members.ts";
import { freeName, isName } from "./names.ts";
import type { Peer } from "./peer.ts";

/** "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255" (RFC 4291). */
const IP_CHARACTERS_MAX = 45;

/** Of so many links at random the least used goes: enough to spare the trees, and chance keeps the mesh mixed. */
const THIN_OUT_CHOICES = 4;

/** Who is dialled: a member, or whoever is at the address by which we came. */
type Dialled = Member | Reach;

export class Mesh {
  private readonly dials = new Map<LinkId, Dialled>();
  /** Even numbers are dials; 0 is the very first, which the outside makes before there is a room. */
  private nextDial: LinkId = 2;
  private armedAt = Number.POSITIVE_INFINITY;
  private ranAt = Number.NEGATIVE_INFINITY;
  private nextProbeAt = 0;
  private probesLost = false;
  private uneasyUntil = 0;
  private thinOutAt = 0;
  /** Until then the roster holds nothing to do. */
  private lookAt = 0;
  /** How dialling the address by which we came went; for when nobody else is known any more. */
  private readonly entry: Reach = new Reach(Number.POSITIVE_INFINITY);

  constructor(
    private readonly context: Context,
    private readonly members: Members,
    /** Ends a link that is one too many. */
    private readonly dismiss: (peer: Peer) => void,
  ) {}

  /** Whether a dialler who has proved its key may come in; undefined for yes. */
  refusalFor(peer: PeerInfo): RefusalInfo | undefined {
    const { members } = this;
    const refuse = (reason: RefusalInfo["reason"], suggestion = ""): RefusalInfo => ({
      reason,
      suggestion,
      addresses: reason === "full" ? this.others() : [],
    });
    if (!isName(peer.name)) return refuse("bad_name");
    const holder = members.holder(peer.name);
    // Whoever is in the room already, on the other side of a split perhaps, keeps its name until both have met.
    if (peer.joining && holder !== undefined && holder !== peer.member)
      return refuse(
        "name_taken",
        freeName(peer.name, name => members.holder(name) !== undefined),
      );
    const { peers, linked, isFullMesh } = this.context;
    // Newcomers, and whoever comes from the other side of a split, are let in even where there are links enough.
    const isKnown = members.get(peer.member)?.present === true;
    const linksMax = isKnown && !isFullMesh ? limits.meshLinksHigh : limits.linksMax;
    return peers.size >= linksMax && !linked.has(peer.member) ? refuse("full") : undefined;
  }

  /** A dial has come up, whatever becomes of the link. */
  onDialled(link: LinkId): void {
    const reach = this.settle(link);
    if (reach !== undefined) reach.failures = 0;
  }

  onDialFailed(link: LinkId, refusal: RefusalInfo | undefined): void {
    const reach = this.settle(link);
    if (reach === undefined) return;
    // Whoever refuses is there, and stays full for a while.
    if (refusal !== undefined) {
      reach.failures = 0;
      return this.waitFor(reach, jitter(this.context, limits.dialBackoffMaxMs));
    }
    reach.failures += 1;
    const backoff = Math.min(limits.dialBackoffMaxMs, limits.dialBackoffMinMs * 2 ** Math.min(reach.failures, 16));
    this.waitFor(reach, jitter(this.context, backoff));
    if ("present" in reach && reach.present && reach.failures >= reach.doubt) this.members.suspect(reach);
  }

  onDown(peer: Peer): void {
    const reach = this.members.get(peer.info.member);
    if (reach !== undefined) {
      reach.seenFrom = peer.info.host;
      // Whoever let us go has links enough.
      if (peer.dismissed) this.waitFor(reach, jitter(this.context, limits.dialBackoffMaxMs));
      // Once at once: most often it is the connection that failed, not the member.
      else this.waitFor(reach, this.context.config.random() * limits.dialBackoffMinMs);
    }
    if (this.context.peers.size === 0) this.waitFor(this.entry, limits.dialBackoffMinMs);
  }

  /** Somebody has come, gone or moved. */
  onRoster(member: Member): void {
    const { now, self, peers } = this.context;
    if (!member.present && !member.stream.ended) {
      this.uneasyUntil = now + limits.uneasyMs;
      this.nextProbeAt = Math.min(this.nextProbeAt, now + jitter(this.context, limits.uneasyProbeIntervalMs));
    }
    const isNewer = member.stream.openedAt > self.openedAt;
    // Everybody hears of a newcomer at once; it dials us first.
    if (member.present && isNewer && member.notBefore === 0)
      member.notBefore = now + jitter(this.context, limits.dialYieldMs);
    // A little later, since many come at once when one arrives; and not at all where there are links enough.
    const isWanted = this.linksWanted() > peers.size;
    this.lookBy(Math.max(now + limits.meshPauseMs, isWanted ? member.notBefore : this.nextProbeAt));
    if (peers.size > limits.meshLinksHigh) this.arm(Math.max(now + limits.meshPauseMs, this.thinOutAt));
  }

  onTimer(): void {
    this.armedAt = Number.POSITIVE_INFINITY;
    this.ranAt = this.context.now;
    const { now, peers } = this.context;
    // Looking through a large roster is for when there may be something to do.
    if (now < this.lookAt) return this.arm(Math.min(this.lookAt, this.thinOut()));
    const { present, lost } = this.unlinked();
    let soonest = Number.POSITIVE_INFINITY;
    const ready: Member[] = [];
    const missing = this.linksWanted() - peers.size - this.dials.size;
    for (const member of present) {
      // Whoever could not be reached is tried again even where no more links are wanted: it may be gone unnoticed.
      if (missing <= 0 && member.failures === 0) continue;
      if (member.notBefore > now) soonest = Math.min(soonest, member.notBefore);
      else if (member.failures > 0) this.dial(member);
      else ready.push(member);
    }
    for (const member of sample(this.context, ready, missing)) this.dial(member);
    this.lookAt = Math.min(soonest, this.probe(present, lost), this.enterAgain());
    this.arm(Math.min(this.lookAt, this.thinOut()));
  }

  /** Members to whom there is neither a link nor a dial under way. */
  private unlinked(): { readonly present: Member[]; readonly lost: Member[] } {
    const { linked, config } = this.context;
    const present: Member[] = [];
    const lost: Member[] = [];
    for (const member of this.members.all()) {
      if (member.dialling !== undefined || linked.has(member.id) || member.id === config.identity.member) continue;
      if (member.present) present.push(member);
      else if (!member.stream.ended) lost.push(member);
    }
    return { present, lost };
  }

  /** The room has outgrown a full mesh: lets one link go, and returns when to do so again. */
  private thinOut(): number {
    const { peers, now } = this.context;
    const isTooMany = this.members.presentCount - 1 > limits.thinOutMembers && peers.size > limits.meshLinksHigh;
    if (!isTooMany) return Number.POSITIVE_INFINITY;
    if (this.thinOutAt <= now) {
      this.thinOutAt = now + jitter(this.context, limits.thinOutIntervalMs);
      // Not a newcomer's first link, before it has found others; and not those of old, among which are our friends.
      const settled = [...peers.values()]
        .slice(limits.oldLinksKept)
        .filter(({ upAt }) => upAt + limits.linkSettleMs <= now);
      const [first, ...others] = sample(this.context, settled, THIN_OUT_CHOICES);
      if (first !== undefined) this.dismiss(this.leastUsed(first, others));
    }
    return this.thinOutAt;
  }

  /** The one on which the fewest trees of those who talk stand: what grows back in its place is seldom as short. */
  private leastUsed(first: Peer, others: readonly Peer[]): Peer {
    const proven = [...this.context.log.all()].filter(({ tree }) => tree.isProven);
    const uses = (peer: Peer) => proven.filter(({ tree }) => tree.parent === peer || tree.eager.includes(peer)).length;
    return others.reduce((least, peer) => (uses(peer) < uses(least) ? peer : least), first);
  }

  /**
   * Tries one member without a link at random, lost or thought present, and returns when to try the next. So splits meet
   * again, and nobody stays on the roster whose neighbours all went with it (as SWIM probes; Das et al., 2002).
   */
  private probe(present: readonly Member[], lost: readonly Member[]): number {
    const { now, peers } = this.context;
    const isReady = ({ dialling, notBefore }: Member) => dialling === undefined && notBefore <= now;
    // Alone, one tries those who were lost as often as the back-off of each allows.
    const isAlone = peers.size === 0;
    const candidates = (isAlone ? lost : [...lost, ...present]).filter(({ dialling }) => dialling === undefined);
    if (candidates.length === 0) return Number.POSITIVE_INFINITY;
    const soonest = candidates.reduce((at, { notBefore }) => Math.min(at, notBefore), Number.POSITIVE_INFINITY);
    const dueAt = isAlone ? soonest : Math.max(this.nextProbeAt, soonest);
    if (dueAt > now) return dueAt;
    // In turns, or many who are lost would hide the one who only seems to be here.
    this.probesLost = !this.probesLost;
    const turns = this.probesLost ? [lost, present] : [present, lost];
    const [member] = (isAlone ? [lost] : turns).flatMap(list => sample(this.context, list.filter(isReady), 1));
    if (member !== undefined) this.dial(member);
    // Where somebody was lost just now, others may have gone with all who could have noticed.
    const isUneasy = now < this.uneasyUntil;
    const intervalMs = isUneasy ? limits.uneasyProbeIntervalMs : limits.probeIntervalMs;
    this.nextProbeAt = now + jitter(this.context, intervalMs);
    return isAlone ? now + limits.dialBackoffMinMs : this.nextProbeAt;
  }

  /** The link by which we came broke before we knew anybody else: the same door again. */
  private enterAgain(): number {
    const { entry } = this;
    const { config, now, peers } = this.context;
    const isNeeded = peers.size === 0 && this.members.presentCount <= 1;
    if (config.entry === undefined || !isNeeded || entry.dialling !== undefined) return Number.POSITIVE_INFINITY;
    if (entry.notBefore <= now) this.emitDial(entry, [config.entry], undefined);
    return entry.notBefore > now ? entry.notBefore : Number.POSITIVE_INFINITY;
  }

  private linksWanted(): number {
    if (this.context.isFullMesh) return this.members.presentCount - 1;
    const { size } = this.context.peers;
    return size < limits.meshLinksLow ? limits.meshLinksTarget : size;
  }

  private dial(member: Member): void {
    const addresses = this.addressesOf(member);
    // Nowhere to dial: it has to come to us.
    if (addresses.length === 0) member.notBefore = Number.POSITIVE_INFINITY;
    else this.emitDial(member, addresses, member.id);
  }

  private emitDial(reach: Dialled, addresses: readonly Address[], expect: MemberId | undefined): void {
    const link = this.nextDial;
    this.nextDial += 2;
    this.dials.set(link, reach);
    reach.dialling = link;
    this.context.emit({ type: "dial", link, addresses, expect });
  }

  private addressesOf(member: Member): Address[] {
    const { hosts, port } = member.introduction;
    if (port === 0) return [];
    const { seenFrom } = member;
    const all = seenFrom === undefined || hosts.includes(seenFrom) ? hosts : [...hosts, seenFrom];
    return all.slice(-limits.addressesMax).map(host => ({ host, port }));
  }

  /** Addresses of others, for whoever cannot be let in. */
  private others(): Address[] {
    const addresses: Address[] = [];
    for (const peer of this.context.peers.values()) {
      const introduction = this.members.get(peer.info.member)?.introduction;
      // IP addresses are short; whatever else may stand there would not fit a handshake frame eight times.
      const host = introduction?.hosts.find(({ length }) => length <= IP_CHARACTERS_MAX);
      if (introduction !== undefined && host !== undefined) addresses.push({ host, port: introduction.port });
    }
    while (addresses.length > limits.addressesMax) addresses.splice(randomBelow(this.context, addresses.length), 1);
    return addresses;
  }

  private settle(link: LinkId): Dialled | undefined {
    const reach = this.dials.get(link);
    this.dials.delete(link);
    if (reach !== undefined) reach.dialling = undefined;
    return reach;
  }

  private waitFor(reach: Reach, ms: number): void {
    reach.notBefore = this.context.now + ms;
    this.lookBy(reach.notBefore);
  }

  private lookBy(at: number): void {
    this.lookAt = Math.min(this.lookAt, at);
    this.arm(at);
  }

  private arm(at: number): void {
    // Going through all members takes a while where they are many: not at every one that comes.
    const soonest = Math.max(at, this.ranAt + limits.meshPauseMs);
    if (soonest >= this.armedAt || soonest === Number.POSITIVE_INFINITY) return;
    this.armedAt = soonest;
    this.context.timers.arm({ type: "mesh" }, soonest);
  }
}

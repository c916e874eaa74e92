/**
 * A chat: one node of a room with its sockets, its store and whoever listens. The public face of the library.
 *
 * ```ts
 * const chat = await Chat.open({ name: "Bot", dial: { host: "localhost", port: 55107 } });
 * chat.subscribe(events => { … });
 * chat.say("hello");
 * await chat.leave();
 * ```
 *
 * The core decides and this file performs: in each turn of the loop first what was said goes into the core, then posts
 * into the store, then frames to the links, then news to whoever listens. So what was shown is always kept.
 */

import { Audience } from "./audience.ts";
import type { LinkId, PeerInfo } from "./codec/message.ts";
import { NO_ROOM } from "./codec/message.ts";
import { type Address, type Post, PostKind, ROOM_BYTES, type RoomId, signedBytes, travelling } from "./codec/post.ts";
import { Company } from "./company.ts";
import { joinError, openStore } from "./entrance.ts";
import { ChatError, unreachable } from "./errors.ts";
import { type Identity, identityOf, type Secrets, verifySignature } from "./identity.ts";
import { Keeper } from "./keeper.ts";
import { limits } from "./limits.ts";
import { localAddresses } from "./net/addresses.ts";
import { type DialFailure, Transport, type TransportHandlers } from "./net/transport.ts";
import { Records } from "./records.ts";
import { Rejections } from "./rejections.ts";
import type { Effect, News, RoomEvent } from "./room/event.ts";
import type { Member } from "./room/members.ts";
import { checkName, checkOwnName, normalForm } from "./room/names.ts";
import { RoomNode } from "./room/node.ts";
import { Scribe } from "./scribe.ts";
import { directMaxBytes, sealDirect } from "./seal.ts";
import type { Store } from "./store.ts";
import { Trust } from "./trust.ts";
import type {
  ChatControl,
  ChatEvent,
  ChatListener,
  MemberView,
  PastView,
  PersonView,
  PresenceView,
} from "./ui/view.ts";

export interface ChatOptions {
  readonly name: string;
  /** Listen on this address only; everywhere if absent. */
  readonly host?: string | undefined;
  /** TCP port to listen on; the system's choice if absent. */
  readonly port?: number | undefined;
  /** A node of the room to join; without it a new room is opened. */
  readonly dial?: Address | undefined;
  /** Directory for identity and history; nothing is kept if absent. */
  readonly data?: string | undefined;
  /** 32 bytes that all members of a private room share. */
  readonly roomKey?: Uint8Array | undefined;
  /** What `roomKey` was made of, if an invitation shall tell it. */
  readonly words?: string | undefined;
  /** How long what was said is kept, ms; for ever if absent. */
  readonly keepMs?: number | undefined;
  /** Aborted, the chat leaves. While it is being opened `open` then throws the reason, with goodbye said where one is known. */
  readonly signal?: AbortSignal | undefined;
}

type Said = Extract<News, { type: "said" }>;

/** The link id of the first dial. The core counts up from there, and further tries to get in count down. */
const FIRST_DIAL: LinkId = 0;
/** Restored from the store when a known room is entered again. */
const RESTORED_POSTS_MAX = 1_500;
/** Of posts as full as those of scripts: read in some 10 ms. */
const RESTORED_MAX_BYTES = 4 * 1024 * 1024;
/** While a text of ours has not reached everybody, they are asked this often. */
const CONFIRM_INTERVAL_MS = 500;

export class Chat implements ChatControl {
  readonly ended: Promise<void>;
  /** Why it ends though nobody asked for it. */
  failure: ChatError | undefined;
  private readonly transport: Transport;
  private sessionNumber: number | undefined;
  private core: RoomNode | undefined;
  /** A room of our own is still to be entered. */
  private isEntering = false;
  private room: RoomId = NO_ROOM;
  private hosts: readonly string[] = [];
  private port = 0;
  private readonly startName: string;
  private currentName: string;
  /** Resolves with the room that the first dial has found. */
  private joining: PromiseWithResolvers<void> | undefined;
  private entryDial = FIRST_DIAL;
  private entryAddress: Address | undefined;
  private saying: string[] = [];
  /** What this node said itself: shown when it is on its way. */
  private echoes: Post[] = [];
  private readonly audience = new Audience(post => this.scribe.said(post, true));
  private turnScheduled = false;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private timerAt = Number.POSITIVE_INFINITY;
  private waiting: PromiseWithResolvers<void> | undefined;
  private leaving: Promise<void> | undefined;
  private readonly rejections = new Rejections(message => this.warn(message));
  private confirmed = 0;
  /** What a friend types behind address and port. */
  private readonly keyOption: string;
  private readonly trust: Trust;
  private readonly scribe: Scribe;
  private readonly records: Records;
  private readonly keeper: Keeper;
  private readonly company = new Company(event => this.tell(event));
  private readonly settings = new Map<string, string>();
  private confirmTimer: ReturnType<typeof setTimeout> | undefined;
  private readonly leftRoom = Promise.withResolvers<void>();
  private readonly finished = Promise.withResolvers<void>();

  /**
   * Opens a room, or joins one. Resolves when the node listens and, with `dial`, knows what the room knows.
   * Throws `ChatError`: `bad_name`, `unreachable`, `refused`, `name_taken`, `wrong_key`; `StoreError` when this identity
   * is in use by another process; the reason of `signal`.
   */
  static async open(options: ChatOptions): Promise<Chat> {
    options.signal?.throwIfAborted();
    const name = checkName(options.name);
    const early: string[] = [];
    let warn = (message: string): void => void early.push(message);
    const store = openStore(options.data, name, message => warn(message));
    const chat = new Chat(options, name, store, identityOf(secretsIn(store)));
    if (options.signal !== undefined) chat.heed(options.signal);
    try {
      await chat.listen(options);
      // What is amiss comes behind the first line, which others wait for.
      warn = message => chat.warn(message);
      early.forEach(warn);
      await chat.join(options);
      chat.audience.onOpened();
      // The first line is out by then, and nobody has waited for a disk.
      setImmediate(() => store.openIfPending());
      return chat;
    } catch (error) {
      await (chat.leaving ?? chat.shutDown());
      throw error;
    }
  }

  private constructor(
    options: ChatOptions,
    name: string,
    private readonly store: Store,
    private readonly identity: Identity,
  ) {
    this.startName = this.currentName = name;
    this.ended = this.finished.promise;
    this.keyOption = options.roomKey === undefined ? "" : ` --key ${options.words ?? '"<words>"'}`;
    this.trust = new Trust(store);
    this.scribe = new Scribe({
      identity: this.identity,
      store,
      trust: this.trust,
      node: () => this.node,
      room: () => this.room,
      tell: event => this.audience.tell(event),
    });
    this.records = new Records(this.identity, store, this.trust, this.scribe, () => this.node);
    this.keeper = new Keeper(store, options.keepMs);
    this.transport = new Transport({
      identity: this.identity,
      session: () => this.session,
      name: () => this.currentName,
      room: () => this.room,
      ...(options.roomKey !== undefined && { roomKey: options.roomKey }),
      handlers: this.handlers(),
      // The link it came from is closed already; the room goes on.
      onBug: error => this.warn(`an error of p2pchat's own: ${error instanceof Error ? error.message : String(error)}`),
    });
  }

  /** The number of this run, written down when the first peer is to hear of it. */
  private get session(): number {
    this.sessionNumber ??= this.store.nextSession(Date.now());
    return this.sessionNumber;
  }

  /**
   * The core; undefined while no room is entered. Signing its first post takes half as long as all else of a start, and 4 MB,
   * so a room of our own is entered when somebody knocks, something is said, or anybody asks about it.
   */
  private get node(): RoomNode | undefined {
    if (this.isEntering) this.enter(this.room, false);
    return this.core;
  }

  // What a user can do.

  get name(): string {
    return this.core?.members.ownName ?? this.currentName;
  }

  /** `NO_ROOM` while none is entered. Only members may know it: it is never shown. */
  get roomId(): RoomId {
    return this.room;
  }

  /** TCP port that this node listens on. */
  get listensAt(): number {
    return this.port;
  }

  /** Peers that have confirmed, after our goodbye, that they hold all this node said; final when `leave` has resolved. */
  get handedOver(): number {
    return this.confirmed;
  }

  /** Links that others have dialled: proof that this node can be reached. */
  get dialledByOthers(): number {
    return this.members().filter(({ member }) => this.node?.linkTo(member)?.dialled === false).length;
  }

  /** Tells the user of this node something; nobody else hears of it. */
  notify(message: string): void {
    this.tell({ event: "notice", level: "info", message });
  }

  say(text: string): void {
    // It would come behind our goodbye.
    if (this.leaving !== undefined) return;
    checkLength(text);
    this.saying.push(text);
    this.scheduleTurn();
  }

  /** Seals `text` for one member. Others relay it and cannot read it. */
  direct(to: string, text: string): void {
    const { node, room, session, identity } = this;
    const { id, introduction } = this.records.present(to);
    if (id === identity.member || node === undefined) throw new ChatError("no_such_member", `${to} is you`);
    const bytes = Buffer.byteLength(text);
    if (bytes > directMaxBytes)
      throw new ChatError("too_long", `a direct text may hold ${directMaxBytes} bytes; this one has ${bytes}`);
    // What was said before goes first, and the number of the next post is known.
    this.sayAll();
    const seq = (node.log.get(identity.member, session)?.head ?? 0) + 1;
    const envelope = { room, authorKey: identity.publicKey, readerKey: introduction.publicKey, session, seq };
    this.scribe.expect(seq, text);
    const body = sealDirect(text, id, introduction.sealKey, envelope);
    this.dispatch({ type: "publish", kind: PostKind.direct, body });
  }

  act(text: string): void {
    this.publish(PostKind.action, text);
  }

  get topic(): string {
    return this.scribe.topic;
  }

  setTopic(text: string): void {
    this.publish(PostKind.topic, text);
  }

  setAway(reason: string | null): void {
    this.publish(PostKind.away, reason ?? "");
  }

  private publish(kind: number, text: string): void {
    checkLength(text);
    const body = Buffer.from(travelling(text));
    this.sayAll();
    this.dispatch({ type: "publish", kind, body });
  }

  rename(name: string): void {
    const wanted = checkOwnName(name);
    const holder = this.node?.members.holder(wanted);
    if (holder !== undefined && holder !== this.identity.member)
      throw new ChatError("name_taken", `the name ${wanted} is taken in this room`);
    if (wanted === this.name) return;
    this.currentName = wanted;
    this.dispatch({ type: "rename", name: wanted });
    if (!this.store.addName(normalForm(wanted)))
      this.notify(`${wanted} is another identity on this machine: to be this one again, start as ${this.startName}`);
  }

  get presentCount(): number {
    return this.core?.members.presentCount ?? 1;
  }

  members(): MemberView[] {
    return this.roster().map(member => this.scribe.view(member));
  }

  presence(): PresenceView[] {
    return this.roster().map(member => this.scribe.presence(member));
  }

  private roster(): Member[] {
    const present = [...(this.node?.members.present() ?? [])];
    const isSelf = (member: Member) => member.id === this.identity.member;
    return [...present.filter(isSelf), ...present.filter(member => !isSelf(member))];
  }

  whois(name: string): PersonView {
    return this.records.whois(name);
  }

  phrase(name: string): string {
    return this.records.phrase(name);
  }

  setVerified(name: string, verified: boolean): PersonView {
    this.scheduleTurn();
    return this.records.mark(name, "verified", verified);
  }

  setIgnored(name: string, ignored: boolean): PersonView {
    this.scheduleTurn();
    return this.records.mark(name, "ignored", ignored);
  }

  ignored(): PersonView[] {
    return this.records.ignored();
  }

  get keepsHistory(): boolean {
    return this.store.trouble === undefined;
  }

  search(query: string, limit: number): PastView[] {
    return this.records.search(query, limit);
  }

  get isSearchBehind(): boolean {
    return this.store.isBehind;
  }

  history(limit: number, name?: string): PastView[] {
    return this.records.history(limit, name);
  }

  invitation(): string {
    return `./p2pchat <name> ${this.hosts[0] ?? "127.0.0.1"} ${this.port}${this.keyOption}`;
  }

  setting(name: string): string | undefined {
    return this.settings.get(name) ?? this.store.setting(name);
  }

  set(name: string, value: string): void {
    this.settings.set(name, value);
    this.store.set(name, value);
    this.scheduleTurn();
  }

  typedLines(): string[] {
    return this.store.lines();
  }

  addTypedLine(line: string): void {
    this.store.addLine(line);
    this.scheduleTurn();
  }

  watchReach(): void {
    this.scribe.watchReach();
  }

  async ready(): Promise<void> {
    if (this.node?.isBacklogged !== true || this.leaving !== undefined) return;
    this.waiting ??= Promise.withResolvers();
    await this.waiting.promise;
  }

  holdWhile(isHeld: () => boolean): void {
    this.transport.holdWhile(isHeld);
  }

  get isLeaving(): boolean {
    return this.leaving !== undefined;
  }

  leave(): Promise<void> {
    this.leaving ??= this.sayGoodbye();
    return this.leaving;
  }

  subscribe(listener: ChatListener): () => void {
    this.audience.add(listener);
    if (this.audience.hasEvents) this.scheduleTurn();
    return () => this.audience.remove(listener);
  }

  // Opening and ending.

  private heed(signal: AbortSignal): void {
    const leave = () => {
      this.joining?.reject(signal.reason);
      void this.leave();
    };
    signal.addEventListener("abort", leave, { once: true });
    // It may serve many chats.
    void this.ended.then(() => signal.removeEventListener("abort", leave));
  }

  private async listen({ host, port: wanted = 0 }: ChatOptions): Promise<void> {
    this.hosts = localAddresses(host).slice(0, limits.addressesMax);
    this.port = (await this.transport.listen(host, wanted)).port;
    const { name, hosts, port } = { name: this.currentName, hosts: this.hosts, port: this.port };
    const { identity } = this;
    this.audience.tell({
      event: "listening",
      name,
      // Plain mode shows no keys.
      get member() {
        return identity.member;
      },
      address: hosts[0] ?? "127.0.0.1",
      port,
    });
  }

  private async join({ dial }: ChatOptions): Promise<void> {
    if (dial === undefined) {
      this.room = crypto.getRandomValues(Buffer.alloc(ROOM_BYTES)).toString("hex");
      this.isEntering = true;
      return;
    }
    this.entryAddress = dial;
    this.joining = Promise.withResolvers();
    this.transport.dial(FIRST_DIAL, [dial]);
    await this.joining.promise.catch(failure => {
      throw joinError(failure, dial, this.currentName);
    });
  }

  /** The room is known: the core begins. */
  private enter(room: RoomId, joining: boolean): void {
    this.isEntering = false;
    this.room = room;
    this.store.enter(room, Date.now());
    this.core = new RoomNode({
      room,
      identity: this.identity,
      verify: (publicKey, post) => verifySignature(publicKey, signedBytes(room, post.digest), post.signature),
      isVolatile: this.store.trouble !== undefined,
      random: Math.random,
      session: this.session,
      name: this.currentName,
      hosts: this.hosts,
      port: this.port,
      entry: this.entryAddress,
    });
    // A room that was made just now has no past.
    const restored = joining ? this.store.recent(room, RESTORED_POSTS_MAX, RESTORED_MAX_BYTES) : [];
    this.scribe.restore(restored);
    if (joining) this.transport.hurry(limits.syncTimeoutMs);
    this.dispatch({ type: "start", restored, joining });
  }

  private async sayGoodbye(): Promise<void> {
    this.sayAll();
    // A room that nobody has asked about is not entered to be left.
    this.isEntering = false;
    this.dispatch({ type: "leave" });
    if (this.node !== undefined) await this.leftRoom.promise;
    await this.shutDown();
  }

  private async shutDown(): Promise<void> {
    clearTimeout(this.timer);
    this.rejections.stop();
    clearTimeout(this.confirmTimer);
    this.keeper.stop();
    this.company.stop();
    this.waiting?.resolve();
    await this.transport.stop();
    this.endTurn();
    this.store.close();
    this.finished.resolve();
  }

  // Links.

  private handlers(): TransportHandlers {
    return {
      knock: (link, peer) => this.onKnock(link, peer),
      up: (link, peer, dialled, room) => {
        if (this.node === undefined) this.enter(room, true);
        this.dispatch({ type: "up", link, peer, dialled });
      },
      message: (link, message, more) => {
        // Whoever answers our goodbye with its own has all of ours; who leaves by itself said so before.
        if (message.type === "bye" && message.reason === "leaving" && this.leaving !== undefined) this.confirmed++;
        this.dispatch({ type: "message", link, message, more });
      },
      drained: link => this.dispatch({ type: "drained", link }),
      down: link => this.dispatch({ type: "down", link }),
      dialFailed: (link, failure) => this.onDialFailed(link, failure),
      rejected: (_host, { fault }) => {
        if (fault === "wrong_key" && !this.transport.isOpen) this.rejections.add();
      },
    };
  }

  private onKnock(link: LinkId, peer: PeerInfo): void {
    if (this.node !== undefined) this.dispatch({ type: "knock", link, peer });
    else this.transport.refuse(link, { reason: "full", suggestion: "", addresses: [] });
  }

  private onDialFailed(link: LinkId, failure: DialFailure): void {
    const { refusal } = failure;
    if (link > FIRST_DIAL) {
      this.dispatch({ type: "dialFailed", link, ...(refusal !== undefined && { refusal }) });
    } else if (refusal !== undefined && refusal.addresses.length > 0 && link > -2 * limits.joinHopsMax) {
      // Full, but it has named others.
      this.entryDial -= 2;
      this.transport.dial(this.entryDial, refusal.addresses);
    } else this.joining?.reject(failure);
  }

  // The core.

  private dispatch(event: RoomEvent): void {
    if (this.node === undefined) return;
    // Before any frame is queued, so that the store is written before the links are.
    this.scheduleTurn();
    for (const effect of this.node.handle(event, performance.now(), Date.now())) this.perform(effect);
    this.company.settle(this.node.members.presentCount);
    this.armTimer();
  }

  private perform(effect: Effect): void {
    switch (effect.type) {
      case "send":
        for (const link of effect.links) this.transport.send(link, effect.frame);
        return;
      case "admit":
        return this.transport.admit(effect.link);
      case "refuse":
        return this.transport.refuse(effect.link, effect.refusal);
      case "close":
        return this.transport.close(effect.link, effect.reason);
      case "dial":
        return this.transport.dial(effect.link, effect.addresses, effect.expect);
      case "persist":
        this.keeper.onPost();
        return this.store.append(this.room, effect.post, this.scribe.textOf(effect.post));
      case "blame":
        return;
      case "tell":
        return this.onNews(effect.news);
      default:
        return unreachable(effect);
    }
  }

  private armTimer(): void {
    const at = this.node?.wakeAt ?? Number.POSITIVE_INFINITY;
    // One that fires too early costs less than one set anew with every text.
    if (at >= this.timerAt) return;
    clearTimeout(this.timer);
    this.timerAt = at;
    this.timer = setTimeout(
      () => {
        this.timerAt = Number.POSITIVE_INFINITY;
        this.dispatch({ type: "tick" });
      },
      Math.max(0, at - performance.now()),
    );
  }

  // Turns.

  private scheduleTurn(): void {
    if (this.turnScheduled) return;
    this.turnScheduled = true;
    queueMicrotask(() => {
      this.turnScheduled = false;
      this.sayAll();
      this.store.flush();
      // Behind the transport's own microtask: links first, then the screen.
      queueMicrotask(() => this.endTurn());
    });
  }

  private sayAll(): void {
    if (this.saying.length === 0) return;
    const texts = this.saying;
    this.saying = [];
    this.dispatch({ type: "say", texts });
  }

  private endTurn(): void {
    this.store.flush();
    if (this.core?.isSettled !== false) this.transport.free();
    for (const post of this.echoes.splice(0)) this.scribe.said(post, false);
    this.core?.endTurn();
    if (this.waiting !== undefined && this.node?.isBacklogged === false) {
      this.waiting.resolve();
      this.waiting = undefined;
    }
    if (this.scribe.isFollowing) this.confirm();
    this.audience.endTurn();
  }

  /** Asks those linked to us whether they have what we said, until they do. */
  private confirm(): void {
    if (this.confirmTimer !== undefined || this.leaving !== undefined) return;
    this.confirmTimer = setTimeout(() => {
      this.confirmTimer = undefined;
      if (this.scribe.isFollowing) this.confirm();
    }, CONFIRM_INTERVAL_MS);
    this.dispatch({ type: "confirm" });
    this.scribe.tellReach();
  }

  // News.

  private onNews(news: News): void {
    switch (news.type) {
      case "said":
        return this.onSaid(news);
      case "joined":
        return this.scribe.joined(news.member, news.present);
      case "left":
        if (news.member === this.identity.member) return;
        return this.audience.tell({ event: "leave", name: news.name, member: news.member, reason: news.reason });
      case "renamed":
        return this.scribe.renamed(news);
      case "confirmed":
        return this.scribe.tellReach();
      case "isolated":
        return this.company.onIsolated();
      case "linked":
        return this.company.onLinked();
      case "equivocated":
        return this.warn(`${this.scribe.nameOf(news.member)} says different things to different people`);
      case "missed":
        return this.warn(
          `some of what ${this.scribe.nameOf(news.member)} said has not come, and nobody here has it any more`,
        );
      case "synced":
        // What comes from now on was not asked for.
        this.transport.hurry(0);
        this.scribe.synced();
        if (news.complete) return this.joining?.resolve();
        return this.joining?.reject(new ChatError("unreachable", "a node let us in, but then the room did not answer"));
      case "replaced":
        this.failure = new ChatError("refused", "this identity has joined from somewhere else, so this session ends");
        this.audience.tell({ event: "error", code: this.failure.code, message: this.failure.message });
        this.joining?.reject(this.failure);
        void this.leave();
        return;
      case "ended":
        return this.leftRoom.resolve();
      default:
        return unreachable(news);
    }
  }

  private onSaid(news: Said): void {
    const { post, history } = news;
    if (this.isEcho(news)) this.echoes.push(post);
    else if (!history) this.scribe.said(post, false);
    // Whoever is ignored now was so when this was said, whenever it is told.
    else if (!this.trust.isIgnored(post.author)) this.audience.keep(post);
  }

  /** Topic and away are state, which whoever sets it may read at once. */
  private isEcho({ post, history }: Said): boolean {
    const isState = post.kind === PostKind.topic || post.kind === PostKind.away;
    return post.author === this.identity.member && !history && !isState;
  }

  private warn(message: string): void {
    this.tell({ event: "notice", level: "warning", message });
  }

  private tell(event: ChatEvent): void {
    this.audience.tell(event);
    this.scheduleTurn();
  }
}

/** A node listens before its store is opened, and that is when they are read. */
function secretsIn(store: Store): Secrets {
  return {
    get signing() {
      return store.secrets().signing;
    },
    get sealing() {
      return store.secrets().sealing;
    },
  };
}

/** Throws `ChatError` "too_long". */
function checkLength(text: string): void {
  // A UTF-16 unit is three bytes of UTF-8 at most: what is short need not be measured.
  const bytes = text.length * 3 <= limits.bodyMaxBytes ? 0 : Buffer.byteLength(travelling(text));
  if (bytes <= limits.bodyMaxBytes) return;
  const zeros = text.includes("\0") ? ", three for each zero byte in it" : "";
  throw new ChatError("too_long", `a text may hold ${limits.bodyMaxBytes} bytes; this one has ${bytes}${zeros}`);
}

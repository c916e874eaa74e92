/**
 * One fuzzed room: two honest cores with a link between them, attackers with keys of their own linked to the first, and
 * rubbish from those. A seed and a number are a run, and it is the same every time.
 *
 * What must hold, whatever comes in: `decode` throws nothing but `PeerError`, `handle` throws nothing at all; what an
 * honest core sends can be read, and no honest core blames the other for it; no memory grows past its limit; and once
 * the attackers are silent, both have heard all that the other has said, once and in order.
 */
import { FRAME_HEADER_BYTES, FrameBuffer } from "../../lib/codec/frame.ts";
import { decode, type LinkId, type PeerInfo } from "../../lib/codec/message.ts";
import { encodeTexts, memberIdOf, type RoomId } from "../../lib/codec/post.ts";
import { PeerError } from "../../lib/errors.ts";
import { limits } from "../../lib/limits.ts";
import type { Effect, RoomEvent } from "../../lib/room/event.ts";
import { RoomNode } from "../../lib/room/node.ts";
import { type Random, randomStream } from "../sim/random.ts";
import { seal, sealsIn } from "../stand-in.ts";
import { Rubbish, type Signer } from "./mutate.ts";

export const INPUTS_PER_RUN = 400;
const ROOM: RoomId = "00112233445566778899aabbccddeeff";
const START = 1_764_000_000_000;
/** Between the honest two; each time it is made anew it has a new number. */
const ATTACKERS = 3;

function keyOf(random: Random): Uint8Array {
  return Buffer.from(Array.from({ length: 32 }, () => Math.floor(random() * 256)));
}

/** An honest core, and what it has been told. */
class Honest {
  readonly core: RoomNode;
  readonly info: PeerInfo;
  readonly said: string[] = [];
  /** By author. */
  readonly heard = new Map<string, string[]>();

  constructor(
    readonly name: string,
    random: Random,
  ) {
    const publicKey = keyOf(random);
    const member = memberIdOf(publicKey);
    this.info = { member, publicKey, session: START, name, host: "192.0.2.1", joining: false };
    this.core = new RoomNode({
      room: ROOM,
      identity: { member, publicKey, sealKey: publicKey, sign: bytes => seal(publicKey, bytes) },
      verify: sealsIn(ROOM),
      isVolatile: name === "Alice",
      random,
      session: START,
      name,
      hosts: ["192.0.2.1"],
      port: 9,
      entry: undefined,
    });
  }

  hear(effect: Effect): void {
    if (effect.type !== "tell" || effect.news.type !== "said") return;
    const { author, body } = effect.news.post;
    const texts = this.heard.get(author);
    const text = Buffer.from(body).toString();
    if (texts === undefined) this.heard.set(author, [text]);
    else texts.push(text);
  }
}

export interface Outcome {
  readonly inputs: number;
  /** Those that ended a link. */
  readonly faults: number;
}

/** Runs one; throws what went wrong. */
export function runOnce(seed: number, run: number): Outcome {
  return new Fuzz(randomStream(seed, `run ${run}`)).play();
}

class Fuzz {
  private now = 1_000;
  private readonly alice: Honest;
  private readonly bob: Honest;
  private readonly attackers: Signer[];
  private readonly attackLinks = new Map<LinkId, { readonly buffer: FrameBuffer; readonly by: Signer }>();
  private readonly recorded: Buffer[] = [];
  private readonly rubbish: Rubbish;
  /** By which id each of the two knows their link. */
  private aliceLink: LinkId = 0;
  private bobLink: LinkId = 0;
  private nextLink = 101;
  private faults = 0;
  private deliveries: (() => void)[] = [];
  private isDelivering = false;

  constructor(private readonly random: Random) {
    this.alice = new Honest("Alice", random);
    this.bob = new Honest("Bob", random);
    this.attackers = Array.from({ length: ATTACKERS }, () => {
      const publicKey = keyOf(random);
      const sign = (bytes: Uint8Array) => seal(publicKey, bytes);
      return { member: memberIdOf(publicKey), publicKey, session: START + this.below(3), sign, head: -1 };
    });
    const streams = [this.alice, this.bob].map(({ info }) => ({ author: info.member, session: START }));
    for (const { member, session } of this.attackers) streams.push({ author: member, session });
    this.rubbish = new Rubbish(random, ROOM, this.recorded, streams, this.attackers);
  }

  play(): Outcome {
    for (const node of [this.alice, this.bob]) this.handle(node, { type: "start", restored: [], joining: false });
    this.linkHonest();
    for (const attacker of this.attackers) this.linkAttacker(attacker);
    for (let input = 0; input < INPUTS_PER_RUN; input++) this.step();
    this.quiet();
    return { inputs: INPUTS_PER_RUN, faults: this.faults };
  }

  private step(): void {
    const chance = this.random();
    if (chance < 0.04) this.say(this.random() < 0.5 ? this.alice : this.bob);
    else if (chance < 0.08) this.pass(this.below(this.random() < 0.1 ? 15_000 : 300));
    else if (chance < 0.12) this.drained();
    else if (chance < 0.125) this.knock();
    this.attack();
    this.checkMemory();
  }

  /** One frame, as the socket would give it: maybe in two pieces. */
  private attack(): void {
    const links = [...this.attackLinks.keys()];
    const link = links[this.below(links.length)];
    const attack = link === undefined ? undefined : this.attackLinks.get(link);
    if (link === undefined || attack === undefined) return;
    const frame = this.rubbish.frame();
    const cut = this.random() < 0.05 ? this.below(frame.length) : frame.length;
    try {
      for (const piece of [frame.subarray(0, cut), frame.subarray(cut)])
        attack.buffer.push(piece, whole => {
          if (!this.attackLinks.has(link)) return;
          // Whether more follows is known to the link; nothing may depend on its coming.
          this.handle(this.alice, { type: "message", link, message: decode(whole), more: this.random() < 0.5 });
        });
      if (attack.buffer.pendingBytes > limits.frameMaxBytes + FRAME_HEADER_BYTES)
        throw new Error("more than a frame waits");
    } catch (error) {
      if (!(error instanceof PeerError)) throw error;
      this.faults += 1;
      if (this.attackLinks.delete(link)) this.handle(this.alice, { type: "down", link });
    }
    if (!this.attackLinks.has(link)) this.linkAttacker(attack.by);
  }

  private linkAttacker(by: Signer): void {
    const link = this.nextLink;
    this.nextLink += 2;
    // Of two links of one member the core lets one go, as it should.
    this.attackLinks.set(link, { buffer: new FrameBuffer(), by });
    this.attackLinks.get(link)?.buffer.allowPosts();
    const { member, publicKey, session } = by;
    const peer = { member, publicKey, session, name: "Mallory", host: "192.0.2.66", joining: false };
    this.handle(this.alice, { type: "up", link, peer, dialled: false });
  }

  private linkHonest(): void {
    this.aliceLink = this.nextLink + 1;
    this.bobLink = this.nextLink;
    this.nextLink += 2;
    this.handle(this.alice, { type: "up", link: this.aliceLink, peer: this.bob.info, dialled: true });
    this.handle(this.bob, { type: "up", link: this.bobLink, peer: this.alice.info, dialled: false });
  }

  private knock(): void {
    const peer = { ...this.bob.info, member: "00".repeat(8), name: "Bob", joining: this.random() < 0.5 };
    this.handle(this.alice, { type: "knock", link: this.nextLink, peer });
    this.nextLink += 2;
  }

  private say(node: Honest): void {
    const text = `${node.name} ${node.said.length}`;
    node.said.push(text);
    this.handle(node, { type: "say", texts: [text] });
  }

  private drained(): void {
    for (const link of [...this.attackLinks.keys(), this.aliceLink]) this.handle(this.alice, { type: "drained", link });
    this.handle(this.bob, { type: "drained", link: this.bobLink });
  }

  /** Lets time pass on both cores, timer by timer. */
  private pass(ms: number): void {
    const end = this.now + ms;
    for (;;) {
      const at = Math.min(this.alice.core.wakeAt, this.bob.core.wakeAt);
      if (at > end) break;
      this.now = Math.max(this.now, at);
      for (const node of [this.alice, this.bob]) if (node.core.wakeAt <= this.now) this.handle(node, { type: "tick" });
    }
    this.now = end;
    // Links that were silent for too long are gone; attackers come back.
    for (const attacker of this.attackers)
      if (![...this.attackLinks.values()].some(({ by }) => by === attacker)) this.linkAttacker(attacker);
  }

  private handle(node: Honest, event: RoomEvent): void {
    for (const effect of node.core.handle(event, this.now, START + this.now)) this.perform(node, effect);
    // What is sent arrives after the sender is done, in order.
    if (this.isDelivering) return;
    this.isDelivering = true;
    for (let next = this.deliveries.shift(); next !== undefined; next = this.deliveries.shift()) next();
    this.isDelivering = false;
  }

  private perform(node: Honest, effect: Effect): void {
    node.hear(effect);
    switch (effect.type) {
      case "send":
        for (const link of effect.links) this.send(node, link, effect.frame);
        return;
      case "close":
        return this.onClose(node, effect.link, effect.reason);
      case "blame":
        if (effect.link === (node === this.alice ? this.aliceLink : this.bobLink))
          throw new Error(`${node.name} blames an honest peer: ${effect.fault.message}`);
        this.faults += 1;
        return;
      case "dial":
        this.deliveries.push(() => this.handle(node, { type: "dialFailed", link: effect.link }));
        return;
      default:
        return;
    }
  }

  private send(node: Honest, link: LinkId, frame: Buffer): void {
    // Whoever it goes to, it can be read.
    const message = decode(frame);
    if (this.recorded.length < 64) this.recorded.push(frame);
    else if (this.random() < 0.05) this.recorded[this.below(64)] = frame;
    const isHonest = link === (node === this.alice ? this.aliceLink : this.bobLink);
    if (!isHonest) return;
    const [to, at] = node === this.alice ? [this.bob, this.bobLink] : [this.alice, this.aliceLink];
    this.deliveries.push(() => {
      if (at === (to === this.alice ? this.aliceLink : this.bobLink))
        this.handle(to, { type: "message", link: at, message, more: this.random() < 0.3 });
    });
  }

  private onClose(node: Honest, link: LinkId, reason: string): void {
    this.attackLinks.delete(link);
    if (link !== (node === this.alice ? this.aliceLink : this.bobLink)) return;
    if (reason !== "full") throw new Error(`${node.name} closes the link to an honest peer: ${reason}`);
    // Let go as one too many: somebody dials again.
    this.deliveries.push(() => {
      this.handle(node === this.alice ? this.bob : this.alice, {
        type: "down",
        link: node === this.alice ? this.bobLink : this.aliceLink,
      });
      this.linkHonest();
    });
  }

  private checkMemory(): void {
    const { log, members } = this.alice.core;
    const count = [...members.all()].length;
    if (log.posts > limits.logMaxPosts || log.sessions > limits.sessionsMax)
      throw new Error("the log outgrows its limit");
    if (log.aheadBytes < 0 || log.aheadBytes > limits.aheadTotalMaxBytes) throw new Error("posts ahead outgrow theirs");
    if (members.presentCount < 1 || members.presentCount > count) throw new Error("more are present than there are");
  }

  /** The attackers are gone: what the honest two have said must have arrived. */
  private quiet(): void {
    for (const link of [...this.attackLinks.keys()]) {
      this.attackLinks.delete(link);
      this.handle(this.alice, { type: "down", link });
    }
    this.attackers.length = 0;
    for (let second = 0; second < 60; second++) {
      this.drained();
      this.pass(1_000);
    }
    this.checkHeard(this.alice, this.bob);
    this.checkHeard(this.bob, this.alice);
  }

  private checkHeard(by: Honest, of: Honest): void {
    const heard = (by.heard.get(of.info.member) ?? []).join("\n");
    const said = of.said.map(text => Buffer.from(encodeTexts([text])).toString()).join("\n");
    if (heard !== said) throw new Error(`${of.name} said\n${said}\nand ${by.name} heard\n${heard}`);
  }

  private below(bound: number): number {
    return Math.floor(this.random() * bound);
  }
}

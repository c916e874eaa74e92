/**
 * Whom one knows, by key: the first key of each name, who was verified, who is ignored; and what a newcomer should be told.
 *
 * Marks live in the store, and here, so that a run that keeps nothing has them as long as it lasts.
 */
import { type Address, type MemberId, memberIdOf, type RoomId } from "./codec/post.ts";
import { lookAlike, normalForm, skeleton } from "./room/names.ts";
import type { Person, Store } from "./store.ts";

/** Somebody who is here. */
export interface Acquaintance {
  readonly member: MemberId;
  readonly name: string;
  readonly publicKey: Uint8Array;
}

type Named = Pick<Acquaintance, "member" | "name">;

/** First keys of names that are remembered in a run that keeps nothing. */
const NAMES_MAX = 10_000;
const LOOK_ALIKES_TOLD_MAX = 1_000;
/** Of one look. */
const LOOK_ALIKES_MAX = 16;

export class Trust {
  private readonly firstKeys = new Map<string, Uint8Array>();
  private readonly told = new Set<string>();
  /** `looks`: who was met in this run or is verified, by what their names look like. */
  private read: { readonly marked: Map<MemberId, Person>; readonly looks: Map<string, Acquaintance[]> } | undefined;

  constructor(private readonly store: Store) {}

  /** Read when somebody is first asked about: a node that is alone needs nobody's marks. */
  private get kept() {
    if (this.read !== undefined) return this.read;
    const marked = new Map<MemberId, Person>();
    const looks = new Map<string, Acquaintance[]>();
    for (const person of this.store.people()) {
      const member = memberIdOf(person.publicKey);
      marked.set(member, person);
      if (person.verified > 0) looks.set(skeleton(person.name), [{ ...person, member }]);
    }
    this.read = { marked, looks };
    return this.read;
  }

  isIgnored(member: MemberId): boolean {
    return (this.kept.marked.get(member)?.ignored ?? 0) > 0;
  }

  /** When it was verified, ms since the epoch; 0 for never. */
  verifiedAt(member: MemberId): number {
    return this.kept.marked.get(member)?.verified ?? 0;
  }

  ignored(): Person[] {
    return [...this.kept.marked.values()].filter(person => person.ignored > 0);
  }

  mark({ name, publicKey }: Pick<Person, "name" | "publicKey">, mark: "verified" | "ignored", at: number): void {
    const member = memberIdOf(publicKey);
    const unmarked = { publicKey, name, form: normalForm(name), seen: 0, verified: 0, ignored: 0 };
    this.kept.marked.set(member, { ...(this.kept.marked.get(member) ?? unmarked), [mark]: at });
    this.store.mark(publicKey, mark, at);
  }

  /** Those not here who had this name, the last seen first. */
  known(name: string): Person[] {
    const form = normalForm(name);
    const people = this.store.people(form);
    return people.length > 0 ? people : [...this.kept.marked.values()].filter(person => person.form === form);
  }

  /** Another key that had this name first. */
  firstKey({ name, publicKey }: Acquaintance): Uint8Array | undefined {
    const form = normalForm(name);
    const first = this.firstKeys.get(form) ?? this.store.contact(form);
    return first === undefined || Buffer.from(first).equals(publicKey) ? undefined : first;
  }

  /**
   * Remembers who came, or took another name. Returns what the user should be told, a sentence each; names in them are not yet
   * clean. `isHere`: under this name.
   */
  meet(
    someone: Acquaintance,
    addresses: readonly Address[],
    room: RoomId,
    isHere: (other: Acquaintance) => boolean,
  ): string[] {
    const { member, name, publicKey } = someone;
    const form = normalForm(name);
    const first = this.firstKey(someone);
    if (first === undefined && this.firstKeys.size < NAMES_MAX) this.firstKeys.set(form, publicKey);
    this.store.remember({ room, name: form, shown: name, publicKey, addresses, seen: Date.now() });
    const warnings: string[] = [];
    if (first !== undefined && this.verifiedAt(member) === 0) {
      const whom = this.verifiedAt(memberIdOf(first)) > 0 ? "you have verified" : "you met before";
      warnings.push(
        `this ${name} is not the ${name} ${whom}: the key is another one. A new device makes a new key, and so does ` +
          `somebody who only took the name. Ask, and compare with /verify ${name}`,
      );
    }
    for (const other of this.alike(someone)) {
      if (!isHere(other) && this.verifiedAt(other.member) === 0) continue;
      if (!this.isNews(member, other.member)) continue;
      warnings.push(`${name} and ${other.name} look alike, but they are two people: /whois tells them apart`);
    }
    return warnings;
  }

  /** What `self` should be told of somebody whose name looks like its own: each is told by its own program. */
  twin(someone: Named, self: Named): string[] {
    if (!lookAlike(someone.name, self.name) || !this.isNews(someone.member, self.member)) return [];
    const own = `${someone.name} looks like your own name, ${self.name}, but is somebody else`;
    return [`${own}: others may take one of you for the other`];
  }

  /** Of two who look alike the user is told once. */
  private isNews(one: MemberId, other: MemberId): boolean {
    const pair = [one, other].sort().join();
    if (this.told.has(pair) || this.told.size >= LOOK_ALIKES_TOLD_MAX) return false;
    this.told.add(pair);
    return true;
  }

  /** Others whose names look like this one, and are another. Remembers this one. */
  private alike(someone: Acquaintance): Acquaintance[] {
    const look = skeleton(someone.name);
    const others = (this.kept.looks.get(look) ?? []).filter(other => other.member !== someone.member);
    if (this.kept.looks.size < NAMES_MAX && others.length < LOOK_ALIKES_MAX)
      this.kept.looks.set(look, [...others, someone]);
    return others.filter(other => normalForm(other.name) !== normalForm(someone.name));
  }
}

/**
 * What a user asks about people and about what was said: names into keys, marks on keys, history and search.
 */
import { type MemberId, memberIdOf } from "./codec/post.ts";
import { ChatError } from "./errors.ts";
import { fingerprintOf, type Identity, phraseOf } from "./identity.ts";
import type { Member } from "./room/members.ts";
import { normalForm, sameName } from "./room/names.ts";
import type { RoomNode } from "./room/node.ts";
import { acquaintanceOf, type Scribe } from "./scribe.ts";
import { type KeptText, QueryError } from "./store/archive.ts";
import type { Store } from "./store.ts";
import type { Acquaintance, Trust } from "./trust.ts";
import type { PastView, PersonView } from "./ui/view.ts";

/** Digits of a member id in a list of candidates. */
const TAG_DIGITS = 4;

export class Records {
  constructor(
    private readonly identity: Identity,
    private readonly store: Store,
    private readonly trust: Trust,
    private readonly scribe: Scribe,
    private readonly node: () => RoomNode | undefined,
  ) {}

  /** The one who is here under this name. Throws `ChatError` "no_such_member", also where several are. */
  present(name: string): Member {
    const wanted = bare(name);
    const members = this.node()?.members;
    const found = members?.find(wanted) ?? [];
    // The bare name belongs to one of them, but whoever types it may mean another.
    const namesakes = wanted.includes("#") ? found : (members?.find(`${wanted}#`) ?? []);
    const all = new Set([...found, ...namesakes]);
    if (all.size > 1) {
      const candidates = [...all].map(id => `${this.nameOf(id)}#${id.slice(0, TAG_DIGITS)}`).join(", ");
      throw new ChatError("no_such_member", `several here are called ${wanted}: ${candidates}`);
    }
    const [id] = all;
    const member = id === undefined ? undefined : members?.get(id);
    if (member === undefined) throw new ChatError("no_such_member", `nobody here is called ${wanted}`);
    return member;
  }

  whois(name: string): PersonView {
    return this.person(this.acquaintance(name));
  }

  phrase(name: string): string {
    return phraseOf(this.identity.publicKey, this.other(name).publicKey);
  }

  mark(name: string, mark: "verified" | "ignored", on: boolean): PersonView {
    const someone = this.other(name);
    this.trust.mark(someone, mark, on ? Date.now() : 0);
    return this.person(someone);
  }

  ignored(): PersonView[] {
    return this.trust.ignored().map(({ name, publicKey }) => {
      return this.person({ name, publicKey, member: memberIdOf(publicKey) });
    });
  }

  history(limit: number, name?: string): PastView[] {
    const wanted = name === undefined ? undefined : bare(name);
    const authors = wanted === undefined ? undefined : this.authors(wanted);
    const found = this.read(() => this.store.history({ limit, authors }));
    if (found.length > 0 || wanted === undefined || authors?.length !== 0) return found;
    throw new ChatError("no_such_member", `nobody called ${wanted} has said anything that was kept`);
  }

  search(query: string, limit: number): PastView[] {
    return this.read(() => this.store.search(query, limit));
  }

  private read(find: () => KeptText[]): PastView[] {
    try {
      const found = find();
      const { trouble } = this.store;
      if (trouble !== undefined) throw new ChatError("bad_command", `there is no history: ${trouble}`);
      return found.filter(text => !this.trust.isIgnored(text.author)).map(text => this.past(text));
    } catch (error) {
      if (error instanceof QueryError) throw new ChatError("bad_command", error.message);
      throw error;
    }
  }

  private past({ id, kind, author, name, to, text, at }: KeptText): PastView {
    const own = author === this.identity.member;
    return {
      ...{ id, name, member: author, text, at, own, history: true },
      ...(kind === "action" && { action: true }),
      ...(to && { to: to.name }),
    };
  }

  /** Everybody who ever had the name; with `Bob#3f2a` those of them whose ids begin so. */
  private authors(name: string): MemberId[] {
    const [base = "", tag = ""] = name.split("#");
    return this.store.authors(other => sameName(other, base)).filter(id => id.startsWith(tag.toLowerCase()));
  }

  private other(name: string): Acquaintance {
    const someone = this.acquaintance(name);
    if (someone.member === this.identity.member) throw new ChatError("no_such_member", `${bare(name)} is you`);
    return someone;
  }

  /** Here, or met before. */
  private acquaintance(name: string): Acquaintance {
    const wanted = bare(name);
    const [base = "", tag = ""] = wanted.split("#");
    const isHere = (this.node()?.members.find(`${base}#${tag}`) ?? []).length > 0;
    const known = isHere ? [] : this.trust.known(normalForm(base));
    const people = known
      .map(person => ({ ...person, member: memberIdOf(person.publicKey) }))
      .filter(({ member }) => member.startsWith(tag.toLowerCase()));
    const [someone, another] = people;
    if (another !== undefined) {
      const candidates = people.map(({ name: shown, member }) => `${shown}#${member.slice(0, TAG_DIGITS)}`).join(", ");
      throw new ChatError("no_such_member", `several were called ${base}: ${candidates}`);
    }
    if (someone !== undefined) return someone;
    return acquaintanceOf(this.present(wanted));
  }

  private person(someone: Acquaintance): PersonView {
    const { member, name, publicKey } = someone;
    const here = this.node()?.members.get(member);
    const present = here?.present === true ? this.scribe.presence(here) : null;
    const verifiedAt = this.trust.verifiedAt(member);
    return {
      name: present?.name ?? name,
      member,
      fingerprint: fingerprintOf(publicKey),
      verified: verifiedAt > 0 ? verifiedAt : null,
      ignored: this.trust.isIgnored(member),
      other_key_seen: this.trust.firstKey(someone) !== undefined,
      present,
    };
  }

  private nameOf(id: MemberId): string {
    return this.node()?.members.get(id)?.name ?? id;
  }
}

/** As it is typed in the flow: `@Bob`, `Bob:`. */
function bare(name: string): string {
  return name.replace(/^@/, "").replace(/[:,]$/, "");
}

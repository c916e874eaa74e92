/**
 * A store with a million texts, one in each post, as people type them: made once a run, unsigned, since a store does not ask.
 */
import { encodeIntroduction, encodeTexts, PostKind, type RoomId, sealPost } from "../../lib/codec/post.ts";
import { type Identity, identityOf, newSecrets } from "../../lib/identity.ts";
import { Store } from "../../lib/store.ts";

export const TEXTS = 1_000_000;
const MEMBERS = 8;
const ROOM: RoomId = "b2".repeat(16);
const INDEX_MS = 1_000;
/** Words of a text, and how many there are to choose from. */
const WORDS = 9;
const VOCABULARY = 20_000;
const SYLLABLES = Array.from("bdfghjklmnprstvw", consonant => Array.from("aeiou", vowel => consonant + vowel)).flat();
/** Every tenth text is one without spaces, of the commonest Han characters in the order of their code points. */
const HAN_EVERY = 10;
const HAN = 3_000;
export const RARE = "needle";
const RARE_EVERY = 50_000;
export const FREQUENT = "ne";
export const HAN_WORD = "图书馆";

/** Fills the store of `username`, in normal form. */
export function fill(directory: string, username: string): void {
  const store = Store.open(directory, username);
  const now = Date.now();
  store.nextSession(now);
  store.enter(ROOM, now);
  const members = Array.from({ length: MEMBERS }, () => identityOf(newSecrets()));
  const session = now - 2 * TEXTS;
  const random = generator();
  const body = (member: Identity, name: string) =>
    encodeIntroduction({ name, publicKey: member.publicKey, sealKey: member.sealKey, hosts: ["127.0.0.1"], port: 1 });
  members.forEach((member, index) => {
    const content = { author: member.member, session, seq: 0, clock: session * 1_000, kind: PostKind.add };
    store.append(ROOM, sealPost(ROOM, { ...content, body: body(member, `Member${index}`) }, unsigned));
  });
  for (let index = 0; index < TEXTS; index += 1) {
    const { member } = members[index % MEMBERS] as Identity;
    const seq = 1 + Math.floor(index / MEMBERS);
    const clock = (session + index) * 1_000;
    const content = {
      author: member,
      session,
      seq,
      clock,
      kind: PostKind.text,
      body: encodeTexts([textOf(index, random)]),
    };
    store.append(ROOM, sealPost(ROOM, content, unsigned));
  }
  while (store.index(INDEX_MS));
  store.close();
}

function textOf(index: number, random: () => number): string {
  if (index % RARE_EVERY === 0) return `here is the ${RARE} of ${index}`;
  if (index % HAN_EVERY === 0) {
    const one = () => String.fromCodePoint(0x4e00 + Math.floor(random() ** 2 * HAN));
    return index % RARE_EVERY === HAN_EVERY
      ? `${one()}${HAN_WORD}${one()}`
      : Array.from({ length: 2 * WORDS }, one).join("");
  }
  // Some words are common and most are not.
  return Array.from({ length: WORDS }, () => wordOf(Math.floor(random() ** 3 * VOCABULARY))).join(" ");
}

/** Of one syllable, or of up to three: the common ones are short. */
export function wordOf(rank: number): string {
  const syllable = SYLLABLES[rank % SYLLABLES.length] ?? "";
  return rank < SYLLABLES.length ? syllable : wordOf(Math.floor(rank / SYLLABLES.length)) + syllable;
}

/** The same numbers in every run: Lehmer's, modulo 2^31 − 1. */
function generator(): () => number {
  let state = 1;
  return () => {
    state = (state * 48_271) % 0x7fff_ffff;
    return state / 0x7fff_ffff;
  };
}

function unsigned(): Uint8Array {
  return new Uint8Array(64);
}

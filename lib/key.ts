/**
 * A private room's words: making them, reading them as people write what they heard, and the key they lead to.
 *
 * Guessing words must be slow, so the key is argon2id (RFC 9106) of them, with the parameters that OWASP's password
 * storage cheat sheet gives as its minimum: 19 MiB, two passes; about 35 ms. Members share nothing but the words, so
 * there can be no random salt: a label stands in for one, and a table made for one room serves for all. That is why the
 * words this program makes carry 64 bits, and why weaker ones are warned of.
 */
import { KEY_BYTES } from "./codec/post.ts";

const SALT = "p2pchat room key v1";
const MEMORY_KIB = 19_456;
const PASSES = 2;

/**
 * Proquints (Daniel Wilkerson, "A Proposal for Proquints", 2009, arXiv:0901.4016): 16 bits are five letters that can be
 * said aloud, four consonants' worth and two vowels'. They need no list of words, and no language.
 */
const CONSONANTS = "bdfghjklmnprstvz";
const VOWELS = "aiou";
const QUINTET = `[${CONSONANTS}][${VOWELS}][${CONSONANTS}][${VOWELS}][${CONSONANTS}]`;
const CODE_QUINTETS = 4;
const CODE = new RegExp(`^(?:${QUINTET}){${CODE_QUINTETS}}$`);
const ANY_CODE = new RegExp(`^(?:${QUINTET}){2,}$`);

/** Words to say aloud for a new private room, such as `lusab-babad-gutih-tugad`: 64 random bits. */
export function newRoomCode(): string {
  return [...crypto.getRandomValues(new Uint16Array(CODE_QUINTETS))].map(quintetOf).join("-");
}

function quintetOf(bits: number): string {
  const consonant = (shift: number) => CONSONANTS[(bits >> shift) & 15] ?? "";
  const vowel = (shift: number) => VOWELS[(bits >> shift) & 3] ?? "";
  return consonant(12) + vowel(10) + consonant(6) + vowel(4) + consonant(0);
}

/** Whether `words` has the form that `newRoomCode` gives, however it is divided and in whatever case. */
export function isRoomCode(words: string): boolean {
  return CODE.test(normalWords(words).replaceAll(" ", ""));
}

/**
 * The words as they go into the key: the form of an accent, case, and what stands between two words make no difference;
 * a code may be divided anywhere, or not at all.
 */
export function normalWords(words: string): string {
  const normal = words
    .normalize("NFKC")
    .toLowerCase()
    .replace(/[\s\p{Pd}_.,]+/gu, " ")
    .trim();
  const joined = normal.replaceAll(" ", "");
  return ANY_CODE.test(joined) ? joined.replace(/.{5}(?=.)/g, "$& ") : normal;
}

/** The room key: 32 bytes. */
export async function roomKeyOf(words: string): Promise<Uint8Array> {
  // node:crypto is large; nobody without a key pays for it here.
  const { argon2Sync } = await import("node:crypto");
  return argon2Sync("argon2id", {
    message: normalWords(words),
    nonce: SALT,
    memory: MEMORY_KIB,
    passes: PASSES,
    parallelism: 1,
    tagLength: KEY_BYTES,
  });
}

/**
 * What a beacon is keyed with: whoever has the words recognises the room by it, nobody else does, and it does not lead
 * back to the key. 32 bytes; HKDF-Expand (RFC 5869) of one block, since the room key is uniform already.
 */
export function roomTag(roomKey: Uint8Array): Uint8Array {
  return new Bun.CryptoHasher("sha256", roomKey).update("p2pchat beacon tag v1\x01").digest();
}

/**
 * 2^44 guesses of 35 ms are 20,000 years of one core and about a century of a large graphics card; it is what four words from a list
 * of two thousand have.
 */
const ENOUGH_BITS = 44;
/** A word that somebody thought of is one of the two thousand that people think of. */
const WORD_BITS = 11;
const LETTER_BITS = 4.7;
/** A number that somebody thought of is a date or a telephone number. */
const NUMBER_BITS = 14;
const DIGIT_BITS = 3.3;
const OTHER_BITS = 3;

/** Why words that a person chose are easily guessed, in one sentence; undefined where they are not. */
export function weaknessOf(words: string): string | undefined {
  if (isRoomCode(words)) return undefined;
  const normal = normalWords(words);
  if (normal === "") return "the key is empty";
  // What is repeated is not harder to guess.
  const parts = new Set(normal.match(/[\p{L}\p{M}]+|\p{N}+|[^\p{L}\p{M}\p{N} ]/gu) ?? []);
  let bits = 0;
  for (const part of parts) {
    const length = [...part].length;
    if (/^\p{N}/u.test(part)) bits += Math.min(NUMBER_BITS, length * DIGIT_BITS);
    else if (/^\p{L}/u.test(part)) bits += Math.min(WORD_BITS, length * LETTER_BITS);
    else bits += OTHER_BITS;
  }
  if (bits >= ENOUGH_BITS) return undefined;
  return "this key is easy to guess: take four unusual words or more, or let --private make the words";
}

/** See `weaknessOf`. An estimate from the form alone: what it lets pass may still be a line from a song. */
export function isWeak(words: string): boolean {
  return weaknessOf(words) !== undefined;
}

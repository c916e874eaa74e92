/**
 * Names: what one may be called, when two names are the same or look it, and who bears a name that several claim.
 *
 * Three keys for one name: NFC is shown and sent, the normal form decides who is unique, the skeleton only warns. All
 * of it is a function of the claims alone, in whatever order they came, so every node shows the same names.
 */
import type { MemberId } from "../codec/post.ts";
import { assert, ChatError } from "../errors.ts";
import { limits } from "../limits.ts";

/** First words of a command line that are no usernames. Others' names they may be: another program has other commands. */
export const COMMAND_WORDS = ["list", "doctor", "send", "history", "completions", "help", "version"] as const;

/** Marks in a row after NFC. Pointed Hebrew, Thai and Devanagari need up to three; more is a stack that hides lines. */
const MARKS_MAX = 3;
/** Digits of the member id behind the name of whoever does not hold it, unless these collide. */
const TAG_DIGITS = 4;
assert(limits.nameMaxBytes >= limits.nameMaxCharacters * 4, "every name of the allowed length fits its bytes");

const PLAIN = /^[ -~]*$/;
/** What most are called; sets of Unicode take longer to make than a name to check. */
const USUAL = /^[\w.-]*[A-Za-z\d][\w.-]*$/;
const ALLOWED = /^[\p{L}\p{M}\p{Nd}_.-]$/u;
/** Among them are letters and marks that nobody sees, such as U+3164 HANGUL FILLER. */
const IGNORABLE = /\p{Default_Ignorable_Code_Point}/gu;
const PRINTABLE = /^[\p{P}\p{S}]$/u;

/**
 * Letters that look like another one; each word is that letter, in lower case, and its doubles. From Unicode 17
 * confusables.txt (UTS #39), less what is only compatible (NFKD does that) and what few fonts draw alike (σ o, ш w, б 6).
 * The digit 1 stands for 1, l and I. Doubles are told apart by case: Н looks like H, but н like no Latin letter.
 */
const DOUBLES = `
1lIƖǀΙІӀӏⲒꓲ 2ƧϨꙄꝚ 3ƷȜЗӠⲜⳄⳌꝪꞫ 4Ꮞ 5Ƽ 6ϬᏮⳒⳓⳜ 9ⳊⳋꝮ aɑΑαАаᎪꓮ bΒВЬᏏᏴⲂꓐꞴ cСсᏟᴄⲤⲥꓚꮯ dԁᎠᏧꓒꓓ eΕЕеҽᎬꓰꬲ fƒϜքẝꓝꞘꞙꬵ
gɡԌցᏀᏳᶃꓖ hΗНһհᎻᏂⲎꓧ iıɩɪιіւᎥⲓꙇꭵ jͿϳЈјᎫꓙꞲ kΚКᏦⲔꓗ lᏞⳐꓡ mΜϺМᎷⲘꓟ nΝոռⲚꓠ o0ΟοОоՕօᴏᴑⲞⲟꓳꬽ pþΡρϸРрᏢⲢⲣⳎⳏꓑ qԚԛգզ
rƦгᎡᏒⲅꓣꭇꭈꮁ sƽЅѕՏᏕᏚꓢꜱꮪ tΤТᎢⲦꓔ uʋυՍսᴜꓴꞟꭎꭒ vνѴѵᏙᴠꓦꮩ wɯѡԜԝաᎳᏔᴡⲽꓪꮃ xΧХхⲬꓫꞳ yʏΥγУуҮүᎩᎽᶌỿⲨⲩꓬꭚ zΖᏃᴢꓜꮓ
æӔӕ ßβ əǝӘә ɛεєԑԐЄ ɸφф ĸκк ᴛτт γГⲄ πПпⲠ φФՓⲪ ψѰѱⲮ ʌΛЛꓥ 一ー 二ニ 八ハ 力カ 卜ト 口ロ 夕タ 工エ へヘ`;

let doubleOf: ReadonlyMap<string, string> | undefined;

/** A member says that this is its name. Of two claims the one with the lower (`clock`, `member`) holds it. */
export interface Claim {
  readonly member: MemberId;
  /** As `checkName` returned it. */
  readonly name: string;
  /** When it was claimed: µs since the epoch, from the post that did it. */
  readonly clock: number;
}

/** The name in NFC, if one may be called so. Throws `ChatError` "bad_name", whose sentence is safe for a terminal. */
export function checkName(name: string): string {
  const { nameMaxCharacters } = limits;
  if (name.length <= nameMaxCharacters && USUAL.test(name)) return name;
  const normal = name.normalize("NFC");
  const characters = [...normal];
  if (characters.length === 0) throw badName("a name may not be empty");
  if (characters.length > nameMaxCharacters)
    throw badName(`a name has at most ${nameMaxCharacters} characters, this one has ${characters.length}`);
  const stranger = characters.find(character => !ALLOWED.test(character) || character.search(IGNORABLE) === 0);
  if (stranger !== undefined)
    throw badName(`a name is made of letters, digits, "_", "-" and ".", it cannot hold ${spell(stranger)}`);
  if (!/[\p{L}\p{Nd}]/u.test(normal)) throw badName("a name needs at least one letter or digit");
  if (/(^|[_.-])\p{M}/u.test(normal)) throw badName("an accent in a name must follow a letter");
  if (new RegExp(`\\p{M}{${MARKS_MAX + 1}}`, "u").test(normal))
    throw badName(`a letter in a name has at most ${MARKS_MAX} accents`);
  return normal;
}

/** The same for a name that this program's own user takes: it must be a word with which the program can be started again. */
export function checkOwnName(name: string): string {
  if ((COMMAND_WORDS as readonly string[]).includes(name.toLowerCase()))
    throw badName(`"${name}" is a command of p2pchat, so it cannot be a username`);
  return checkName(name);
}

/** Whether `checkName` would return the name as it is. */
export function isName(name: string): boolean {
  try {
    return checkName(name) === name;
  } catch {
    return false;
  }
}

/**
 * What two names share that count as one: NFKC, case folded, invisible characters removed. Independent of the locale:
 * ß is ss, ς is σ, and Turkish ı falls together with i (stricter than Unicode's folding, which keeps them apart).
 */
export function normalForm(name: string): string {
  if (PLAIN.test(name)) return name.toLowerCase();
  // Down, up and down again reaches the full folding; one step alone misses ẞ or ſ.
  const folded = name.normalize("NFKC").toLowerCase().toUpperCase().toLowerCase();
  return folded.replace(IGNORABLE, "").replaceAll("ς", "σ").normalize("NFKC");
}

/**
 * What two names share that look alike, after UTS #39: doubles replaced, case folded. Names in another alphabet keep
 * letters that no other has, so they rarely fall together with an innocent. A key to compare, never to show.
 */
export function skeleton(name: string): string {
  const letters = name.normalize("NFKD").replace(IGNORABLE, "");
  doubleOf ??= doublesOf(DOUBLES);
  const table = doubleOf;
  const doubled = Array.from(letters, letter => table.get(letter) ?? letter).join("");
  // UTS #39 has rn for m; vv is no fact of it, but an old trick.
  const folded = doubled.toLowerCase().replaceAll("m", "rn").replaceAll("w", "vv");
  // A dot above an i is not seen.
  return folded.replace(/([ij])\u0307/g, "$1").normalize("NFC");
}

function doublesOf(words: string): ReadonlyMap<string, string> {
  const pairs = words
    .trim()
    .split(/\s/)
    .flatMap(([letter = "", ...doubles]) => doubles.map(double => [double, letter] as const));
  return new Map(pairs);
}

export function sameName(one: string, other: string): boolean {
  return normalForm(one) === normalForm(other);
}

/** Whether people may take one for the other, though they are two names. */
export function lookAlike(one: string, other: string): boolean {
  return skeleton(one) === skeleton(other) && !sameName(one, other);
}

/**
 * `wanted` or, where that is taken, a name close to it that is free: Bob2, Bob3 …; Bob3 after Bob2. The same for the same
 * answers of `taken`, which gets normal forms. `wanted` has passed `checkName`.
 */
export function freeName(wanted: string, taken: (normalForm: string) => boolean): string {
  if (!taken(normalForm(wanted))) return wanted;
  const digits = /[1-9]\d{0,5}$/.exec(wanted)?.[0] ?? "";
  const base = [...wanted.slice(0, wanted.length - digits.length)];
  const first = digits === "" ? 2 : Number(digits) + 1;
  // More tries than there can be members; twice, since a shortened base may meet itself (…1 and 2, … and 12).
  for (let number = first; number <= first + 2 * limits.membersMax; number++) {
    const suffix = String(number);
    const candidate = base.slice(0, limits.nameMaxCharacters - suffix.length).join("") + suffix;
    if (!taken(normalForm(candidate))) return candidate;
  }
  throw new ChatError("name_taken", "the name is taken, and so is everything like it");
}

interface Entry extends Claim {
  readonly form: string;
}

/** Who is called what, among the members whose claims were set. No order of calls changes an answer. */
export class NameTable {
  private readonly entries = new Map<MemberId, Entry>();
  private readonly holders = new Map<string, Entry>();
  /** Of forms that several claim: all who do, sorted, so that neighbours tell how many digits set one apart. */
  private readonly shared = new Map<string, MemberId[]>();

  /** A member's name from now on, in place of an earlier one. The caller caps how many there are. */
  set({ member, name, clock }: Claim): void {
    this.remove(member);
    const entry = { member, name, clock, form: normalForm(name) };
    this.entries.set(member, entry);
    const holder = this.holders.get(entry.form);
    this.holders.set(entry.form, holder === undefined ? entry : earlier(holder, entry));
    if (holder === undefined) return;
    const bearers = this.shared.get(entry.form) ?? [holder.member];
    bearers.splice(lowerBound(bearers, member), 0, member);
    this.shared.set(entry.form, bearers);
  }

  remove(member: MemberId): void {
    const entry = this.entries.get(member);
    if (entry === undefined) return;
    this.entries.delete(member);
    const { form } = entry;
    const bearers = this.shared.get(form);
    if (bearers === undefined) {
      this.holders.delete(form);
      return;
    }
    bearers.splice(lowerBound(bearers, member), 1);
    if (this.holders.get(form) === entry)
      this.holders.set(form, bearers.map(each => this.entryOf(each)).reduce(earlier));
    if (bearers.length === 1) this.shared.delete(form);
  }

  /** The bare name for whoever holds it, `Bob#3f2a` for others who claim it, undefined for strangers. */
  displayName(member: MemberId): string | undefined {
    const entry = this.entries.get(member);
    if (entry === undefined) return undefined;
    const { name, form } = entry;
    const bearers = this.shared.get(form);
    if (bearers === undefined || this.holders.get(form) === entry) return name;
    const index = lowerBound(bearers, member);
    const neighbours = [bearers[index - 1] ?? "", bearers[index + 1] ?? ""];
    const digits = Math.max(TAG_DIGITS, ...neighbours.map(neighbour => sharedDigits(member, neighbour) + 1));
    return `${name}#${member.slice(0, digits)}`;
  }

  /** Whoever is shown with this bare name, in whatever case it is written. */
  holder(name: string): MemberId | undefined {
    return this.holders.get(normalForm(name))?.member;
  }

  /**
   * Whom a person means by a full member id, `Bob#3f` (every Bob whose id begins so, the holder too) or `Bob` (the
   * holder): none, one, or several in the order of their ids.
   */
  find(text: string): MemberId[] {
    const id = text.toLowerCase();
    // An id cannot be taken by somebody else, a name that looks like one can.
    if (this.entries.has(id)) return [id];
    const mark = id.lastIndexOf("#");
    if (mark < 0) return [this.holder(text)].filter(member => member !== undefined);
    const prefix = id.slice(mark + 1);
    const form = normalForm(id.slice(0, mark));
    const bearers = this.shared.get(form) ?? [this.holders.get(form)?.member].filter(member => member !== undefined);
    return bearers.filter(member => member.startsWith(prefix));
  }

  private entryOf(member: MemberId): Entry {
    const entry = this.entries.get(member);
    assert(entry !== undefined, "whoever bears a name has claimed it");
    return entry;
  }
}

function earlier(one: Entry, other: Entry): Entry {
  if (one.clock !== other.clock) return one.clock < other.clock ? one : other;
  return one.member < other.member ? one : other;
}

/** Where `member` is in a sorted list, or belongs. */
function lowerBound(sorted: readonly MemberId[], member: MemberId): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle] ?? "") < member) low = middle + 1;
    else high = middle;
  }
  return low;
}

function sharedDigits(one: MemberId, other: MemberId): number {
  let count = 0;
  while (count < other.length && one[count] === other[count]) count++;
  return count;
}

function badName(message: string): ChatError {
  return new ChatError("bad_name", message);
}

/** A character in words; raw only if it can do a terminal no harm. */
function spell(character: string): string {
  if (character === " ") return "a space";
  const point = `U+${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}`;
  return PRINTABLE.test(character) ? `"${character}"` : `the character ${point}`;
}

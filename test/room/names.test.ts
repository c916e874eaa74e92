import { describe, expect, setDefaultTimeout, test } from "bun:test";
import fc from "fast-check";
import type { MemberId } from "../../lib/codec/post.ts";
import { ChatError } from "../../lib/errors.ts";
import { limits } from "../../lib/limits.ts";
import {
  type Claim,
  checkName,
  freeName,
  lookAlike,
  NameTable,
  normalForm,
  sameName,
  skeleton,
} from "../../lib/room/names.ts";

// Every character there is takes its time on a busy machine.
setDefaultTimeout(60_000);

/** Why a name is refused; undefined where it is not. */
function refusal(name: string): string | undefined {
  try {
    checkName(name);
    return undefined;
  } catch (error) {
    if (error instanceof ChatError && error.code === "bad_name") return error.message;
    throw error;
  }
}

const anyText = fc.oneof(fc.string({ unit: "binary", maxLength: 40 }), fc.string({ unit: "grapheme", maxLength: 40 }));
const goodName = anyText.filter(text => refusal(text) === undefined);

// All of Unicode takes its time on a busy machine.
setDefaultTimeout(60_000);

describe("checking a name", () => {
  test.each([
    "Alice",
    "bob_2",
    "x",
    "7",
    "a.b-c_d",
    "José",
    "Ænne",
    "Ольга",
    "Γιώργος",
    "李小龍",
    "さくら",
    "ラーメン",
    "민준",
    "محمد",
    "דָּוִד",
    "สมชาย",
    "अनिरुद्ध",
    "Նարե",
    "é".repeat(32),
    "𝒜".repeat(32),
    "-a",
  ])("%s is a name", name => {
    expect(refusal(name)).toBeUndefined();
  });

  test("the name comes back in NFC", () => {
    expect(checkName("Jose\u0301")).toBe("Jos\u00e9");
    expect(checkName("e\u0301".repeat(32))).toHaveLength(32);
  });

  test.each([
    ["", "empty"],
    ["a".repeat(33), "at most 32 characters, this one has 33"],
    ["𝒜".repeat(33), "this one has 33"],
    ["a b", "a space"],
    ["a!", '"!"'],
    ["Bob#3f2a", '"#"'],
    ["a/b", '"/"'],
    ["a😀", '"😀"'],
    ["a\u0000", "U+0000"],
    ["a\u001b[2J", "U+001B"],
    ["a\u009b2J", "U+009B"],
    ["a\n", "U+000A"],
    ["a\u00a0b", "U+00A0"],
    ["a\u202eb", "U+202E"],
    ["a\u2066b", "U+2066"],
    ["a\u200db", "U+200D"],
    ["a\u200bb", "U+200B"],
    ["\ufeffa", "U+FEFF"],
    ["a\u{e0041}", "U+E0041"],
    ["a\ufe0f", "U+FE0F"],
    ["\u3164", "U+3164"],
    ["a\u115f", "U+115F"],
    ["a\u034fb", "U+034F"],
    ["a\ud800", "U+D800"],
    ["a\u0378", "U+0378"],
    ["---", "letter or digit"],
    ["..", "letter or digit"],
    ["\u0301a", "follow a letter"],
    ["a-\u0338", "follow a letter"],
    ["a\u0335\u0336\u0337\u0338", "at most 3 accents"],
  ])("%j is refused with the reason", (name, reason) => {
    expect(refusal(name)).toContain(reason);
  });

  test("whatever is refused is refused in one line that a terminal can take", () => {
    fc.assert(
      fc.property(anyText, text => {
        expect(refusal(text) ?? "").not.toMatch(/[\p{C}\p{Zl}\p{Zp}]|\p{Default_Ignorable_Code_Point}/u);
      }),
      { numRuns: 2000 },
    );
    for (let point = 0; point <= 0xffff; point++)
      expect(refusal(`a${String.fromCharCode(point)}`) ?? "").not.toMatch(/[\p{C}\p{Zl}\p{Zp}]/u);
  });

  test("a good name fits the wire, stays good, and stays as it is", () => {
    fc.assert(
      fc.property(goodName, text => {
        const name = checkName(text);
        expect(checkName(name)).toBe(name);
        expect(Buffer.byteLength(name)).toBeLessThanOrEqual(limits.nameMaxBytes);
        expect(normalForm(name)).not.toBe("");
      }),
    );
  });
});

describe("names that are the same", () => {
  test.each([
    ["Bob", "bob"],
    ["BOB", "bOb"],
    ["José", "JOSE\u0301"],
    ["Straße", "STRASSE"],
    ["STRAẞE", "strasse"],
    ["ΟΔΥΣΣΕΥΣ", "οδυσσευς"],
    ["Σίσυφος", "ΣΊΣΥΦΟΣ"],
    ["Ｂｏｂ", "Bob"],
    ["𝓑𝓸𝓫", "Bob"],
    ["Kelvin", "\u212aelvin"],
    ["ﬁona", "FIONA"],
    ["Işık", "IŞIK"],
    ["Bob", "Bo\u200bb"],
    ["ſam", "Sam"],
  ])("%s and %s", (one, other) => {
    expect(sameName(one, other)).toBe(true);
    expect(lookAlike(one, other)).toBe(false);
  });

  test.each([
    ["Jose", "José"],
    ["Bob", "Bob2"],
    ["Ana", "Аnа"],
    ["i", "İ"],
    ["a_b", "a-b"],
    ["はな", "ハナ"],
    ["ba", "pa"],
  ])("%s and %s are two", (one, other) => {
    expect(sameName(one, other)).toBe(false);
  });

  test("case, composition and invisible characters never matter, for any character there is", () => {
    for (let point = 0; point <= 0x10ffff; point++) {
      if (point >= 0xd800 && point <= 0xdfff) continue;
      const character = String.fromCodePoint(point);
      const form = normalForm(character);
      if (normalForm(form) !== form) throw new Error(`${point.toString(16)} has no stable normal form`);
      for (const variant of [character.toUpperCase(), character.toLowerCase(), character.normalize("NFKD")])
        if (normalForm(variant) !== form) throw new Error(`a variant of ${point.toString(16)} has another normal form`);
    }
  });

  test("being the same survives case and composition in any text", () => {
    fc.assert(
      fc.property(goodName, name => {
        expect(normalForm(normalForm(name))).toBe(normalForm(name));
        for (const form of ["NFC", "NFD", "NFKC", "NFKD"] as const)
          expect(sameName(name, name.normalize(form))).toBe(true);
        expect(sameName(name, name.toLowerCase())).toBe(true);
      }),
    );
  });
});

describe("names that look alike", () => {
  test.each([
    ["Ana", "Аnа"],
    ["Alice", "Аlісе"],
    ["Bob", "Воb"],
    ["Bob", "B0b"],
    ["Bob", "Βοb"],
    ["BOB", "ВОВ"],
    ["paypal", "раураl"],
    ["Ian", "lan"],
    ["Bill", "Bi11"],
    ["Bill", "BiIl"],
    ["modern", "rnodern"],
    ["Wim", "VVim"],
    ["scope", "ѕсоре"],
    ["Sona", "Ѕօnа"],
    ["Mika", "Міkа"],
    ["Ilja", "Ilj\u0307a"],
    ["Сара", "Capa"],
    ["ハナ", "八ナ"],
    ["Noël", "Nоёl"],
  ])("%s and %s", (one, other) => {
    expect(lookAlike(one, other)).toBe(true);
    expect(lookAlike(other, one)).toBe(true);
  });

  test.each([
    ["Jose", "José"],
    ["Ian", "Lan"],
    ["Eli", "Ell"],
    ["Анна", "Anna"],
    ["Вова", "Bova"],
    ["Нина", "Huha"],
    ["Рома", "Poma"],
    ["Мария", "Mapua"],
    ["Иван", "Ivan"],
    ["Маша", "Mawa"],
    ["Σοφία", "Oopia"],
    ["Bob2", "BobZ"],
    ["Bob5", "BobS"],
    ["Kim", "Tim"],
    ["Müller", "Muller"],
  ])("%s and %s do not", (one, other) => {
    expect(lookAlike(one, other)).toBe(false);
  });

  test("common given names of one alphabet are never accused of looking like another", () => {
    const latin =
      "Ada Alan Alex Ali Alma Amir Amy Ana Anna Ben Bill Bob Carl Carol Clara Cleo Dan Dave Dora Ella Elli Emil Emma Eva " +
      "Frank Greta Hana Ian Ida Ilja Ines Iris Ivan Jan Jana Jill Joan Joe Jon Jose Kai Karl Kim Lan Lara Lea Lena Li Lia " +
      "Lily Lina Lisa Liu Luca Maja Mara Marc Maria Mark Max Mia Mila Nils Nina Noa Noah Nora Olga Oli Omar Oscar Otto Paul " +
      "Pia Rene Rita Rosa Sam Sara Sven Tara Tim Tina Tom Uli Vera Will Yara Zoe";
    const cyrillic =
      "Алекс Алина Анна Антон Артём Вера Вика Виктор Вова Глеб Дима Ева Егор Женя Иван Игорь Ира Катя Костя Лена Максим " +
      "Мария Маша Миша Настя Наташа Нина Оксана Олег Ольга Павел Рома Саша Света Сергей Соня Таня Юля Юрий Яна";
    const greek = "Άννα Γιώργος Δημήτρης Ελένη Κώστας Μαρία Νίκος Παναγιώτης Σοφία Χρήστος";
    const names = `${latin} ${cyrillic} ${greek}`.split(" ");
    const accused = names.flatMap((one, index) => names.slice(index + 1).filter(other => lookAlike(one, other)));
    expect(accused).toEqual([]);
  });

  test("a skeleton does not depend on composition, and looking alike is the same both ways", () => {
    fc.assert(
      fc.property(goodName, goodName, (one, other) => {
        expect(skeleton(one.normalize("NFD"))).toBe(skeleton(one.normalize("NFC")));
        expect(lookAlike(one, other)).toBe(lookAlike(other, one));
        expect(lookAlike(one, one)).toBe(false);
      }),
    );
  });
});

describe("a free name", () => {
  const among =
    (...names: string[]) =>
    (form: string) =>
      names.map(normalForm).includes(form);

  test("is the wanted one where that is free", () => {
    expect(freeName("Bob", among("Alice"))).toBe("Bob");
  });

  test("counts on from what is there", () => {
    expect(freeName("Bob", among("bob"))).toBe("Bob2");
    expect(freeName("Bob", among("bob", "BOB2", "Bob3"))).toBe("Bob4");
    expect(freeName("Bob2", among("Bob2"))).toBe("Bob3");
    expect(freeName("agent007", among("agent007"))).toBe("agent008");
    expect(freeName("9", among("9"))).toBe("10");
  });

  test("is short enough: the base gives way, the number stays", () => {
    const longest = "𝒜".repeat(32);
    expect(freeName(longest, among(longest))).toBe(`${"𝒜".repeat(31)}2`);
    expect(freeName(`${"x".repeat(31)}9`, among(`${"x".repeat(31)}9`))).toBe(`${"x".repeat(30)}10`);
  });

  test("is a good one, free, and the same whenever the same names are taken", () => {
    fc.assert(
      fc.property(goodName, fc.nat(30), (text, count) => {
        const wanted = checkName(text);
        const taken = new Set<string>();
        for (let index = 0; index < count; index++) taken.add(normalForm(freeName(wanted, form => taken.has(form))));
        const free = freeName(wanted, form => taken.has(form));
        expect(taken.size).toBe(count);
        expect(taken.has(normalForm(free))).toBe(false);
        expect(checkName(free)).toBe(free);
        expect(freeName(wanted, form => taken.has(form))).toBe(free);
      }),
    );
  });

  test("is found even where every member has taken one, and given up where there is none", () => {
    const taken = new Set([normalForm("Bob")]);
    for (let number = 2; number <= limits.membersMax; number++) taken.add(`bob${number}`);
    expect(freeName("Bob", form => taken.has(form))).toBe(`Bob${limits.membersMax + 1}`);
    expect(() => freeName("Bob", () => true)).toThrow(ChatError);
  });
});

const id = (start: string): MemberId => start.padEnd(16, "0");
const tableOf = (...claims: Claim[]) => {
  const table = new NameTable();
  for (const claim of claims) table.set(claim);
  return table;
};

describe("name table", () => {
  test("the bare name goes to the lower clock, the other is shown with its id", () => {
    const [early, late] = [id("ffff"), id("3f2a")];
    const table = tableOf({ member: late, name: "bob", clock: 2 }, { member: early, name: "Bob", clock: 1 });
    expect(table.displayName(early)).toBe("Bob");
    expect(table.displayName(late)).toBe("bob#3f2a");
    expect(table.holder("BOB")).toBe(early);
  });

  test("at equal clocks the lower member id decides", () => {
    const table = tableOf({ member: id("b"), name: "Bob", clock: 1 }, { member: id("a"), name: "Bob", clock: 1 });
    expect(table.displayName(id("a"))).toBe("Bob");
    expect(table.displayName(id("b"))).toBe("Bob#b000");
  });

  test("ids that begin alike are shown with as many digits as set them apart, from the holder too", () => {
    const table = tableOf(
      { member: "abcd111100000000", name: "Bob", clock: 1 },
      { member: "abcd112200000000", name: "Bob", clock: 2 },
      { member: "abcd112230000000", name: "Bob", clock: 3 },
      { member: "f000000000000000", name: "Bob", clock: 4 },
    );
    expect(table.displayName("abcd111100000000")).toBe("Bob");
    expect(table.displayName("abcd112200000000")).toBe("Bob#abcd11220");
    expect(table.displayName("abcd112230000000")).toBe("Bob#abcd11223");
    expect(table.displayName("f000000000000000")).toBe("Bob#f000");
  });

  test("when the holder goes the next claim has the bare name", () => {
    const table = tableOf(
      { member: id("a"), name: "Bob", clock: 1 },
      { member: id("b"), name: "Bob", clock: 3 },
      { member: id("c"), name: "Bob", clock: 2 },
    );
    table.remove(id("a"));
    expect(table.displayName(id("a"))).toBeUndefined();
    expect(table.displayName(id("c"))).toBe("Bob");
    expect(table.displayName(id("b"))).toBe("Bob#b000");
  });

  test("a new name takes the place of the old one", () => {
    const table = tableOf({ member: id("a"), name: "Bob", clock: 1 }, { member: id("a"), name: "Rob", clock: 2 });
    expect(table.holder("Bob")).toBeUndefined();
    expect(table.holder("rob")).toBe(id("a"));
    table.remove(id("b"));
    table.remove(id("a"));
    expect(table.holder("rob")).toBeUndefined();
  });

  test("people are found by bare name, by name and digits, and by id", () => {
    const [first, second, third] = [id("3f2a"), id("3f2b"), id("99")];
    const table = tableOf(
      { member: first, name: "Bob", clock: 1 },
      { member: second, name: "bob", clock: 2 },
      { member: third, name: "Straße", clock: 3 },
    );
    expect(table.find("Bob")).toEqual([first]);
    expect(table.find("BOB#3f2b")).toEqual([second]);
    expect(table.find("bob#3F2")).toEqual([first, second]);
    expect(table.find("bob#")).toEqual([first, second]);
    expect(table.find("bob#4")).toEqual([]);
    expect(table.find("STRASSE")).toEqual([third]);
    expect(table.find(third)).toEqual([third]);
    expect(table.find(third.toUpperCase())).toEqual([third]);
    expect(table.find("")).toEqual([]);
    expect(table.find("Carol")).toEqual([]);
  });

  test("a name that looks like somebody's id does not find its bearer", () => {
    const table = tableOf({ member: id("a"), name: "Ann", clock: 2 }, { member: id("b"), name: id("a"), clock: 1 });
    expect(table.find(id("a"))).toEqual([id("a")]);
    expect(table.find(`${id("a")}#b`)).toEqual([id("b")]);
  });

  /** What the table must say, by sorting all claims each time. */
  function expected(claims: ReadonlyMap<MemberId, Claim>, member: MemberId): string | undefined {
    const claim = claims.get(member);
    if (claim === undefined) return undefined;
    const rivals = [...claims.values()].filter(other => sameName(other.name, claim.name));
    const [holder] = rivals.sort((a, b) => a.clock - b.clock || (a.member < b.member ? -1 : 1));
    if (holder === claim) return claim.name;
    for (let digits = 4; ; digits++) {
      const tag = claim.member.slice(0, digits);
      if (rivals.filter(other => other.member.startsWith(tag)).length === 1) return `${claim.name}#${tag}`;
    }
  }

  const member = fc
    .tuple(fc.constantFrom("abcd", "abcde", "ffff"), fc.integer({ min: 0, max: 7 }))
    .map(([start, end]) => `${start}${String(end).padStart(16 - start.length, "0")}`);
  const claim = fc.record({
    member,
    name: fc.constantFrom("Bob", "bob", "Ann", "Straße", "STRASSE"),
    clock: fc.nat(5),
  });
  const step = fc.oneof({ weight: 3, arbitrary: claim }, { weight: 1, arbitrary: member });

  test("after any steps it shows what sorting all claims would", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), steps => {
        const [table, claims] = [new NameTable(), new Map<MemberId, Claim>()];
        for (const each of steps) {
          if (typeof each === "string") {
            table.remove(each);
            claims.delete(each);
          } else {
            table.set(each);
            claims.set(each.member, each);
          }
        }
        for (const [each, { name }] of claims) {
          const shown = table.displayName(each);
          expect(shown).toBe(expected(claims, each));
          expect(table.find(shown ?? "")).toEqual([each]);
          expect(table.find(`${name}#`)).toContain(each);
        }
        const shown = [...claims.keys()].map(each => normalForm(table.displayName(each) ?? ""));
        expect(new Set(shown).size).toBe(claims.size);
      }),
      { numRuns: 300 },
    );
  });

  test("the order in which claims came shows nowhere", () => {
    const claims = fc.uniqueArray(claim, { selector: each => each.member, maxLength: 12 });
    fc.assert(
      fc.property(claims, fc.array(fc.nat()), claims, (all, order, noise) => {
        const shuffled = all.map((each, index) => ({ each, key: order[index] ?? 0 })).sort((a, b) => a.key - b.key);
        const [one, other] = [tableOf(...all), tableOf(...noise, ...shuffled.map(({ each }) => each))];
        const present = new Set(all.map(each => each.member));
        for (const each of noise) if (!present.has(each.member)) other.remove(each.member);
        for (const each of all) expect(other.displayName(each.member)).toBe(one.displayName(each.member) ?? "");
        expect(other.holder("bob")).toBe(one.holder("bob") as MemberId);
        expect(other.find("bob#")).toEqual(one.find("bob#"));
      }),
    );
  });

  test("a room full of Bobs is named without slowing down", () => {
    const table = new NameTable();
    const members = Array.from({ length: limits.membersMax }, (_, index) =>
      Bun.hash(String(index)).toString(16).padStart(16, "0"),
    );
    for (const [index, each] of members.entries()) table.set({ member: each, name: "Bob", clock: index });
    expect(new Set(members.map(each => table.displayName(each))).size).toBe(limits.membersMax);
    // The holder leaves again and again: the costliest order there is.
    for (const each of members) table.remove(each);
    expect(table.holder("Bob")).toBeUndefined();
  });
});

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { isRoomCode, isWeak, newRoomCode, normalWords, roomKeyOf, roomTag, weaknessOf } from "../lib/key.ts";
import { encodePacket, markOf, tagOf } from "../lib/net/packet.ts";
import { room, titlesOf, vector } from "./codec/page.ts";

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

describe("a room code", () => {
  test("is four words that can be said aloud, and never the same twice", () => {
    const codes = Array.from({ length: 1_000 }, newRoomCode);
    expect(new Set(codes).size).toBe(1_000);
    for (const code of codes) {
      expect(code).toMatch(/^([bdfghjklmnprstvz][aiou][bdfghjklmnprstvz][aiou][bdfghjklmnprstvz](-|$)){4}$/);
      expect(isRoomCode(code)).toBe(true);
      expect(isWeak(code)).toBe(false);
    }
  });

  test("uses every bit: each letter of each place turns up", () => {
    const seen = Array.from({ length: 23 }, () => new Set<string>());
    for (let drawn = 0; drawn < 2_000; drawn++)
      for (const [place, letter] of [...newRoomCode()].entries()) seen[place]?.add(letter);
    expect(seen.map(letters => letters.size)).toEqual(
      Array.from({ length: 23 }, (_, place) => [16, 4, 16, 4, 16, 1][place % 6] ?? 0),
    );
  });

  test("is read however it was written down", () => {
    for (const written of [
      "lusab-babad-gutih-tugad",
      "LUSAB BABAD GUTIH TUGAD",
      "  lusab  babad\tgutih,tugad\n",
      "lusab–babad—gutih_tugad",
      "lusabbabadgutihtugad",
      "lusa-bbaba-dgutih tugad.",
      "ｌｕｓａｂ babad gutih tugad",
    ]) {
      expect(normalWords(written)).toBe("lusab babad gutih tugad");
      expect(isRoomCode(written)).toBe(true);
    }
  });

  test("is told from a host, a name and other words", () => {
    for (const word of [
      "",
      "localhost",
      "192.168.1.20",
      "fe80::1",
      "lusab-babad-gutih",
      "lusab-babad-gutih-tugad-lusab",
    ])
      expect(isRoomCode(word)).toBe(false);
    expect(isRoomCode("lusab-babad-gutih-tugae")).toBe(false);
  });
});

describe("the room key", () => {
  test("is the same for the same words, whatever stands between them", async () => {
    const key = await roomKeyOf("correct horse battery staple");
    expect(key.length).toBe(32);
    expect(hex(await roomKeyOf(" Correct-Horse_battery,  STAPLE. "))).toBe(hex(key));
    expect(hex(await roomKeyOf("correct horse battery stable"))).not.toBe(hex(key));
  });

  test("does not care for the form of an accent", async () => {
    expect(hex(await roomKeyOf("café crème"))).toBe(hex(await roomKeyOf("CAFE\u0301 cre\u0300me")));
  });

  test("gives a tag that is not the key", async () => {
    const key = await roomKeyOf("lusab-babad-gutih-tugad");
    expect(roomTag(key).length).toBe(32);
    expect(hex(roomTag(key))).not.toBe(hex(key));
    expect(hex(roomTag(key))).toBe(hex(roomTag(await roomKeyOf("LUSAB BABAD GUTIH TUGAD"))));
  });
});

describe("the page", () => {
  test("has the words, the key they lead to, and all forms that are the same", async () => {
    expect(titlesOf("room-key")).toEqual(["code", "chosen"]);
    for (const title of titlesOf("room-key")) {
      const { json, bytes } = vector(`room-key ${title}`);
      const { words, also } = json as { words: string; also: readonly string[] };
      for (const form of [words, ...also]) expect([form, hex(await roomKeyOf(form))]).toEqual([form, hex(bytes)]);
    }
  });

  test("has the packets of the beacon", async () => {
    const ask = vector("beacon ask");
    const nonce = Buffer.from("4041424344454647", "hex");
    const key = roomTag(await roomKeyOf("lusab-babad-gutih-tugad"));
    expect(hex(encodePacket({ kind: "ask", nonce, tag: tagOf(key, { kind: "ask", nonce }) }))).toBe(hex(ask.bytes));
    const tell = vector("beacon tell");
    const { members, port, name } = tell.json as { members: number; port: number; name: string };
    const hint = { mark: markOf(room), private: false, members, port, name };
    expect(hex(encodePacket({ kind: "tell", nonce, room: hint }))).toBe(hex(tell.bytes));
  });
});

describe("words that a person chose", () => {
  test("are weak where they are few, short, or numbers", () => {
    for (const words of [
      "",
      "   ",
      "-",
      "secret",
      "two words",
      "three little words",
      "password1234",
      "12345678901234567890",
      "aaaa bbbb",
      "go go go go go go go go",
      "!!!!!!!!!!!!!!!!!!!!",
      "hunter2!",
    ])
      expect([words, isWeak(words)]).toEqual([words, true]);
  });

  test("are not where they are many, or at random", () => {
    for (const words of [
      "correct horse battery staple",
      "x7Gq9LpZ2vTr",
      "наше место под старым дубом",
      "elf Zwerge graben im Bergwerk",
    ])
      expect([words, weaknessOf(words)]).toEqual([words, undefined]);
  });

  test("do not get weaker by one more word", () => {
    const word = fc.stringMatching(/^[a-z]{1,9}$/);
    fc.assert(
      fc.property(fc.array(word, { minLength: 1 }), word, (words, another) => {
        const before = words.join(" ");
        // A code is an exception: what is added makes it something else.
        fc.pre(!isRoomCode(before));
        expect(isWeak(`${before} ${another}`) && !isWeak(before)).toBe(false);
      }),
    );
  });
});

/** What was said, asked for again: the latest, by a name, by words; how it is forgotten; and who was met. */
import { Database } from "bun:sqlite";
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, spyOn, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { encodeIntroduction, encodeTexts, type Post, PostKind, sealPost } from "../lib/codec/post.ts";
import { readHistory } from "../lib/history.ts";
import { type Identity, identityOf, newSecrets } from "../lib/identity.ts";
import { type KeptText, QueryError } from "../lib/store/archive.ts";
import { StoreError } from "../lib/store/files.ts";
import { Store } from "../lib/store.ts";
import { ROOM } from "./store.posts.ts";

// On a busy machine processes and sockets take their time.
setDefaultTimeout(60_000);

const OTHER_ROOM = "b2".repeat(16);
let directory = "";
let store: Store;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "p2pchat-history-"));
  store = Store.open(directory, "alice");
});
afterEach(() => {
  store.close();
  rmSync(directory, { recursive: true, force: true });
});

/** One who talks: each call is the next post, `at` ms. */
class Speaker {
  readonly identity: Identity = identityOf(newSecrets());
  #seq = 0;

  constructor(
    readonly name: string,
    readonly session = 1_000,
    readonly room = ROOM,
  ) {
    this.post(PostKind.add, introduction(name, this.identity), session);
  }

  says(at: number, ...texts: string[]): Post {
    return this.post(PostKind.text, encodeTexts(texts), at);
  }

  post(kind: number, body: Uint8Array, at: number, text?: string): Post {
    const { member: author } = this.identity;
    const head = { author, session: this.session, seq: this.#seq++, clock: at * 1000, kind, body };
    const post = sealPost(this.room, head, () => new Uint8Array(64).fill(this.#seq));
    store.append(this.room, post, text);
    return post;
  }
}

function introduction(name: string, { publicKey, sealKey }: Identity): Uint8Array {
  return encodeIntroduction({ name, publicKey, sealKey, port: 1, hosts: [] });
}

const texts = (found: readonly { readonly text: string }[]) => found.map(({ text }) => text);

/** Through everything: on a busy machine one search may not have the time to make it all searchable. */
function search(query: string, limit: number): KeptText[] {
  for (;;) {
    const found = store.search(query, limit);
    if (!store.isBehind) return found;
  }
}

describe("the history", () => {
  test("is what was said last, oldest first, over posts, sessions and rooms", () => {
    const [bob, carol] = [new Speaker("Bob"), new Speaker("Carol", 5_000, OTHER_ROOM)];
    bob.says(2_000, "one", "two");
    carol.says(6_000, "four");
    bob.says(3_000, "three");
    expect(texts(store.history({ limit: 10 }))).toEqual(["one", "two", "three", "four"]);
    expect(texts(store.history({ limit: 3 }))).toEqual(["two", "three", "four"]);
    expect(texts(store.history({ limit: 10, since: 3_000 }))).toEqual(["three", "four"]);
  });

  test("tells who said it, under the name of that session", () => {
    const bob = new Speaker("Bob");
    bob.says(2_000, "hello");
    bob.post(PostKind.add, introduction("Bert", bob.identity), 2_500);
    bob.post(PostKind.action, encodeTexts(["waves"]), 3_000);
    expect(store.history({ limit: 10 })).toMatchObject([
      { kind: "text", author: bob.identity.member, name: "Bert", text: "hello", at: 2_000, id: expect.any(String) },
      { kind: "action", name: "Bert", text: "waves" },
    ]);
  });

  test("of one name is what everybody said who had it", () => {
    const [bob, other, carol] = [new Speaker("Bob"), new Speaker("bob", 7_000), new Speaker("Carol")];
    bob.says(2_000, "one");
    carol.says(3_000, "not this");
    other.says(8_000, "two");
    const authors = store.authors(name => name.toLowerCase() === "bob");
    expect(texts(store.history({ limit: 10, authors }))).toEqual(["one", "two"]);
  });

  test("has the direct messages that could be read, and not those that could not", () => {
    const [bob, carol] = [new Speaker("Bob"), new Speaker("Carol")];
    const sealed = Buffer.concat([Buffer.from(carol.identity.member, "hex"), new Uint8Array(60)]);
    const own = bob.post(PostKind.direct, sealed, 2_000, "psst");
    bob.post(PostKind.direct, sealed, 3_000);
    const expected = { kind: "direct", text: "psst", to: { member: carol.identity.member, name: "Carol" } } as const;
    expect(store.history({ limit: 10 })).toMatchObject([expected]);
    expect(search("psst", 10)).toMatchObject([expected]);
    expect(store.direct(own)).toBe("psst");
  });
});

describe("a search", () => {
  test("finds texts by all of their words, whatever case, marks and punctuation", () => {
    const bob = new Speaker("Bob");
    bob.says(2_000, "Hello there, world!", "hello", "the world of crème brûlée");
    bob.says(3_000, "nothing");
    expect(texts(search("hello WORLD", 10))).toEqual(["Hello there, world!"]);
    expect(texts(search("creme brulee!", 10))).toEqual(["the world of crème brûlée"]);
    expect(texts(search("world", 1))).toEqual(["the world of crème brûlée"]);
    expect(search("absent", 10)).toEqual([]);
    expect(search("???", 10)).toEqual([]);
  });

  test("takes phrases, beginnings of words and operators", () => {
    const bob = new Speaker("Bob");
    bob.says(2_000, "red fox", "red dog", "green fox");
    expect(texts(search('"red fox"', 10))).toEqual(["red fox"]);
    expect(texts(search("fox NOT red", 10))).toEqual(["green fox"]);
    expect(texts(search("gre*", 10))).toEqual(["green fox"]);
    expect(texts(search("dog OR green", 10))).toEqual(["red dog", "green fox"]);
  });

  for (const [query, ...found] of [
    ["中文", "我会说中文，也会说英文", "中文 and English"],
    ["文", "我会说中文，也会说英文", "中文 and English"],
    ["会说 english"],
    ["中文 english", "中文 and English"],
    ['"中文 and"', "中文 and English"],
    ["英文 OR 東京", "我会说中文，也会说英文", "東京タワーへ行きました"],
    ["タワー", "東京タワーへ行きました"],
    ["ﾀﾜｰ", "東京タワーへ行きました"],
    ["行き*", "東京タワーへ行きました"],
    ["京東"],
    ["สวัสดี", "สวัสดีครับผม"],
    ["ครับ", "สวัสดีครับผม"],
    ["ครบ"],
    ["국어", "한국어를 배워요"],
    ["שלום", "שָׁלוֹם עולם"],
    ["हिन्दी", "हिन्दी में"],
    ["❤", "I ❤️ tea🍵"],
    ["tea", "I ❤️ tea🍵"],
  ])
    test(`for ${query} finds ${found.join(" and ") || "nothing"}, whether or not its script divides words`, () => {
      const all = ["我会说中文，也会说英文", "中文 and English", "東京タワーへ行きました", "สวัสดีครับผม"];
      new Speaker("Bob").says(2_000, ...all, "한국어를 배워요", "שָׁלוֹם עולם", "हिन्दी में", "I ❤️ tea🍵");
      expect(texts(search(query ?? "", 10))).toEqual(found);
    });

  test("for the first letter of words is too little, for two it is not", () => {
    new Speaker("Bob").says(2_000, "fox at 5 * 3", "中文", "élan");
    for (const query of ["f*", "fo f*", '"f"*', '"fox a"*', "é*", "fox NOT f*"])
      expect(() => store.search(query, 10)).toThrow(/before a \* go two letters or more/);
    for (const [query, text] of [
      ["fo*", "fox at 5 * 3"],
      ['"fox at"*', "fox at 5 * 3"],
      ['"5 * 3"', "fox at 5 * 3"],
      ["文*", "中文"],
      ["el*", "élan"],
    ] as const)
      expect(texts(search(query, 10))).toEqual([text]);
  });

  test("takes signs as they come: they mean nothing, beside operators neither", () => {
    const said = ["tea at 10:30", "I don't know C++", "call foo(bar), it's 5 * 3", "nothing"];
    new Speaker("Bob").says(2_000, ...said);
    for (const [query, ...found] of [
      ["10:30", said[0]],
      ["don't c++", said[1]],
      ["foo(bar)", said[2]],
      ["(foo", said[2]],
      ["5 *", said[2]],
      ["noth*", said[3]],
      ["at:10", said[0]],
      ["10:at"],
      ["10:30 OR don't", said[0], said[1]],
      ['(tea OR "foo bar") NOT 10:30', said[2]],
      ['"foo bar"', said[2]],
      ["*"],
      ["^"],
      ["nothing:fox"],
    ])
      expect([query, ...texts(search(query ?? "", 10))]).toEqual([query, ...found]);
  });

  test("for anything at all is an answer or a sentence", () => {
    new Speaker("Bob").says(2_000, "fox and dog");
    const word = fc.constantFrom(...'fox do* " ( ) AND OR NOT NEAR( * ^ : 中 f*'.split(" "), " ");
    fc.assert(
      fc.property(fc.array(fc.oneof(word, fc.string({ unit: "binary" })), { maxLength: 8 }), words => {
        try {
          store.search(words.join(" "), 10);
        } catch (error) {
          expect(error).toBeInstanceOf(QueryError);
        }
        expect(store.trouble).toBeUndefined();
      }),
    );
  });

  for (const query of ['"', '"open', "( OR", "fox AND", "OR", "(fox OR dog", "NOT fox", 'a" b" "']) {
    test(`for ${query} is a clear sentence, and the store goes on`, () => {
      new Speaker("Bob").says(2_000, "fox");
      expect(() => store.search(query, 10)).toThrow(QueryError);
      expect(() => store.search(query, 10)).toThrow(/^that cannot be searched for: ./);
      expect(texts(search("fox", 10))).toEqual(["fox"]);
    });
  }

  test("that has no time to look through all says so, until it has", () => {
    const bob = new Speaker("Bob");
    bob.says(2_000, ...Array(2_000).fill("fox"));
    bob.says(3_000, "the last fox");
    let now = 0;
    using clock = spyOn(performance, "now").mockImplementation(() => now++);
    expect(store.search("last", 10)).toEqual([]);
    expect(store.isBehind).toBe(true);
    clock.mockRestore();
    while (store.index(1_000)) {}
    expect(texts(store.search("last", 10))).toEqual(["the last fox"]);
    expect(store.isBehind).toBe(false);
  });

  test("finds what was made searchable in small pieces, each text once", () => {
    const bob = new Speaker("Bob");
    for (let post = 0; post < 20; post++) bob.says(2_000 + post, ...Array(100).fill("fox"));
    while (store.index(0.2)) {}
    expect(search("fox", 5_000)).toHaveLength(2_000);
    bob.says(3_000, "fox");
    expect(search("fox", 5_000)).toHaveLength(2_001);
  });
});

describe("forgetting", () => {
  test("takes what is old, from the index too, and leaves the beginning of a session that goes on", () => {
    const [bob, carol] = [new Speaker("Bob"), new Speaker("Carol")];
    bob.says(2_000, "old fox");
    bob.says(9_000, "new fox");
    carol.says(2_000, "old dog");
    while (store.index(10)) {}
    while (store.prune(5_000)) {}
    expect(texts(store.history({ limit: 10 }))).toEqual(["new fox"]);
    expect(texts(search("fox", 10))).toEqual(["new fox"]);
    expect(search("dog", 10)).toEqual([]);
    expect(store.recent(ROOM, 10).map(({ author, seq }) => [author, seq])).toEqual([
      [bob.identity.member, 0],
      [bob.identity.member, 2],
    ]);
  });
});

describe("without joining", () => {
  test("the history is read, also while the username is in use", () => {
    const bob = new Speaker("Bob");
    new Speaker("Carol").says(2_500, "other");
    bob.says(2_000, "one", "two");
    store.flush();
    expect(texts(readHistory(directory, "Alice"))).toEqual(["one", "two", "other"]);
    expect(texts(readHistory(directory, "ALICE", { member: "BOB", limit: 1 }))).toEqual(["two"]);
    expect(texts(readHistory(directory, "alice", { since: 2_400 }))).toEqual(["other"]);
  });

  test("of nobody, and of a damaged file, is a clear sentence", () => {
    expect(() => readHistory(directory, "bob")).toThrow(`nothing is kept of bob: there is no ${directory}/bob.sqlite`);
    writeFileSync(join(directory, "carol.sqlite"), "rubbish ".repeat(1_000));
    expect(() => readHistory(directory, "carol")).toThrow(StoreError);
    const bob = new Speaker("Bob");
    for (let at = 0; at < 300; at++) bob.says(2_000 + at, "x".repeat(500));
    store.close();
    const path = join(directory, "alice.sqlite");
    const bytes = readFileSync(path);
    writeFileSync(path, bytes.fill(0xee, 40 * 4096));
    expect(() => readHistory(directory, "alice")).toThrow(
      `the history of alice cannot be read: ${path} is damaged or cut short`,
    );
  });
});

describe("a post of many lines", () => {
  const lines = Array.from({ length: 600 }, (_, index) => `number ${index} of all that a script has to say`);
  const rows = () => {
    using database = new Database(join(directory, "alice.sqlite"), { readonly: true });
    return database
      .query<{ bytes: Uint8Array; packed: number }, []>("SELECT bytes, packed FROM posts WHERE kind = 1 ORDER BY id")
      .all();
  };

  test("lies packed in the database, and comes out as it went in", () => {
    const post = new Speaker("Bob").says(2_000, ...lines);
    expect(texts(store.history({ limit: 1_000 }))).toEqual(lines);
    expect(texts(search("599", 10))).toEqual(lines.slice(-1));
    expect(texts(search("script", 3))).toEqual(lines.slice(-3));
    const [first, kept] = store.recent(ROOM, 10);
    expect([first?.seq, kept?.frame.toString("hex")]).toEqual([0, post.frame.toString("hex")]);
    const [row] = rows();
    expect(row?.packed).toBe(1);
    expect((row?.bytes.length ?? 0) * 4).toBeLessThan(post.size);
  });

  test("counts by what it holds where only so much is to be restored", () => {
    const bob = new Speaker("Bob");
    const [, , latest] = [2_000, 3_000, 4_000].map(at => bob.says(at, ...lines));
    const size = latest?.size ?? 0;
    expect(store.recent(ROOM, 10, 2 * size).map(({ seq }) => seq)).toEqual([0, 2, 3]);
    expect(store.recent(ROOM, 10, 2 * size - 1).map(({ seq }) => seq)).toEqual([0, 3]);
  });

  test("that would hardly get shorter lies there as it is, and so does one of a few lines", () => {
    const bob = new Speaker("Bob");
    const body = Buffer.concat(Array.from({ length: 300 }, (_, index) => Bun.SHA256.hash(String(index)) as Uint8Array));
    const posts = [bob.post(PostKind.text, body, 2_000), bob.says(3_000, ...lines.slice(0, 9))];
    store.flush();
    expect(rows().map(({ bytes, packed }) => [Buffer.from(bytes).toString("hex"), packed])).toEqual(
      posts.map(({ bytes }) => [Buffer.from(bytes).toString("hex"), 0]),
    );
  });

  test("is left out where its row is damaged, whatever that claims to hold", () => {
    const bob = new Speaker("Bob");
    for (const at of [2_000, 3_000, 4_000]) bob.says(at, ...lines);
    bob.says(5_000, "still here");
    store.close();
    using database = new Database(join(directory, "alice.sqlite"));
    const [cut, huge, other] = ["substr(bytes, 1, 99)", "x'28b52ffde0000000000000100001'", "x'28b52ffd'"];
    for (const [index, bytes] of [cut, huge, other].entries())
      database.run(`UPDATE posts SET bytes = ${bytes} WHERE seq = ?`, [index + 1]);
    database.close();
    store = Store.open(directory, "alice");
    expect(texts(store.history({ limit: 10 }))).toEqual(["still here"]);
    expect(store.recent(ROOM, 10).map(({ seq }) => seq)).toEqual([0, 4]);
    expect(texts(search("here", 10))).toEqual(["still here"]);
  });
});

describe("an older database", () => {
  test("is brought up to date with all that is in it", () => {
    const bob = new Speaker("Bob");
    bob.says(2_000, "hello fox");
    store.remember({ room: ROOM, name: "bob", publicKey: bob.identity.publicKey, addresses: [], seen: 5 });
    store.close();
    using database = new Database(join(directory, "alice.sqlite"));
    for (const table of ["directs", "texts", "people", "settings", "lines"]) database.run(`DROP TABLE ${table}`);
    database.run("DROP INDEX introductions");
    database.run("ALTER TABLE posts DROP COLUMN packed");
    database.run("PRAGMA user_version = 1");
    database.close();
    store = Store.open(directory, "alice");
    expect(texts(search("fox", 10))).toEqual(["hello fox"]);
    expect(store.people("bob")).toMatchObject([{ name: "bob", seen: 5, verified: 0, ignored: 0 }]);
  });
});

describe("a database with the index of before", () => {
  test("is brought up to date at once, and found in by and by", () => {
    const bob = new Speaker("Bob");
    bob.says(2_000, "我会说中文 and English");
    store.flush();
    store.close();
    using database = new Database(join(directory, "alice.sqlite"));
    database.run("DROP TABLE texts");
    database.run("CREATE VIRTUAL TABLE texts USING fts5(text, content = '', contentless_delete = 1)");
    const [{ id } = { id: 0 }] = database.query<{ id: number }, []>("SELECT max(id) AS id FROM posts").all();
    database.run("INSERT INTO texts (rowid, text) VALUES (?, '我会说中文 and English')", [id * 8_192]);
    database.run("INSERT OR REPLACE INTO settings (name, value) VALUES ('indexed', ?)", [String((id + 1) * 8_192)]);
    database.run("ALTER TABLE posts DROP COLUMN packed");
    database.run("PRAGMA user_version = 2");
    database.close();
    store = Store.open(directory, "alice");
    expect(texts(search("中文", 10))).toEqual(["我会说中文 and English"]);
    expect(texts(search("english", 10))).toEqual(["我会说中文 and English"]);
  });
});

describe("what else is kept", () => {
  test("people, by key: the last name, and whether they are verified or ignored", () => {
    const [one, two] = [newSecrets().signing, newSecrets().signing];
    const met = (publicKey: Uint8Array, shown: string, seen: number) =>
      store.remember({ room: ROOM, name: shown.toLowerCase(), shown, publicKey, addresses: [], seen });
    met(one, "Bob", 1);
    met(two, "Bob", 2);
    met(one, "Bert", 3);
    store.mark(one, "ignored", 4);
    store.mark(two, "verified", 5);
    store.close();
    store = Store.open(directory, "alice");
    expect(store.people("bob").map(({ publicKey }) => Buffer.from(publicKey).equals(two))).toEqual([true]);
    expect(store.people()).toMatchObject([
      { name: "Bert", form: "bert", seen: 3, ignored: 4, verified: 0 },
      { name: "Bob", seen: 2, ignored: 0, verified: 5 },
    ]);
    store.mark(one, "ignored", 0);
    expect(store.people()).toMatchObject([{ name: "Bob" }]);
  });

  test("settings, and the lines that were typed, the last 500", () => {
    store.set("bell", "all");
    for (let line = 0; line < 510; line++) store.addLine(`line ${line}`);
    store.close();
    store = Store.open(directory, "alice");
    expect([store.setting("bell"), store.setting("other")]).toEqual(["all", undefined]);
    const lines = store.lines();
    expect([lines.length, lines[0], lines.at(-1)]).toEqual([500, "line 10", "line 509"]);
  });

  test("nothing of all that in a volatile store", () => {
    const volatile = Store.volatile();
    volatile.addLine("x");
    volatile.set("bell", "all");
    expect([volatile.lines(), volatile.setting("bell"), volatile.people(), volatile.search("x", 1)]).toEqual([
      [],
      undefined,
      [],
      [],
    ]);
    expect(volatile.trouble).toBe("nothing is kept in this run");
  });
});

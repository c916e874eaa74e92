/**
 * What was said, as it can be asked for: the latest, by somebody, or by the words in it.
 *
 * Posts are kept as they came and hold many texts each, so a full-text index that was written with them would cost a
 * script that pipes a million lines more than all the rest. `index` does it later, in small pieces; a search does what is
 * left first. The rowid of a text is that of its post and its number in it, so the newest come first by themselves.
 */
import type { Statement } from "bun:sqlite";
import { decodeIntroduction, type MemberId, type Post, PostKind, textIdOf } from "../codec/post.ts";
import { codeOf } from "../errors.ts";
import { limits } from "../limits.ts";
import { type Packing, unpack } from "./packing.ts";
import { expressionOf, indexed, isTooShort } from "./words.ts";

/** One text from the store. */
export interface KeptText {
  /** 16 hex digits. */
  readonly id: string;
  readonly kind: "text" | "direct" | "action";
  readonly author: MemberId;
  /** What the author was called in that session. */
  readonly name: string;
  /** Whom a direct text was for. */
  readonly to?: { readonly member: MemberId; readonly name: string };
  readonly text: string;
  /** ms since the epoch, by the author's clock. */
  readonly at: number;
}

export interface HistoryQuery {
  /** The latest so many. */
  readonly limit: number;
  /** ms since the epoch. */
  readonly since?: number | undefined;
  /** By these only. */
  readonly authors?: readonly MemberId[] | undefined;
}

/** What was to be searched for is no query. `message` is one sentence. */
export class QueryError extends Error {
  override readonly name = "QueryError";
}

interface Row extends Packing {
  id: number;
  room: number;
}

const INDEXED = "indexed";
const KINDS = `${PostKind.text}, ${PostKind.direct}, ${PostKind.action}`;
const ROW = "SELECT id, room, bytes, packed FROM posts";
/** Said to SQLite, which has no statistics and would look through all posts of a member. */
const INTRODUCTIONS = `${ROW} INDEXED BY introductions WHERE kind = 2`;
const TEXTS_MAX = limits.textsPerPostMax;
const PRUNED_AT_ONCE = 200;

/** `statement` prepares, or finds again, a statement of the open database. */
export class Archive {
  constructor(private readonly statement: <Row>(sql: string) => Statement<Row>) {}

  /** The oldest first. */
  history({ limit, since = 0, authors }: HistoryQuery): KeptText[] {
    const names = new Map<string, string>();
    const found = this.rooms().flatMap(room => {
      const rows =
        authors?.flatMap(author => this.byAuthor(room, author, since, limit)) ?? this.latest(room, since, limit);
      return rows.reverse().flatMap(row => this.keptIn(row, names));
    });
    return found.sort((a, b) => a.at - b.at).slice(-limit);
  }

  /** The newest texts with all of these words, or that fit a query of operators; oldest first. Throws `QueryError`. */
  search(query: string, limit: number): KeptText[] {
    if (isTooShort(query)) throw new QueryError("that cannot be searched for: before a * go two letters or more");
    const words = expressionOf(query);
    const find = this.statement<{ rowid: number }>(
      "SELECT rowid FROM texts WHERE texts MATCH ? ORDER BY rowid DESC LIMIT ?",
    );
    const names = new Map<string, string>();
    const post = this.statement<Row>(`${ROW} WHERE id = ?`);
    const found = hits(() => find.all(words, limit), query).reverse();
    // Many may be in one post of a script.
    return [...Map.groupBy(found, ({ rowid }) => Math.floor(rowid / TEXTS_MAX))]
      .flatMap(([id, rows]) => {
        const row = post.get(id);
        const texts = row === null ? [] : this.keptIn(row, names);
        return rows.flatMap(({ rowid }) => texts[rowid % TEXTS_MAX] ?? []);
      })
      .sort((a, b) => a.at - b.at);
  }

  /** Everybody who ever introduced himself by a name of which this is true. */
  authors(isName: (name: string) => boolean): MemberId[] {
    const rows = this.statement<Row>(INTRODUCTIONS).iterate();
    const found = new Set<MemberId>();
    for (const row of rows) {
      const post = unpack(row);
      if (post !== undefined && isName(introducedAs(post) ?? "")) found.add(post.author);
    }
    return [...found];
  }

  /** What a direct post says, where it was ours to know. */
  direct(author: Uint8Array, session: number, seq: number): string | undefined {
    const found = this.statement<{ text: string }>(
      "SELECT text FROM directs JOIN posts ON id = post WHERE author = ? AND session = ? AND seq = ? AND kind = 4",
    ).get(author, session, seq);
    return found?.text;
  }

  /** Puts texts into the index for so long. True if there are more. To be called in a transaction. */
  index(budgetMs: number): boolean {
    const stopAt = performance.now() + budgetMs;
    const mark = this.statement<{ value: string }>("SELECT value FROM settings WHERE name = ?").get(INDEXED);
    let done = Number(mark?.value ?? 0);
    const insert = this.statement("INSERT INTO texts (rowid, text) VALUES (?, ?)");
    const rows = this.statement<Row>(`${ROW} WHERE id >= ? AND kind IN (${KINDS}) ORDER BY id`);
    let hasMore = false;
    for (const row of rows.iterate(Math.floor(done / TEXTS_MAX))) {
      const first = row.id * TEXTS_MAX;
      const texts = this.bare(row);
      for (let next = Math.max(done, first); next < first + texts.length && !hasMore; next++) {
        insert.run(next, indexed(texts[next - first] ?? ""));
        done = next + 1;
        hasMore = performance.now() >= stopAt;
      }
      if (hasMore) break;
      done = first + TEXTS_MAX;
    }
    this.statement("INSERT OR REPLACE INTO settings (name, value) VALUES (?, ?)").run(INDEXED, String(done));
    return hasMore;
  }

  /**
   * Forgets what was said before `before`, ms since the epoch; some of it, true if there is more. A session's first post
   * stays while there are others of it. To be called in a transaction.
   */
  prune(before: number): boolean {
    const old = this.rooms().flatMap(room =>
      this.statement<{ id: number }>(
        `SELECT id FROM posts AS old WHERE room = ? AND clock < ? AND (seq > 0 OR NOT EXISTS (
           SELECT 1 FROM posts WHERE room = old.room AND author = old.author AND session = old.session AND seq > 0
         )) ORDER BY clock LIMIT ?`,
      ).all(room, before * 1000, PRUNED_AT_ONCE),
    );
    for (const { id } of old) {
      this.statement("DELETE FROM texts WHERE rowid >= ? AND rowid < ?").run(id * TEXTS_MAX, (id + 1) * TEXTS_MAX);
      this.statement("DELETE FROM directs WHERE post = ?").run(id);
      this.statement("DELETE FROM posts WHERE id = ?").run(id);
    }
    return old.length > 0;
  }

  private rooms(): number[] {
    return this.statement<{ id: number }>("SELECT id FROM rooms")
      .all()
      .map(({ id }) => id);
  }

  private latest(room: number, since: number, limit: number): Row[] {
    return this.statement<Row>(
      `${ROW} WHERE room = ? AND clock >= ? AND kind IN (${KINDS}) ORDER BY clock DESC LIMIT ?`,
    ).all(room, since * 1000, limit);
  }

  private byAuthor(room: number, author: MemberId, since: number, limit: number): Row[] {
    return this.statement<Row>(
      `${ROW} WHERE room = ? AND author = ? AND +clock >= ? AND kind IN (${KINDS}) ORDER BY session DESC, seq DESC LIMIT ?`,
    ).all(room, Buffer.from(author, "hex"), since * 1000, limit);
  }

  private bare(row: Row, post: Post | undefined = unpack(row)): readonly string[] {
    if (post === undefined) return [];
    if (post.kind !== PostKind.direct) return post.texts;
    const direct = this.statement<{ text: string }>("SELECT text FROM directs WHERE post = ?").get(row.id);
    return direct === null ? [] : [direct.text];
  }

  private keptIn(row: Row, names: Map<string, string>): KeptText[] {
    const post = unpack(row);
    if (post === undefined) return [];
    const { author, kind, body } = post;
    const shared = {
      author,
      kind: kind === PostKind.text ? "text" : kind === PostKind.direct ? "direct" : "action",
      name: this.nameOf(row.room, author, post.session, names),
      at: Math.floor(post.clock / 1000),
    } as const;
    const reader = kind === PostKind.direct ? body.subarray(0, 8).toHex() : undefined;
    const to = reader && { member: reader, name: this.nameOf(row.room, reader, Number.MAX_SAFE_INTEGER, names) };
    return this.bare(row, post).map((text, index) => ({
      id: textIdOf(post, index),
      text,
      ...shared,
      ...(to && { to }),
    }));
  }

  /** The last name in that session, or in the one before. */
  private nameOf(room: number, author: MemberId, session: number, names: Map<string, string>): string {
    const key = `${room} ${author} ${session}`;
    const known = names.get(key);
    if (known !== undefined) return known;
    const row = this.statement<Row>(
      `${INTRODUCTIONS} AND room = ? AND author = ? AND session <= ? ORDER BY session DESC, seq DESC LIMIT 1`,
    ).get(room, Buffer.from(author, "hex"), session);
    const name = introducedAs(row === null ? undefined : unpack(row)) ?? author;
    names.set(key, name);
    return name;
  }
}

function hits<Hit>(find: () => Hit[], query: string): Hit[] {
  try {
    return find();
  } catch (error) {
    // Whatever FTS5 says of a query has this code; a database in trouble has another.
    if (!(error instanceof Error) || codeOf(error) !== "SQLITE_ERROR") throw error;
    const isOpen = query.split('"').length % 2 === 0;
    const why = isOpen ? "a quote is not closed" : "AND, OR and NOT go between words, brackets come in pairs";
    throw new QueryError(`that cannot be searched for: ${why}`);
  }
}

function introducedAs(post: Post | undefined): string | undefined {
  try {
    return post && decodeIntroduction(post.body).name;
  } catch {
    return undefined;
  }
}

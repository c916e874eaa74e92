/**
 * What outlives a run: the identity, the rooms with their posts, and the people met. One SQLite file per username.
 *
 * Invariants. A flushed post survives kill -9 (WAL; a power cut may take the last moments, never the file). A session
 * number is used once, whatever the wall clock does. While a store is open no other process opens the same one, since
 * two writers with one key would sign two different posts with one number; reading by others stays possible.
 * Once it is open nothing throws: what cannot be kept is told through `onTrouble`, once, and the chat goes on.
 */
import type { Database, SQLQueryBindings, Statement } from "bun:sqlite";
import type { Address, MemberId, Post, RoomId } from "./codec/post.ts";
import { assert, codeOf } from "./errors.ts";
import { newSecrets, type Secrets } from "./identity.ts";
import { limits } from "./limits.ts";
import { Archive, type HistoryQuery, type KeptText, QueryError } from "./store/archive.ts";
import {
  addName,
  baseOf,
  fs,
  type Kept,
  lockFile,
  openDatabase,
  prepareDirectory,
  readOrMakeIdentity,
  reasonOf,
  release,
  StoreError,
  salvage,
} from "./store/files.ts";
import { type Packing, pack, unpack } from "./store/packing.ts";

/** Posts that wait for `flush`; beyond either they are written at once. */
const QUEUE_MAX_POSTS = 4_096;
const QUEUE_MAX_BYTES = 8 * 1024 * 1024;
/** Typed lines that are kept. */
const LINES_MAX = 500;
/** A search makes searchable what is not yet, for so long at most: some 20,000 texts. */
const INDEX_BUDGET_MS = 250;
const NOTHING_KEPT = "nothing is kept in this run";
const ROOM_ID = "(SELECT id FROM rooms WHERE room = ?)";

/** Somebody met in a room. */
export interface Contact {
  readonly room: RoomId;
  /** In normal form (room/names.ts). */
  readonly name: string;
  /** As it is shown; `name` if absent. */
  readonly shown?: string;
  readonly publicKey: Uint8Array;
  /** Where it was reachable, best first. */
  readonly addresses: readonly Address[];
  /** ms since the epoch. */
  readonly seen: number;
}

export interface KnownMember {
  readonly publicKey: Uint8Array;
  readonly addresses: readonly Address[];
}

/** What is known of a key. */
export interface Person {
  readonly publicKey: Uint8Array;
  /** As last shown, and its normal form. */
  readonly name: string;
  readonly form: string;
  /** ms since the epoch; 0 for never. */
  readonly seen: number;
  readonly verified: number;
  readonly ignored: number;
}

interface PostRow extends Packing {
  author: Uint8Array;
  session: number;
  seq: number;
}

export class Store {
  /** What waits to be written, in this order. */
  private queue: (() => void)[] = [];
  private queuedBytes = 0;
  private readonly roomIds = new Map<RoomId, number>();
  private writable: boolean;
  /** It is ours, and was not opened yet. */
  private isPending: boolean;
  private problem: string | undefined;
  private readonly archive = new Archive(sql => this.statement(sql));
  /** The last search did not look through everything: there was more to index than it had time for. */
  isBehind = false;

  /** The database, once it is open. */
  private opened: Database | undefined;
  private kept: Kept | undefined;

  private constructor(
    private readonly path: string,
    /** Of a volatile store undefined, as it is after `close`. */
    private lock: Database | undefined,
    private readonly onTrouble: (message: string) => void,
  ) {
    this.isPending = this.writable = lock !== undefined;
    if (lock === undefined) this.problem = NOTHING_KEPT;
  }

  /**
   * Opens, or makes, the file of `username` (in normal form) in `directory`, and locks it for the life of the process.
   * Throws `StoreError`. `onTrouble` hears at most once that history is no longer kept.
   */
  static open(directory: string, username: string, onTrouble?: (message: string) => void): Store {
    const store = Store.claim(directory, username, onTrouble);
    if (store.isPending) store.open();
    return store;
  }

  /**
   * Locks it, and opens one that was there before when something is asked of it: what does not open then is told through
   * `onTrouble`, and nothing is kept in this run. Throws `StoreError`.
   */
  static claim(directory: string, username: string, onTrouble: (message: string) => void = () => {}): Store {
    const base = baseOf(directory, username);
    const path = `${base}.sqlite`;
    let lock: Database;
    try {
      prepareDirectory(directory);
      lock = lockFile(`${base}.lock`, username);
    } catch (error) {
      if (error instanceof StoreError && error.fault === "locked") throw error;
      throw errorOf(error, path);
    }
    const store = new Store(path, lock, onTrouble);
    // A new one is not put off: by this name it is known from now on.
    if (!fs().existsSync(path)) store.open();
    return store;
  }

  /** A store that keeps nothing. `kept` comes from the `StoreError` of one that would not open. */
  static volatile(kept?: Kept): Store {
    const store = new Store("", undefined, () => {});
    store.kept = kept;
    return store;
  }

  private open(): void {
    assert(this.isPending, "a store is opened once");
    this.isPending = false;
    let database: Database | undefined;
    try {
      database = openDatabase(this.path);
      this.kept = readOrMakeIdentity(database);
      this.opened = database;
    } catch (error) {
      database?.close();
      // Read while the lock is held, so that nobody writes meanwhile.
      const failure = errorOf(error, this.path);
      if (failure instanceof StoreError) this.kept = failure.kept;
      this.stopKeeping(NOTHING_KEPT);
      release(this.lock);
      this.lock = undefined;
      throw failure;
    }
  }

  /** Opens it, if that is still to be done. */
  openIfPending(): void {
    if (!this.isPending) return;
    try {
      this.open();
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      this.onTrouble(error.message);
    }
  }

  private get database(): Database | undefined {
    this.openIfPending();
    return this.opened;
  }

  /** Why nothing can be read or kept any more, as the second half of a sentence. */
  get trouble(): string | undefined {
    this.openIfPending();
    return this.problem;
  }

  /** The private keys; made on first use. */
  secrets(): Secrets {
    this.openIfPending();
    this.kept ??= { secrets: newSecrets(), session: 0 };
    return this.kept.secrets;
  }

  /** A number for this run, ms, larger than any that was used before. It is safe from kill -9 when this returns. */
  nextSession(now: number): number {
    const secrets = this.secrets();
    const session = Math.max(now, (this.kept?.session ?? 0) + 1);
    this.kept = { secrets, session };
    this.attempt(database => {
      // The first write makes the log, and waiting for the disk then would be the longest part of the start. Nothing is
      // at stake: a power cut sets the session back by one, and the clock has gone on by the next start.
      database.run("PRAGMA synchronous = OFF");
      this.statement("UPDATE identity SET session = ?").run(session);
      database.run("PRAGMA synchronous = NORMAL");
    });
    return session;
  }

  /** Remembers another name (in normal form) by which this one can be opened; false where another identity has it. */
  addName(username: string): boolean {
    if (this.path === "") return true;
    try {
      return addName(this.path, username);
    } catch {
      // A disk without links: then the old name alone leads here.
      return false;
    }
  }

  /** Queues a post; `text` is what a sealed one says. A second one with the same number is ignored. */
  append(room: RoomId, post: Post, text?: string): void {
    if (!this.writable) return;
    const { author, session, seq, clock, kind, size } = post;
    const { bytes, packed } = pack(post);
    this.later(() => {
      const { lastInsertRowid, changes } = this.statement(
        `INSERT OR IGNORE INTO posts (room, author, session, seq, clock, kind, bytes, packed)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
      ).run(this.roomId(room), Buffer.from(author, "hex"), session, seq, clock, kind, bytes, packed);
      if (text !== undefined && changes > 0)
        this.statement("INSERT INTO directs (post, text) VALUES (?, ?)").run(lastInsertRowid, text);
    }, size);
  }

  /** Queues a contact. The first key seen under a name stays the known one. */
  remember({ room, name, shown = name, publicKey, addresses, seen }: Contact): void {
    this.later(() => {
      this.statement(
        `INSERT INTO contacts (name, public_key, seen) VALUES (?, ?, ?)
         ON CONFLICT (name) DO UPDATE SET seen = excluded.seen WHERE public_key = excluded.public_key`,
      ).run(name, publicKey, seen);
      this.statement(
        `INSERT INTO people (public_key, name, form, seen) VALUES (?, ?, ?, ?)
         ON CONFLICT (public_key) DO UPDATE SET name = excluded.name, form = excluded.form, seen = excluded.seen`,
      ).run(publicKey, shown, name, seen);
      this.statement("INSERT OR REPLACE INTO members (room, public_key, addresses, seen) VALUES (?, ?, ?, ?)").run(
        this.roomId(room),
        publicKey,
        JSON.stringify(addresses),
        seen,
      );
    });
  }

  /** Queues that a key is verified, or ignored; 0 takes that back. */
  mark(publicKey: Uint8Array, mark: "verified" | "ignored", at: number): void {
    this.later(() => this.statement(`UPDATE people SET ${mark} = ? WHERE public_key = ?`).run(at, publicKey));
  }

  /** Queues a setting of the user's. */
  set(name: string, value: string): void {
    this.later(() => this.statement("INSERT OR REPLACE INTO settings (name, value) VALUES (?, ?)").run(name, value));
  }

  /** Queues a line that was typed, to be recalled in a later run. */
  addLine(line: string): void {
    this.later(() => {
      this.statement("INSERT INTO lines (line) VALUES (?)").run(line);
      this.statement("DELETE FROM lines WHERE id <= (SELECT max(id) FROM lines) - ?").run(LINES_MAX);
    });
  }

  /** Queues that this room is where we are now. */
  enter(room: RoomId, now: number): void {
    this.later(() => this.statement("UPDATE rooms SET entered = ? WHERE id = ?").run(now, this.roomId(room)));
  }

  private later(write: () => void, bytes = 0): void {
    if (!this.writable) return;
    this.queue.push(write);
    this.queuedBytes += bytes;
    if (this.isFull) this.flush();
  }

  private get isFull(): boolean {
    return this.queue.length >= QUEUE_MAX_POSTS || this.queuedBytes >= QUEUE_MAX_BYTES;
  }

  /** Writes what is queued, in one transaction. It is safe from kill -9 when this returns, or trouble was told. */
  flush(): void {
    if (this.queue.length === 0) return;
    const written = this.transact(() => {
      for (const write of this.queue) write();
    }, !this.isFull);
    if (!written) return;
    this.queue = [];
    this.queuedBytes = 0;
  }

  /**
   * The latest posts of a room, in the order of their clocks, plus post 0 of every session among them. Each session is
   * without gaps from its lowest post but 0 on: what lies before a gap is left out, and so are rows that do not decode.
   */
  recent(room: RoomId, maxPosts: number, maxBytes: number = limits.logMaxBytes): Post[] {
    return this.read([], () => {
      const key = Buffer.from(room, "hex");
      const posts: Post[] = [];
      let bytes = 0;
      const latest = this.statement<PostRow>(
        `SELECT author, session, seq, bytes, packed FROM posts WHERE room = ${ROOM_ID} ORDER BY clock DESC, id DESC LIMIT ?`,
      );
      for (const row of latest.iterate(key, maxPosts)) {
        const post = postOf(row);
        bytes += post?.size ?? 0;
        if (bytes > maxBytes) break;
        if (post !== undefined) posts.push(post);
      }
      const first = this.statement<PostRow>(
        `SELECT author, session, seq, bytes, packed FROM posts WHERE room = ${ROOM_ID} AND author = ? AND session = ? AND seq = 0`,
      );
      return wholeSessions(posts, (author, session) => first.get(key, author, session));
    });
  }

  /** The key that was first seen under this name (in normal form). */
  contact(name: string): Uint8Array | undefined {
    return this.read(undefined, () => {
      const row = this.statement<{ public_key: Uint8Array }>("SELECT public_key FROM contacts WHERE name = ?").get(
        name,
      );
      return row?.public_key;
    });
  }

  /** Everybody who was met under this name (in normal form), and everybody verified or ignored where none is given. */
  people(form?: string): Person[] {
    return this.read([], () => {
      const which = form === undefined ? "verified > 0 OR ignored > 0" : "form = ?";
      const rows = this.statement<Person>(
        `SELECT public_key AS publicKey, name, form, seen, verified, ignored FROM people WHERE ${which} ORDER BY seen DESC`,
      );
      return form === undefined ? rows.all() : rows.all(form);
    });
  }

  setting(name: string): string | undefined {
    return this.read(undefined, () => {
      return this.statement<{ value: string }>("SELECT value FROM settings WHERE name = ?").get(name)?.value;
    });
  }

  /** Lines typed in earlier runs, the oldest first. */
  lines(): string[] {
    return this.read([], () => {
      const rows = this.statement<{ line: string }>("SELECT line FROM lines ORDER BY id DESC LIMIT ?").all(LINES_MAX);
      return rows.map(({ line }) => line).reverse();
    });
  }

  // History.

  history(query: HistoryQuery): KeptText[] {
    return this.read([], () => this.archive.history(query));
  }

  /** Everybody who ever had a name of which this is true. */
  authors(isName: (name: string) => boolean): MemberId[] {
    return this.read([], () => this.archive.authors(isName));
  }

  /** Texts with these words, the newest of them, oldest first; the latest may be missing (`isBehind`). Throws `QueryError`. */
  search(query: string, limit: number): KeptText[] {
    this.isBehind = this.index(INDEX_BUDGET_MS);
    return this.read([], () => this.archive.search(query, limit));
  }

  /** What a direct post says, where it was kept. */
  direct(post: Post): string | undefined {
    return this.read(undefined, () => this.archive.direct(post.bytes.subarray(0, 8), post.session, post.seq));
  }

  /** Makes what was said searchable, for so long. True if there is more to do. */
  index(budgetMs: number): boolean {
    return this.inTransaction(() => this.archive.index(budgetMs));
  }

  /** Forgets some of what was said before `before`, ms since the epoch. True if there is more to do. */
  prune(before: number): boolean {
    return this.inTransaction(() => this.archive.prune(before));
  }

  private inTransaction(work: () => boolean): boolean {
    this.flush();
    let hasMore = false;
    this.transact(() => {
      hasMore = work();
    }, true);
    return hasMore;
  }

  /** Members of a room to dial again, the last seen first. */
  members(room: RoomId): KnownMember[] {
    return this.read([], () => {
      const rows = this.statement<{ publicKey: Uint8Array; addresses: string }>(
        `SELECT public_key AS publicKey, addresses FROM members WHERE room = ${ROOM_ID} ORDER BY seen DESC LIMIT ?`,
      ).all(Buffer.from(room, "hex"), limits.rememberedMembersMax);
      return rows.map(({ publicKey, addresses }) => ({ publicKey, addresses: JSON.parse(addresses) }));
    });
  }

  /** The room entered last. */
  lastRoom(): RoomId | undefined {
    return this.read(undefined, () => {
      const row = this.statement<{ room: Uint8Array }>(
        "SELECT room FROM rooms WHERE entered > 0 ORDER BY entered DESC LIMIT 1",
      ).get();
      return row === null ? undefined : row.room.toHex();
    });
  }

  /** Flushes, closes, and lets go of the identity. What comes after it is not kept. */
  close(): void {
    this.flush();
    this.writable = this.isPending = false;
    this.opened?.close();
    release(this.lock);
    this.opened = undefined;
    this.lock = undefined;
  }

  /** The row of a room, made where it is missing: for what `later` puts off only. */
  private roomId(room: RoomId): number {
    const cached = this.roomIds.get(room);
    if (cached !== undefined) return cached;
    const row = this.statement<{ id: number }>(
      "INSERT INTO rooms (room, entered) VALUES (?, 0) ON CONFLICT DO UPDATE SET room = room RETURNING id",
    ).get(Buffer.from(room, "hex"));
    assert(row !== null, "a room that was inserted is found");
    this.roomIds.set(room, row.id);
    return row.id;
  }

  private transact(work: () => void, patient: boolean): boolean {
    return this.attempt(database => {
      database.run("BEGIN IMMEDIATE");
      work();
      database.run("COMMIT");
    }, patient);
  }

  /** Writes; true if it was done. A database that is only `busy` may be tried again where the caller has patience. */
  private attempt(write: (database: Database) => void, patient = false): boolean {
    if (!this.writable || this.database === undefined) return false;
    try {
      write(this.database);
      return true;
    } catch (error) {
      this.roomIds.clear();
      try {
        this.database.run("ROLLBACK");
      } catch {
        // SQLite has done it itself, or nothing was begun.
      }
      if (!(patient && codeOf(error).startsWith("SQLITE_BUSY"))) this.giveUp(error);
      return false;
    }
  }

  /** Reads what is there, the queue included; `otherwise` where that cannot be done. */
  private read<T>(otherwise: T, read: () => T): T {
    this.flush();
    if (this.database === undefined) return otherwise;
    try {
      return read();
    } catch (error) {
      if (error instanceof QueryError) throw error;
      this.giveUp(error);
      return otherwise;
    }
  }

  private giveUp(error: unknown): void {
    const { reason } = reasonOf(error, this.path);
    const wasWritable = this.writable;
    this.stopKeeping(reason);
    if (wasWritable) this.onTrouble(`history is no longer kept: ${reason}`);
  }

  private stopKeeping(problem: string): void {
    this.problem = problem;
    this.writable = false;
    this.queue = [];
    this.queuedBytes = 0;
  }

  private statement<Row>(sql: string): Statement<Row> {
    assert(this.database !== undefined, "the store is open");
    return this.database.query<Row, SQLQueryBindings[]>(sql);
  }
}

/** Why a store does not open, with what can be saved of it. What is neither SQLite's nor the system's is a bug, and returned as it is. */
function errorOf(error: unknown, path: string): unknown {
  if (!(error instanceof StoreError) && codeOf(error) === "") return error;
  const kept = salvage(path);
  const { fault, reason } = reasonOf(error, path);
  return new StoreError(fault, `${kept ? "no history is" : "nothing is"} kept in this run: ${reason}`, kept);
}

// Posts.

/** See `Store.recent`. `first` finds post 0 of a session. */
function wholeSessions(posts: readonly Post[], first: (author: Uint8Array, session: number) => PostRow | null): Post[] {
  const sessions = Map.groupBy(posts, ({ author, session }) => `${author} ${session}`);
  const whole = [...sessions.values()].flatMap(session => wholeTail(session, first));
  return whole.sort(
    (a, b) => a.clock - b.clock || (a.author < b.author ? -1 : a.author > b.author ? 1 : a.seq - b.seq),
  );
}

/** The posts of one session that follow each other without a gap, up to the latest, and post 0. */
function wholeTail(session: Post[], first: (author: Uint8Array, session: number) => PostRow | null): Post[] {
  const [head, ...others] = session.sort((a, b) => b.seq - a.seq);
  if (head === undefined) return [];
  const tail = [head];
  for (const post of others) if (post.seq === (tail.at(-1)?.seq ?? 0) - 1) tail.push(post);
  if (tail.at(-1)?.seq === 0) return tail;
  const row = first(head.bytes.subarray(0, 8), head.session);
  const introduction = row === null ? undefined : postOf(row);
  return introduction === undefined ? [] : [introduction, ...tail];
}

function postOf(row: PostRow): Post | undefined {
  const post = unpack(row);
  const same = post?.author === row.author.toHex() && post.session === row.session && post.seq === row.seq;
  return same ? post : undefined;
}

/**
 * What outlives a run: the identity, the rooms with their posts, and the people met. One SQLite file per username.
 *
 * Invariants. A flushed post survives kill -9 (WAL; a power cut may take the last moments, never the file). A session
 * number is used once, whatever the wall clock does. While a store is open no other process opens the same one, since
 * two writers with one key would sign two different posts with one number; reading by others stays possible.
 * Once it is open nothing throws: what cannot be kept is told through `onTrouble`, once, and the chat goes on.
 */
import { Database, type Statement } from "bun:sqlite";
import {
  accessSync,
  chmodSync,
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  statSync,
} from "node:fs";
import { join } from "node:path";
import { hexOf } from "./codec/bytes.ts";
import { type Address, decodePost, KEY_BYTES, type Post, type RoomId } from "./codec/post.ts";
import { assert } from "./errors.ts";
import { newSecrets, type Secrets } from "./identity.ts";
import { limits } from "./limits.ts";

/** "p2pc" in ASCII: tells our files from other programs' (`file` shows it, too). */
const APPLICATION_ID = 0x7032_7063;

/**
 * Applied in order, each once; `PRAGMA user_version` counts them. Never edit one that was released: add another.
 *
 * Posts have a rowid, since a full-text index needs one and rows may hold 64 KiB, which a WITHOUT ROWID tree spreads badly.
 */
const MIGRATIONS = [
  `CREATE TABLE identity (
     one INTEGER PRIMARY KEY CHECK (one = 1), signing BLOB NOT NULL, sealing BLOB NOT NULL, session INTEGER NOT NULL
   ) STRICT;
   CREATE TABLE rooms (id INTEGER PRIMARY KEY, room BLOB NOT NULL UNIQUE, entered INTEGER NOT NULL) STRICT;
   CREATE TABLE posts (
     id INTEGER PRIMARY KEY, room INTEGER NOT NULL REFERENCES rooms, author BLOB NOT NULL, session INTEGER NOT NULL,
     seq INTEGER NOT NULL, clock INTEGER NOT NULL, kind INTEGER NOT NULL, bytes BLOB NOT NULL,
     UNIQUE (room, author, session, seq)
   ) STRICT;
   CREATE INDEX posts_by_clock ON posts (room, clock);
   CREATE TABLE contacts (name TEXT PRIMARY KEY, public_key BLOB NOT NULL, seen INTEGER NOT NULL) STRICT;
   CREATE TABLE members (
     room INTEGER NOT NULL REFERENCES rooms, public_key BLOB NOT NULL, addresses TEXT NOT NULL, seen INTEGER NOT NULL,
     PRIMARY KEY (room, public_key)
   ) STRICT, WITHOUT ROWID;`,
] as const;

/** Posts that wait for `flush`; beyond either they are written at once. */
const QUEUE_MAX_POSTS = 4_096;
const QUEUE_MAX_BYTES = 8 * 1024 * 1024;
/** Only a foreign tool can hold the database; the event loop stands still meanwhile. */
const BUSY_TIMEOUT_MS = 100;
/** The smallest page of SQLite. What is shorter has lost its header, and the pragmas in it mean nothing. */
const HEADER_PAGE_MIN_BYTES = 512;
/** Enough for the schema and the identity, which are the first things written. */
const SALVAGED_BYTES = 64 * 1024;
const ROOM_ID = "(SELECT id FROM rooms WHERE room = ?)";
/** Leaves room for ".sqlite-wal" in the 255 bytes that file systems allow. */
const FILE_NAME_MAX_BYTES = 200;

/** Held here as well: a lock whose store nobody refers to any more would be let go of by the garbage collector. */
const heldLocks = new Set<Database>();

/** Why a store does not open. */
export type StoreFault =
  /** Another p2pchat runs with this identity. The only one that must end the program. */
  | "locked"
  /** The file is somebody else's, by a newer p2pchat, or broken. */
  | "foreign"
  | "newer"
  | "damaged"
  | "read_only"
  | "full"
  | "permission"
  | "failed";

/** What could be saved from a store that does not open: enough to be the same member again. */
export interface Kept {
  readonly secrets: Secrets;
  /** The last session known to be used, ms. */
  readonly session: number;
}

/** The store does not open. `message` is one sentence for people. */
export class StoreError extends Error {
  override readonly name = "StoreError";
  constructor(
    readonly fault: StoreFault,
    message: string,
    /** For `Store.volatile`, so that a full disk costs the history and not the name. */
    readonly kept?: Kept,
  ) {
    super(message);
  }
}

/** Somebody met in a room. */
export interface Contact {
  readonly room: RoomId;
  /** In normal form (room/names.ts). */
  readonly name: string;
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

type Write =
  | { readonly type: "post"; readonly room: RoomId; readonly post: Post }
  | { readonly type: "contact"; readonly contact: Contact }
  | { readonly type: "enter"; readonly room: RoomId; readonly now: number };

interface IdentityRow {
  signing: Uint8Array;
  sealing: Uint8Array;
  session: number;
}
interface PostRow {
  author: Uint8Array;
  session: number;
  seq: number;
  bytes: Uint8Array;
}

export class Store {
  private queue: Write[] = [];
  private queuedBytes = 0;
  private readonly statements = new Map<string, Statement>();
  private readonly roomIds = new Map<RoomId, number>();
  private writable: boolean;

  private constructor(
    private readonly path: string,
    /** Undefined in a volatile store, and after `close`. */
    private database: Database | undefined,
    private lock: Database | undefined,
    private kept: Kept | undefined,
    private readonly onTrouble: (message: string) => void,
  ) {
    this.writable = database !== undefined;
  }

  /**
   * Opens, or makes, the file of `username` (in normal form) in `directory`, and locks it for the life of the process.
   * Throws `StoreError`. `onTrouble` hears at most once that history is no longer kept.
   */
  static open(directory: string, username: string, onTrouble: (message: string) => void = () => {}): Store {
    const base = join(directory, fileNameOf(username));
    const path = `${base}.sqlite`;
    let lock: Database | undefined;
    let database: Database | undefined;
    try {
      prepareDirectory(directory);
      lock = lockFile(`${base}.lock`, username);
      database = openDatabase(path);
      return new Store(path, database, lock, readOrMakeIdentity(database), onTrouble);
    } catch (error) {
      database?.close();
      if (error instanceof StoreError && error.fault === "locked") throw error;
      // Read while the lock is held, so that nobody writes meanwhile.
      const kept = salvage(path);
      release(lock);
      // Neither SQLite's nor the system's: a bug.
      if (!(error instanceof StoreError) && codeOf(error) === "") throw error;
      const { fault, reason } = reasonOf(error, path);
      throw new StoreError(fault, `${kept ? "no history is" : "nothing is"} kept in this run: ${reason}`, kept);
    }
  }

  /** A store that keeps nothing. `kept` comes from the `StoreError` of one that would not open. */
  static volatile(kept?: Kept): Store {
    return new Store("", undefined, undefined, kept, () => {});
  }

  /** The private keys; made on first use. */
  secrets(): Secrets {
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

  /** Queues a post. A second one with the same number is ignored. */
  append(room: RoomId, post: Post): void {
    if (!this.writable) return;
    this.queue.push({ type: "post", room, post });
    this.queuedBytes += post.bytes.length;
    if (this.queue.length >= QUEUE_MAX_POSTS || this.queuedBytes >= QUEUE_MAX_BYTES) this.flush();
  }

  /** Queues a contact. The first key seen under a name stays the known one. */
  remember(contact: Contact): void {
    if (this.writable) this.queue.push({ type: "contact", contact });
  }

  /** Queues that this room is where we are now. */
  enter(room: RoomId, now: number): void {
    if (this.writable) this.queue.push({ type: "enter", room, now });
  }

  /** Writes what is queued, in one transaction. It is safe from kill -9 when this returns, or trouble was told. */
  flush(): void {
    if (this.queue.length === 0) return;
    const overfull = this.queue.length >= QUEUE_MAX_POSTS || this.queuedBytes >= QUEUE_MAX_BYTES;
    const written = this.attempt(database => {
      database.run("BEGIN IMMEDIATE");
      for (const write of this.queue) this.perform(write);
      database.run("COMMIT");
    }, !overfull);
    if (!written && this.writable) return;
    this.queue = [];
    this.queuedBytes = 0;
  }

  /**
   * The latest posts of a room, in the order of their clocks, plus post 0 of every session among them. Each session is
   * without gaps from its lowest post but 0 on: what lies before a gap is left out, and so are rows that do not decode.
   */
  recent(room: RoomId, maxPosts: number): Post[] {
    return this.read([], () => {
      const key = Buffer.from(room, "hex");
      const rows: PostRow[] = [];
      let bytes = 0;
      const latest = this.statement<PostRow>(
        `SELECT author, session, seq, bytes FROM posts WHERE room = ${ROOM_ID} ORDER BY clock DESC, id DESC LIMIT ?`,
      );
      for (const row of latest.iterate(key, maxPosts)) {
        bytes += row.bytes.length;
        if (bytes > limits.logMaxBytes) break;
        rows.push(row);
      }
      const first = this.statement<PostRow>(
        `SELECT author, session, seq, bytes FROM posts WHERE room = ${ROOM_ID} AND author = ? AND session = ? AND seq = 0`,
      );
      return wholeSessions(rows, (author, session) => first.get(key, author, session));
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

  /** Members of a room to dial again, the last seen first. */
  members(room: RoomId): KnownMember[] {
    return this.read([], () => {
      const rows = this.statement<{ public_key: Uint8Array; addresses: string }>(
        `SELECT public_key, addresses FROM members WHERE room = ${ROOM_ID} ORDER BY seen DESC LIMIT ?`,
      ).all(Buffer.from(room, "hex"), limits.rememberedMembersMax);
      return rows.map(row => ({ publicKey: row.public_key, addresses: JSON.parse(row.addresses) }));
    });
  }

  /** The room entered last. */
  lastRoom(): RoomId | undefined {
    return this.read(undefined, () => {
      const row = this.statement<{ room: Uint8Array }>(
        "SELECT room FROM rooms WHERE entered > 0 ORDER BY entered DESC LIMIT 1",
      ).get();
      return row === null ? undefined : hexOf(row.room);
    });
  }

  /** Flushes, closes, and lets go of the identity. What comes after it is not kept. */
  close(): void {
    this.flush();
    this.writable = false;
    // An open statement would keep the connection, and so the lock, alive behind our back.
    for (const statement of this.statements.values()) statement.finalize();
    this.statements.clear();
    this.database?.close();
    release(this.lock);
    this.database = undefined;
    this.lock = undefined;
  }

  private perform(write: Write): void {
    if (write.type === "post") {
      const { bytes, session, seq, clock, kind } = write.post;
      this.statement(
        "INSERT OR IGNORE INTO posts (room, author, session, seq, clock, kind, bytes) VALUES (?, ?, ?, ?, ?, ?, ?)",
      ).run(this.roomId(write.room), bytes.subarray(0, 8), session, seq, clock, kind, bytes);
    } else if (write.type === "contact") {
      const { room, name, publicKey, addresses, seen } = write.contact;
      this.statement(
        `INSERT INTO contacts (name, public_key, seen) VALUES (?, ?, ?)
         ON CONFLICT (name) DO UPDATE SET seen = excluded.seen WHERE public_key = excluded.public_key`,
      ).run(name, publicKey, seen);
      this.statement("INSERT OR REPLACE INTO members (room, public_key, addresses, seen) VALUES (?, ?, ?, ?)").run(
        this.roomId(room),
        publicKey,
        JSON.stringify(addresses),
        seen,
      );
    } else {
      this.statement("UPDATE rooms SET entered = ? WHERE id = ?").run(write.now, this.roomId(write.room));
    }
  }

  /** The row of a room, made where it is missing: for `perform` only. */
  private roomId(room: RoomId): number {
    const cached = this.roomIds.get(room);
    if (cached !== undefined) return cached;
    const key = Buffer.from(room, "hex");
    const find = this.statement<{ id: number }>("SELECT id FROM rooms WHERE room = ?");
    let row = find.get(key);
    if (row === null) {
      this.statement("INSERT INTO rooms (room, entered) VALUES (?, 0)").run(key);
      row = find.get(key);
    }
    assert(row !== null, "a room that was inserted is found");
    this.roomIds.set(room, row.id);
    return row.id;
  }

  /** Writes; true if it was done. A database that is only `busy` may be tried again where the caller has patience. */
  private attempt(write: (database: Database) => void, patient = false): boolean {
    if (!this.writable || this.database === undefined) return false;
    try {
      write(this.database);
      return true;
    } catch (error) {
      this.roomIds.clear();
      if (this.database.inTransaction) ignoreErrors(() => this.database?.run("ROLLBACK"));
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
      this.giveUp(error);
      return otherwise;
    }
  }

  private giveUp(error: unknown): void {
    if (!this.writable) return;
    this.writable = false;
    this.queue = [];
    this.queuedBytes = 0;
    this.onTrouble(`history is no longer kept: ${reasonOf(error, this.path).reason}`);
  }

  private statement<Row>(sql: string): Statement<Row> {
    assert(this.database !== undefined, "the store is open");
    let statement = this.statements.get(sql);
    if (statement === undefined) {
      statement = this.database.prepare(sql);
      this.statements.set(sql, statement);
    }
    return statement as Statement<Row>;
  }
}

// Opening.

function fileNameOf(username: string): string {
  const safe = !/[/\\:\0]/.test(username) && Buffer.byteLength(username) <= FILE_NAME_MAX_BYTES;
  return safe ? username : new Bun.CryptoHasher("sha256").update(username).digest("hex");
}

/**
 * A directory that only we can enter. One that holds other things is the user's own choice (`--data .`, or `/tmp` by
 * root): its mode is not ours to change, and it will do as long as nobody else can write there.
 */
function prepareDirectory(directory: string): void {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const { mode } = statSync(directory);
  if (process.platform === "win32" || (mode & 0o077) === 0) return;
  if (readdirSync(directory).every(name => /\.(sqlite(-wal|-shm|-journal)?|lock)$/.test(name)))
    chmodSync(directory, 0o700);
  else if ((mode & 0o022) !== 0)
    throw new StoreError("permission", `${directory} can be written by others; use a directory of your own`);
}

/** Takes the lock that the kernel lets go of when the process ends, however it ends. */
function lockFile(path: string, username: string): Database {
  makePrivate(path);
  const lock = new Database(path);
  try {
    // Never committed: the file stays empty, and only its lock counts.
    lock.run("BEGIN EXCLUSIVE");
    heldLocks.add(lock);
    return lock;
  } catch (error) {
    lock.close();
    if (!codeOf(error).startsWith("SQLITE_BUSY")) throw error;
    throw new StoreError("locked", `${username} is running here already (another p2pchat holds ${path})`);
  }
}

function release(lock: Database | undefined): void {
  if (lock === undefined) return;
  lock.close();
  heldLocks.delete(lock);
}

/** Makes a file 0600 before anything is in it. SQLite gives `-wal` and `-shm` the mode of the database. */
function makePrivate(path: string): void {
  try {
    // Only a new file is opened here: closing one that SQLite has open would drop its locks (POSIX).
    closeSync(openSync(path, "wx", 0o600));
    return;
  } catch (error) {
    if (codeOf(error) !== "EEXIST") throw error;
  }
  // SQLite would go on with what it may not write, and fail later with a riddle.
  accessSync(path, constants.R_OK | constants.W_OK);
  if (process.platform === "win32") return;
  for (const file of [path, `${path}-wal`, `${path}-shm`]) {
    const stats = statSync(file, { throwIfNoEntry: false });
    if (stats !== undefined && (stats.mode & 0o077) !== 0) chmodSync(file, 0o600);
  }
}

function openDatabase(path: string): Database {
  makePrivate(path);
  const database = new Database(path);
  try {
    database.run(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}`);
    const application = pragma(database, "application_id");
    const version = pragma(database, "user_version");
    const isNew = pragma(database, "schema_version") === 0;
    if (!isNew && statSync(path).size < HEADER_PAGE_MIN_BYTES) throw new StoreError("damaged", damageOf(path));
    if (!isNew && application !== APPLICATION_ID)
      throw new StoreError("foreign", `${path} is a database of another program`);
    if (version > MIGRATIONS.length)
      throw new StoreError("newer", `${path} was written by a newer p2pchat; update this one`);
    database.run("PRAGMA journal_mode = WAL");
    database.run("PRAGMA synchronous = NORMAL");
    if (version < MIGRATIONS.length) migrate(database, version);
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

function migrate(database: Database, version: number): void {
  database.run("BEGIN IMMEDIATE");
  for (const migration of MIGRATIONS.slice(version)) database.run(migration);
  database.run(`PRAGMA application_id = ${APPLICATION_ID}`);
  database.run(`PRAGMA user_version = ${MIGRATIONS.length}`);
  database.run("COMMIT");
}

function pragma(database: Database, name: string): number {
  using statement = database.prepare<Record<string, number>, []>(`PRAGMA ${name}`);
  return statement.get()?.[name] ?? 0;
}

function readOrMakeIdentity(database: Database): Kept {
  const found = readIdentity(database);
  if (found !== undefined) return found;
  const secrets = newSecrets();
  database.run("INSERT INTO identity (one, signing, sealing, session) VALUES (1, ?, ?, 0)", [
    secrets.signing,
    secrets.sealing,
  ]);
  // Once in a lifetime: into the file itself and on the disk, since without it the name is lost.
  database.run("PRAGMA wal_checkpoint(TRUNCATE)");
  return { secrets, session: 0 };
}

function readIdentity(database: Database): Kept | undefined {
  using statement = database.prepare<IdentityRow, []>("SELECT signing, sealing, session FROM identity");
  const row = statement.get();
  if (row === null) return undefined;
  const { signing, sealing, session } = row;
  if (signing.length !== KEY_BYTES || sealing.length !== KEY_BYTES)
    throw new StoreError("damaged", "the identity in the database is damaged");
  return { secrets: { signing, sealing }, session };
}

/**
 * The identity from a database that does not open as it should: damaged, cut short, unwritable. SQLite is shown a copy of
 * the first pages, where the identity is, as if they were all there is (the header's fields: sqlite.org/fileformat2.html).
 */
function salvage(path: string): Kept | undefined {
  try {
    const image = readStart(path, SALVAGED_BYTES);
    const pageSize = image.readUInt16BE(16) === 1 ? 65_536 : image.readUInt16BE(16);
    if (image.readUInt32BE(68) !== APPLICATION_ID) return undefined;
    // No log, and no more pages than there are here.
    image.writeUInt16BE(0x0101, 18);
    image.writeUInt32BE(Math.floor(image.length / pageSize), 28);
    using database = Database.deserialize(image, { readonly: true });
    return readIdentity(database);
  } catch {
    return undefined;
  }
}

function readStart(path: string, length: number): Buffer {
  const file = openSync(path, "r");
  try {
    const buffer = Buffer.alloc(length);
    return buffer.subarray(0, readSync(file, buffer, 0, length, 0));
  } finally {
    closeSync(file);
  }
}

// Posts.

/** See `Store.recent`. `rows` are the latest first; `first` finds post 0 of a session. */
function wholeSessions(
  rows: readonly PostRow[],
  first: (author: Uint8Array, session: number) => PostRow | null,
): Post[] {
  const sessions = new Map<string, Post[]>();
  for (const row of rows) {
    const post = postOf(row);
    if (post === undefined) continue;
    const key = `${post.author} ${post.session}`;
    const session = sessions.get(key);
    if (session === undefined) sessions.set(key, [post]);
    else session.push(post);
  }
  const posts = [...sessions.values()].flatMap(session => wholeTail(session, first));
  return posts.sort(
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
  try {
    const post = decodePost(row.bytes);
    const same = post.author === hexOf(row.author) && post.session === row.session && post.seq === row.seq;
    return same ? post : undefined;
  } catch {
    return undefined;
  }
}

// Errors.

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "";
}

function damageOf(path: string): string {
  return `${path} is damaged or cut short`;
}

/** What went wrong, as the second half of a sentence. */
function reasonOf(error: unknown, path: string): { readonly fault: StoreFault; readonly reason: string } {
  if (error instanceof StoreError) return { fault: error.fault, reason: error.message };
  const code = codeOf(error);
  const is = (...prefixes: string[]) => prefixes.some(prefix => code.startsWith(prefix));
  if (is("SQLITE_NOTADB")) return { fault: "foreign", reason: `${path} is not a database` };
  if (is("SQLITE_CORRUPT")) return { fault: "damaged", reason: damageOf(path) };
  if (is("SQLITE_FULL", "ENOSPC", "EDQUOT")) return { fault: "full", reason: `no space is left for ${path}` };
  if (is("SQLITE_READONLY", "EROFS")) return { fault: "read_only", reason: `${path} is read-only` };
  if (is("SQLITE_CANTOPEN", "SQLITE_PERM", "EACCES", "EPERM"))
    return { fault: "permission", reason: `you may not read and write ${path}` };
  if (is("ENOTDIR", "EEXIST")) return { fault: "failed", reason: `${path} is not in a directory` };
  if (is("SQLITE_BUSY", "SQLITE_LOCKED")) return { fault: "failed", reason: `${path} is in use by another program` };
  const detail = error instanceof Error ? error.message : String(error);
  return { fault: "failed", reason: `${path} cannot be used (${detail})` };
}

function ignoreErrors(action: () => void): void {
  try {
    action();
  } catch {
    // What matters was told already.
  }
}

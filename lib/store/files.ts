/**
 * The file of a store: where it is, who may read it, what its tables are, and what can be saved from one that is broken.
 */
import type { Database } from "bun:sqlite";
import { KEY_BYTES } from "../codec/post.ts";
import { codeOf } from "../errors.ts";
import { newSecrets, type Secrets } from "../identity.ts";

/** Loaded by the first who opens a file: a node that keeps nothing starts, and idles, without them. */
export const fs = () => require("node:fs") as typeof import("node:fs");
const paths = () => require("node:path") as typeof import("node:path");
const sqlite = () => require("bun:sqlite") as typeof import("bun:sqlite");

/** "p2pc" in ASCII: tells our files from other programs' (`file` shows it, too). */
const APPLICATION_ID = 0x7032_7063;

/**
 * Applied in order, each once; `PRAGMA user_version` counts them. Never edit one that was released: add another.
 *
 * Posts have a rowid, since a full-text index needs one and rows may hold 64 KiB, which a WITHOUT ROWID tree spreads badly.
 * The index holds no texts (contentless): those are in the posts. `directs` has what was sealed, and could be read.
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
  `CREATE INDEX introductions ON posts (room, author, session, seq) WHERE kind = 2;
   CREATE TABLE directs (post INTEGER PRIMARY KEY REFERENCES posts, text TEXT NOT NULL) STRICT;
   CREATE VIRTUAL TABLE texts USING fts5(
     text, content = '', contentless_delete = 1, tokenize = 'unicode61 remove_diacritics 2'
   );
   CREATE TABLE people (
     public_key BLOB PRIMARY KEY, name TEXT NOT NULL, form TEXT NOT NULL, seen INTEGER NOT NULL,
     verified INTEGER NOT NULL DEFAULT 0, ignored INTEGER NOT NULL DEFAULT 0
   ) STRICT, WITHOUT ROWID;
   CREATE INDEX people_by_form ON people (form);
   INSERT OR IGNORE INTO people (public_key, name, form, seen) SELECT public_key, name, name, seen FROM contacts;
   CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
   CREATE TABLE lines (id INTEGER PRIMARY KEY, line TEXT NOT NULL) STRICT;`,
  // Filled anew, by and by: to drop the index of a million texts takes 70 ms.
  `DROP TABLE texts;
   DELETE FROM settings WHERE name = 'indexed';
   CREATE VIRTUAL TABLE texts USING fts5(
     text, content = '', contentless_delete = 1,
     tokenize = "unicode61 remove_diacritics 2 categories 'L* N* Co M* So'"
   );`,
  "ALTER TABLE posts ADD COLUMN packed INTEGER NOT NULL DEFAULT 0",
] as const;

/** Only a foreign tool can hold the database; the event loop stands still meanwhile. */
const BUSY_TIMEOUT_MS = 100;
/** The smallest page of SQLite. What is shorter has lost its header, and the pragmas in it mean nothing. */
const HEADER_PAGE_MIN_BYTES = 512;
/** Enough for the schema and the identity, which are the first things written. */
const SALVAGED_BYTES = 256 * 1024;
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

interface IdentityRow {
  signing: Uint8Array;
  sealing: Uint8Array;
  session: number;
}

// Opening.

/** The files of a username, but for their endings; those of the name it was started under, where it is a later one. */
export function baseOf(directory: string, username: string): string {
  const { basename, join } = paths();
  const own = join(directory, fileNameOf(username));
  try {
    const target = fs().readlinkSync(`${own}.sqlite`);
    // A link to elsewhere is the user's.
    return target === basename(target) ? join(directory, basename(target, ".sqlite")) : own;
  } catch {
    return own;
  }
}

/** Lets the database at `path` be found by another name, too. False where that is another identity's. */
export function addName(path: string, username: string): boolean {
  const { basename, dirname, join } = paths();
  const directory = dirname(path);
  const other = `${baseOf(directory, username)}.sqlite`;
  if (other === path || fs().existsSync(other)) return other === path;
  fs().symlinkSync(basename(path), join(directory, `${fileNameOf(username)}.sqlite`));
  return true;
}

function fileNameOf(username: string): string {
  const safe = !/[/\\:\0]/.test(username) && Buffer.byteLength(username) <= FILE_NAME_MAX_BYTES;
  return safe ? username : new Bun.CryptoHasher("sha256").update(username).digest("hex");
}

/**
 * A directory that only we can enter. One that holds other things is the user's own choice (`--data .`, or `/tmp` by
 * root): its mode is not ours to change, and it will do as long as nobody else can write there.
 */
export function prepareDirectory(directory: string): void {
  fs().mkdirSync(directory, { recursive: true, mode: 0o700 });
  const { mode } = fs().statSync(directory);
  if (process.platform === "win32" || (mode & 0o077) === 0) return;
  if (
    fs()
      .readdirSync(directory)
      .every(name => /\.(sqlite(-wal|-shm|-journal)?|lock)$/.test(name))
  )
    fs().chmodSync(directory, 0o700);
  else if ((mode & 0o022) !== 0)
    throw new StoreError("permission", `${directory} can be written by others; use a directory of your own`);
}

/** Takes the lock that the kernel lets go of when the process ends, however it ends. */
export function lockFile(path: string, username: string): Database {
  makePrivate(path);
  const lock = new (sqlite().Database)(path);
  try {
    // Never committed: the file stays empty, and only its lock counts.
    lock.run("BEGIN EXCLUSIVE");
    heldLocks.add(lock);
    return lock;
  } catch (error) {
    lock.close();
    if (!codeOf(error).startsWith("SQLITE_BUSY")) throw error;
    throw new StoreError("locked", `${username} is in use: another p2pchat runs with this identity on this machine`);
  }
}

export function release(lock: Database | undefined): void {
  if (lock === undefined) return;
  lock.close();
  heldLocks.delete(lock);
}

/** Makes a file 0600 before anything is in it. SQLite gives `-wal` and `-shm` the mode of the database. */
function makePrivate(path: string): void {
  try {
    // Only a new file is opened here: closing one that SQLite has open would drop its locks (POSIX).
    fs().closeSync(fs().openSync(path, "wx", 0o600));
    return;
  } catch (error) {
    if (codeOf(error) !== "EEXIST") throw error;
  }
  // SQLite would go on with what it may not write, and fail later with a riddle.
  fs().accessSync(path, fs().constants.R_OK | fs().constants.W_OK);
  if (process.platform === "win32") return;
  for (const file of [path, `${path}-wal`, `${path}-shm`]) {
    const stats = fs().statSync(file, { throwIfNoEntry: false });
    if (stats !== undefined && (stats.mode & 0o077) !== 0) fs().chmodSync(file, 0o600);
  }
}

export function openDatabase(path: string): Database {
  makePrivate(path);
  const database = new (sqlite().Database)(path);
  try {
    database.run(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}`);
    const application = pragma(database, "application_id");
    const version = pragma(database, "user_version");
    const isNew = pragma(database, "schema_version") === 0;
    if (!isNew && fs().statSync(path).size < HEADER_PAGE_MIN_BYTES) throw new StoreError("damaged", damageOf(path));
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

export function readOrMakeIdentity(database: Database): Kept {
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

/** Undefined where none was made yet. */
export function readIdentity(database: Database): Kept | undefined {
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
export function salvage(path: string): Kept | undefined {
  try {
    const image = readStart(path, SALVAGED_BYTES);
    const pageSize = image.readUInt16BE(16) === 1 ? 65_536 : image.readUInt16BE(16);
    if (image.readUInt32BE(68) !== APPLICATION_ID) return undefined;
    // No log, and no more pages than there are here.
    image.writeUInt16BE(0x0101, 18);
    image.writeUInt32BE(Math.floor(image.length / pageSize), 28);
    using database = sqlite().Database.deserialize(image, { readonly: true });
    return readIdentity(database);
  } catch {
    return undefined;
  }
}

function readStart(path: string, length: number): Buffer {
  const file = fs().openSync(path, "r");
  try {
    const buffer = Buffer.alloc(length);
    return buffer.subarray(0, fs().readSync(file, buffer, 0, length, 0));
  } finally {
    fs().closeSync(file);
  }
}

// Errors.

function damageOf(path: string): string {
  return `${path} is damaged or cut short`;
}

/** What went wrong, as the second half of a sentence. */
export function reasonOf(error: unknown, path: string): { readonly fault: StoreFault; readonly reason: string } {
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

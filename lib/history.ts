/**
 * The history of a username, read without joining a room; also while a p2pchat runs under that name.
 */
import type { Database, SQLQueryBindings } from "bun:sqlite";
import type { Address, RoomId } from "./codec/post.ts";
import { codeOf } from "./errors.ts";
import { identityOf } from "./identity.ts";
import { normalForm, sameName } from "./room/names.ts";
import { Archive, type KeptText } from "./store/archive.ts";
import { baseOf, fs, openDatabase, readIdentity, reasonOf, StoreError } from "./store/files.ts";

export interface HistoryFilter {
  /** ms since the epoch. */
  readonly since?: number | undefined;
  /** The latest so many texts. Default: all. */
  readonly limit?: number | undefined;
  /** Said by whoever was called so. */
  readonly member?: string | undefined;
}

/** `own`: said by whoever the history is of. */
export type PastText = KeptText & { readonly own: boolean };

/** The room that one was in last together with somebody. */
export interface LastRoom {
  readonly room: RoomId;
  /** Who was there, the last seen first. */
  readonly names: readonly string[];
  /** Where they listened. */
  readonly addresses: readonly Address[];
}

const LAST_MEMBERS_MAX = 4;

/** What was kept, the oldest first. Throws `StoreError`, whose message is one sentence. */
export function readHistory(directory: string, username: string, filter: HistoryFilter = {}): PastText[] {
  return reading(directory, username, database => {
    const archive = new Archive(<Row>(sql: string) => database.query<Row, SQLQueryBindings[]>(sql));
    const { since, limit = Number.MAX_SAFE_INTEGER, member } = filter;
    const authors = member === undefined ? undefined : archive.authors(name => sameName(name, member));
    const kept = readIdentity(database);
    const self = kept && identityOf(kept.secrets).member;
    // In place: there may be a million of them.
    return archive.history({ limit, since, authors }).map(text => Object.assign(text, { own: text.author === self }));
  });
}

/** Undefined where there was none, or nothing of it can be read. */
export function readLastRoom(directory: string, username: string): LastRoom | undefined {
  try {
    return reading(directory, username, database => {
      using query = database.prepare<{ room: Uint8Array; name: string; addresses: string }, [number]>(
        `SELECT rooms.room, people.name, addresses FROM members JOIN rooms ON id = members.room JOIN people USING (public_key)
         WHERE id = (SELECT id FROM rooms JOIN members ON members.room = id ORDER BY entered DESC LIMIT 1)
         ORDER BY members.seen DESC LIMIT ?`,
      );
      const rows = query.all(LAST_MEMBERS_MAX);
      const [first] = rows;
      if (first === undefined) return undefined;
      const addresses = rows.flatMap(row => JSON.parse(row.addresses) as Address[]);
      return { room: first.room.toHex(), names: rows.map(({ name }) => name), addresses };
    });
  } catch (error) {
    if (error instanceof StoreError) return undefined;
    throw error;
  }
}

function reading<T>(directory: string, username: string, read: (database: Database) => T): T {
  const path = `${baseOf(directory, normalForm(username))}.sqlite`;
  if (!fs().existsSync(path)) throw new StoreError("failed", `nothing is kept of ${username}: there is no ${path}`);
  try {
    using database = openDatabase(path);
    return read(database);
  } catch (error) {
    if (!(error instanceof StoreError) && codeOf(error) === "") throw error;
    const { fault, reason } = reasonOf(error, path);
    throw new StoreError(fault, `the history of ${username} cannot be read: ${reason}`);
  }
}

/**
 * The history of a username, read without joining a room; also while a p2pchat runs under that name.
 */
import type { Statement } from "bun:sqlite";
import { existsSync } from "node:fs";
import { normalForm, sameName } from "./room/names.ts";
import { Archive, type KeptText } from "./store/archive.ts";
import { baseOf, codeOf, openDatabase, reasonOf, StoreError } from "./store/files.ts";

export interface HistoryFilter {
  /** ms since the epoch. */
  readonly since?: number | undefined;
  /** The latest so many texts. Default: all. */
  readonly limit?: number | undefined;
  /** Said by whoever was called so. */
  readonly member?: string | undefined;
}

/** What was kept, the oldest first. Throws `StoreError`, whose message is one sentence. */
export function readHistory(directory: string, username: string, filter: HistoryFilter = {}): KeptText[] {
  const path = `${baseOf(directory, normalForm(username))}.sqlite`;
  if (!existsSync(path)) throw new StoreError("failed", `nothing is kept of ${username}: there is no ${path}`);
  try {
    using database = openDatabase(path);
    const statements = new Map<string, Statement>();
    const archive = new Archive(<Row>(sql: string) => {
      const statement = statements.get(sql) ?? database.prepare(sql);
      statements.set(sql, statement);
      return statement as Statement<Row>;
    });
    const { since, limit = Number.MAX_SAFE_INTEGER, member } = filter;
    const authors = member === undefined ? undefined : archive.authors(name => sameName(name, member));
    return archive.history({ limit, since, authors });
  } catch (error) {
    if (!(error instanceof StoreError) && codeOf(error) === "") throw error;
    const { fault, reason } = reasonOf(error, path);
    throw new StoreError(fault, `the history of ${username} cannot be read: ${reason}`);
  }
}

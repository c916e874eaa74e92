/**
 * What went wrong, and whose fault it is.
 *
 * Three kinds and no more: a peer broke the protocol (`PeerError`: that peer is dropped, the room goes on), the user
 * asked for what cannot be done (`ChatError`: one clear sentence), or we did (`assert`: a bug, it may crash).
 */

/** Everything a peer can do wrong. The set is closed, so a new way to misbehave needs a decision here. */
export type PeerFault =
  | "not_p2pchat"
  | "malformed"
  | "too_large"
  | "bad_version"
  | "bad_binding"
  | "bad_signature"
  | "wrong_key"
  | "own_key"
  | "wrong_peer"
  | "wrong_room"
  | "out_of_turn"
  | "too_slow"
  | "flooding";

/** A peer broke the protocol. `message` is for people and holds nothing that the peer sent. */
export class PeerError extends Error {
  override readonly name = "PeerError";
  constructor(
    readonly fault: PeerFault,
    message: string = fault,
  ) {
    super(message);
  }
}

/** The error codes that scripts see (design, section 8). */
export type ChatErrorCode =
  | "bad_command"
  | "too_long"
  | "no_such_member"
  | "name_taken"
  | "bad_name"
  | "unreachable"
  | "refused"
  | "wrong_key";

/** What the user asked for cannot be done. `message` is one sentence that says why. */
export class ChatError extends Error {
  override readonly name = "ChatError";
  constructor(
    readonly code: ChatErrorCode,
    message: string,
    /** A name that is free, with `name_taken`. */
    readonly suggestion?: string,
  ) {
    super(message);
  }
}

/** The code of an error of the system's or of SQLite's; "" where it has none. */
export function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "";
}

/** Our own fault: the program is wrong, whatever came in. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${message}`);
}

/** Makes a `switch` exhaustive: it no longer compiles once a case is missing. */
export function unreachable(value: never): never {
  throw new Error(`assertion failed: unexpected ${JSON.stringify(value)}`);
}

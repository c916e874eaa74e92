/**
 * What a front (terminal, plain, JSON) sees of a chat: events to show, and the few things a person can do.
 *
 * `ChatEvent` is the contract of JSON mode (design, section 8): one event is one line there. `notice` and `reached` are the
 * exceptions, for people only; JSON mode leaves them out, and says warnings on stderr.
 */
import type { ChatErrorCode } from "../errors.ts";

export interface MemberView {
  readonly name: string;
  /** 16 hex digits. */
  readonly member: string;
  readonly address: string;
  readonly port: number;
  readonly self: boolean;
  /** There is a direct link to this member. */
  readonly linked: boolean;
  /** Round trip of that link; null where there is none or it was not measured yet. */
  readonly rtt_ms: number | null;
}

/** A member, and what it does. */
export interface PresenceView extends MemberView {
  /** Since it last said something; null where that was not in this run. */
  readonly idle_ms: number | null;
  /** Why it is away, perhaps in no words; null while it is not. */
  readonly away: string | null;
  /** Its key was compared with what it is. */
  readonly verified: boolean;
}

/** Somebody, and what is known of the key. */
export interface PersonView {
  readonly name: string;
  /** 16 hex digits. */
  readonly member: string;
  readonly fingerprint: string;
  /** ms since the epoch; null for never. */
  readonly verified: number | null;
  readonly ignored: boolean;
  /** Another key had this name first. */
  readonly other_key_seen: boolean;
  readonly present: PresenceView | null;
}

export interface MessageView {
  /** 16 hex digits. */
  readonly id: string;
  readonly name: string;
  readonly member: string;
  /** As the author wrote it, line feeds included: not yet safe for a terminal. */
  readonly text: string;
  /** ms since the epoch, by the author's clock. */
  readonly at: number;
  readonly own: boolean;
  /** Part of the backlog found on arrival. */
  readonly history: boolean;
  /** An action: `waves` for "Bob waves". */
  readonly action?: true | undefined;
  /** It was there in an earlier run already. */
  readonly seen?: true | undefined;
}

/** A text from the store; `to` says whom a direct one was for. */
export type PastView = MessageView & { readonly to?: string };

export type ChatEvent =
  | {
      readonly event: "listening";
      readonly name: string;
      readonly member: string;
      readonly address: string;
      readonly port: number;
    }
  | {
      readonly event: "join";
      readonly name: string;
      readonly member: string;
      readonly address: string;
      readonly port: number;
      /** Found in the room on arrival. */
      readonly present: boolean;
    }
  | { readonly event: "leave"; readonly name: string; readonly member: string; readonly reason: "quit" | "lost" }
  | ({ readonly event: "message" } & MessageView)
  | ({ readonly event: "direct"; readonly to: string } & MessageView)
  | { readonly event: "rename"; readonly member: string; readonly from: string; readonly to: string }
  | { readonly event: "members"; readonly members: readonly MemberView[] }
  /** What the room is about from now on; `history`: it was so on arrival. */
  | {
      readonly event: "topic";
      readonly name: string;
      readonly member: string;
      readonly text: string;
      readonly at: number;
      readonly history: boolean;
    }
  /** `text`: why; null when it is back. */
  | { readonly event: "away"; readonly name: string; readonly member: string; readonly text: string | null }
  /** So many of those linked to us have the text of this id now. */
  | { readonly event: "reached"; readonly id: string; readonly reached: number; readonly linked: number }
  | { readonly event: "error"; readonly code: ChatErrorCode; readonly message: string }
  | { readonly event: "notice"; readonly level: "info" | "warning"; readonly message: string };

/** Hears of all that happened in a turn of the loop. */
export type ChatListener = (events: readonly ChatEvent[]) => void;

/** What a front can do. Everything that cannot be done throws a `ChatError` with one clear sentence. */
export interface ChatControl {
  /** The name one goes by now. */
  readonly name: string;
  /** Says `text` (one message, it may hold line feeds) to the room. */
  say(text: string): void;
  /** To one member only, found by display name or member id. */
  direct(to: string, text: string): void;
  /** `waves`: all read that one waves. */
  act(text: string): void;
  /** What the room is about; "" for nothing. */
  readonly topic: string;
  setTopic(text: string): void;
  /** Tells all why one is away; null: one is back. */
  setAway(reason: string | null): void;
  /** How many are present, oneself included. */
  readonly presentCount: number;
  /** Everybody present, oneself first. */
  members(): MemberView[];
  /** The same, with what they do. */
  presence(): PresenceView[];
  rename(name: string): void;
  /** Somebody here, or met before. */
  whois(name: string): PersonView;
  /** Words that both can compare; the same on both sides. Takes some 40 ms. */
  phrase(name: string): string;
  setVerified(name: string, verified: boolean): PersonView;
  /** What an ignored key says is not told any more, in later runs neither. */
  setIgnored(name: string, ignored: boolean): PersonView;
  /** Everybody who is ignored. */
  ignored(): PersonView[];
  /** What is said can be asked for later, by the two below. */
  readonly keepsHistory: boolean;
  /** The newest texts with these words, oldest first. */
  search(query: string, limit: number): PastView[];
  /** The last search did not look through everything; the latest may be missing. */
  readonly isSearchBehind: boolean;
  /** The latest texts, of one name if given, oldest first. */
  history(limit: number, name?: string): PastView[];
  /** What a friend types to join. */
  invitation(): string;
  /** What the user chose in this or an earlier run. */
  setting(name: string): string | undefined;
  set(name: string, value: string): void;
  /** Lines typed in earlier runs, the oldest first. */
  typedLines(): string[];
  addTypedLine(line: string): void;
  /** From now on `reached` is told of one's own texts. */
  watchReach(): void;
  /** Resolves when the node can take more texts; a script that pipes faster than the room reads waits here. */
  ready(): Promise<void>;
  /** As long as this holds nothing more is heard: what others say waits in the network, where they feel it. */
  holdWhile(isHeld: () => boolean): void;
  /** Goodbye is being said: nothing more can be. */
  readonly isLeaving: boolean;
  /** Says goodbye, hands over what was said, and ends. Resolves when it is done; a second call gives the same promise. */
  leave(): Promise<void>;
  /** Events in order, in batches as they come. Returns the way to stop. */
  subscribe(listener: ChatListener): () => void;
  /** Settles when the chat has ended, by `leave` or otherwise. */
  readonly ended: Promise<void>;
}

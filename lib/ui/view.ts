/**
 * What a front (terminal, plain, JSON) sees of a chat: events to show, and the few things a person can do.
 *
 * `ChatEvent` is the contract of JSON mode (design, section 8): one event is one line there. `notice` is the exception,
 * for people only; JSON mode leaves it out.
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
}

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
  | { readonly event: "error"; readonly code: ChatErrorCode; readonly message: string }
  | { readonly event: "notice"; readonly level: "info" | "warning"; readonly message: string };

/** What a front can do. Everything that cannot be done throws a `ChatError` with one clear sentence. */
export interface ChatControl {
  /** The name one goes by now. */
  readonly name: string;
  /** Says `text` (one message, it may hold line feeds) to the room. */
  say(text: string): void;
  /** To one member only, found by display name or member id. */
  direct(to: string, text: string): void;
  /** Everybody present, oneself first. */
  members(): MemberView[];
  rename(name: string): void;
  /** Resolves when the node can take more texts; a script that pipes faster than the room reads waits here. */
  ready(): Promise<void>;
  /** Says goodbye, hands over what was said, and ends. Resolves when it is done; a second call gives the same promise. */
  leave(): Promise<void>;
  /** Events in order, in batches as they come. Returns the way to stop. */
  subscribe(listener: (events: readonly ChatEvent[]) => void): () => void;
  /** Settles when the chat has ended, by `leave` or otherwise. */
  readonly ended: Promise<void>;
}

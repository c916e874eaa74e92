/**
 * Getting in: the store that one comes with, and the sentence for each way in which it does not work.
 */
import type { RefusalInfo } from "./codec/message.ts";
import type { Address } from "./codec/post.ts";
import { ChatError } from "./errors.ts";
import type { DialFailure } from "./net/transport.ts";
import { normalForm } from "./room/names.ts";
import { StoreError } from "./store/files.ts";
import { Store } from "./store.ts";

/** A store that cannot be opened, at once or when it is needed, costs the history, not the chat; one that is in use by another process ends it. */
export function openStore(directory: string | undefined, name: string, onTrouble: (message: string) => void): Store {
  if (directory === undefined) return Store.volatile();
  try {
    return Store.claim(directory, normalForm(name), onTrouble);
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    if (error.fault === "locked")
      throw new StoreError(
        "locked",
        `${name} is in use: another p2pchat runs with this identity on this machine; leave there, or take another name`,
      );
    onTrouble(error.message);
    return Store.volatile(error.kept);
  }
}

/** Why a node at that address does not let `name` in, for people. */
export function joinError(failure: unknown, { host, port }: Address, name: string): unknown {
  if (!isDialFailure(failure)) return failure;
  const { reason, message } = failure;
  const at = `${host.includes(":") ? `[${host}]` : host}:${port}`;
  switch (reason) {
    case "name_taken": {
      const suggestion = failure.refusal?.suggestion ?? "";
      const free = suggestion === "" ? "" : `; ${suggestion} is free`;
      return new ChatError("name_taken", `the name ${name} is taken in this room${free}`, suggestion);
    }
    case "wrong_key":
      return new ChatError("wrong_key", `cannot enter the room at ${at}: ${message}`);
    case "bad_name":
      return new ChatError("bad_name", `the room at ${at} does not accept the name ${name}`);
    case "full":
    case "own_key":
    case "wrong_room":
    case "bad_version":
      return new ChatError("refused", `cannot join the room at ${at}: ${message}`);
    default:
      return new ChatError("unreachable", `cannot reach ${at}: ${message}`);
  }
}

function isDialFailure(value: unknown): value is DialFailure & { readonly refusal?: RefusalInfo } {
  return typeof value === "object" && value !== null && "reason" in value && "message" in value;
}

import { describe, expect, test } from "bun:test";
import { assert, ChatError, PeerError, unreachable } from "../lib/errors.ts";

describe("errors", () => {
  test("a peer error says which fault, in words of its own or in one", () => {
    const bare = new PeerError("flooding");
    expect(bare).toBeInstanceOf(Error);
    expect([bare.name, bare.fault, bare.message]).toEqual(["PeerError", "flooding", "flooding"]);
    expect(new PeerError("malformed", "bytes left over").message).toBe("bytes left over");
  });

  test("a chat error carries a code for scripts, a sentence for people, and perhaps a free name", () => {
    const error = new ChatError("name_taken", "Bob is taken", "Bob2");
    expect(error).toBeInstanceOf(Error);
    expect([error.name, error.code, error.message, error.suggestion]).toEqual([
      "ChatError",
      "name_taken",
      "Bob is taken",
      "Bob2",
    ]);
    expect(new ChatError("too_long", "70,000 bytes").suggestion).toBeUndefined();
  });

  test("an assertion that holds is silent, one that fails is neither of the two", () => {
    expect(() => assert(true, "yes")).not.toThrow();
    for (const falsy of [false, 0, "", null, undefined]) {
      const fail = () => assert(falsy, "no");
      expect(fail).toThrow("assertion failed: no");
      expect(fail).not.toThrow(PeerError);
      expect(fail).not.toThrow(ChatError);
    }
  });

  test("a case nobody thought of is our own fault", () => {
    expect(() => unreachable({ type: "odd" } as never)).toThrow('assertion failed: unexpected {"type":"odd"}');
  });
});

import { describe, expect, test } from "bun:test";
import { plainText } from "../../lib/ui/format.ts";
import type { ChatEvent } from "../../lib/ui/view.ts";
import { join, listening, member, message } from "./fake-chat.ts";

const bob = { name: "Bob", member: "00000000000000b0" };

describe("plain", () => {
  const cases: readonly (readonly [ChatEvent, string])[] = [
    [listening, ">INFO: Alice at address 192.168.1.20 is listening at 55107.\n"],
    [message("hello"), "Bob: hello\n"],
    [message("one\ntwo\n\nfour"), "Bob: one\nBob: two\nBob: \nBob: four\n"],
    [{ ...message("mine"), own: true }, ""],
    [{ ...message("from my last run"), own: true, history: true }, "Bob: from my last run\n"],
    [{ ...message("old"), history: true }, "Bob: old\n"],
    [{ ...message("psst"), event: "direct", to: "Alice" }, "Bob (direct): psst\n"],
    [{ ...message("waves"), action: true }, "* Bob waves\n"],
    [{ event: "topic", ...bob, text: "lunch", at: 0, history: false }, ">INFO: Bob set the topic: lunch\n"],
    [{ event: "topic", ...bob, text: "lunch", at: 0, history: true }, ">INFO: The topic is: lunch\n"],
    [{ event: "topic", ...bob, text: "", at: 0, history: false }, ">INFO: Bob cleared the topic.\n"],
    [{ event: "away", ...bob, text: "away" }, ">INFO: Bob is away.\n"],
    [{ event: "away", ...bob, text: "lunch" }, ">INFO: Bob is away: lunch\n"],
    [{ event: "away", ...bob, text: null }, ">INFO: Bob is back.\n"],
    [{ event: "reached", id: "0123456789abcdef", reached: 1, linked: 2 }, ""],
    [join("Bob"), ">INFO: Bob joined.\n"],
    [join("Bob", true), ">INFO: Bob joined.\n"],
    [{ event: "leave", ...bob, reason: "quit" }, ">INFO: Bob left.\n"],
    [{ event: "leave", ...bob, reason: "lost" }, ">INFO: Bob was lost.\n"],
    [{ event: "rename", member: bob.member, from: "Bob", to: "Bert" }, ">INFO: Bob is now Bert.\n"],
    [{ event: "error", code: "bad_name", message: "no\nsuch" }, ">ERROR: no such\n"],
    [{ event: "notice", level: "info", message: "fine" }, ">INFO: fine\n"],
    [{ event: "members", members: [member("Bob", 1.26)] }, ">INFO: Bob  10.0.0.5:4000  linked  1.3 ms\n"],
  ];
  for (const [event, expected] of cases) {
    test(`${JSON.stringify(event).slice(0, 60)} is ${JSON.stringify(expected)}`, () => {
      expect(plainText(event)).toBe(expected);
    });
  }

  test("a text cannot pass for a line of another member, nor for one of ours", () => {
    expect(plainText(message("x\r>INFO: Bob left.\x1b[1A\nCarol: y"))).toBe("Bob: x>INFO: Bob left.\nBob: Carol: y\n");
    expect(plainText({ ...message("x"), name: "Bob: hi\nCarol\x1b[m" })).toBe("Bob: hi Carol: x\n");
  });
});

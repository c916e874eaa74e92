import { expect, test } from "bun:test";
import { compileWhatIsBusy } from "../lib/compiler.ts";
import type { ChatEvent, ChatListener } from "../lib/ui/view.ts";

const text = (history: boolean): ChatEvent => ({
  ...{ event: "message", id: "", name: "Bob", member: "", text: "hi", at: 0, own: false, history },
});
const leave: ChatEvent = { event: "leave", name: "Bob", member: "", reason: "quit" };

test("what is said is compiled once it was said in 500 turns, and history, comings and goings do not count", () => {
  let tell: ChatListener | undefined;
  const policies: number[] = [];
  const subscribe = (listener: ChatListener) => {
    tell = listener;
    return () => {
      tell = undefined;
    };
  };
  compileWhatIsBusy({ subscribe }, scale => policies.push(scale));
  const turns = (count: number, ...events: ChatEvent[]) => {
    for (let turn = 0; turn < count; turn++) tell?.(events);
  };
  turns(1_000, leave);
  turns(1_000, text(true), leave);
  turns(499, ...Array<ChatEvent>(600).fill(text(false)));
  expect(policies).toEqual([]);
  turns(1, leave, text(true), text(false));
  expect([policies, tell]).toEqual([[1], undefined]);
});

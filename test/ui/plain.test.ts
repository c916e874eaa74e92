import { expect, setDefaultTimeout, test } from "bun:test";
import { runPlain } from "../../lib/ui/plain.ts";
import { FakeChat, join, listening, message } from "./fake-chat.ts";
import { run } from "./line-fronts.ts";

// On a busy machine processes and sockets take their time.
setDefaultTimeout(60_000);

test("lines are said, commands are done, own messages are not echoed", async () => {
  const chat = new FakeChat();
  const { output, end } = await run(runPlain, chat, [() => chat.emit(listening), "hello\n//x\n/who\nlast"]);
  expect(chat.said).toEqual(["hello", "/x", "last"]);
  expect(output).toBe(
    ">INFO: Alice at address 192.168.1.20 is listening at 55107.\n>INFO: Alice  192.168.1.20:55107  you\n",
  );
  expect(end).toBe("input");
});

test("lines of one chunk are said at once, and the room is waited for between chunks", async () => {
  const chat = new FakeChat();
  await run(runPlain, chat, ["one\ntwo\nthr", "ee\nfour\n"]);
  expect(chat.done).toEqual(["say one", "say two", "ready", "say three", "say four", "ready"]);
});

test("nothing more is read while the room cannot take it", async () => {
  const chat = new FakeChat();
  const open = Promise.withResolvers<void>();
  const waiting = Promise.withResolvers<void>();
  chat.ready = () => {
    waiting.resolve();
    return open.promise;
  };
  const done = run(runPlain, chat, ["one\n", "two\n"]);
  await waiting.promise;
  expect(chat.said).toEqual(["one"]);
  open.resolve();
  await done;
  expect(chat.said).toEqual(["one", "two"]);
});

/** Has the next line at once, each time, so that nothing is ever waited for; it ends, or a front that starves would not. */
function flood(lines: number): ReadableStream<Uint8Array> {
  const line = Buffer.from("flood\n");
  let left = lines;
  return new ReadableStream({
    pull(controller) {
      left -= 1;
      if (left < 0) controller.close();
      else controller.enqueue(line);
    },
  });
}

test("input that never pauses leaves the loop its turns, and is not read on once the chat is leaving", async () => {
  const chat = new FakeChat();
  setTimeout(() => {
    chat.isLeaving = true;
  });
  const output = { write: () => 0, flush: () => 0 };
  expect(await runPlain(chat, { stay: false, input: flood(1_000_000), output })).toBe("input");
  expect(chat.said.length).toBeLessThan(1_000_000);
});

test("a batch of events is one write", async () => {
  const chat = new FakeChat();
  const { writes } = await run(runPlain, chat, [() => chat.emit(join("Bob"), message("a"), message("b\nc"))]);
  expect(writes).toEqual([">INFO: Bob joined.\nBob: a\nBob: b\nBob: c\n"]);
});

test(":q leaves, and what follows is not said", async () => {
  const chat = new FakeChat();
  const { end } = await run(runPlain, chat, ["one\n:q\ntwo\n", "three\n"]);
  expect(end).toBe("quit");
  expect(chat.said).toEqual(["one"]);
  expect(chat.listeners).toBe(0);
});

test("a text that is too long is refused with its size, and the rest goes on", async () => {
  const chat = new FakeChat();
  const { output } = await run(runPlain, chat, [`${"é".repeat(40_000)}\nshort\n${"x".repeat(1_000_000)}\nend\n`]);
  expect(output).toBe(
    ">ERROR: the text is too long: 80000 bytes, 65536 at most\n>ERROR: the text is too long: 1000000 bytes, 65536 at most\n",
  );
  expect(chat.said).toEqual(["short", "end"]);
});

test("what is not UTF-8 is replaced, and that is said once", async () => {
  const chat = new FakeChat();
  const { output } = await run(runPlain, chat, [Buffer.from("a\xffb\nc\xfed\ngood\n", "latin1")]);
  expect(chat.said).toEqual(["a\ufffdb", "c\ufffdd", "good"]);
  expect(output.match(/>ERROR: the input is not all UTF-8/g)).toHaveLength(1);
});

test("an unknown command is an error and is not said", async () => {
  const chat = new FakeChat();
  const { output } = await run(runPlain, chat, ["/hlep\n"]);
  expect(output).toStartWith(">ERROR: there is no command /hlep: did you mean /help?");
  expect(chat.said).toEqual([]);
});

test("with `stay` the end of the input is not the end, that of the chat is", async () => {
  const chat = new FakeChat();
  const done = run(runPlain, chat, ["hello\n", () => setTimeout(() => chat.leave())], true);
  expect((await done).end).toBe("chat");
  expect(chat.said).toEqual(["hello"]);
});

import { describe, expect, test } from "bun:test";
import { type Key, KeyDecoder } from "../../lib/ui/keys.ts";

/** Keys as short strings: text in quotes, actions bare. Every chunk comes a second after the one before. */
function decode(...chunks: (string | Uint8Array)[]): string[] {
  const decoder = new KeyDecoder();
  return chunks.flatMap((chunk, index) => decoder.decode(Buffer.from(chunk), index * 1_000).map(short));
}

const short = (key: Key) => ("text" in key ? JSON.stringify(key.text) : key.action);

test("text is one key, however long", () => {
  expect(decode("hello 漢字 👩‍👩‍👧‍👦")).toEqual(['"hello 漢字 👩‍👩‍👧‍👦"']);
});

test("control keys act as in a shell", () => {
  expect(decode("\x01\x02\x04\x05\x06\x0b\x0c\x0e\x10\x15\x17\x19\x7f\x03")).toEqual(
    "home left delete-or-quit end right kill-to-end redraw down up kill-to-start kill-blank-word-left yank backspace quit".split(
      " ",
    ),
  );
});

test("arrows, Home, End and Delete are known in their dialects", () => {
  expect(decode("\x1b[A\x1bOB\x1b[C\x1bOD\x1b[H\x1bOF\x1b[1~\x1b[8~\x1b[3~")).toEqual(
    "up down right left home end home end delete".split(" "),
  );
});

test("words are jumped over with Alt-B and Alt-F, and with Ctrl or Alt and an arrow", () => {
  expect(decode("\x1bb\x1bf\x1b[1;5D\x1b[1;5C\x1b[1;3D\x1b\x1b[C\x1bOd\x1bd\x1b\x7f")).toEqual(
    "word-left word-right word-left word-right word-left word-right word-left kill-word-right kill-word-left".split(
      " ",
    ),
  );
});

test("Alt-Enter is a new line, Enter is Enter", () => {
  expect(decode("a\x1b\rb\r")).toEqual(['"a"', "newline", '"b"', "enter"]);
});

test("Tab completes, Ctrl-R searches, and the terminal tells whether it is looked at", () => {
  expect(decode("\t\x1b[Z\x12\x07\x1b[I\x1b[O")).toEqual([
    "complete",
    "complete-back",
    "search",
    "cancel",
    "focus-in",
    "focus-out",
  ]);
});

test("keys nobody knows do nothing: function keys, mouse reports, Alt-x", () => {
  expect(decode("\x1bOP\x1b[15~\x1b[[A\x1b[<0;1;1M\x1bx\x1b[200;1~\x1bé")).toEqual([]);
});

describe("Escape", () => {
  test("is a key of its own, and the letter after it is a letter", () => {
    expect(decode("a\x1b", "b")).toEqual(['"a"', "cancel", '"b"']);
    expect(decode("\x1b\x1b", "b")).toEqual(["cancel", "cancel", '"b"']);
  });

  test("is held until it is known to be no other key, and let go of once", () => {
    const decoder = new KeyDecoder();
    expect([decoder.decode(Buffer.from("\x1b[A"), 0).map(short), decoder.holdsEscape]).toEqual([["up"], false]);
    expect([decoder.decode(Buffer.from("\x1b"), 0), decoder.holdsEscape]).toEqual([[], true]);
    expect([decoder.release().map(short), decoder.holdsEscape]).toEqual([["cancel"], false]);
    expect(decoder.release()).toEqual([]);
    expect(decoder.decode(Buffer.from("b"), 1).map(short)).toEqual(['"b"']);
    // The beginning of something is not let go of.
    decoder.decode(Buffer.from("\x1b["), 2);
    expect([decoder.holdsEscape, decoder.release()]).toEqual([false, []]);
    expect(decoder.decode(Buffer.from("A"), 3).map(short)).toEqual(["up"]);
  });

  test("and a letter at once after it are Alt and the letter", () => {
    const decoder = new KeyDecoder();
    expect([...decoder.decode(Buffer.from("\x1b"), 0), ...decoder.decode(Buffer.from("b"), 20)].map(short)).toEqual([
      "word-left",
    ]);
  });
});

test("what is cut anywhere means the same as in one piece", () => {
  const bytes = Buffer.from("é\x1b[1;5D漢\x1bOC\x1b[200~a\r\n\x1b[3~b\x1b[201~👍🏽\x1b[D");
  const whole = ['"é"', "word-left", '"漢"', "right", '"a\\n\\u001b[3~b"', '"👍🏽"', "left"];
  expect(decode(bytes)).toEqual(whole);
  for (let cut = 1; cut < bytes.length; cut++) {
    const decoder = new KeyDecoder();
    const keys = [...decoder.decode(bytes.subarray(0, cut), 0), ...decoder.decode(bytes.subarray(cut), 1)];
    expect(keys.map(short).join("").replaceAll('""', "")).toBe(whole.join("").replaceAll('""', ""));
  }
});

describe("a paste", () => {
  test("is one text, and presses no keys", () => {
    expect(decode("\x1b[200~one\r\ntwo\rthree\n:q\r\x03\x1b[201~")).toEqual(['"one\\ntwo\\nthree\\n:q\\n\\u0003"']);
  });

  test("may be cut, also in its end mark, and be followed by keys", () => {
    expect(decode("\x1b[200~one\r", "two\x1b[20", "1~\r")).toEqual(['"one\\ntwo"', "enter"]);
  });

  test("without marks is known by several lines in one chunk, the last of them open", () => {
    expect(decode("one\rtwo\rthree")).toEqual(['"one\\ntwo\\nthree"']);
    expect(decode("one\n\n\ttwo")).toEqual(['"one\\n\\n\\ttwo"']);
  });

  test("that is huge is cut at a megabyte and still ends", () => {
    const decoder = new KeyDecoder();
    const chunk = Buffer.alloc(512 * 1024, "x");
    const keys = [Buffer.from("\x1b[200~"), chunk, chunk, chunk, Buffer.from("\x1b[201~y")].flatMap(piece =>
      decoder.decode(piece, 0),
    );
    expect(keys.map(key => ("text" in key ? key.text.length : 0))).toEqual([expect.any(Number), 1]);
    expect(short(keys[0] ?? { text: "" }).length).toBeLessThan(1_100_000);
  });
});

test("lines that were typed ahead are entered one by one", () => {
  expect(decode("one\rtwo\r:q\r")).toEqual(['"one"', "enter", '"two"', "enter", '":q"', "enter"]);
  expect(decode("\r\r")).toEqual(["enter", "enter"]);
});

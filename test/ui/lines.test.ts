import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { LineSplitter, LineWriter, type Sink } from "../../lib/ui/lines.ts";

function split(...chunks: (string | number[] | Uint8Array)[]): (string | number)[] {
  const lines: (string | number)[] = [];
  const splitter = new LineSplitter(
    (text, damaged) => lines.push(damaged ? `damaged: ${text}` : text),
    bytes => lines.push(bytes),
  );
  for (const chunk of chunks) splitter.push(typeof chunk === "string" ? Buffer.from(chunk) : Uint8Array.from(chunk));
  splitter.end();
  return lines;
}

describe("lines in", () => {
  test("a line ends with a line feed, with carriage return and line feed, or with the input", () => {
    expect(split("one\ntwo\r\n\n\r\nlast")).toEqual(["one", "two", "", "", "last"]);
    expect(split("one\n")).toEqual(["one"]);
    expect(split("one\r")).toEqual(["one"]);
    expect(split("")).toEqual([]);
  });

  test("however the bytes are cut, the lines are the same", () => {
    const text = "Grüße\r\n漢字 👩‍👩‍👧‍👦\n\n\nlast é";
    const bytes = [...Buffer.from(text)];
    const whole = ["Grüße", "漢字 👩‍👩‍👧‍👦", "", "", "last é"];
    expect(split(...bytes.map(byte => [byte]))).toEqual(whole);
    fc.assert(
      fc.property(fc.array(fc.nat({ max: bytes.length }), { maxLength: 8 }), cuts => {
        const edges = [0, ...cuts.sort((a, b) => a - b), bytes.length];
        expect(split(...edges.slice(1).map((end, index) => bytes.slice(edges[index], end)))).toEqual(whole);
      }),
    );
  });

  test("only the damaged lines are called so, and they keep what is sound", () => {
    const bytes = [...Buffer.from("good\nb"), 0xff, ...Buffer.from("d\r\nsound \ufffd\n"), 0xc3];
    expect(split(bytes)).toEqual(["good", "damaged: b\ufffdd", "sound \ufffd", "damaged: \ufffd"]);
  });

  test("a byte order mark is no part of the first line, but of any other", () => {
    expect(split("\ufeffone\n\ufefftwo\n")).toEqual(["one", "\ufefftwo"]);
  });

  test("a line without an end is counted, not kept, and the next one is heard", () => {
    const chunk = new Uint8Array(64 * 1024).fill(0x78);
    const lines = split("before\n", ...Array.from({ length: 20 }, () => chunk), "x\nafter\n");
    expect(lines).toEqual(["before", 20 * 64 * 1024 + 1, "after"]);
    expect(split(...Array.from({ length: 20 }, () => chunk))).toEqual([20 * 64 * 1024]);
  });
});

describe("lines out", () => {
  /** A sink whose reader takes something only when told so. */
  class SlowSink implements Sink {
    readonly written: string[] = [];
    take: (() => void) | undefined;
    fail: ((error: Error) => void) | undefined;
    write(text: string): Promise<number> {
      this.written.push(text);
      const { promise, resolve, reject } = Promise.withResolvers<number>();
      this.take = () => resolve(text.length);
      this.fail = reject;
      return promise;
    }
    flush(): number {
      return 0;
    }
  }

  test("what comes while the reader is slow goes out in one piece, in order", async () => {
    const sink = new SlowSink();
    const writer = new LineWriter(sink);
    for (const text of ["a", "b", "", "c"]) writer.write(text);
    expect(sink.written).toEqual(["a"]);
    const end = writer.end();
    sink.take?.();
    await Promise.resolve();
    await Promise.resolve();
    expect(sink.written).toEqual(["a", "bc"]);
    sink.take?.();
    await end;
  });

  test("what is long is made as it is taken, between what was written before and after", async () => {
    const sink = new SlowSink();
    const writer = new LineWriter(sink);
    let made = 0;
    const pieces = ["1", "2", "3"].values().map(piece => {
      made += 1;
      return piece;
    });
    for (const text of ["a", "b"]) writer.write(text);
    writer.writeLong(pieces);
    writer.write("c");
    const end = writer.longTaken;
    for (const [written, count] of [
      ["b1", 1],
      ["2", 2],
      ["3", 3],
      ["c", 3],
    ] as const) {
      sink.take?.();
      for (let turn = 0; turn < 3; turn += 1) await Promise.resolve();
      expect([sink.written.at(-1), made]).toEqual([written, count]);
    }
    await end;
  });

  test("a reader that has gone closes the writer, and later writes are dropped", async () => {
    const sink = new SlowSink();
    const writer = new LineWriter(sink);
    writer.write("a");
    sink.fail?.(new Error("EPIPE"));
    await writer.closed;
    writer.write("b");
    await writer.end();
    expect(sink.written).toEqual(["a"]);
  });

  test("what cannot be written for another reason is kept as the failure", async () => {
    for (const [code, failure] of [
      ["EPIPE", undefined],
      ["ENOSPC", "ENOSPC"],
    ] as const) {
      const sink = new SlowSink();
      const writer = new LineWriter(sink);
      writer.write("a");
      sink.fail?.(Object.assign(new Error(code), { code }));
      await writer.closed;
      expect(writer.failure?.message).toBe(failure);
    }
  });

  test("a reader that takes nothing is waited for, and given up before it costs all memory, at the end of a line", async () => {
    const sink = new SlowSink();
    const writer = new LineWriter(sink);
    const piece = `${"x".repeat(1024 * 1024)}\n`;
    const behind = Array.from({ length: 8 }, () => {
      writer.write(piece);
      return writer.isBehind;
    });
    expect(behind).toEqual([false, false, false, false, true, true, true, true]);
    expect(writer.failure).toBeUndefined();
    for (let written = 0; written < 70; written++) writer.write(piece);
    await writer.closed;
    expect([writer.failure?.message, writer.isBehind]).toEqual(["nobody takes what waits for it", false]);
    // What was begun is whole when the end has come.
    const end = writer.end();
    sink.take?.();
    await end;
    expect(sink.written).toEqual([piece]);
  });
});

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Reader, Writer } from "../../lib/codec/bytes.ts";
import { PeerError } from "../../lib/errors.ts";

/** One value of each kind the writer knows, in any order. */
const piece = fc.oneof(
  fc.record({ kind: fc.constant("u8" as const), value: fc.integer({ min: 0, max: 0xff }) }),
  fc.record({ kind: fc.constant("u16" as const), value: fc.integer({ min: 0, max: 0xffff }) }),
  fc.record({ kind: fc.constant("u32" as const), value: fc.integer({ min: 0, max: 0xffff_ffff }) }),
  fc.record({ kind: fc.constant("u64" as const), value: fc.maxSafeNat() }),
  fc.record({ kind: fc.constant("raw" as const), value: fc.uint8Array({ maxLength: 300 }) }),
  fc.record({
    kind: fc.constant("text" as const),
    value: fc.string({ unit: "binary", maxLength: 60 }),
  }),
);

function faultOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof PeerError) return error.fault;
    throw error;
  }
  return "none";
}

describe("writer and reader", () => {
  test("numbers are big endian", () => {
    const bytes = new Writer().u8(1).u16(0x0203).u32(0x04050607).u64(0x08090a0b0c0d).finish();
    expect(bytes.toHex()).toBe("01020304050607000008090a0b0c0d");
  });

  test("whatever is written is read back, however small the writer began", () => {
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 30 }), fc.integer({ min: 0, max: 64 }), (pieces, sizeHint) => {
        const writer = new Writer(sizeHint);
        for (const part of pieces) {
          if (part.kind === "raw") writer.raw(part.value);
          else if (part.kind === "text") writer.text(part.value);
          else writer[part.kind](part.value);
        }
        const reader = new Reader(writer.finish());
        for (const part of pieces) {
          if (part.kind === "raw") expect(new Uint8Array(reader.take(part.value.length))).toEqual(part.value);
          else if (part.kind === "text") expect(reader.text(255)).toBe(part.value);
          else expect(reader[part.kind]()).toBe(part.value);
        }
        reader.end();
      }),
    );
  });

  test("a length can be patched in after the writer has grown", () => {
    const bytes = new Writer(4).u32(0).raw(new Uint8Array(100)).patchU32(0, 100).finish();
    expect(new Reader(bytes).u32()).toBe(100);
    expect(bytes.length).toBe(104);
  });

  test("a writer refuses numbers that a double cannot hold, and texts over 255 bytes", () => {
    expect(() => new Writer().u64(2 ** 53)).toThrow("exact");
    expect(() => new Writer().u64(-1)).toThrow("exact");
    expect(() => new Writer().u64(1.5)).toThrow("exact");
    expect(() => new Writer().text("x".repeat(256))).toThrow("fits");
    expect(new Writer().text("x".repeat(255)).length).toBe(256);
  });

  test("the largest exact number is read, the next one is refused", () => {
    expect(new Reader(Buffer.from("001fffffffffffff", "hex")).u64()).toBe(Number.MAX_SAFE_INTEGER);
    expect(faultOf(() => new Reader(Buffer.from("0020000000000000", "hex")).u64())).toBe("malformed");
    expect(faultOf(() => new Reader(Buffer.from("ffffffffffffffff", "hex")).u64())).toBe("malformed");
  });

  test("nothing is read past the end, and nothing may be left over", () => {
    for (const read of ["u8", "u16", "u32", "u64"] as const)
      expect(faultOf(() => new Reader(new Uint8Array(0))[read]())).toBe("malformed");
    expect(faultOf(() => new Reader(new Uint8Array(3)).take(4))).toBe("malformed");
    expect(faultOf(() => new Reader(new Uint8Array(1)).end())).toBe("malformed");
    expect(faultOf(() => new Reader(new Uint8Array(0)).end())).toBe("none");
  });

  test("a reader stays inside the view it was given", () => {
    const whole = Uint8Array.from({ length: 16 }, (_, index) => index);
    const reader = new Reader(whole.subarray(4, 8));
    expect(reader.u32()).toBe(0x04050607);
    expect(faultOf(() => reader.u8())).toBe("malformed");
  });

  test("a short text over its limit is too large, one that is not UTF-8 is malformed", () => {
    expect(faultOf(() => new Reader(Buffer.from("0461626364", "hex")).text(3))).toBe("too_large");
    for (const broken of ["01ff", "02c0af", "03eda080", "02e282", "04f4908080"])
      expect(faultOf(() => new Reader(Buffer.from(broken, "hex")).text(255))).toBe("malformed");
  });

  test("a byte order mark is a character like any other", () => {
    expect(new Reader(Buffer.from("03efbbbf", "hex")).text(255)).toBe("\ufeff");
  });
});

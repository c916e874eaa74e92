import { describe, expect, test } from "bun:test";
import { POST_HEADER_BYTES, SIGNATURE_BYTES } from "../lib/codec/post.ts";
import { limits } from "../lib/limits.ts";
import { rowsOf } from "./codec/page.ts";

describe("limits", () => {
  test("every limit is a whole number above zero", () => {
    for (const [name, value] of Object.entries(limits)) {
      expect(Number.isSafeInteger(value), name).toBe(true);
      expect(value, name).toBeGreaterThan(0);
    }
  });

  test("a name says its unit where it is a size or a time", () => {
    for (const name of Object.keys(limits)) {
      if (/(timeout|interval|delay|backoff|pause|idle|yield)/i.test(name)) expect(name).toMatch(/(Ms|RoundTrips)$/i);
      if (/(frame|body|credit|queue|host)/i.test(name)) expect(name).toMatch(/Bytes$/);
    }
  });

  test("a post with a full body fits a frame, and so does the largest digest", () => {
    expect(1 + POST_HEADER_BYTES + limits.bodyMaxBytes + SIGNATURE_BYTES).toBeLessThanOrEqual(limits.frameMaxBytes);
    expect(4 + limits.digestEntriesMax * 24).toBeLessThanOrEqual(limits.frameMaxBytes);
  });

  test("the hello of the longest name fits the first frame", () => {
    const fixed = 1 + 4 + 1 + 16 + 32 + 8 + 1 + 1 + 32 + 64;
    expect(fixed + limits.nameMaxBytes).toBeLessThanOrEqual(limits.handshakeFrameMaxBytes);
  });

  test("short texts fit the one byte of their length", () => {
    expect(limits.nameMaxBytes).toBeLessThanOrEqual(255);
    expect(limits.hostMaxBytes).toBeLessThanOrEqual(255);
  });

  test("the refusal with the most addresses fits the first frame only when hosts are short", () => {
    // Hosts are mostly IP addresses of at most 45 characters; a frame of 1 KiB holds eight of them.
    expect(1 + 1 + 1 + limits.nameMaxBytes + 1 + limits.addressesMax * (1 + 45 + 2)).toBeLessThanOrEqual(
      limits.handshakeFrameMaxBytes,
    );
  });
});

describe("the page", () => {
  test("PROTOCOL.md states the limits that hold", () => {
    const number = (value: number) => value.toLocaleString("en-US");
    const seconds = (value: number) => `${value / 1000} s`;
    const mebibytes = (value: number) => `${value / 2 ** 20} MiB`;
    expect(rowsOf("Limits")).toEqual([
      [
        "frame before and after the handshake",
        `${number(limits.handshakeFrameMaxBytes)} and ${number(limits.frameMaxBytes)} bytes`,
      ],
      ["body of a post", `${number(limits.bodyMaxBytes)} bytes`],
      ["name", `${limits.nameMaxCharacters} characters, ${limits.nameMaxBytes} bytes`],
      ["host", `1 to ${limits.hostMaxBytes} bytes, each from \`!\` to \`~\` (printable ASCII)`],
      ["hosts in an `add`, addresses in a `refuse`", `${limits.addressesMax}`],
      ["entries in `have`, `want`, `prune`", number(limits.digestEntriesMax)],
      ["first byte, whole handshake", `${seconds(limits.firstByteTimeoutMs)}, ${seconds(limits.handshakeTimeoutMs)}`],
      ["members, sessions known", `${number(limits.membersMax)}, ${number(limits.sessionsMax)}`],
      [
        "posts kept for others",
        `${number(limits.logMaxPosts)}, and ${mebibytes(limits.logMaxBytes)}; ${limits.logMaxAgeMs / 86_400_000} days`,
      ],
      [
        "posts kept ahead of a hole, a session",
        `${limits.aheadMaxPosts}, and ${mebibytes(limits.aheadMaxBytes)}; over all sessions ${mebibytes(limits.aheadTotalMaxBytes)}`,
      ],
      [
        "answers to `compare` and `list`, a link",
        `${limits.comparesBurst} in a row, then one in ${seconds(limits.compareAgainMs)}`,
      ],
    ]);
  });
});

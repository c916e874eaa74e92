/**
 * Reads the golden vectors out of lib/codec/PROTOCOL.md, so that the page, the code and these tests cannot drift apart.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { FRAME_HEADER_BYTES } from "../../lib/codec/frame.ts";
import { assert } from "../../lib/errors.ts";
import type { Secrets } from "../../lib/identity.ts";

/** One fenced block: what the JSON above its `--` says, and the bytes below. */
export interface Vector {
  readonly json: unknown;
  readonly bytes: Buffer;
}

const page = readFileSync(join(import.meta.dir, "../../lib/codec/PROTOCOL.md"), "utf8");
const blocks = new Map<string, string>();
for (const [, title = "", text = ""] of page.matchAll(/^```vector (.+)\n([\s\S]*?)\n```$/gm)) {
  assert(!blocks.has(title), `one vector is called ${title}`);
  blocks.set(title, text);
}

/** The lines of a block. */
export function linesOf(title: string): string[] {
  const block = blocks.get(title);
  assert(block !== undefined, `PROTOCOL.md has the vector ${title}`);
  return block.split("\n");
}

export function vector(title: string): Vector {
  const lines = linesOf(title);
  const end = lines.indexOf("--");
  assert(end > 0, `the vector ${title} has JSON and bytes`);
  const hex = lines.slice(end + 1).map(line => line.split("  ", 1)[0] ?? "");
  for (const digits of hex) assert(/^([0-9a-f]{2})+$/.test(digits), `hex in the vector ${title}: ${digits}`);
  return { json: JSON.parse(lines.slice(0, end).join("\n")), bytes: Buffer.from(hex.join(""), "hex") };
}

/** The titles of all blocks of one kind, without the kind. */
export function titlesOf(kind: string): string[] {
  return [...blocks.keys()].filter(title => title.startsWith(`${kind} `)).map(title => title.slice(kind.length + 1));
}

/** Puts bytes where the page has hex digits. */
export function withBytes(json: unknown, fields: readonly string[]): unknown {
  return JSON.parse(JSON.stringify(json), (key, value) =>
    fields.includes(key) && typeof value === "string" ? new Uint8Array(Buffer.from(value, "hex")) : value,
  );
}

/** Views and buffers as plain byte arrays, so that two values can be compared whatever their bytes lie in. */
export function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return new Uint8Array(value);
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, field]) => [key, plain(field)]));
}

/** A frame with this in it. */
export function framed(body: Uint8Array): Buffer {
  const header = Buffer.alloc(FRAME_HEADER_BYTES);
  header.writeUInt32BE(body.length);
  return Buffer.concat([header, body]);
}

export const hex = (digits: string): Uint8Array => new Uint8Array(Buffer.from(digits, "hex"));

export const room = "000102030405060708090a0b0c0d0e0f";

/** RFC 8032, 7.1, tests 1 and 2, for signing; RFC 7748, 6.1, Alice and Bob, for sealing. */
export const aliceSecrets: Secrets = {
  signing: hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"),
  sealing: hex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"),
};
export const bobSecrets: Secrets = {
  signing: hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"),
  sealing: hex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"),
};

/** The rows of the table under a heading, without its head: cells, trimmed. */
export function rowsOf(heading: string): string[][] {
  const section = page.split(/^#+ /m).find(text => text.startsWith(`${heading}\n`));
  assert(section !== undefined, `PROTOCOL.md has the heading ${heading}`);
  const lines = section.split("\n").filter(line => line.startsWith("|"));
  return lines.slice(2).map(line =>
    line
      .slice(1, -1)
      .split("|")
      .map(cell => cell.trim()),
  );
}

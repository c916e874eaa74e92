import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { identityOf, newSecrets, phraseOf } from "../lib/identity.ts";
import { limits } from "../lib/limits.ts";
import { directMaxBytes, type Envelope, openBox, openDirect, readerOf, sealBox, sealDirect } from "../lib/seal.ts";

const hex = (digits: string) => Buffer.from(digits, "hex");
const alice = identityOf(newSecrets());
const bob = identityOf(newSecrets());
const eve = identityOf(newSecrets());
const envelope: Envelope = {
  room: "a1".repeat(16),
  authorKey: alice.publicKey,
  readerKey: bob.publicKey,
  session: 1_764_000_000_000,
  seq: 7,
};
const sealed = (text: string) => sealDirect(text, bob.member, bob.sealKey, envelope);
const opened = (body: Uint8Array, changes: Partial<Envelope> = {}, reader = bob) =>
  openDirect(body, reader.secrets.sealing, { ...envelope, ...changes });

describe("a box", () => {
  // RFC 9180, A.1.1. There is no vector with X25519 and AES-256-GCM: it differs by one number and the length of the key.
  const aead = { id: 1, cipher: "aes-128-gcm", keyBytes: 16 } as const;
  const info = hex("4f6465206f6e2061204772656369616e2055726e");
  const aad = hex("436f756e742d30");
  const plain = hex("4265617574792069732074727574682c20747275746820626561757479");
  const ephemeral = hex("52c4a758a802cd8b936eceea314432798d5baf2d7e9235dc084ab1b9cfa2f736");
  const secret = hex("4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8");
  const sealKey = hex("3948cfe0ad1ddb695d780e59077195da6c56506b027329794ab02bca80815c4d");
  const box = hex(
    "37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431" +
      "f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a96d8770ac83d07bea87e13c512a",
  );

  test("is that of RFC 9180", () => {
    expect(Buffer.from(sealBox(plain, sealKey, info, aad, ephemeral, aead))).toEqual(box);
    expect(Buffer.from(openBox(box, secret, info, aad, aead) ?? [])).toEqual(plain);
  });

  test("of another suite does not open", () => {
    expect(openBox(box, secret, info, aad)).toBeUndefined();
  });
});

describe("a direct message", () => {
  test("is read by its reader, whatever it says", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme", maxLength: 300 }), text => {
        expect(opened(sealed(text))).toBe(text);
      }),
    );
    expect(readerOf(sealed("x"))).toBe(bob.member);
  });

  test("is read by nobody else, its author and its relays among them", () => {
    expect(opened(sealed("psst"), {}, eve)).toBeUndefined();
    expect(opened(sealed("psst"), {}, alice)).toBeUndefined();
    expect(Buffer.from(sealed("psst")).includes("psst")).toBe(false);
  });

  test("never looks the same twice", () => {
    expect(sealed("psst")).not.toEqual(sealed("psst"));
  });

  const bindings: readonly (readonly [string, Partial<Envelope>])[] = [
    ["in another room", { room: "b2".repeat(16) }],
    ["under another author", { authorKey: eve.publicKey }],
    ["for another reader", { readerKey: eve.publicKey }],
    ["in another session", { session: envelope.session + 1 }],
    ["under another number", { seq: envelope.seq + 1 }],
  ];
  for (const [name, changes] of bindings) {
    test(`does not open ${name}`, () => {
      expect(opened(sealed("psst"), changes)).toBeUndefined();
    });
  }

  test("with any bit changed, or cut anywhere, does not open", () => {
    const body = sealed("psst");
    for (let bit = 8 * 8; bit < body.length * 8; bit++) {
      const changed = Buffer.from(body);
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      // The top bit of an X25519 key is ignored (RFC 7748, 5), but it is part of what the key is derived from.
      expect(opened(changed)).toBeUndefined();
    }
    for (let length = 0; length < body.length; length++) expect(opened(body.subarray(0, length))).toBeUndefined();
    expect(readerOf(body.subarray(0, 55))).toBeUndefined();
  });

  test("with an ephemeral key that gives no secret does not open", () => {
    const body = Buffer.from(sealed("psst"));
    body.fill(0, 8, 40);
    expect(opened(body)).toBeUndefined();
  });

  test("may be as long as a post takes", () => {
    expect(sealed("x".repeat(directMaxBytes))).toHaveLength(limits.bodyMaxBytes);
  });
});

describe("a phrase to compare", () => {
  test("is the same on both sides, and another one for any other key", () => {
    const phrase = phraseOf(alice.publicKey, bob.publicKey);
    expect(phrase).toMatch(/^([bdfghjklmnprstvz][aiou]){2}[bdfghjklmnprstvz]( \w{5}){4}$/);
    expect(phraseOf(bob.publicKey, alice.publicKey)).toBe(phrase);
    expect(phraseOf(alice.publicKey, eve.publicKey)).not.toBe(phrase);
  });

  test("never changes between versions, since two must agree", () => {
    expect(phraseOf(new Uint8Array(32), new Uint8Array(32).fill(1))).toBe("kurab kodis gadov forog kuhob");
  });
});

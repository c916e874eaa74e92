import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { memberIdOf } from "../lib/codec/post.ts";
import { fingerprintOf, identityOf, newSecrets, verifySignature } from "../lib/identity.ts";
import { hex } from "./codec/page.ts";

const SEALING = hex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");

/** RFC 8032, section 7.1, tests 1 to 3: private key, public key, message, signature. */
const SIGNATURES = [
  [
    "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
    "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
    "",
    "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
  ],
  [
    "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
    "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
    "72",
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
  ],
  [
    "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
    "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
    "af82",
    "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
  ],
] as const;

/** RFC 7748, section 6.1: private and public keys of Alice and Bob. */
const SEAL_KEYS = [
  [
    "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
    "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
  ],
  [
    "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
    "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
  ],
] as const;

/** Points of small order on edwards25519 in their encodings, canonical or not, and what is no point at all. */
const ODD_KEYS = [
  "0000000000000000000000000000000000000000000000000000000000000000",
  "0100000000000000000000000000000000000000000000000000000000000000",
  "0100000000000000000000000000000000000000000000000000000000000080",
  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
  "0200000000000000000000000000000000000000000000000000000000000000",
  "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
].map(hex);

const [, alicePublic, , aliceOfNothing] = SIGNATURES[0];

describe("signing", () => {
  test.each(SIGNATURES)("RFC 8032: private key %s", (secret, publicKey, message, signature) => {
    const identity = identityOf({ signing: hex(secret), sealing: SEALING });
    expect(Buffer.from(identity.publicKey).toString("hex")).toBe(publicKey);
    expect(Buffer.from(identity.sign(hex(message))).toString("hex")).toBe(signature);
    expect(verifySignature(hex(publicKey), hex(message), hex(signature))).toBe(true);
    expect(verifySignature(hex(publicKey), Buffer.concat([hex(message), Buffer.of(0)]), hex(signature))).toBe(false);
  });

  test("a signature with one bit changed is by nobody", () => {
    for (let bit = 0; bit < 512; bit++) {
      const changed = hex(aliceOfNothing);
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(verifySignature(hex(alicePublic), new Uint8Array(0), changed)).toBe(false);
    }
  });

  test("a signature has one form: S plus the group order is refused (RFC 8032, 5.1.7)", () => {
    const order = 2n ** 252n + 27742317777372353535851937790883648493n;
    const bytes = Buffer.from(aliceOfNothing, "hex");
    const scalar = BigInt(`0x${Buffer.from(bytes.subarray(32)).reverse().toString("hex")}`) + order;
    Buffer.from(scalar.toString(16).padStart(64, "0"), "hex").reverse().copy(bytes, 32);
    expect(verifySignature(hex(alicePublic), new Uint8Array(0), bytes)).toBe(false);
  });

  test("keys and signatures of a wrong length give false", () => {
    for (const length of [0, 31, 33, 64])
      expect(verifySignature(new Uint8Array(length), new Uint8Array(0), hex(aliceOfNothing))).toBe(false);
    for (const length of [0, 63, 65])
      expect(verifySignature(hex(alicePublic), new Uint8Array(0), new Uint8Array(length))).toBe(false);
  });

  test("points of small order and no points at all never throw, and verify nothing honest", () => {
    for (const key of ODD_KEYS) {
      expect(verifySignature(key, new Uint8Array(0), hex(aliceOfNothing))).toBe(false);
      for (const other of ODD_KEYS) {
        const signature = Buffer.concat([other, new Uint8Array(32)]);
        expect(verifySignature(key, Buffer.from("x"), signature)).toBeBoolean();
        expect(verifySignature(hex(alicePublic), Buffer.from("x"), signature)).toBe(false);
      }
    }
  });

  test("whatever bytes come as key, text and signature, the answer is no", () => {
    const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
    fc.assert(
      fc.property(bytes(32), fc.uint8Array({ maxLength: 50 }), bytes(64), (key, text, signature) => {
        // A random key of small order would be one in 2^252.
        expect(verifySignature(key, text, signature)).toBe(false);
      }),
    );
  });

  test("views into larger buffers are signed and checked like copies", () => {
    const identity = identityOf({ signing: hex(SIGNATURES[1][0]), sealing: SEALING });
    const text = Buffer.from("ff72ff", "hex").subarray(1, 2);
    const signature = identity.sign(text);
    expect(Buffer.from(signature).toString("hex")).toBe(SIGNATURES[1][3]);
    const packed = Buffer.concat([Buffer.of(9), identity.publicKey, signature, Buffer.of(9)]);
    expect(verifySignature(packed.subarray(1, 33), text, packed.subarray(33, 97))).toBe(true);
  });
});

describe("identity", () => {
  test.each(SEAL_KEYS)("RFC 7748: sealing key %s", (secret, sealKey) => {
    const identity = identityOf({ signing: hex(SIGNATURES[0][0]), sealing: hex(secret) });
    expect(Buffer.from(identity.sealKey).toString("hex")).toBe(sealKey);
  });

  test("the member id is the hash of the public key", () => {
    const identity = identityOf({ signing: hex(SIGNATURES[0][0]), sealing: SEALING });
    expect(identity.member).toBe(memberIdOf(identity.publicKey));
    expect(identity.member).toMatch(/^[0-9a-f]{16}$/);
  });

  test("the same secrets make the same identity, new ones another", () => {
    const secrets = newSecrets();
    expect(secrets.signing).toHaveLength(32);
    expect(secrets.sealing).toHaveLength(32);
    expect(secrets.signing).not.toEqual(secrets.sealing);
    expect(identityOf(secrets).member).toBe(identityOf({ ...secrets }).member);
    expect(identityOf(secrets).member).not.toBe(identityOf(newSecrets()).member);
  });

  test("whatever it is asked for first, it is the same identity", () => {
    const text = Buffer.from("hello");
    for (const secrets of [newSecrets(), newSecrets(), newSecrets()]) {
      const [one, other] = [identityOf(secrets), identityOf(secrets)];
      const signature = one.sign(text);
      expect(one.sealKey).toEqual(other.sealKey);
      expect(one.member).toBe(other.member);
      expect(one.publicKey).toEqual(other.publicKey);
      expect(one.publicKey).toBe(one.publicKey);
      expect(verifySignature(other.publicKey, text, signature)).toBe(true);
    }
  });

  test("secrets that are too short make no identity", async () => {
    for (const length of [0, 31]) {
      expect(() => identityOf({ signing: new Uint8Array(length), sealing: SEALING }).publicKey).toThrow();
      expect(() => identityOf({ signing: SEALING, sealing: new Uint8Array(length) }).sealKey).toThrow();
    }
  });

  test("a fingerprint is 80 bits of the key's SHA-256 in groups of four digits", () => {
    // sha256 of 32 zero bytes: 66687aadf862bd776c8fc18b8e9f8e20…
    expect(fingerprintOf(new Uint8Array(32))).toBe("6668 7aad f862 bd77 6c8f");
  });
});

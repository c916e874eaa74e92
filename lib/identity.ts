/**
 * Who a member is: an Ed25519 key pair (RFC 8032) that signs, and an X25519 key (RFC 7748) that direct messages are
 * sealed for. Keys travel and are stored as raw 32 bytes; the DER wrappings around them are those of RFC 8410.
 *
 * Nothing else than `node:crypto` signs without waiting, but loading it takes longer than any other step of a start. So it
 * is loaded when something is signed or checked, or somebody asks for a public key, and a node listens before that.
 */
import type { KeyObject } from "node:crypto";
import { KEY_BYTES, type MemberId, memberIdOf, SIGNATURE_BYTES } from "./codec/post.ts";
import { assert } from "./errors.ts";

/** What is kept in the store: both private keys, raw. */
export interface Secrets {
  readonly signing: Uint8Array;
  readonly sealing: Uint8Array;
}

export interface Identity {
  readonly member: MemberId;
  readonly publicKey: Uint8Array;
  /** Public half of the sealing key. */
  readonly sealKey: Uint8Array;
  readonly secrets: Secrets;
  sign(bytes: Uint8Array): Uint8Array;
}

const PRIVATE_ED25519 = Buffer.from("302e020100300506032b657004220420", "hex");
const PRIVATE_X25519 = Buffer.from("302e020100300506032b656e04220420", "hex");
const PUBLIC_ED25519 = Buffer.from("302a300506032b6570032100", "hex");
const PUBLIC_X25519 = Buffer.from("302a300506032b656e032100", "hex");

/** Five words of 16 bits. Guessing two keys that give one phrase takes 2^40 tries, each as slow as scrypt is. */
const PHRASE_BYTES = 10;
const PHRASE_COST = 2 ** 14;

let loaded: typeof import("node:crypto") | undefined;

/** `node:crypto`, loaded by the first who needs it. */
export function nodeCrypto(): typeof import("node:crypto") {
  loaded ??= require("node:crypto") as typeof import("node:crypto");
  return loaded;
}

/** New private keys from the system's random source. */
export function newSecrets(): Secrets {
  const random = () => crypto.getRandomValues(new Uint8Array(KEY_BYTES));
  return { signing: random(), sealing: random() };
}

/** Of these private keys, 32 bytes each. They are read, and everything public is computed, when somebody asks for it. */
export function identityOf(secrets: Secrets): Identity {
  const key = once(() => privateKey(PRIVATE_ED25519, secrets.signing));
  const publicKey = once(() => publicHalf(key()));
  const sealKey = once(() => sealKeyOf(secrets.sealing));
  const member = once(() => memberIdOf(publicKey()));
  return {
    secrets,
    get member() {
      return member();
    },
    get publicKey() {
      return publicKey();
    },
    get sealKey() {
      return sealKey();
    },
    sign: bytes => nodeCrypto().sign(null, bytes, key()),
  };
}

function once<T>(make: () => T): () => T {
  let made: T | undefined;
  return () => {
    made ??= make();
    return made;
  };
}

/** Whether `signature` over `bytes` is by the holder of `publicKey`. False for anything malformed; never throws. */
export function verifySignature(publicKey: Uint8Array, bytes: Uint8Array, signature: Uint8Array): boolean {
  if (publicKey.length !== KEY_BYTES || signature.length !== SIGNATURE_BYTES) return false;
  const { createPublicKey, verify } = nodeCrypto();
  try {
    const key = createPublicKey({ key: wrapped(PUBLIC_ED25519, publicKey), format: "der", type: "spki" });
    return verify(null, bytes, key, signature);
  } catch {
    return false;
  }
}

/** What people compare to know a key: the first 80 bits of its SHA-256, in groups of four hex digits. */
export function fingerprintOf(publicKey: Uint8Array): string {
  const digits = new Bun.CryptoHasher("sha256").update(publicKey).digest("hex").slice(0, 20);
  return digits.replace(/(.{4})(?=.)/g, "$1 ");
}

/**
 * What two people read to each other to know that nobody stands between them: made of both keys, the same on both sides,
 * in words that can be spoken (proquints, arXiv:0901.4016). It takes some 40 ms, which is what makes it safe to be short.
 */
export function phraseOf(one: Uint8Array, other: Uint8Array): string {
  const keys = [Buffer.from(one), Buffer.from(other)].sort(Buffer.compare);
  const digest = nodeCrypto().scryptSync(Buffer.concat(keys), "p2pchat phrase v1", PHRASE_BYTES, { N: PHRASE_COST });
  return Array.from({ length: PHRASE_BYTES / 2 }, (_, index) => proquint(digest.readUInt16BE(2 * index))).join(" ");
}

function proquint(number: number): string {
  const consonant = (shift: number) => "bdfghjklmnprstvz"[(number >> shift) & 15];
  const vowel = (shift: number) => "aiou"[(number >> shift) & 3];
  return [consonant(12), vowel(10), consonant(6), vowel(4), consonant(0)].join("");
}

/** The public half of an X25519 private key. */
export function sealKeyOf(secret: Uint8Array): Uint8Array {
  return publicHalf(privateKey(PRIVATE_X25519, secret));
}

/** X25519 (RFC 7748). Throws for a public key that gives no secret, such as a point of small order. */
export function agree(secret: Uint8Array, publicKey: Uint8Array): Uint8Array {
  const { createPublicKey, diffieHellman } = nodeCrypto();
  const key = createPublicKey({ key: wrapped(PUBLIC_X25519, publicKey), format: "der", type: "spki" });
  return diffieHellman({ privateKey: privateKey(PRIVATE_X25519, secret), publicKey: key });
}

function privateKey(wrapping: Buffer<ArrayBuffer>, raw: Uint8Array): KeyObject {
  assert(raw.length === KEY_BYTES, "a private key has 32 bytes");
  return nodeCrypto().createPrivateKey({ key: wrapped(wrapping, raw), format: "der", type: "pkcs8" });
}

function publicHalf(key: KeyObject): Uint8Array {
  return nodeCrypto().createPublicKey(key).export({ format: "der", type: "spki" }).subarray(-KEY_BYTES);
}

function wrapped(wrapping: Buffer<ArrayBuffer>, raw: Uint8Array): Buffer<ArrayBuffer> {
  return Buffer.concat([wrapping, raw]);
}

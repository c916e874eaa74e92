/**
 * Who a member is: an Ed25519 key pair (RFC 8032) that signs, and an X25519 key (RFC 7748) that direct messages are
 * sealed for. Keys travel and are stored as raw 32 bytes; the DER wrappings around them are those of RFC 8410.
 */
import { createPrivateKey, createPublicKey, type KeyObject, randomBytes, sign, verify } from "node:crypto";
import { KEY_BYTES, type MemberId, memberIdOf, SIGNATURE_BYTES } from "./codec/post.ts";

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

/** New private keys from the system's random source. */
export function newSecrets(): Secrets {
  return { signing: randomBytes(KEY_BYTES), sealing: randomBytes(KEY_BYTES) };
}

export function identityOf(secrets: Secrets): Identity {
  const signing = privateKey(PRIVATE_ED25519, secrets.signing);
  const publicKey = publicHalf(signing);
  return {
    member: memberIdOf(publicKey),
    publicKey,
    sealKey: publicHalf(privateKey(PRIVATE_X25519, secrets.sealing)),
    secrets,
    sign: bytes => sign(null, bytes, signing),
  };
}

/** Whether `signature` over `bytes` is by the holder of `publicKey`. False for anything malformed; never throws. */
export function verifySignature(publicKey: Uint8Array, bytes: Uint8Array, signature: Uint8Array): boolean {
  if (publicKey.length !== KEY_BYTES || signature.length !== SIGNATURE_BYTES) return false;
  try {
    const key = createPublicKey({ key: Buffer.concat([PUBLIC_ED25519, publicKey]), format: "der", type: "spki" });
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

function privateKey(wrapping: Buffer, raw: Uint8Array): KeyObject {
  return createPrivateKey({ key: Buffer.concat([wrapping, raw]), format: "der", type: "pkcs8" });
}

function publicHalf(key: KeyObject): Uint8Array {
  return createPublicKey(key).export({ format: "der", type: "spki" }).subarray(-KEY_BYTES);
}

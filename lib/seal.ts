/**
 * Direct messages: sealed for one member, relayed by anyone. PROTOCOL.md, "Direct messages".
 *
 * The sealed box is HPKE in base mode, single shot (RFC 9180, 6.1): DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM.
 * Base mode says nothing of who sealed it, and need not: the post around it is signed. `info` names room, author and
 * reader, so nobody can lift a box into a post of his own and have it read as his words; `aad` names the post.
 */
import { KEY_BYTES, type MemberId, type RoomId } from "./codec/post.ts";
import { agree, nodeCrypto, sealKeyOf } from "./identity.ts";
import { limits } from "./limits.ts";

/** An AEAD of RFC 9180, 7.3. */
export interface Aead {
  readonly id: number;
  readonly cipher: "aes-128-gcm" | "aes-256-gcm";
  readonly keyBytes: number;
}
export const AES_256_GCM: Aead = { id: 2, cipher: "aes-256-gcm", keyBytes: 32 };

const MEMBER_BYTES = 8;
const TAG_BYTES = 16;
const NONCE_BYTES = 12;
const BOX_BYTES = KEY_BYTES + TAG_BYTES;
const INFO_LABEL = Buffer.from("p2pchat direct v1\0");
const VERSION = Buffer.from("HPKE-v1");
const KEM_SUITE = Buffer.from("KEM\0\x20");

/** The longest text that can be sealed into one post. */
export const directMaxBytes = limits.bodyMaxBytes - MEMBER_BYTES - BOX_BYTES;

/** What a box is bound to. */
export interface Envelope {
  readonly room: RoomId;
  /** Ed25519 keys. */
  readonly authorKey: Uint8Array;
  readonly readerKey: Uint8Array;
  readonly session: number;
  readonly seq: number;
}

/** The body of a `direct` post. */
export function sealDirect(text: string, reader: MemberId, sealKey: Uint8Array, envelope: Envelope): Uint8Array {
  const box = sealBox(Buffer.from(text), sealKey, infoOf(envelope), aadOf(envelope));
  return Buffer.concat([Buffer.from(reader, "hex"), box]);
}

/** Whom a `direct` post is for; undefined where its body is too short to be one. */
export function readerOf(body: Uint8Array): MemberId | undefined {
  return body.length < MEMBER_BYTES + BOX_BYTES ? undefined : body.subarray(0, MEMBER_BYTES).toHex();
}

/** The text of a `direct` post, for whoever holds `secret`; undefined where it does not open. */
export function openDirect(body: Uint8Array, secret: Uint8Array, envelope: Envelope): string | undefined {
  const box = body.subarray(MEMBER_BYTES);
  const bytes = box.length < BOX_BYTES ? undefined : openBox(box, secret, infoOf(envelope), aadOf(envelope));
  return bytes === undefined ? undefined : new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
}

/** Ephemeral key ‖ ciphertext ‖ tag. `ephemeral` and `aead` are for test vectors. */
export function sealBox(
  plain: Uint8Array,
  sealKey: Uint8Array,
  info: Uint8Array,
  aad: Uint8Array,
  ephemeral: Uint8Array = crypto.getRandomValues(new Uint8Array(KEY_BYTES)),
  aead: Aead = AES_256_GCM,
): Uint8Array {
  const enc = sealKeyOf(ephemeral);
  const { key, nonce } = schedule(agree(ephemeral, sealKey), enc, sealKey, info, aead);
  const cipher = nodeCrypto().createCipheriv(aead.cipher, key, nonce).setAAD(aad);
  return Buffer.concat([enc, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
}

export function openBox(
  box: Uint8Array,
  secret: Uint8Array,
  info: Uint8Array,
  aad: Uint8Array,
  aead: Aead = AES_256_GCM,
): Uint8Array | undefined {
  const enc = box.subarray(0, KEY_BYTES);
  try {
    const { key, nonce } = schedule(agree(secret, enc), enc, sealKeyOf(secret), info, aead);
    const cipher = nodeCrypto().createDecipheriv(aead.cipher, key, nonce, { authTagLength: TAG_BYTES }).setAAD(aad);
    cipher.setAuthTag(box.subarray(-TAG_BYTES));
    return Buffer.concat([cipher.update(box.subarray(KEY_BYTES, -TAG_BYTES)), cipher.final()]);
  } catch {
    return undefined;
  }
}

/** ExtractAndExpand (4.1) and KeySchedule (5.1) with mode 0 and no psk. */
function schedule(dh: Uint8Array, enc: Uint8Array, sealKey: Uint8Array, info: Uint8Array, aead: Aead) {
  const none = Buffer.alloc(0);
  const suite = Buffer.concat([Buffer.from("HPKE\0\x20\0\x01\0"), Buffer.of(aead.id)]);
  const eaePrk = extract(KEM_SUITE, none, "eae_prk", dh);
  const shared = expand(KEM_SUITE, eaePrk, "shared_secret", Buffer.concat([enc, sealKey]), KEY_BYTES);
  const context = Buffer.concat([
    Buffer.of(0),
    extract(suite, none, "psk_id_hash", none),
    extract(suite, none, "info_hash", info),
  ]);
  const secret = extract(suite, shared, "secret", none);
  return {
    key: expand(suite, secret, "key", context, aead.keyBytes),
    nonce: expand(suite, secret, "base_nonce", context, NONCE_BYTES),
  };
}

/** LabeledExtract (4). */
function extract(suite: Uint8Array, salt: Uint8Array, label: string, input: Uint8Array): Buffer {
  const hmac = nodeCrypto().createHmac("sha256", salt);
  return hmac.update(Buffer.concat([VERSION, suite, Buffer.from(label), input])).digest();
}

/** LabeledExpand (4). Nothing longer than one block of HKDF is needed, so there is no loop. */
function expand(suite: Uint8Array, key: Uint8Array, label: string, info: Uint8Array, length: number): Buffer {
  const labelled = Buffer.concat([Buffer.of(0, length), VERSION, suite, Buffer.from(label), info, Buffer.of(1)]);
  return nodeCrypto().createHmac("sha256", key).update(labelled).digest().subarray(0, length);
}

function infoOf({ room, authorKey, readerKey }: Envelope): Uint8Array {
  return Buffer.concat([INFO_LABEL, Buffer.from(room, "hex"), authorKey, readerKey]);
}

function aadOf({ session, seq }: Envelope): Uint8Array {
  const aad = Buffer.alloc(12);
  aad.writeBigUInt64BE(BigInt(session));
  aad.writeUInt32BE(seq, 8);
  return aad;
}

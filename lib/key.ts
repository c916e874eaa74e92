/**
 * From the words of a private room to its key. Guessing words must be slow, so argon2id (RFC 9106) with the parameters
 * that OWASP's password storage cheat sheet gives as its minimum: 19 MiB, two passes; about 35 ms.
 *
 * Members share nothing but the words, so there can be no random salt: the label stands in for one.
 */
import { KEY_BYTES } from "./codec/post.ts";

const LABEL = "p2pchat room key v1";
const MEMORY_KIB = 19_456;
const PASSES = 2;

/** 32 bytes. Case, the form of an accent and the number of spaces make no difference: words are also said aloud. */
export async function roomKeyOf(words: string): Promise<Uint8Array> {
  // node:crypto is large; nobody without a key pays for it here.
  const { argon2Sync } = await import("node:crypto");
  const message = words.normalize("NFKC").toLowerCase().trim().replace(/\s+/g, " ");
  return argon2Sync("argon2id", {
    message,
    nonce: LABEL,
    memory: MEMORY_KIB,
    passes: PASSES,
    parallelism: 1,
    tagLength: KEY_BYTES,
  });
}

/**
 * What a beacon is keyed with: whoever has the words recognises the room by it, nobody else does, and it does not lead
 * back to the key. 32 bytes; HKDF-Expand (RFC 5869) of one block, since the room key is uniform already.
 */
export function roomTag(roomKey: Uint8Array): Uint8Array {
  return new Bun.CryptoHasher("sha256", roomKey).update("p2pchat beacon tag v1\x01").digest();
}

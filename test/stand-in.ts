/**
 * Stands in for signatures where a test makes millions: quick, and wrong for any other key, room or bytes. No protection
 * is meant.
 */
import { type Proof, type RoomId, signedBytes } from "../lib/codec/post.ts";

export function seal(publicKey: Uint8Array, bytes: Uint8Array): Uint8Array {
  const words = new BigUint64Array(8).fill(Bun.hash.wyhash(bytes, Bun.hash.wyhash(publicKey)));
  return Buffer.from(words.buffer);
}

/** Checks what `seal` has made. A post that a thousand nodes of one process check is looked at once. */
export function sealsIn(room: RoomId): (publicKey: Uint8Array, proof: Proof) => boolean {
  const checked = new WeakMap<Proof, Uint8Array>();
  return (publicKey, proof) => {
    if (checked.get(proof) === publicKey) return true;
    const isRight = Buffer.compare(seal(publicKey, signedBytes(room, proof.digest)), proof.signature) === 0;
    if (isRight) checked.set(proof, publicKey);
    return isRight;
  };
}

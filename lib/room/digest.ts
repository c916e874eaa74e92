/**
 * Hashes over all heads of a log, kept as the heads change: of the whole, and of each bucket of sessions.
 *
 * The xor of one hash for each session has no order, so a change costs one hash however many sessions there are. Streams
 * that changed are only noted; their hashes are made when somebody asks. A bucket holds the sessions of the authors
 * whose ids begin alike, so that two nodes which differ by a few posts find these without their whole lists.
 */
import { BUCKET_DIGEST_BYTES, BUCKETS, DIGEST_BYTES } from "../codec/message.ts";
import type { MemberId } from "../codec/post.ts";
import { keyOf, type Stream } from "./log.ts";

/** One bit for each bucket, the first bucket's the highest of the first byte. */
export type BucketSet = Uint8Array;

export const ALL_BUCKETS: BucketSet = new Uint8Array(BUCKETS / 8).fill(0xff);

export class Digest {
  private sum = 0n;
  private readonly sums = new Uint32Array(BUCKETS);
  /** Its part of these, by the slot of a stream. */
  private terms = new BigUint64Array(0);
  private readonly changed = new Set<Stream>();

  note(stream: Stream): void {
    this.changed.add(stream);
  }

  /** Of all that is offered: equal where two nodes hold the same. */
  whole(): Buffer {
    this.settle();
    const bytes = Buffer.alloc(DIGEST_BYTES);
    bytes.writeBigUInt64BE(this.sum);
    return bytes;
  }

  byBucket(): Uint8Array {
    this.settle();
    const bytes = Buffer.alloc(BUCKETS * BUCKET_DIGEST_BYTES);
    for (const [bucket, sum] of this.sums.entries()) bytes.writeUInt32BE(sum, bucket * BUCKET_DIGEST_BYTES);
    return bytes;
  }

  /** The buckets in which somebody who says this of them holds something else. */
  differing(digests: Uint8Array): BucketSet {
    this.settle();
    const view = new DataView(digests.buffer, digests.byteOffset, digests.byteLength);
    const buckets = new Uint8Array(BUCKETS / 8);
    for (const [bucket, sum] of this.sums.entries())
      if (view.getUint32(bucket * BUCKET_DIGEST_BYTES) !== sum) {
        const at = bucket >> 3;
        buckets[at] = (buckets[at] ?? 0) | (0x80 >> (bucket & 7));
      }
    return buckets;
  }

  private settle(): void {
    for (const stream of this.changed) {
      const term = stream.isOffered ? Bun.hash.wyhash(`${keyOf(stream)} ${stream.head}`) : 0n;
      const { slot, bucket } = stream;
      this.terms = withSlot(this.terms, slot);
      const change = (this.terms[slot] ?? 0n) ^ term;
      this.terms[slot] = term;
      this.sum ^= change;
      this.sums[bucket] = (this.sums[bucket] ?? 0) ^ Number(change & 0xffff_ffffn);
    }
    this.changed.clear();
  }
}

/** The same numbers, by the slot of a stream, with room for one more slot. */
export function withSlot<T extends BigUint64Array | Uint32Array>(numbers: T, slot: number): T {
  if (slot < numbers.length) return numbers;
  const larger = new (numbers.constructor as new (length: number) => T)(Math.max(16, 2 * slot));
  larger.set(numbers as never);
  return larger;
}

export function isIn(buckets: BucketSet, { bucket }: Stream): boolean {
  return ((buckets[bucket >> 3] ?? 0) & (0x80 >> (bucket & 7))) !== 0;
}

/** The first six bits of the author's id. */
export function bucketOf(author: MemberId): number {
  return Number.parseInt(author.slice(0, 2), 16) >> 2;
}

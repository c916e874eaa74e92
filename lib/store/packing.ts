/**
 * Posts as they lie in the store. What scripts say comes in posts of up to 64 KiB, and to write one costs by its pages. Packed
 * (zstd, RFC 8878) prose has two fifths of them, and lines that are much alike a hundredth: that saves several times what
 * packing takes.
 */
import { decodePost, type Post } from "../codec/post.ts";

/** What is shorter lies in one page of the database, packed or not. */
const PACKED_FROM_BYTES = 4 * 1024;
/** Of how much it saves, at least: one part in so many. */
const WORTH_IT = 8;
/** The quickest level. */
const LEVEL = { level: 1 } as const;

/** Columns of a row. */
export interface Packing {
  readonly bytes: Uint8Array;
  /** 0: the post as it is. 1: packed. */
  readonly packed: number;
}

/** In memory of its own. */
export function pack(post: Post): Packing {
  const { size } = post;
  if (size >= PACKED_FROM_BYTES) {
    const bytes = Bun.zstdCompressSync(post.bytes as Uint8Array<ArrayBuffer>, LEVEL);
    if (bytes.length <= size - size / WORTH_IT) return { bytes, packed: 1 };
  }
  return { bytes: post.owned.bytes, packed: 0 };
}

/** The post in a row; undefined where it does not decode. */
export function unpack({ bytes, packed }: Packing): Post | undefined {
  try {
    return decodePost(packed === 0 ? bytes : Bun.zstdDecompressSync(bytes as Uint8Array<ArrayBuffer>));
  } catch {
    return undefined;
  }
}

/**
 * Memory that sockets brought, given back as soon as nobody looks at it.
 *
 * A read brings up to half a MiB in a buffer of its own, of which the collector sees a small object. Under a flood hundreds of
 * them would wait for it. A chunk that is given back has no bytes any more, and nor has any view of it.
 */

import { limits } from "../limits.ts";

/** What is smaller is left to the collector. */
const SMALL_BYTES = 4 * 1024;

export class Chunks {
  private told: ArrayBuffer[] = [];
  private toldBytes = 0;

  /** Nobody has looked at it, or kept a view. */
  giveBack({ buffer, byteLength }: Buffer): void {
    if (isWorthIt(buffer, byteLength)) buffer.transfer(0);
  }

  /** All in it was told, and whoever was told may still look at it. */
  keep({ buffer, byteLength }: Buffer): void {
    if (!isWorthIt(buffer, byteLength) || this.toldBytes + byteLength > limits.toldMaxBytes) return;
    this.told.push(buffer);
    this.toldBytes += byteLength;
  }

  /** Of what was told so far nobody keeps a view. */
  free(): void {
    if (this.toldBytes === 0) return;
    for (const buffer of this.told.splice(0)) buffer.transfer(0);
    this.toldBytes = 0;
  }
}

/** A part of a buffer is not ours to give. */
function isWorthIt(buffer: ArrayBufferLike, byteLength: number): buffer is ArrayBuffer {
  return byteLength >= SMALL_BYTES && buffer.byteLength === byteLength && buffer instanceof ArrayBuffer;
}

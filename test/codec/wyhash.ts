/** Wyhash line by line as PROTOCOL.md spells it out: proof that a stranger can write it from there. */

const MASK = (1n << 64n) - 1n;
const S0 = 0xa0761d6478bd642fn;
const S1 = 0xe7037ed1a0b428dbn;
const S2 = 0x8ebc6af09c88c6e3n;
const S3 = 0x589965cc75374cc3n;

function mum(a: bigint, b: bigint): [low: bigint, high: bigint] {
  const product = a * b;
  return [product & MASK, product >> 64n];
}

function mix(a: bigint, b: bigint): bigint {
  const [low, high] = mum(a, b);
  return low ^ high;
}

export function wyhash(bytes: Uint8Array, seed: bigint): bigint {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const read4 = (at: number) => BigInt(view.getUint32(at, true));
  const read8 = (at: number) => view.getBigUint64(at, true);
  const byte = (at: number) => BigInt(view.getUint8(at));
  const n = bytes.length;
  let s = seed ^ mix(seed ^ S0, S1);
  let [a, b] = [0n, 0n];
  if (n <= 16) {
    if (n >= 4) {
      const q = (n >> 3) << 2;
      a = (read4(0) << 32n) | read4(q);
      b = (read4(n - 4) << 32n) | read4(n - 4 - q);
    } else if (n > 0) a = (byte(0) << 16n) | (byte(n >> 1) << 8n) | byte(n - 1);
  } else {
    let i = 0;
    if (n >= 48) {
      let [t, u] = [s, s];
      for (; i + 48 < n; i += 48) {
        s = mix(read8(i) ^ S1, read8(i + 8) ^ s);
        t = mix(read8(i + 16) ^ S2, read8(i + 24) ^ t);
        u = mix(read8(i + 32) ^ S3, read8(i + 40) ^ u);
      }
      s ^= t ^ u;
    }
    for (; i + 16 < n; i += 16) s = mix(read8(i) ^ S1, read8(i + 8) ^ s);
    a = read8(n - 16);
    b = read8(n - 8);
  }
  [a, b] = mum(a ^ S1, b ^ s);
  return mix(a ^ S0 ^ BigInt(n), b ^ S1);
}

/**
 * Seeded randomness: sfc32 (Chris Doty-Humphrey, PractRand), one stream per use, so that one more draw in one place
 * does not change all others.
 */

export type Random = () => number;

/** A stream of numbers in [0, 1), given by a seed and a label. */
export function randomStream(seed: number, label: string): Random {
  const words = new Uint32Array(new BigUint64Array([Bun.hash.wyhash(label, BigInt(seed)), BigInt(seed)]).buffer);
  let [a = 0, b = 0, c = 0, counter = 1] = words;
  const next = () => {
    const sum = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + sum;
    return (sum >>> 0) / 2 ** 32;
  };
  for (let warmUp = 0; warmUp < 12; warmUp += 1) next();
  return next;
}

export function between(random: Random, low: number, high: number): number {
  return low + random() * (high - low);
}

export function pick<T>(random: Random, list: readonly T[]): T | undefined {
  return list[Math.floor(random() * list.length)];
}

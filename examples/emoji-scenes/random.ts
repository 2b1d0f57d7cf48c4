/**
 * Counter-based random numbers: the n-th draw of a stream is a hash of (seed, stream name, index, n), so a scene
 * never depends on how many others were drawn before it, or on the order in which they are rendered.
 */

const golden = 0x9e3779b9;

/** Murmur3's 32-bit finalizer: every input bit reaches every output bit. */
function mix(value: number): number {
  let h = value | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** 32-bit hash of a text, started from `start`; two different starts give two independent hashes. */
export function hashText(text: string, start: number): number {
  let h = mix(start ^ golden);
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193) ^ (h >>> 15);
  return mix(h);
}

/** A stream of random numbers. Two streams of one key are equal, draw by draw. */
export class Random {
  private counter = 0;
  private readonly low: number;
  private readonly high: number;

  constructor(seed: number, stream: string, index: number) {
    const key = `${seed}/${stream}/${index}`;
    this.low = hashText(key, 1);
    this.high = hashText(key, 2);
  }

  /** The next integer in [0, 2^32). */
  private next(): number {
    this.counter += 1;
    return mix(mix(Math.imul(this.counter, golden) ^ this.low) ^ this.high);
  }

  /** A number in [0, 1). */
  float(): number {
    return this.next() / 2 ** 32;
  }

  /** A number in [low, high). */
  between(low: number, high: number): number {
    return low + (high - low) * this.float();
  }

  /** An integer in [0, count). */
  integer(count: number): number {
    return Math.floor(this.float() * count);
  }

  /** True with the probability `share`. */
  chance(share: number): boolean {
    return this.float() < share;
  }

  /** One element of a list that is not empty. */
  pick<T>(list: readonly T[]): T {
    return list[this.integer(list.length)] as T;
  }

  /** An index drawn in proportion to `weights` (not all zero). */
  weighted(weights: readonly number[]): number {
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    let left = this.float() * total;
    for (const [index, weight] of weights.entries()) {
      left -= weight;
      if (left < 0) return index;
    }
    return weights.findLastIndex((weight) => weight > 0);
  }

  /** A shuffled copy (Fisher-Yates). */
  shuffle<T>(list: readonly T[]): T[] {
    const copy = [...list];
    for (let i = copy.length - 1; i > 0; i--) {
      const j = this.integer(i + 1);
      const held = copy[i] as T;
      copy[i] = copy[j] as T;
      copy[j] = held;
    }
    return copy;
  }
}

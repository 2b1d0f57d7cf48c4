/**
 * Random draws that depend on their key alone: (seed, site, and up to three more numbers such as epoch and sample), never on
 * what was drawn before, on batch or on worker (DESIGN 2.7). Words are mixed by MurmurHash3's finalizer.
 */

/** What a draw is for; a site never sees another's draws. */
export const sites = {
  permutation: 1,
  weight: 2,
  caption: 3,
  crop: 4,
  flip: 5,
  jitter: 6,
  frames: 7,
} as const;

export type Site = (typeof sites)[keyof typeof sites];

/** A stream of draws of one key. */
export class KeyedRandom {
  readonly #low: number;
  readonly #high: number;
  #count = 0;

  /** @param numbers whole numbers from 0 to 2^53 - 1, such as epoch and global sample index. */
  constructor(seed: number, site: Site, ...numbers: readonly number[]) {
    let low = 0x9e3779b9;
    let high = 0x85ebca6b;
    for (const number of [seed, site, ...numbers]) {
      for (const word of [number >>> 0, Math.floor(number / 2 ** 32) >>> 0]) {
        low = mix(Math.imul(low, 31) ^ word ^ 0x7f4a7c15);
        high = mix(Math.imul(high, 37) ^ low ^ (word + 0x165667b1));
      }
    }

    this.#low = low;
    this.#high = high;
  }

  /** Uniform in [0, 1), 53 bits. */
  uniform(): number {
    const first = this.#word();
    const second = this.#word();
    return ((first >>> 5) * 2 ** 26 + (second >>> 6)) / 2 ** 53;
  }

  /** Uniform in [low, high). */
  between(low: number, high: number): number {
    return low + (high - low) * this.uniform();
  }

  /** Uniform whole number in [0, count); 1 <= count <= 2^32. */
  below(count: number): number {
    const limit = 2 ** 32 - (2 ** 32 % count);
    for (;;) {
      const word = this.#word();
      if (word < limit) return word % count;
    }
  }

  #word(): number {
    this.#count++;
    return mix(mix(this.#low ^ Math.imul(this.#count, 0x9e3779b1)) ^ this.#high);
  }
}

/** A permutation of `values` in place (Fisher and Yates). */
export function shuffle(values: Uint32Array, random: KeyedRandom): Uint32Array {
  for (let last = values.length - 1; last > 0; last--) {
    const other = random.below(last + 1);
    const kept = values[last] as number;
    values[last] = values[other] as number;
    values[other] = kept;
  }

  return values;
}

/** A bijection of 32-bit words that changes every bit with probability near 1/2; the result is unsigned. */
function mix(word: number): number {
  let mixed = word | 0;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

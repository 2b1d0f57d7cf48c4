/** Pictures that are the same or nearly so, found without comparing each with each. */
import { type Fingerprint, thumbnailBytes } from './fingerprint.js';

/** Two pictures are near duplicates when so many bits of their hashes differ at most, and their thumbnails by so many levels on average. */
export const nearRule = { bits: 4, levels: 6 } as const;

/** Of the pictures that share a band of their hash, at most so many are compared with each: flat pictures share them by thousands. */
const mostCompared = 256;
/** One of `bits` + 1 bands of the hash is equal in two hashes that differ in `bits` bits. */
const bands = [13, 13, 13, 13, 12] as const;

/** Collects pictures by number and groups them. A picture takes some 300 bytes. */
export class NearDuplicates {
  readonly #parents: number[] = [];
  readonly #hashes: [number, number][] = [];
  #thumbnails = new Uint8Array(1024 * thumbnailBytes);
  readonly #byContent = new Map<string, number>();
  readonly #byBand = new Map<number, number[]>();
  #skipped = 0;

  /** Comparisons that were left out (`mostCompared`). */
  get skipped(): number {
    return this.#skipped;
  }

  /** Adds a picture; `content` is a hash of its file's bytes. Returns its number, counted from 0. */
  add(content: string, { hash, thumbnail }: Fingerprint): number {
    const picture = this.#parents.length;
    this.#parents.push(picture);
    this.#hashes.push([hash[0], hash[1]]);
    this.#keep(picture, thumbnail);
    const same = this.#byContent.get(content);
    if (same !== undefined) {
      this.#join(same, picture);
      return picture;
    }

    this.#byContent.set(content, picture);
    this.#compare(picture);
    return picture;
  }

  /** Groups of two or more, each in order of arrival. */
  groups(): number[][] {
    const found = new Map<number, number[]>();
    for (let picture = 0; picture < this.#parents.length; picture++) {
      const root = this.#root(picture);
      const group = found.get(root);
      if (group === undefined) found.set(root, [picture]);
      else group.push(picture);
    }

    return [...found.values()].filter((group) => group.length > 1);
  }

  #compare(picture: number): void {
    for (const key of bandKeys(this.#hashes[picture] as [number, number])) {
      const bucket = this.#byBand.get(key);
      if (bucket === undefined) {
        this.#byBand.set(key, [picture]);
        continue;
      }

      this.#skipped += Math.max(0, bucket.length - mostCompared);
      for (const other of bucket.slice(-mostCompared))
        if (this.#isNear(picture, other)) this.#join(other, picture);
      bucket.push(picture);
    }
  }

  #isNear(a: number, b: number): boolean {
    const [x, y] = [this.#hashes[a] as [number, number], this.#hashes[b] as [number, number]];
    if (bitsOf(x[0] ^ y[0]) + bitsOf(x[1] ^ y[1]) > nearRule.bits) return false;
    let sum = 0;
    for (let at = 0; at < thumbnailBytes; at++) {
      const [one, other] = [
        this.#thumbnails[a * thumbnailBytes + at],
        this.#thumbnails[b * thumbnailBytes + at],
      ];
      sum += Math.abs((one as number) - (other as number));
    }

    return sum <= nearRule.levels * thumbnailBytes;
  }

  #keep(picture: number, thumbnail: Uint8Array): void {
    if ((picture + 1) * thumbnailBytes > this.#thumbnails.length) {
      const larger = new Uint8Array(2 * this.#thumbnails.length);
      larger.set(this.#thumbnails);
      this.#thumbnails = larger;
    }

    this.#thumbnails.set(thumbnail, picture * thumbnailBytes);
  }

  #root(picture: number): number {
    let root = picture;
    while (this.#parents[root] !== root) root = this.#parents[root] as number;
    this.#parents[picture] = root;
    return root;
  }

  /** The earlier picture stands for the group. */
  #join(a: number, b: number): void {
    const [x, y] = [this.#root(a), this.#root(b)];
    this.#parents[Math.max(x, y)] = Math.min(x, y);
  }
}

/** A number for each band and its bits. */
function bandKeys([high, low]: readonly [number, number]): number[] {
  let bits = (BigInt(high) << 32n) | BigInt(low);
  return bands.map((width, band) => {
    const value = Number(bits & ((1n << BigInt(width)) - 1n));
    bits >>= BigInt(width);
    return band * 2 ** 13 + value;
  });
}

function bitsOf(word: number): number {
  let count = 0;
  for (let rest = word >>> 0; rest !== 0; rest = (rest & (rest - 1)) >>> 0) count++;
  return count;
}

/**
 * Which pair comes when. An epoch draws every item (an image with its captions) as often as its weight says, in a random order;
 * each draw takes one caption at random. All of it follows from the seed and the cursor, so a run resumes exactly. Of several
 * ranks each takes every so-manieth draw of that one order: none twice, none left out, as many a rank, whatever the shards.
 */
import { integer } from '../checks.js';
import { DataError } from '../errors.js';
import { KeyedRandom, shuffle, sites } from './random.js';

/** Where a sampler stands; plain JSON. */
export interface Cursor {
  readonly epoch: number;
  /** Draws of this epoch that are behind. */
  readonly position: number;
  /** Draws of the whole run that are behind: the next draw's global sample index. */
  readonly sample: number;
  /** Items of the data set, to notice another one. */
  readonly items: number;
}

/** One draw. */
export interface Draw {
  /** Index of the item. */
  readonly item: number;
  /** Index of the caption, 0 for an item without captions. */
  readonly caption: number;
  /** Unique over the whole run; keys every random number of the pair. */
  readonly sample: number;
  readonly epoch: number;
}

export interface SamplerOptions {
  readonly seed: number;
  /** Items of the data set. */
  readonly items: number;
  /** Captions of an item. */
  readonly captions: (item: number) => number;
  /** Times an item is drawn an epoch, on average; absent: once. */
  readonly weights?: Float64Array | undefined;
  /** Where to go on; absent: at the start. */
  readonly cursor?: Cursor | undefined;
  /** This process among `worldSize`, from 0. @default 0 */
  readonly rank?: number;
  /** Processes that share the draws. @default 1 */
  readonly worldSize?: number;
}

/** An endless sequence of draws. */
export class Sampler {
  readonly #options: SamplerOptions;
  #epoch = 0;
  #position = 0;
  #sample = 0;
  #order: Uint32Array;
  readonly #rank: number;
  readonly #worldSize: number;

  /** Throws `ERR_COTS_OPTION` for a rank outside the world, `ERR_COTS_DATA` for a data set without items or another one than the cursor's. */
  constructor(options: SamplerOptions) {
    this.#options = options;
    const { items, cursor, rank = 0, worldSize = 1 } = options;
    integer('worldSize', worldSize, 1);
    this.#rank = integer('rank', rank, 0, worldSize - 1);
    this.#worldSize = worldSize;
    if (items === 0)
      throw new DataError('Expected data.train to hold pairs, got none. Check its path and split.');
    if (cursor !== undefined) {
      checkCursor(cursor, items);
      ({ epoch: this.#epoch, position: this.#position, sample: this.#sample } = cursor);
    }

    this.#order = this.#shuffled();
  }

  /** Where the next draw stands: behind the draws of all ranks, so that after as many draws a rank all ranks have the same. */
  get cursor(): Cursor {
    return { epoch: this.#epoch, position: this.#position, sample: this.#sample, items: this.#options.items };
  }

  /** The next draw of this rank. */
  next(): Draw {
    for (let before = 0; before < this.#rank; before++) this.#advance();
    const [item, sample, epoch] = this.#advance();
    for (let after = this.#rank + 1; after < this.#worldSize; after++) this.#advance();
    const { seed, captions } = this.#options;
    const count = captions(item);
    const caption = count <= 1 ? 0 : new KeyedRandom(seed, sites.caption, sample).below(count);
    return { item, caption, sample, epoch };
  }

  #advance(): [item: number, sample: number, epoch: number] {
    while (this.#position >= this.#order.length) {
      this.#epoch++;
      this.#position = 0;
      this.#order = this.#shuffled();
    }

    const item = this.#order[this.#position++] as number;
    return [item, this.#sample++, this.#epoch];
  }

  #shuffled(): Uint32Array {
    const { seed, items, weights } = this.#options;
    const list =
      weights === undefined
        ? Uint32Array.from({ length: items }, (_, item) => item)
        : repeated(weights, seed, this.#epoch);
    return shuffle(list, new KeyedRandom(seed, sites.permutation, this.#epoch));
  }
}

/** Draws of one epoch, on average. */
export function epochLength(items: number, weights?: Float64Array): number {
  return weights === undefined ? items : weights.reduce((sum, weight) => sum + weight, 0);
}

/** Each item floor(weight) times or once more, so that the share is right over epochs (systematic sampling). */
function repeated(weights: Float64Array, seed: number, epoch: number): Uint32Array {
  const start = new KeyedRandom(seed, sites.weight, epoch).uniform();
  const list: number[] = [];
  let sum = start;
  let taken = 0;
  for (const [item, weight] of weights.entries()) {
    sum += weight;
    for (; taken < Math.floor(sum); taken++) list.push(item);
  }

  if (epochLength(weights.length, weights) === 0)
    throw new DataError('Expected a pair of data.train with a weight above 0, got none. Raise a weight.');
  return Uint32Array.from(list);
}

function checkCursor(cursor: Cursor, items: number): void {
  const whole = [cursor.epoch, cursor.position, cursor.sample, cursor.items].every(
    (value) => Number.isSafeInteger(value) && value >= 0,
  );
  if (!whole)
    throw new DataError(
      `Expected a data cursor of whole numbers, got ${JSON.stringify(cursor)}. Resume from another checkpoint.`,
    );
  if (cursor.items !== items) {
    throw new DataError(
      `Expected the data set that the run began with (${cursor.items} images), got ${items}. Restore it, or start a new run.`,
    );
  }
}

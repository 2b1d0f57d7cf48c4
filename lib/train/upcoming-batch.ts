/** Batches in order, with a look at the one after: a GPU is sent it while it is at work on the one before. */
import { setImmediate } from 'node:timers/promises';

interface Source<T> {
  next(signal?: AbortSignal): Promise<T>;
}

export class UpcomingBatch<T> {
  readonly #source: Source<T>;
  readonly #isWanted: boolean;
  #upcoming: Promise<T> | undefined;

  /** Where it is not wanted, `peek` gives nothing and asks for nothing. */
  constructor(source: Source<T>, isWanted: boolean) {
    this.#source = source;
    this.#isWanted = isWanted;
  }

  /** The next batch. Rejects as the source does, after which that batch is still the next one. */
  async next(signal?: AbortSignal): Promise<T> {
    const upcoming = this.#upcoming ?? this.#source.next(signal);
    this.#upcoming = undefined;
    return upcoming;
  }

  /** The batch that `next` will give, if it is there already; a failure is left to `next`. */
  async peek(signal?: AbortSignal): Promise<T | undefined> {
    if (!this.#isWanted) return undefined;
    this.#upcoming ??= this.#source.next(signal);
    return Promise.race([this.#upcoming.catch(() => undefined), setImmediate(undefined)]);
  }
}

/** Reads ahead of whoever takes, in bounded memory. */

/** The values of a generator that runs in the background, at most `capacity` values ahead. Always end it with `close`. */
export class Prefetched<T> {
  readonly #source: AsyncGenerator<T, void, undefined>;
  readonly #capacity: number;
  readonly #values: T[] = [];
  readonly #pump: Promise<void>;
  #failure: { readonly error: unknown } | undefined;
  #isEnded = false;
  #isClosed = false;
  #wake: () => void = () => {};

  constructor(source: AsyncGenerator<T, void, undefined>, capacity: number) {
    this.#source = source;
    this.#capacity = capacity;
    this.#pump = this.#run();
  }

  /** The next value; undefined after the last. Throws what the generator threw, after the values before it. */
  async next(): Promise<T | undefined> {
    while (this.#values.length === 0 && !this.#isEnded) await this.#changed();
    const value = this.#values.shift();
    this.#wake();
    if (value === undefined && this.#failure !== undefined) throw this.#failure.error;
    return value;
  }

  /** Ends the generator and waits until it has. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#values.length = 0;
    this.#wake();
    await this.#pump;
  }

  async #run(): Promise<void> {
    try {
      for await (const value of this.#source) {
        this.#values.push(value);
        this.#wake();
        while (this.#values.length >= this.#capacity && !this.#isClosed) await this.#changed();
        if (this.#isClosed) break;
      }
    } catch (error) {
      this.#failure = { error };
    }

    this.#isEnded = true;
    this.#wake();
  }

  /** Taker and pump never wait at the same time: one waits for an empty list, the other for a full one. */
  #changed(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}

/** An iterator whose next value can be looked at before it is taken, so that it can be cut into runs. */
export class Lookahead<T> {
  readonly #source: AsyncIterator<T>;
  #next: T | undefined;

  constructor(source: AsyncIterable<T>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** The next value, left where it is; undefined after the last. */
  async peek(): Promise<T | undefined> {
    if (this.#next === undefined) {
      const { done, value } = await this.#source.next();
      if (done !== true) this.#next = value;
    }

    return this.#next;
  }

  /** Takes values up to the first that is of another kind, which stays. */
  async *run<S extends T>(isOfKind: (value: T) => value is S): AsyncGenerator<S, void, undefined> {
    for (let value = await this.peek(); value !== undefined && isOfKind(value); value = await this.peek()) {
      this.#next = undefined;
      yield value;
    }
  }

  /** Ends the source. */
  async close(): Promise<void> {
    await this.#source.return?.();
  }
}

/** Slots and bytes that concurrent work may hold. */

/** Admits work in order of arrival while slots and bytes last; one piece of work is always admitted, however large. */
export class ByteBudget {
  readonly #limit: number;
  #held = 0;
  readonly #waiting: { readonly bytes: number; readonly admit: () => void }[] = [];

  /** @param limit bytes held at the same time. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Bytes held now. */
  get held(): number {
    return this.#held;
  }

  /** Waits until the bytes fit; call `release` with the same number when they are free again. */
  async acquire(bytes: number): Promise<void> {
    if (this.#waiting.length === 0 && this.#fits(bytes)) {
      this.#held += bytes;
      return;
    }

    await new Promise<void>((resolve) => this.#waiting.push({ bytes, admit: resolve }));
  }

  release(bytes: number): void {
    this.#held -= bytes;
    for (let [next] = this.#waiting; next !== undefined && this.#fits(next.bytes); [next] = this.#waiting) {
      this.#waiting.shift();
      this.#held += next.bytes;
      next.admit();
    }
  }

  #fits(bytes: number): boolean {
    return this.#held === 0 || this.#held + bytes <= this.#limit;
  }
}

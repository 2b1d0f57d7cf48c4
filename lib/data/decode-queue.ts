/** Decoding of items, a bounded number and a bounded count of bytes at a time; what cannot be decoded is remembered. */
import { CotsError, ImageError } from '../errors.js';
import { ByteBudget } from './byte-budget.js';

/** Waits until that many more decoded bytes may be held. */
export type Admit = (bytes: number) => Promise<void>;

export interface DecodeQueueOptions {
  /** Items decoded at the same time. */
  readonly workers: number;
  /** Decoded bytes of items in work. */
  readonly workBytes: number;
}

export class DecodeQueue {
  readonly #slots: ByteBudget;
  readonly #bytes: ByteBudget;
  /** Code and message alone: an error holds on to what was decoded (its stack and cause do), 15 KB each. */
  readonly #failed = new Map<number, Pick<CotsError, 'code' | 'message'>>();

  constructor({ workers, workBytes }: DecodeQueueOptions) {
    this.#slots = new ByteBudget(workers);
    this.#bytes = new ByteBudget(workBytes);
  }

  /**
   * Decodes an item and hands it to `use`; the bytes that were admitted count as in work until `use` has settled. `decode` asks
   * once. A failure to decode is a `CotsError`, remembered and told again without another try.
   */
  async run<Decoded, Result>(
    item: number,
    decode: (admit: Admit) => Promise<Decoded>,
    use: (decoded: Decoded) => Promise<Result>,
  ): Promise<Result> {
    const failure = this.#failed.get(item);
    if (failure !== undefined) throw new CotsError(failure.code, failure.message);
    await this.#slots.acquire(1);
    let held = 0;
    try {
      const decoded = await this.#attempt(item, () =>
        decode(async (bytes) => {
          await this.#bytes.acquire(bytes);
          held = bytes;
        }),
      );
      return await use(decoded);
    } finally {
      if (held > 0) this.#bytes.release(held);
      this.#slots.release(1);
    }
  }

  async #attempt<Decoded>(item: number, decode: () => Promise<Decoded>): Promise<Decoded> {
    try {
      return await decode();
    } catch (error) {
      const failure =
        error instanceof CotsError
          ? error
          : new ImageError(`Expected item ${item} to be decoded, got: ${String(error)}.`, { cause: error });
      this.#failed.set(item, { code: failure.code, message: failure.message });
      throw failure;
    }
  }
}

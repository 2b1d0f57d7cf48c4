/** The loader as the training loop uses it: one batch asked for ahead of the step in progress, kept when a run is aborted. */
import type { NativeBatch } from '../binding.js';
import type { Loader, LoadedBatch as LoaderBatch } from '../data/loader.js';
import { nativeBatch } from '../data/loaders.js';
import type { ManifestEntry } from '../data/manifest.js';
import type { Cursor } from '../data/sampler.js';

/** One optimizer step's pairs. */
export interface LoadedBatch {
  readonly batch: NativeBatch;
  /** The manifest's ids, in batch order. */
  readonly ids: readonly string[];
  /** Where the data stands after this batch. */
  readonly cursor: Cursor;
  /** Different images found bad so far. */
  readonly badImages: number;
}

export class BatchSource {
  readonly #batches: AsyncGenerator<LoaderBatch, never, void>;
  readonly #entries: readonly ManifestEntry[];
  #next: Promise<LoadedBatch> | undefined;

  constructor(loader: Loader, entries: readonly ManifestEntry[]) {
    this.#batches = loader.batches();
    this.#entries = entries;
  }

  /** The next batch; the same one again until `take()`. Rejects as the loader does. */
  peek(): Promise<LoadedBatch> {
    if (this.#next === undefined) {
      this.#next = this.#load();
      this.#next.catch(() => {});
    }

    return this.#next;
  }

  /** The batch is used: asks for the one after it. */
  take(): void {
    this.#next = undefined;
    void this.peek();
  }

  close(): void {
    this.#batches.return(undefined as never).catch(() => {});
  }

  async #load(): Promise<LoadedBatch> {
    const { value } = await this.#batches.next();
    const ids = value.items.map((item) => (this.#entries[item] as ManifestEntry).id);
    return { batch: nativeBatch(value), ids, cursor: value.cursor, badImages: value.badImages };
  }
}

/** The loader as the training loop uses it: native batches with the manifest's ids. */
import type { NativeBatch } from '../binding.js';
import type { Loader } from '../data/loader.js';
import { nativeBatch } from '../data/loaders.js';
import type { ManifestEntry } from '../data/manifest.js';
import type { Cursor } from '../data/sampler.js';

/** One optimizer step's pairs. */
export interface LoadedBatch {
  readonly batch: NativeBatch;
  /** The manifest's ids of the whole batch, all ranks' pairs, in batch order. */
  readonly ids: readonly string[];
  /** Where the data stands after this batch. */
  readonly cursor: Cursor;
  /** Different images found bad so far. */
  readonly badImages: number;
}

export class BatchSource {
  readonly #loader: Loader;
  readonly #entries: readonly ManifestEntry[];

  constructor(loader: Loader, entries: readonly ManifestEntry[]) {
    this.#loader = loader;
    this.#entries = entries;
  }

  /** The next batch; those after it are made meanwhile. Rejects `signal.reason` on abort, after which the batch is still the next one. */
  async next(signal?: AbortSignal): Promise<LoadedBatch> {
    const loaded = await this.#loader.next({ signal });
    const ids = loaded.allItems.map((item) => (this.#entries[item] as ManifestEntry).id);
    return { batch: nativeBatch(loaded), ids, cursor: loaded.cursor, badImages: loaded.badImages };
  }

  close(): void {
    this.#loader.close();
  }

  /** Closes and settles when nothing is under way. */
  drain(): Promise<void> {
    return this.#loader.drain();
  }
}

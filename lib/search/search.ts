/** Queries against a loaded index. */
import { CheckpointError, DataError } from '../errors.js';
import type { Cots } from '../model/cots.js';
import { checkModelFolder, hashModel } from '../model/model-folder.js';
import { topK } from '../ops.js';
import type { LoadedIndex } from './index-folder.js';
import type { Entry } from './partitions.js';

/** One row found. */
export interface SearchHit extends Entry {
  /** From 1. */
  readonly rank: number;
  /** Cosine with the query, -1 to 1. */
  readonly score: number;
}

/** A query: a text, or an image file. */
export type Query = { readonly text: string } | { readonly image: string };

/** The folder of the model that made the index: the one in its manifest, or `given`. Throws `ERR_COTS_CHECKPOINT` unless its hash is the index's. */
export async function modelOfIndex(index: LoadedIndex, given: string | undefined): Promise<string> {
  const directory = given ?? index.model.path;
  await checkModelFolder(directory).catch((error: unknown) => {
    const way =
      given === undefined ? ' The path is the one in the manifest: name the model with --model.' : '';
    throw new CheckpointError(`${(error as Error).message}${way}`, { cause: error });
  });
  const hash = await hashModel(directory);
  if (hash !== index.model.hash) {
    throw new CheckpointError(
      `Expected the model that made the index (hash ${index.model.hash.slice(0, 12)}), got ${directory} (hash ${hash.slice(0, 12)}). Name the right one with --model, or embed and index again.`,
    );
  }

  return directory;
}

/** The best `k` rows for a query, best first; fewer when the index has fewer. */
export async function search(model: Cots, index: LoadedIndex, query: Query, k: number): Promise<SearchHit[]> {
  const queries =
    'text' in query ? await model.embedTexts([query.text]) : await model.embedImages([query.image]);
  const gallery = index.vectors;
  if (queries.shape[1] !== gallery.shape[1]) {
    throw new DataError(
      `Expected a query of ${gallery.shape[1]} numbers as the index's ${index.modality} vectors have, got ${queries.shape[1]}: this model's towers differ in width and have no projection. Query with the same modality.`,
    );
  }

  if (gallery.shape[0] === 0) return [];
  const found = await topK({ queries, gallery, k: Math.min(k, gallery.shape[0]) });
  return Array.from(found.indices, (row, place) => ({
    rank: place + 1,
    score: found.scores[place] as number,
    ...(index.entries[row] as Entry),
  }));
}

/** Queries against a loaded index. */
import type { Matrix } from '../binding.js';
import { CheckpointError, DataError } from '../errors.js';
import type { Cots } from '../model/cots.js';
import { checkModelFolder, hashModel } from '../model/model-folder.js';
import type { LoadedIndex } from './index-folder.js';
import type { ClipFacts, Entry } from './metadata.js';

/** One row found. */
export interface SearchHit extends Pick<Entry, 'id' | 'image' | 'caption'> {
  /** From 1. */
  readonly rank: number;
  /** Cosine with the query, -1 to 1. */
  readonly score: number;
  readonly video?: string;
  /** Seconds of the video. */
  readonly duration?: number;
  /** Its frame nearest to the query, where moments were asked for. */
  readonly moment?: Moment;
}

/** A frame of a video. */
export interface Moment {
  /** From the video's beginning. */
  readonly seconds: number;
  /** Frame number in the video. */
  readonly frame: number;
  /** Cosine of the frame with the query. */
  readonly score: number;
}

/** A query: a text, or a file. */
export type Query = { readonly text: string } | { readonly image: string } | { readonly video: string };

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

export interface SearchOptions {
  readonly k: number;
  /** Tell the best moment of each video. @default false */
  readonly moments?: boolean;
}

/**
 * The best `k` rows for a query, best first; fewer when the index has fewer. Throws `ERR_COTS_DATA` for moments of what is no index
 * of videos.
 */
export async function search(
  model: Cots,
  index: LoadedIndex,
  query: Query,
  { k, moments = false }: SearchOptions,
): Promise<SearchHit[]> {
  const { frames, vectors: gallery, modality } = index;
  if (moments && frames === undefined)
    throw new DataError(
      `Expected an index of videos to find moments in, got one of ${modality}s. Leave out --moments.`,
    );
  const queries = await embedQuery(model, query);
  if (queries.shape[1] !== gallery.shape[1]) {
    throw new DataError(
      `Expected a query of ${gallery.shape[1]} numbers as the index's ${modality} vectors have, got ${queries.shape[1]}: this model's towers differ in width and have no projection. Query with the same modality.`,
    );
  }

  if (gallery.shape[0] === 0) return [];
  const found = await gallery.topK(queries, k);
  const hits: SearchHit[] = [];
  for (const [place, row] of found.indices.entries()) {
    const { clip, ...entry } = index.entries[row] as Entry;
    hits.push({
      rank: place + 1,
      score: found.scores[place] as number,
      ...entry,
      ...(clip && { duration: clip.duration }),
      ...(clip && moments && frames && { moment: bestMoment(queries.data, await frames.of(row), clip) }),
    });
  }

  return hits;
}

async function embedQuery(model: Cots, query: Query): Promise<Matrix> {
  if ('text' in query) return model.embedTexts([query.text]);
  return 'image' in query
    ? model.embedImages([query.image])
    : (await model.embedVideos([query.video])).videos;
}

/** Of equal scores, the earlier moment. `rows` are the clip's frames [F, D]. */
function bestMoment(query: Float32Array, rows: Float32Array, clip: ClipFacts): Moment {
  let best: Moment = { seconds: 0, frame: 0, score: -Infinity };
  for (const [index, frame] of clip.indices.entries()) {
    const score = query.reduce(
      (sum, value, column) => sum + value * (rows[index * query.length + column] as number),
      0,
    );
    if (score > best.score) best = { seconds: clip.timestamps[index] as number, frame, score };
  }

  return best;
}

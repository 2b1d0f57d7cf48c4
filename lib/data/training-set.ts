/** The sources of `data.train` as one list of items: an image or a video with its captions each. */
import type { DataSource } from '../config/schema.js';
import type { ManifestEntry } from './manifest.js';
import { type DatasetUse, openDataset } from './open.js';

/** All items a run draws from. */
export interface TrainingSet {
  readonly entries: readonly ManifestEntry[];
  /** Draws of an item an epoch, on average; absent where all are 1. */
  readonly weights?: Float64Array;
  /** Whether some entries are videos. */
  readonly hasClips: boolean;
  /** What was left out or is odd in the sources; a sentence each. */
  readonly warnings: readonly string[];
}

/** Opens and joins sources. Throws `ERR_COTS_DATA`, `ERR_COTS_FILE`. */
export async function openSources(
  sources: readonly DataSource[],
  use: DatasetUse,
  captionsNeeded = use !== 'any',
): Promise<TrainingSet> {
  const entries: ManifestEntry[] = [];
  const weights: number[] = [];
  const warnings: string[] = [];
  for (const { path, split, images, columns, weight } of sources) {
    const opened = await openDataset(path, { split, use, images, columns, requireCaptions: captionsNeeded });
    warnings.push(...opened.warnings);
    for (const entry of opened.entries) {
      entries.push(entry);
      weights.push(weight * (entry.weight ?? 1));
    }
  }

  const hasClips = entries.some(({ video }) => video !== undefined);
  return weights.every((weight) => weight === 1)
    ? { entries, hasClips, warnings }
    : { entries, hasClips, warnings, weights: Float64Array.from(weights) };
}

/** All captions, in order. */
export function* captionsOf(set: TrainingSet): Iterable<string> {
  for (const { captions } of set.entries) yield* captions;
}

/** What the momentum filter dropped in a run: its log, by pair, and the data set without those pairs. */
import path from 'node:path';
import { loadConfig } from '../config/load.js';
import type { ManifestEntry } from '../data/manifest.js';
import { openSources } from '../data/training-set.js';
import { CotsError, DataError } from '../errors.js';
import { fileError } from '../read-file.js';
import { textLines } from '../text-lines.js';
import type { FilteredPair } from '../train/filter-log.js';

/** One pair that was dropped. */
export interface DroppedPair {
  readonly id: string;
  /** Steps that dropped it. */
  readonly drops: number;
  /** Of its last drop. */
  readonly score: number;
  readonly threshold: number;
  readonly step: number;
}

export interface Noise {
  /** Dropped often enough, the most often first, then by how far below the threshold. */
  readonly dropped: readonly (DroppedPair & { readonly entry: ManifestEntry })[];
  /** All other entries of the run's data, weights of sources included. */
  readonly kept: readonly ManifestEntry[];
  readonly entries: number;
  /** Pairs of the log, dropped however often. */
  readonly logged: number;
  /** Ids of the log that the data set does not have: it is another one, or has changed. */
  readonly unknown: readonly string[];
  /** Ids that several entries have: which was dropped is not known, so all are kept. */
  readonly ambiguous: readonly string[];
  /** Of the dropped, those that a made data set marks as mismatched; null where it marks none. */
  readonly mismatched: number | null;
}

export interface NoiseOptions {
  /** Drops from which on a pair counts. @default 1 */
  readonly atLeast?: number;
  /** `key=value` over the run's config, such as `data.train=moved/manifest.jsonl`. */
  readonly overrides?: readonly string[];
}

/** Reads a run. Throws `ERR_COTS_FILE` for what is no run, `ERR_COTS_DATA` for data that is not there any more. */
export async function findNoise(
  run: string,
  { atLeast = 1, overrides = [] }: NoiseOptions = {},
): Promise<Noise> {
  const config = await loadConfig(path.join(run, 'config.yaml'), overrides, 'plan');
  const pairs = await readFilterLog(path.join(run, 'filtered.jsonl'));
  const { entries, weights } = await openSources(config.data.train, 'train').catch((error: unknown) => {
    throw moved(error);
  });
  const byId = new Map<string, ManifestEntry | null>();
  for (const entry of entries) byId.set(entry.id, byId.has(entry.id) ? null : entry);
  const dropped: Noise['dropped'][number][] = [];
  const [unknown, ambiguous]: [string[], string[]] = [[], []];
  for (const pair of pairs.values()) {
    const entry = byId.get(pair.id);
    if (entry === undefined) unknown.push(pair.id);
    else if (entry === null) ambiguous.push(pair.id);
    else if (pair.drops >= atLeast) dropped.push({ ...pair, entry });
  }

  const out = new Set(dropped.map(({ entry }) => entry));
  const kept = entries.flatMap((entry, index) => {
    if (out.has(entry)) return [];
    const weight = weights?.[index] ?? 1;
    return [weight === 1 ? entry : { ...entry, weight }];
  });
  const marked = entries.some(({ mismatched }) => mismatched === true);
  return {
    dropped: dropped.sort((a, b) => b.drops - a.drops || a.score - a.threshold - (b.score - b.threshold)),
    kept,
    entries: entries.length,
    logged: pairs.size,
    unknown,
    ambiguous,
    mismatched: marked ? dropped.filter(({ entry }) => entry.mismatched === true).length : null,
  };
}

/** The last line may be torn where a run was killed. */
async function readFilterLog(file: string): Promise<Map<string, DroppedPair>> {
  const pairs = new Map<string, DroppedPair>();
  try {
    for await (const line of textLines(file)) {
      const pair = parsed(line);
      if (pair === undefined) continue;
      const { id, score, threshold, step } = pair;
      pairs.set(id, { id, drops: (pairs.get(id)?.drops ?? 0) + 1, score, threshold, step });
    }
  } catch (error) {
    throw fileError(error, 'read what the filter dropped at', file);
  }

  return pairs;
}

function parsed(line: string): FilteredPair | undefined {
  try {
    const pair = JSON.parse(line) as FilteredPair;
    return typeof pair.id === 'string' ? pair : undefined;
  } catch {
    return undefined;
  }
}

function moved(error: unknown): unknown {
  if (!(error instanceof CotsError)) return error;
  return new DataError(
    `${error.message} If the data of the run has moved, say where: data.train=PATH, or data.train='[{path: PATH, images: DIR}]'.`,
    { cause: error },
  );
}

/** Opens a data set, whatever its form, as manifest entries. */
import { DataError } from '../errors.js';
import { checkEntries, type ManifestEntry } from './manifest.js';
import { type DatasetKind, readFrom } from './readers/read.js';
import type { Columns } from './readers/table.js';
import { expandSources } from './sources.js';

export type { DatasetKind } from './readers/read.js';

/** What the entries are for: decides which split is taken when none is named, and whether captions must be there. */
export type DatasetUse = 'train' | 'validation' | 'any';

export interface OpenOptions {
  /** Split to take; null: `train` for training, `val` or `validation` for validation, all otherwise. @default null */
  readonly split?: string | null;
  /** @default 'any' */
  readonly use?: DatasetUse;
  /** Folder that image paths are relative to; null: that of the file. @default null */
  readonly images?: string | null;
  /** Names of a table's columns, or of the endings and fields of shards; null: the usual ones. @default null */
  readonly columns?: Columns | null;
  /** Captions taken of each image; null: all. @default null */
  readonly captionsPerImage?: number | null;
  /** Refuse an entry without a caption, or with a blank one. @default true unless `use` is 'any' */
  readonly requireCaptions?: boolean;
  /** Leave two entries of one id to the caller. @default false */
  readonly allowDuplicateIds?: boolean;
}

/** A data set's entries, with absolute image paths or URLs. */
export interface Dataset {
  readonly entries: readonly ManifestEntry[];
  /** `mixed` where several of different forms are joined. */
  readonly kind: DatasetKind | 'mixed';
  /** The split taken; null: all. */
  readonly split: string | null;
  readonly path: string;
  /** Files read; of shards, the shards. */
  readonly files: number;
  /** What was left out or is odd, such as a shard that is cut; a sentence each. */
  readonly warnings: readonly string[];
}

/**
 * Opens a manifest (`.jsonl`), an annotation file of a public data set (`.json`, `.token`, `.tsv`, `.csv`, `.parquet`, see the
 * readers), WebDataset shards, or a folder: one with a `manifest.jsonl`, shards, or images with captions. `file` may be a URL,
 * hold brace ranges and wildcards, and several joined by `::`.
 * Throws `ERR_COTS_DATA` for what is none of these, has no entry of the split, or lacks captions; `ERR_COTS_FILE`.
 */
export async function openDataset(file: string, options: OpenOptions = {}): Promise<Dataset> {
  const { use = 'any', images = null, columns = null, captionsPerImage = null } = options;
  const captions = options.requireCaptions ?? use !== 'any';
  const warnings: string[] = [];
  const locations = await expandSources(file);
  const warn = (message: string) => warnings.push(message);
  const { kind, entries: all } = await readFrom(locations, { images, columns, captions, warn });
  const split = options.split ?? defaultSplit(all, use, file);
  const taken = split === null ? all : all.filter((entry) => entry.split === split);
  if (taken.length === 0) throw noSuchSplit(file, split, all);
  const entries =
    captionsPerImage === null
      ? taken
      : taken.map((entry) => ({ ...entry, captions: entry.captions.slice(0, captionsPerImage) }));
  // A sample of a shard that lacks its text is one bad sample: the loader leaves it out and counts it.
  const counted = kind === 'webdataset' && use === 'train';
  checkEntries(entries, file, {
    captions: captions && !counted,
    duplicateIds: options.allowDuplicateIds ?? false,
  });
  return { entries, kind, split, path: file, files: locations.length, warnings };
}

function defaultSplit(entries: readonly ManifestEntry[], use: DatasetUse, file: string): string | null {
  if (use === 'any') return null;
  const splits = new Set(entries.map(({ split }) => split));
  if (use === 'train') return 'train';
  const named = ['val', 'validation'].find((name) => splits.has(name));
  if (named !== undefined) return named;
  if (splits.size === 1) return null;
  throw noSuchSplit(file, 'val', entries);
}

function noSuchSplit(file: string, split: string | null, entries: readonly ManifestEntry[]): DataError {
  const counts = new Map<string, number>();
  for (const entry of entries) counts.set(entry.split, (counts.get(entry.split) ?? 0) + 1);
  const has = [...counts].map(([name, count]) => `${name} (${count})`).join(', ');
  return new DataError(
    `Expected ${file} to have entries of split '${split}', it has ${has}. Name one of these: a list entry { path, split }, or --split.`,
  );
}

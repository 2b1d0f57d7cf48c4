/** Opens a data set, whatever its form, as manifest entries. */
import { readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { DataError } from '../errors.js';
import { fileError, kindOf } from '../read-file.js';
import { checkEntries, type ManifestEntry } from './manifest.js';
import { type JsonKind, readAnnotations } from './readers/annotations.js';
import { readConceptualCaptions } from './readers/cc3m.js';
import { readFlickrTokens } from './readers/flickr-tokens.js';
import { readFolder } from './readers/folder.js';
import { readJsonl } from './readers/jsonl.js';
import { isMsrvttList, msrvttListEntries } from './readers/msrvtt.js';
import { type Row, readCsv, readParquet, tableEntries } from './readers/table.js';
import { expandShards, isShardRange, readShards } from './readers/webdataset.js';

/** What the entries are for: decides which split is taken when none is named, and whether captions must be there. */
export type DatasetUse = 'train' | 'validation' | 'any';

export interface OpenOptions {
  /** Split to take; null: `train` for training, `val` or `validation` for validation, all otherwise. @default null */
  readonly split?: string | null;
  /** @default 'any' */
  readonly use?: DatasetUse;
  /** Folder that image paths are relative to; null: that of the file. @default null */
  readonly images?: string | null;
  /** Captions taken of each image; null: all. @default null */
  readonly captionsPerImage?: number | null;
  /** Refuse an entry without a caption, or with a blank one. @default true unless `use` is 'any' */
  readonly requireCaptions?: boolean;
}

/** The form of a data set. */
export type DatasetKind =
  | 'manifest'
  | 'folder'
  | JsonKind
  | 'flickr30k-tokens'
  | 'conceptual-captions'
  | 'msrvtt-list'
  | 'webdataset'
  | 'table';

/** A data set's entries, with absolute image paths. */
export interface Dataset {
  readonly entries: readonly ManifestEntry[];
  readonly kind: DatasetKind;
  /** The split taken; null: all. */
  readonly split: string | null;
  readonly path: string;
}

/** Manifests are found under this name in a folder. */
export const manifestName = 'manifest.jsonl';

/**
 * Opens a manifest (`.jsonl`), an annotation file of a public data set (`.json`, `.token`, `.tsv`, `.csv`, `.parquet`, see the
 * readers), WebDataset shards, or a folder: one with a `manifest.jsonl`, shards, or images with captions.
 * Throws `ERR_COTS_DATA` for what is none of these, has no entry of the split, or lacks captions; `ERR_COTS_FILE`.
 */
export async function openDataset(file: string, options: OpenOptions = {}): Promise<Dataset> {
  const { use = 'any', images = null, captionsPerImage = null } = options;
  const { kind, entries: all } = await read(file, images);
  const split = options.split ?? defaultSplit(all, use, file);
  const taken = split === null ? all : all.filter((entry) => entry.split === split);
  if (taken.length === 0) throw noSuchSplit(file, split, all);
  const entries =
    captionsPerImage === null
      ? taken
      : taken.map((entry) => ({ ...entry, captions: entry.captions.slice(0, captionsPerImage) }));
  checkEntries(entries, file, { captions: options.requireCaptions ?? use !== 'any' });
  return { entries, kind, split, path: file };
}

async function read(file: string, images: string | null): Promise<Pick<Dataset, 'kind' | 'entries'>> {
  if (isShardRange(file)) return { kind: 'webdataset', entries: await readShards(expandShards(file)) };
  const found = await stat(file).catch((error: unknown) => {
    throw fileError(error, 'read a data set at', file);
  });
  if (found.isDirectory()) {
    const inside = path.join(file, manifestName);
    const manifest = await stat(inside).catch(() => undefined);
    if (manifest?.isFile()) return { kind: 'manifest', entries: await readJsonl(inside, images) };
    const shards = (await readdir(file)).filter((name) => name.endsWith('.tar')).sort();
    if (shards.length > 0)
      return { kind: 'webdataset', entries: await readShards(shards.map((name) => path.join(file, name))) };
    return { kind: 'folder', entries: await readFolder(file, images) };
  }

  const reader = readers[path.extname(file).toLowerCase()];
  if (reader !== undefined) return reader(file, images);
  throw new DataError(
    `Expected a data set to be a folder of images or a file that ends in ${Object.keys(readers).join(', ')}, got ${file}. Make a manifest (.jsonl) of it.`,
  );
}

/** Whether a path is a folder without a manifest and without shards: one of images or videos themselves. */
export async function isPlainFolder(folder: string): Promise<boolean> {
  if (isShardRange(folder) || (await kindOf(folder)) !== 'directory') return false;
  const names = await readdir(folder);
  return !names.some((name) => name === manifestName || name.endsWith('.tar'));
}

/** Whether a file's ending is that of a data set. */
export function isDatasetFile(file: string): boolean {
  return Object.hasOwn(readers, path.extname(file).toLowerCase());
}

type Read = (file: string, media: string | null) => Promise<Pick<Dataset, 'kind' | 'entries'>>;

const readers: Readonly<Record<string, Read>> = {
  '.jsonl': async (file, media) => ({ kind: 'manifest', entries: await readJsonl(file, media) }),
  '.json': readAnnotations,
  '.token': async (file, media) => ({
    kind: 'flickr30k-tokens',
    entries: await readFlickrTokens(file, media),
  }),
  '.tsv': async (file, media) => ({
    kind: 'conceptual-captions',
    entries: await readConceptualCaptions(file, media),
  }),
  '.tar': async (file) => ({ kind: 'webdataset', entries: await readShards([file]) }),
  '.csv': async (file, media) => fromRows(await readCsv(file), file, media),
  '.parquet': async (file, media) => fromRows(await readParquet(file), file, media),
};

async function fromRows(rows: readonly Row[], file: string, media: string | null): ReturnType<Read> {
  return isMsrvttList(rows)
    ? { kind: 'msrvtt-list', entries: await msrvttListEntries(rows, file, media) }
    : { kind: 'table', entries: tableEntries(rows, file, media) };
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

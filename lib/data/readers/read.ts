/** Chooses the reader of each location by what it is and how it ends. */
import { readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { DataError } from '../../errors.js';
import { fileError, kindOf } from '../../read-file.js';
import { baseNameOf, folderOf, isRemote, nameOf } from '../../remote/location.js';
import { localCopy } from '../../remote/remote-file.js';
import { type ManifestEntry, readManifest } from '../manifest.js';
import { type JsonKind, readAnnotations } from './annotations.js';
import { readConceptualCaptions } from './cc3m.js';
import { isFlickrCsv, readFlickrCsv, readFlickrTokens } from './flickr-tokens.js';
import { readFolder } from './folder.js';
import { img2datasetEntries, isImg2dataset } from './img2dataset.js';
import { readJsonRows } from './jsonl.js';
import { frozenListEntries, isFrozenList, isMsrvttList, msrvttListEntries } from './msrvtt.js';
import {
  type Columns,
  firstLine,
  isTableHeader,
  type Row,
  readCsv,
  readParquet,
  readTsvTable,
  tableEntries,
} from './table.js';
import { readShards } from './webdataset.js';

/** The form of a data set. */
export type DatasetKind =
  | 'manifest'
  | 'folder'
  | JsonKind
  | 'flickr30k-tokens'
  | 'flickr30k-csv'
  | 'conceptual-captions'
  | 'img2dataset'
  | 'msrvtt-list'
  | 'webdataset'
  | 'table';

export interface ReadOptions {
  /** Folder or URL that paths are relative to; null: that of the file. */
  readonly images: string | null;
  /** Names given by the user; null: the usual ones. */
  readonly columns: Columns | null;
  /** Whether entries without captions are of no use. */
  readonly captions: boolean;
  readonly warn: (message: string) => void;
}

interface Found {
  readonly kind: DatasetKind;
  readonly entries: readonly ManifestEntry[];
}

type Reader = (file: string, options: ReadOptions) => Promise<Found>;

/** Manifests are found under this name in a folder. */
export const manifestName = 'manifest.jsonl';

/** The entries of all locations, in order. Throws `ERR_COTS_DATA`, `ERR_COTS_FILE`. */
export async function readFrom(
  locations: readonly string[],
  options: ReadOptions,
): Promise<{ kind: DatasetKind | 'mixed'; entries: readonly ManifestEntry[] }> {
  if (locations.every(isShard)) return shards(locations, options);
  const found: Found[] = [];
  for (const location of locations) found.push(await readOne(location, options));
  const kinds = new Set(found.map(({ kind }) => kind));
  const [only] = kinds;
  return {
    kind: kinds.size === 1 && only !== undefined ? only : 'mixed',
    entries: found.length === 1 ? (found[0] as Found).entries : found.flatMap(({ entries }) => entries),
  };
}

/** Whether a file's ending is that of a data set. */
export function isDatasetFile(file: string): boolean {
  return Object.hasOwn(readers, endingOf(file)) || isShard(file) || isFrozenList(file);
}

/** Whether a path is a folder without a manifest and without shards: one of images or videos themselves. */
export async function isPlainFolder(folder: string): Promise<boolean> {
  if (isRemote(folder) || (await kindOf(folder)) !== 'directory') return false;
  const names = await readdir(folder);
  return !names.some((name) => name === manifestName || name.endsWith('.tar'));
}

async function readOne(location: string, options: ReadOptions): Promise<Found> {
  if (isShard(location)) return shards([location], options);
  if (!isRemote(location)) {
    const found = await stat(location).catch((error: unknown) => {
      throw fileError(error, 'read a data set at', location);
    });
    if (found.isDirectory()) return readDirectory(location, options);
  }

  const reader = isFrozenList(location) ? frozenList : readers[endingOf(location)];
  if (reader === undefined)
    throw new DataError(
      `Expected a data set to be a folder of images or a file that ends in ${Object.keys(readers).join(', ')}, .tar, got ${nameOf(location)}. Make a manifest (.jsonl) of it.`,
    );
  if (!isRemote(location)) return reader(location, options);
  return reader(await localCopy(location), { ...options, images: options.images ?? folderOf(location) });
}

async function readDirectory(folder: string, options: ReadOptions): Promise<Found> {
  const inside = path.join(folder, manifestName);
  const manifest = await stat(inside).catch(() => undefined);
  if (manifest?.isFile()) return manifestOrTable(inside, options);
  const names = await readdir(folder).catch((error: unknown) => {
    throw fileError(error, 'read the folder', folder);
  });
  const tars = names.filter((name) => name.endsWith('.tar')).sort();
  if (tars.length > 0)
    return shards(
      tars.map((name) => path.join(folder, name)),
      options,
    );
  return { kind: 'folder', entries: await readFolder(folder, options.images) };
}

function isShard(location: string): boolean {
  return baseNameOf(location).endsWith('.tar');
}

function endingOf(location: string): string {
  return path.extname(baseNameOf(location)).toLowerCase();
}

async function shards(files: readonly string[], { columns, captions, warn }: ReadOptions): Promise<Found> {
  const { image, video, caption } = columns ?? {};
  const fields = { image, video, caption };
  return {
    kind: 'webdataset',
    entries: await readShards(files, { fields, requireCaptions: captions, warn }),
  };
}

const manifestOrTable: Reader = async (file, { images, columns }) => {
  const rows = await readJsonRows(file, columns);
  if (rows !== undefined) return { kind: 'table', entries: tableEntries(rows, file, images, columns) };
  const root = images ?? path.dirname(file);
  return {
    kind: 'manifest',
    entries: await readManifest(file, { captions: false, duplicateIds: true, root }),
  };
};

const csv: Reader = async (file, options) => {
  const header = await firstLine(file);
  if (options.columns === null && isFlickrCsv(header))
    return { kind: 'flickr30k-csv', entries: await readFlickrCsv(file, options.images) };
  return fromRows(await readCsv(file, header), file, options);
};

const tsv: Reader = async (file, { images, columns }) => {
  const isTable = isTableHeader((await firstLine(file)).split('\t'), columns);
  if (isTable)
    return { kind: 'table', entries: tableEntries(await readTsvTable(file), file, images, columns) };
  return { kind: 'conceptual-captions', entries: await readConceptualCaptions(file, images) };
};

const frozenList: Reader = async (file, { images }) => ({
  kind: 'msrvtt-list',
  entries: await frozenListEntries(file, images),
});

const readers: Readonly<Record<string, Reader>> = {
  '.jsonl': manifestOrTable,
  '.json': (file, { images }) => readAnnotations(file, images),
  '.token': async (file, { images }) => ({
    kind: 'flickr30k-tokens',
    entries: await readFlickrTokens(file, images),
  }),
  '.tsv': tsv,
  '.csv': csv,
  '.parquet': async (file, options) => fromRows(await readParquet(file), file, options),
};

async function fromRows(
  rows: readonly Row[],
  file: string,
  { images, columns }: ReadOptions,
): Promise<Found> {
  if (columns === null && isMsrvttList(rows))
    return { kind: 'msrvtt-list', entries: await msrvttListEntries(rows, file, images) };
  if (columns === null && isImg2dataset(rows))
    return { kind: 'img2dataset', entries: await img2datasetEntries(rows, file) };
  return { kind: 'table', entries: tableEntries(rows, file, images, columns) };
}

/**
 * What img2dataset wrote (ECOSYSTEM 3.2): per shard `00000.parquet`, which says what became of each url, beside the folder
 * `00000/` (`--output_format files`) or `00000.tar` (`webdataset`).
 */
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { DataError } from '../../errors.js';
import { exists, fileError } from '../../read-file.js';
import type { ManifestEntry } from '../manifest.js';
import { memberLocation } from '../media.js';
import { mediaNames } from '../shards/read-member.js';
import { type Row, readParquet } from './table.js';

/** Locations of the pictures of a folder by url; empty where it has no such parquet files. Throws `ERR_COTS_FILE`, `ERR_COTS_DATA`. */
export async function downloadedPictures(folder: string): Promise<Map<string, string>> {
  const names = await readdir(folder).catch((error: unknown) => {
    throw fileError(error, 'read a folder of pictures at', folder);
  });
  const found = new Map<string, string>();
  for (const name of names.filter((one) => /^\d+\.parquet$/.test(one)).sort()) {
    const file = path.join(folder, name);
    const pictureOf = await pictures(file);
    for (const { url, key, status } of await readParquet(file, ['url', 'key', 'status'])) {
      const picture = status === 'success' ? pictureOf(String(key)) : undefined;
      if (picture !== undefined) found.set(String(url), picture);
    }
  }

  return found;
}

/** Whether a parquet file is one of img2dataset's. */
export function isImg2dataset([first]: readonly Row[]): boolean {
  return first !== undefined && 'url' in first && 'key' in first && 'status' in first;
}

/** The rows of such a file that have a picture, by key: the file has them in the order of download. Throws `ERR_COTS_DATA` for none. */
export async function img2datasetEntries(rows: readonly Row[], file: string): Promise<ManifestEntry[]> {
  const pictureOf = await pictures(file);
  const entries = rows.flatMap(({ key, status, caption }) => {
    const image = status === 'success' ? pictureOf(String(key)) : undefined;
    if (image === undefined) return [];
    const captions = typeof caption === 'string' ? [caption] : [];
    return [
      {
        id: String(key),
        image,
        captions,
        split: 'train',
        source: path.basename(path.dirname(path.resolve(file))),
      },
    ];
  });
  if (entries.length > 0) return entries.sort((a, b) => (a.id < b.id ? -1 : 1));
  throw new DataError(
    `Expected a picture of ${file} in ${withoutEnding(file)}.tar or in the folder ${withoutEnding(file)}, got none of ${rows.length}. Put what img2dataset wrote beside it.`,
  );
}

/** The location of a picture by its key. */
async function pictures(file: string): Promise<(key: string) => string | undefined> {
  const stem = withoutEnding(file);
  const tar = `${stem}.tar`;
  if (await exists(tar)) {
    const names = await mediaNames(tar);
    const byKey = new Map(names.map((name) => [path.parse(name).name, name]));
    return (key) => {
      const name = byKey.get(key);
      return name === undefined ? undefined : memberLocation(tar, name);
    };
  }

  const inside = await readdir(stem).catch(() => []);
  const files = new Map(
    inside.filter((name) => /\.(jpg|png|webp)$/.test(name)).map((name) => [path.parse(name).name, name]),
  );
  return (key) => {
    const name = files.get(key);
    return name === undefined ? undefined : path.join(stem, name);
  };
}

function withoutEnding(file: string): string {
  return path.resolve(file).slice(0, -path.extname(file).length);
}

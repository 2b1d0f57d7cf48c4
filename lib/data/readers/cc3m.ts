/**
 * CC3M's and CC12M's tables: `caption<TAB>url` a line, without a header or with img2dataset's (ECOSYSTEM 3.1). The pictures
 * are a folder that img2dataset wrote (`--output_format files`), whose parquet files say which url became which file.
 */
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { DataError } from '../../errors.js';
import { fileError } from '../../read-file.js';
import type { ManifestEntry } from '../manifest.js';
import { wrongField } from './fields.js';
import { readParquet, readTsv } from './table.js';

/** One entry a line whose picture is there, in the file's order; what could not be downloaded is left out. */
export async function readConceptualCaptions(file: string, images: string | null): Promise<ManifestEntry[]> {
  const rows = (await readTsv(file)).filter((row, index) => !isHeader(row, index));
  const [folders, source] = [images === null ? [path.dirname(file)] : [images], path.parse(file).name];
  const found = await downloaded(folders[0] as string, file);
  const entries: ManifestEntry[] = [];
  const seen = new Set<string>();
  for (const [index, row] of rows.entries()) {
    const [caption, url] = row.length === 2 ? (row as [string, string]) : [undefined, undefined];
    if (caption === undefined || url === undefined)
      throw wrongField(file, `row ${index + 1}`, 'a caption, a tab and a url', row.join(' | '));
    const image = found.get(url);
    if (image === undefined || seen.has(image)) continue;
    seen.add(image);
    entries.push({ id: path.parse(image).name, image, captions: [caption], split: 'train', source });
  }

  if (entries.length > 0) return entries;
  throw new DataError(
    `Expected the pictures of ${file} in ${folders[0]}, found none of ${rows.length}. Download them there with img2dataset (--output_format files), or name their folder with \`images\`.`,
  );
}

function isHeader(row: readonly string[], index: number): boolean {
  return index === 0 && row[0] === 'caption' && row[1] === 'url';
}

/** Paths of the pictures by url. */
async function downloaded(folder: string, file: string): Promise<Map<string, string>> {
  const names = await readdir(folder).catch((error: unknown) => {
    throw fileError(error, `read the pictures of ${file} at`, folder);
  });
  const paths = new Map<string, string>();
  for (const name of names.filter((one) => /^\d+\.parquet$/.test(one)).sort()) {
    const shard = path.parse(name).name;
    for (const { url, key, status } of await readParquet(path.join(folder, name), ['url', 'key', 'status'])) {
      if (status === 'success') paths.set(String(url), path.resolve(folder, shard, `${String(key)}.jpg`));
    }
  }

  return paths;
}

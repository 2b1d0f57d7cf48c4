/**
 * The tables of CC3M (`caption<TAB>url`) and CC12M (`url<TAB>caption`), without a header or with img2dataset's (ECOSYSTEM 3.1). The
 * pictures are what img2dataset wrote, as files or shards, or a folder that has them by the last part of their url.
 */
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { DataError } from '../../errors.js';
import { fileError } from '../../read-file.js';
import type { ManifestEntry } from '../manifest.js';
import { wrongField } from './fields.js';
import { downloadedPictures } from './img2dataset.js';
import { readTsv } from './table.js';

/** One entry a line whose picture is there, in the file's order; what could not be downloaded is left out. */
export async function readConceptualCaptions(file: string, images: string | null): Promise<ManifestEntry[]> {
  const [folder, source] = [images ?? path.dirname(file), path.parse(file).name];
  const rows = await readTsv(file);
  const hasHeader = rows[0]?.includes('url') === true && rows[0].includes('caption');
  const urlColumn = hasHeader ? rows[0]?.indexOf('url') : Number(isUrl(rows[0]?.[0]) ? 0 : 1);
  const pictureOf = await picturesIn(
    folder,
    rows.map((row) => row[urlColumn as number] ?? ''),
  );
  const entries: ManifestEntry[] = [];
  const seen = new Set<string>();
  for (const [index, row] of rows.entries()) {
    if (hasHeader && index === 0) continue;
    const [url, caption] = [row[urlColumn as number], row[1 - (urlColumn as number)]];
    if (row.length !== 2 || caption === undefined || url === undefined)
      throw wrongField(file, `row ${index + 1}`, 'a caption, a tab and a url', row.join(' | '));
    const image = pictureOf(url);
    if (image === undefined || seen.has(image)) continue;
    seen.add(image);
    entries.push({
      id: path.parse(image.slice(image.lastIndexOf('!') + 1)).name,
      image,
      captions: [caption],
      split: 'train',
      source,
    });
  }

  if (entries.length > 0) return entries;
  throw new DataError(
    `Expected the pictures of ${file} in ${folder}, found none of ${rows.length}. Download them there with img2dataset (--output_format files or webdataset), or name their folder with \`images\`.`,
  );
}

function isUrl(cell: string | undefined): boolean {
  return cell !== undefined && /^https?:\/\//.test(cell);
}

/**
 * The picture of a url: by img2dataset's parquet files where there are some, else by name. A name that several urls share is
 * nobody's, since the file may be of any of them.
 */
async function picturesIn(
  folder: string,
  urls: readonly string[],
): Promise<(url: string) => string | undefined> {
  const downloaded = await downloadedPictures(folder);
  if (downloaded.size > 0) return (url) => downloaded.get(url);
  const names = await readdir(folder).catch((error: unknown) => {
    throw fileError(error, 'read a folder of pictures at', folder);
  });
  const sharers = new Map(names.map((name) => [name, new Set<string>()]));
  for (const url of urls) sharers.get(nameOfUrl(url))?.add(url);
  return (url) => {
    const name = nameOfUrl(url);
    return sharers.get(name)?.size === 1 ? path.resolve(folder, name) : undefined;
  };
}

function nameOfUrl(url: string): string {
  return path.posix.basename(URL.canParse(url) ? new URL(url).pathname : url);
}

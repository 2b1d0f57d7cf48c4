/** An input of `cots embed` as entries. */
import path from 'node:path';
import { type OpenOptions, openDataset } from '../data/open.js';
import { isVideoFile, readVideoFolder } from '../data/readers/folder.js';
import { isDatasetFile, isPlainFolder } from '../data/readers/read.js';
import { DataError } from '../errors.js';
import { kindOf, readText } from '../read-file.js';
import type { Entry } from './metadata.js';
import type { Modality } from './partitions.js';

const names = { image: 'images', text: 'texts or captions', video: 'videos' } as const;

/**
 * Entries of an input: a data set (its images or videos, or one entry a caption), for texts a file with one a line, for videos one
 * of them or a folder. Throws `ERR_COTS_DATA` for none.
 */
export async function readInput(
  input: string,
  modality: Modality,
  split: string | null,
  source: Pick<OpenOptions, 'images' | 'columns'> = {},
): Promise<Entry[]> {
  const isFile = (await kindOf(input)) === 'file' && !isDatasetFile(input);
  const single =
    modality === 'text' ? readLines : modality === 'video' && isVideoFile(input) ? oneVideo : undefined;
  if (isFile && single !== undefined) {
    if (split === null) return nonEmpty(await single(input), input, modality);
    throw new DataError(
      `Expected no --split with ${input}, which is no data set, got '${split}'. Leave it out.`,
    );
  }

  return nonEmpty(await entriesOf(input, modality, { ...source, split }), input, modality);
}

function nonEmpty(entries: Entry[], input: string, modality: Modality): Entry[] {
  if (entries.length > 0) return entries;
  throw new DataError(`Expected ${input} to hold ${names[modality]}, got none. Name another input.`);
}

async function entriesOf(input: string, modality: Modality, source: OpenOptions): Promise<Entry[]> {
  const { entries } =
    modality === 'video' && source.split === null && (await isPlainFolder(input))
      ? { entries: await readVideoFolder(input) }
      : await openDataset(input, source);
  if (modality === 'video') {
    return entries.flatMap(({ id, video, captions }) =>
      video === undefined ? [] : [{ id, image: '', video, caption: captions[0] ?? '' }],
    );
  }

  if (modality === 'image') {
    return entries.flatMap(({ id, image, captions }) =>
      image === undefined ? [] : [{ id, image, caption: captions[0] ?? '' }],
    );
  }

  return entries.flatMap(({ id, image = '', captions }) =>
    captions.map((caption, index) => ({ id: captions.length === 1 ? id : `${id}#${index}`, image, caption })),
  );
}

async function readLines(file: string): Promise<Entry[]> {
  const lines = (await readText(file)).split(/\r?\n/);
  if (lines.at(-1) === '') lines.pop();
  return lines.map((caption, index) => ({ id: String(index), image: '', caption }));
}

async function oneVideo(file: string): Promise<Entry[]> {
  return [{ id: path.parse(file).name, image: '', video: path.resolve(file), caption: '' }];
}

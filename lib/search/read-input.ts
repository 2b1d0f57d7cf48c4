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

/** Where a data set's images are and what its columns are called; `warn` is told what was left out or is odd. */
export interface InputSource extends Pick<OpenOptions, 'images' | 'columns'> {
  readonly warn?: (message: string) => void;
}

/** Standard input in place of a file. */
const standardInput = '-';

/**
 * Entries of an input: a data set (its images or videos, or one entry a caption); a list, which is a text file or standard input (`-`)
 * with one text, or one path of an image or a video, a line; one video or a folder of them. Paths of a list are relative to
 * `source.images`, else to the list's folder, those of standard input to the current one. Throws `ERR_COTS_DATA` for none.
 */
export async function readInput(
  input: string,
  modality: Modality,
  split: string | null,
  source: InputSource = {},
): Promise<Entry[]> {
  const isFile = input === standardInput || ((await kindOf(input)) === 'file' && !isDatasetFile(input));
  if (isFile) {
    if (split === null) return nonEmpty(await entriesOfFile(input, modality, source.images), input, modality);
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

async function entriesOf(
  input: string,
  modality: Modality,
  { warn = () => {}, ...source }: InputSource & OpenOptions,
): Promise<Entry[]> {
  const { entries, warnings } =
    modality === 'video' && source.split === null && (await isPlainFolder(input))
      ? { entries: await readVideoFolder(input), warnings: [] }
      : await openDataset(input, source);
  for (const warning of warnings) warn(warning);
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

async function entriesOfFile(
  input: string,
  modality: Modality,
  images: string | null | undefined,
): Promise<Entry[]> {
  if (modality === 'video' && isVideoFile(input)) return oneVideo(input);
  const lines = await readLines(input);
  if (modality === 'text') return lines.map((caption, index) => ({ id: String(index), image: '', caption }));
  const folder = images ?? (input === standardInput ? '.' : path.dirname(input));
  return lines
    .filter((line) => line !== '')
    .map((line) => {
      const file = path.resolve(folder, line);
      return {
        id: line,
        caption: '',
        ...(modality === 'image' ? { image: file } : { image: '', video: file }),
      };
    });
}

async function readLines(input: string): Promise<string[]> {
  const content = input === standardInput ? await readStandardInput() : await readText(input);
  const lines = content.split(/\r?\n/);
  if (lines.at(-1) === '') lines.pop();
  return lines;
}

async function readStandardInput(): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks));
  } catch {
    throw new DataError(
      'Expected UTF-8 text on standard input, got other bytes. Convert the list, for example with iconv.',
    );
  }
}

async function oneVideo(file: string): Promise<Entry[]> {
  return [{ id: path.parse(file).name, image: '', video: path.resolve(file), caption: '' }];
}

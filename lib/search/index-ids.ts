/** `ids.jsonl` of an index: what each row is about, a line a row. */
import { createWriteStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { DataError } from '../errors.js';
import { fileError } from '../read-file.js';
import { textLines } from '../text-lines.js';
import type { Entry } from './metadata.js';

/** A line; what is empty is left out. */
interface IdLine {
  readonly id: string;
  readonly image?: string;
  readonly video?: string;
  readonly caption?: string;
  /** Of a video, as in the metadata of its embeddings. */
  readonly duration?: number;
  readonly frame_index?: readonly number[];
  readonly pts_seconds?: readonly number[];
}

export async function writeIds(file: string, entries: readonly Entry[]): Promise<void> {
  await pipeline(lines(entries), createWriteStream(file));
}

function* lines(entries: readonly Entry[]): Generator<string> {
  for (const { id, image, caption, video, clip } of entries) {
    const line: IdLine = {
      id,
      ...(image === '' ? {} : { image }),
      ...(video === undefined ? {} : { video }),
      ...(caption === '' ? {} : { caption }),
      ...(clip && { duration: clip.duration, frame_index: clip.indices, pts_seconds: clip.timestamps }),
    };
    yield `${JSON.stringify(line)}\n`;
  }
}

/** Throws `ERR_COTS_DATA` with the number of a line that is no JSON, `ERR_COTS_FILE`. */
export async function readIds(file: string): Promise<Entry[]> {
  const entries: Entry[] = [];
  try {
    for await (const line of textLines(file)) {
      if (line !== '') entries.push(entryOf(JSON.parse(line) as IdLine));
    }
  } catch (error) {
    if (error instanceof SyntaxError)
      throw new DataError(
        `Expected line ${entries.length + 1} of ${file} to be JSON, got: ${error.message}.`,
        { cause: error },
      );
    throw fileError(error, 'read', file);
  }

  return entries;
}

function entryOf({ id, image = '', caption = '', video, duration = 0, ...clip }: IdLine): Entry {
  const entry = { id: String(id), image, caption };
  if (video === undefined) return entry;
  const { frame_index: indices = [], pts_seconds: timestamps = [] } = clip;
  return { ...entry, video, clip: { duration, indices, timestamps } };
}

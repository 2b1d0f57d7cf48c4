/** Tables with named columns: CSV, TSV, parquet, JSON lines. */
import { createReadStream } from 'node:fs';
import path from 'node:path';
import { parse } from 'csv-parse';
import { asyncBufferFromFile, parquetReadObjects } from 'hyparquet';
import { nearest, show } from '../../checks.js';
import { CotsError, DataError } from '../../errors.js';
import { fileError } from '../../read-file.js';
import { textLines } from '../../text-lines.js';
import type { ManifestEntry } from '../manifest.js';
import { groupBy, wrongField } from './fields.js';

export type Row = Readonly<Record<string, unknown>>;

/** Names of a table's columns; what is not named is found under the usual names. */
export interface Columns {
  readonly image?: string;
  readonly video?: string;
  readonly caption?: string;
  readonly id?: string;
  readonly split?: string;
}

const usual: Readonly<Record<keyof Columns, readonly string[]>> = {
  image: ['image', 'image_path', 'file_name', 'filename', 'filepath', 'image_name', 'path'],
  video: ['video', 'video_path'],
  caption: ['caption', 'captions', 'text', 'title', 'sentence', 'comment'],
  id: ['id', 'key', 'image_id'],
  split: ['split'],
};

/** The rows of a CSV file with a header; `|` separates where the header has no comma (Kaggle's Flickr30K). */
export async function readCsv(file: string): Promise<Row[]> {
  const header = await firstLine(file);
  const delimiter = header.includes('|') && !header.includes(',') ? '|' : ',';
  return readDelimited(file, { delimiter, columns: true });
}

async function firstLine(file: string): Promise<string> {
  try {
    for await (const line of textLines(file)) return line;
    return '';
  } catch (error) {
    throw fileError(error, 'read a table at', file);
  }
}

/** The rows of a TSV file as lists of cells. Nothing is quoted. */
export async function readTsv(file: string): Promise<string[][]> {
  return readDelimited(file, { delimiter: '\t', quote: null, columns: false });
}

async function readDelimited<T>(file: string, options: object): Promise<T[]> {
  const parser = parse({
    bom: true,
    trim: true,
    skip_empty_lines: true,
    relax_column_count: false,
    ...options,
  });
  const input = createReadStream(file).on('error', (error) => parser.destroy(error));
  const rows: T[] = [];
  try {
    for await (const row of input.pipe(parser)) rows.push(row as T);
  } catch (error) {
    const { code } = error as { code?: string };
    if (code?.startsWith('CSV_') !== true) throw fileError(error, 'read a table at', file);
    throw new DataError(
      `Expected ${file} to be a table with as many cells in every row, got: ${(error as Error).message}. Correct that row.`,
      { cause: error },
    );
  } finally {
    input.destroy();
  }

  if (rows.length === 0)
    throw new DataError(`Expected ${file} to have a row, got none. Write one a picture.`);
  return rows;
}

/** The rows of a parquet file. */
export async function readParquet(file: string, columns?: readonly string[]): Promise<Row[]> {
  try {
    const buffer = await asyncBufferFromFile(file);
    return await parquetReadObjects({
      file: buffer,
      ...(columns === undefined ? {} : { columns: [...columns] }),
    });
  } catch (error) {
    const failure = fileError(error, 'read a table at', file);
    if (failure instanceof CotsError) throw failure;
    throw new DataError(
      `Expected ${file} to be a parquet file, got: ${(error as Error).message}. Restore it from its source.`,
      { cause: error },
    );
  }
}

/** One entry an image or video, with the captions of all its rows in order. Paths are relative to `media`. */
export function tableEntries(
  rows: readonly Row[],
  file: string,
  media: string | null,
  given: Columns = {},
): ManifestEntry[] {
  const header = Object.keys(rows[0] ?? {});
  const columns = resolveColumns(header, given, file);
  const root = media ?? path.dirname(file);
  const kind = columns.image === undefined ? 'video' : 'image';
  const key = columns[kind] as string;
  const checked = rows.map((row, index) => {
    const value = row[key];
    if (typeof value !== 'string' || value === '')
      throw wrongField(file, `row ${index + 1}`, `\`${key}\` as a path`, value);
    return { row, file: value, captions: captionsOf(row, columns.caption, file, index) };
  });
  return [...groupBy(checked, (item) => item.file)].map(([name, group]) => {
    const [{ row }] = group as [(typeof group)[0]];
    const split = columns.split === undefined ? undefined : row[columns.split];
    return {
      id: columns.id === undefined ? name : String(row[columns.id]),
      [kind]: path.resolve(root, name),
      captions: group.flatMap(({ captions }) => captions),
      split: typeof split === 'string' && split !== '' ? split : 'train',
      source: path.parse(file).name,
    };
  });
}

function captionsOf(row: Row, column: string | undefined, file: string, index: number): string[] {
  const value = column === undefined ? [] : row[column];
  const texts = Array.isArray(value) ? value : [value];
  if (!texts.every((text) => typeof text === 'string'))
    throw wrongField(file, `row ${index + 1}`, `\`${column}\` as a text or a list of texts`, value);
  return texts;
}

function resolveColumns(header: readonly string[], given: Columns, file: string): Columns {
  const found: { -readonly [K in keyof Columns]: Columns[K] } = {};
  for (const role of Object.keys(usual) as (keyof Columns)[]) {
    const asked = given[role];
    if (asked !== undefined && !header.includes(asked)) {
      const near = nearest(asked, header);
      throw new DataError(
        `Expected ${file} to have the column ${show(asked)}, it has ${header.join(', ')}.${near === undefined ? '' : ` Did you mean '${near}'?`}`,
      );
    }

    const name = asked ?? usual[role].find((known) => header.includes(known));
    if (name !== undefined) found[role] = name;
  }

  if (given.video !== undefined) delete found.image;
  if (found.image === undefined && found.video === undefined)
    throw new DataError(
      `Expected ${file} to have a column of image or video paths (${usual.image.join(', ')}), it has ${header.join(', ')}. Name it with \`columns: { image: NAME }\`.`,
    );
  return found;
}

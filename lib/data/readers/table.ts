/** Tables with named columns: CSV, TSV, parquet, JSON lines (ECOSYSTEM 3.1). */
import path from 'node:path';
import { Readable } from 'node:stream';
import { parse } from 'csv-parse';
import { asyncBufferFromFile, parquetReadObjects } from 'hyparquet';
import { nearest, show } from '../../checks.js';
import { CotsError, DataError } from '../../errors.js';
import { bytesAsOpened, fileError } from '../../read-file.js';
import { locate } from '../../remote/location.js';
import { textLines } from '../../text-lines.js';
import type { ManifestEntry } from '../manifest.js';
import { groupBy, wrongField } from './fields.js';

export type Row = Readonly<Record<string, unknown>>;

/** Names of a table's columns; what is not named is found under the usual names. */
export interface Columns {
  readonly image?: string | undefined;
  readonly video?: string | undefined;
  readonly caption?: string | undefined;
  readonly id?: string | undefined;
  readonly split?: string | undefined;
}

/** What a column may be named for. */
export const columnRoles = ['image', 'video', 'caption', 'id', 'split'] as const;

const usual: Readonly<Record<keyof Columns, readonly string[]>> = {
  image: ['image', 'image_path', 'file_name', 'filename', 'filepath', 'image_name', 'path'],
  video: ['video', 'video_path'],
  caption: ['caption', 'captions', 'text', 'title', 'sentence', 'comment'],
  id: ['id', 'key', 'image_id'],
  split: ['split'],
};

/** Usual names of a column of one caption. */
export const captionColumns = usual.caption.filter((name) => name !== 'captions');

/** The rows of a CSV file with a header; `|` separates where the header has no comma. */
export async function readCsv(file: string, header: string): Promise<Row[]> {
  const delimiter = header.includes('|') && !header.includes(',') ? '|' : ',';
  return readDelimited(file, { delimiter, columns: true });
}

/** The rows of a TSV file with a header. Nothing is quoted. */
export async function readTsvTable(file: string): Promise<Row[]> {
  return readDelimited(file, { delimiter: '\t', quote: null, columns: true });
}

/** Whether cells are the header of a table of files, so that a TSV file is no list of captions and urls. */
export function isTableHeader(cells: readonly string[], columns: Columns | null): boolean {
  const known = [...usual.image, ...usual.video, columns?.image, columns?.video];
  return cells.some((cell) => known.includes(cell));
}

/** The first line of a file, without a byte order mark. */
export async function firstLine(file: string): Promise<string> {
  try {
    for await (const line of textLines(file)) return line.replace(/^\uFEFF/, '');
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
  const rows: T[] = [];
  const input = Readable.from(bytesAsOpened(file)).on('error', (error) => parser.destroy(error));
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

/** A line of a table in JSON. */
export function parseJsonLine(line: string, where: string): Row {
  let row: unknown;
  try {
    row = JSON.parse(line);
  } catch {
    // Told below with the rule.
  }

  if (typeof row === 'object' && row !== null && !Array.isArray(row)) return row as Row;
  throw new DataError(`Expected ${where} to be a JSON object, got ${show(line)}. Correct that line.`);
}

/** One entry an image or video, with the captions of all its rows in order. Paths are relative to `media`. */
export function tableEntries(
  rows: readonly Row[],
  file: string,
  media: string | null,
  given: Columns | null = null,
): ManifestEntry[] {
  const header = Object.keys(rows[0] ?? {});
  const columns = resolveColumns(header, given ?? {}, file);
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
      [kind]: locate(root, name),
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
      `Expected ${file} to have a column of image or video paths (${usual.image.join(', ')}), it has ${header.join(', ')}. Name it: columns { image: NAME }, --columns image=NAME.`,
    );
  return found;
}

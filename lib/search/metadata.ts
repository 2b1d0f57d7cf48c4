/**
 * The metadata of a partition (ECOSYSTEM 3.3), `metadata_I.parquet`: a row a vector. Images and texts: `image_path, caption, id`. Videos:
 * `video_path, caption, id, duration` and, as lists, `frame_index` and `pts_seconds` of the frames, whose rows in `frame_emb`
 * follow each other in that order.
 */
import { asyncBufferFromFile, parquetReadObjects } from 'hyparquet';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { CotsError, DataError } from '../errors.js';
import { fileError } from '../read-file.js';
import { writeFileAtomic } from '../write-file.js';

/** What a row is about. */
export interface Entry {
  readonly id: string;
  /** Path of the image, or empty. */
  readonly image: string;
  /** A caption or the text itself, or empty. */
  readonly caption: string;
  /** Path of the video, of one. */
  readonly video?: string;
  /** What was taken of the video, once it is embedded. */
  readonly clip?: ClipFacts;
}

export interface ClipFacts {
  /** Seconds. */
  readonly duration: number;
  /** Frame numbers in the video. */
  readonly indices: readonly number[];
  /** Seconds from its beginning. */
  readonly timestamps: readonly number[];
}

type Column = { name: string; data: unknown[]; kind: 'STRING' | 'DOUBLE' | 'INT32'; isList?: boolean };

/** Writes the rows; `ofVideos` decides the columns. */
export async function writeEntries(
  file: string,
  entries: readonly Entry[],
  ofVideos: boolean,
): Promise<void> {
  const column = (
    name: string,
    kind: Column['kind'],
    of: (entry: Entry) => unknown,
    isList = false,
  ): Column => ({
    name,
    kind,
    isList,
    data: entries.map(of),
  });
  const columns = [
    ofVideos
      ? column('video_path', 'STRING', ({ video }) => video ?? '')
      : column('image_path', 'STRING', ({ image }) => image),
    column('caption', 'STRING', ({ caption }) => caption),
    column('id', 'STRING', ({ id }) => id),
    ...(ofVideos
      ? [
          column('duration', 'DOUBLE', ({ clip }) => clip?.duration ?? 0),
          column('frame_index', 'INT32', ({ clip }) => clip?.indices ?? [], true),
          column('pts_seconds', 'DOUBLE', ({ clip }) => clip?.timestamps ?? [], true),
        ]
      : []),
  ];
  const parquet = parquetWriteBuffer({
    schema: [{ name: 'root', num_children: columns.length }, ...columns.flatMap(schemaOf)],
    columnData: columns.map(({ name, data }) => ({ name, data })),
  });
  await writeFileAtomic(file, new Uint8Array(parquet));
}

type Schema = NonNullable<Parameters<typeof parquetWriteBuffer>[0]['schema']>;

function schemaOf({ name, kind, isList = false }: Column): Schema {
  const value: Pick<Schema[number], 'type' | 'converted_type'> =
    kind === 'STRING' ? { type: 'BYTE_ARRAY', converted_type: 'UTF8' } : { type: kind };
  const required = { repetition_type: 'REQUIRED' } as const;
  if (!isList) return [{ name, ...value, ...required }];
  return [
    { name, ...required, converted_type: 'LIST', num_children: 1 },
    { name: 'list', repetition_type: 'REPEATED', num_children: 1 },
    { name: 'element', ...value, ...required },
  ];
}

/** The rows of a metadata file. Throws `ERR_COTS_FILE`, `ERR_COTS_DATA`. */
export async function readEntries(file: string): Promise<Entry[]> {
  const rows = await readRows(file);
  return rows.map((row) => ({
    id: String(row['id']),
    image: String(row['image_path'] ?? ''),
    caption: String(row['caption'] ?? ''),
    ...(row['video_path'] === undefined ? {} : { video: String(row['video_path']), clip: clipOf(row) }),
  }));
}

function clipOf(row: Record<string, unknown>): ClipFacts {
  const numbers = (value: unknown): number[] => (Array.isArray(value) ? value.map(Number) : []);
  return {
    duration: Number(row['duration']),
    indices: numbers(row['frame_index']),
    timestamps: numbers(row['pts_seconds']),
  };
}

async function readRows(file: string): Promise<Record<string, unknown>[]> {
  try {
    return await parquetReadObjects({ file: await asyncBufferFromFile(file) });
  } catch (error) {
    const failure = fileError(error, 'read the metadata at', file);
    if (failure instanceof CotsError) throw failure;
    throw new DataError(
      `Expected ${file} to be a parquet file, got: ${(error as Error).message}. Embed again.`,
      { cause: error },
    );
  }
}

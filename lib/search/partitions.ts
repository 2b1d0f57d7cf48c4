/**
 * The partitions of a folder of embeddings: the vectors of some rows and the metadata that both modalities share, so row k of
 * one stands for the same thing as row k of the other.
 */
import path from 'node:path';
import { asyncBufferFromFile, parquetReadObjects } from 'hyparquet';
import { parquetWriteBuffer } from 'hyparquet-writer';
import type { Matrix } from '../binding.js';
import { CotsError, DataError } from '../errors.js';
import { exists, fileError } from '../read-file.js';
import { writeFileAtomic } from '../write-file.js';
import { readNpy, writeNpy } from './npy.js';

export type Modality = 'image' | 'text';

/** What a row is about. */
export interface Entry {
  readonly id: string;
  /** Path of the image, or empty. */
  readonly image: string;
  /** A caption or the text itself, or empty. */
  readonly caption: string;
}

/** Folder and file stem of the vectors. */
export const layout = { image: ['img_emb', 'img_emb'], text: ['text_emb', 'text_emb'] } as const;

/** The files of one partition. `index` is zero-padded to the digits of the partition count. */
export function partitionFiles(
  directory: string,
  modality: Modality,
  index: number,
  partitions: number,
): { npy: string; parquet: string } {
  const number = String(index).padStart(String(Math.max(partitions - 1, 0)).length, '0');
  const [folder, stem] = layout[modality];
  return {
    npy: path.join(directory, folder, `${stem}_${number}.npy`),
    parquet: path.join(directory, 'metadata', `metadata_${number}.parquet`),
  };
}

/** A partition of a run. */
export interface Partition {
  readonly index: number;
  readonly partitions: number;
}

/** Rows with what they are about. */
export interface Rows {
  readonly entries: readonly Entry[];
  readonly vectors: Matrix;
}

/** The rows of the other modality in this partition; undefined where it has none yet. */
export function otherRows(directory: string, modality: Modality, at: Partition): Promise<Rows | undefined> {
  return readPartition(directory, otherModality(modality), at);
}

/** Leaves `entries` alone in the other modality's files, which hold `other`, so that row k stays the same thing in both. */
export async function keepEntries(
  directory: string,
  modality: Modality,
  at: Partition,
  other: Rows,
  entries: readonly Entry[],
): Promise<void> {
  if (other.entries.length === entries.length) return;
  const files = partitionFiles(directory, otherModality(modality), at.index, at.partitions);
  await writeMetadata(files.parquet, entries); // a crash from here on leaves a partition that the next run makes anew
  await writeNpy(files.npy, takeRows([other], entries, other.vectors.shape[1]));
}

/** The rows of `entries`, in their order, out of blocks that hold them all. */
export function takeRows(blocks: readonly Rows[], entries: readonly Entry[], columns: number): Matrix {
  const rows = new Map<string, Float32Array>();
  for (const block of blocks) {
    for (const [row, { id }] of block.entries.entries())
      rows.set(id, block.vectors.data.subarray(row * columns, (row + 1) * columns));
  }

  const data = new Float32Array(entries.length * columns);
  for (const [row, { id }] of entries.entries()) data.set(rows.get(id) as Float32Array, row * columns);
  return { data, shape: [entries.length, columns] };
}

function otherModality(modality: Modality): Modality {
  return modality === 'image' ? 'text' : 'image';
}

/** Writes a partition: vectors first, then the metadata. */
export async function writePartition(
  directory: string,
  modality: Modality,
  at: Partition,
  vectors: Matrix,
  entries: readonly Entry[],
): Promise<void> {
  const files = partitionFiles(directory, modality, at.index, at.partitions);
  await writeNpy(files.npy, vectors);
  await writeMetadata(files.parquet, entries);
}

async function writeMetadata(file: string, entries: readonly Entry[]): Promise<void> {
  const column = (name: string, data: string[]): { name: string; data: string[]; type: 'STRING' } => ({
    name,
    data,
    type: 'STRING',
  });
  const parquet = parquetWriteBuffer({
    columnData: [
      column(
        'image_path',
        entries.map(({ image }) => image),
      ),
      column(
        'caption',
        entries.map(({ caption }) => caption),
      ),
      column(
        'id',
        entries.map(({ id }) => id),
      ),
    ],
  });
  await writeFileAtomic(file, new Uint8Array(parquet));
}

/** What a finished partition holds; undefined when it is missing or torn. */
export async function readPartition(
  directory: string,
  modality: Modality,
  at: Partition,
): Promise<Rows | undefined> {
  const files = partitionFiles(directory, modality, at.index, at.partitions);
  if (!(await exists(files.npy)) || !(await exists(files.parquet))) return undefined;
  try {
    const entries = await readEntries(files.parquet);
    const vectors = await readNpy(files.npy);
    return entries.length === vectors.shape[0] ? { entries, vectors } : undefined;
  } catch {
    return undefined;
  }
}

/** The rows of a metadata file. Throws `ERR_COTS_FILE`, `ERR_COTS_DATA`. */
export async function readEntries(file: string): Promise<Entry[]> {
  const rows = await readRows(file);
  return rows.map((row) => ({
    id: String(row['id']),
    image: String(row['image_path'] ?? ''),
    caption: String(row['caption'] ?? ''),
  }));
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

/**
 * The partitions of a folder of embeddings: the vectors of some rows and their metadata, which images and texts share, so that row k of
 * one stands for the same thing as row k of the other. Videos have the vectors of their frames too.
 */
import path from 'node:path';
import type { Matrix } from '../binding.js';
import { exists } from '../read-file.js';
import { type Entry, readEntries, writeEntries } from './metadata.js';
import { readNpy, readNpyShape, writeNpy } from './npy.js';

export type Modality = 'image' | 'text' | 'video';

/** Folder, and stem of the files in it. */
export const folders = {
  image: 'img_emb',
  text: 'text_emb',
  video: 'video_emb',
  frames: 'frame_emb',
} as const;

/** The files of one partition. `index` is zero-padded to the digits of the partition count. */
export function partitionFiles(
  directory: string,
  modality: Modality,
  { index, partitions }: Partition,
): { npy: string; frames: string; parquet: string } {
  const number = String(index).padStart(String(Math.max(partitions - 1, 0)).length, '0');
  const file = (folder: string): string => path.join(directory, folder, `${folder}_${number}.npy`);
  return {
    npy: file(folders[modality]),
    frames: file(folders.frames),
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
  /** Of videos: the rows of all frames, entry by entry. */
  readonly frames?: Matrix;
}

/** The rows of the other modality in this partition; undefined where it has none yet. */
export async function otherRows(
  directory: string,
  modality: Modality,
  at: Partition,
): Promise<Rows | undefined> {
  const other = otherModality(modality);
  return other === undefined ? undefined : readPartition(directory, other, at);
}

/** Leaves `entries` alone in the other modality's files, which hold `other`, so that row k stays the same thing in both. */
export async function keepEntries(
  directory: string,
  modality: Modality,
  at: Partition,
  other: Rows,
  entries: readonly Entry[],
): Promise<void> {
  const name = otherModality(modality);
  if (name === undefined || other.entries.length === entries.length) return;
  const files = partitionFiles(directory, name, at);
  await writeEntries(files.parquet, entries, false); // a crash from here on leaves a partition that the next run makes anew
  await writeNpy(files.npy, takeRows([other], entries, other.vectors.shape[1]).vectors);
}

/** The rows of `entries`, in their order, out of blocks that hold them all. */
export function takeRows(blocks: readonly Rows[], entries: readonly Entry[], columns: number): Rows {
  const found = new Map<string, { entry: Entry; vector: Float32Array; frames: Float32Array }>();
  for (const { entries: own, vectors, frames } of blocks) {
    let first = 0;
    for (const [row, entry] of own.entries()) {
      const count = entry.clip?.indices.length ?? 0;
      const slice = (from: Matrix | undefined, begin: number, rows: number): Float32Array =>
        (from?.data ?? new Float32Array(0)).subarray(begin * columns, (begin + rows) * columns);
      found.set(entry.id, { entry, vector: slice(vectors, row, 1), frames: slice(frames, first, count) });
      first += count;
    }
  }

  const taken = entries.map(({ id }) => found.get(id) as NonNullable<ReturnType<typeof found.get>>);
  const hasFrames = blocks.some(({ frames }) => frames !== undefined);
  return {
    entries: hasFrames ? taken.map(({ entry }) => entry) : entries,
    vectors: stack(
      taken.map(({ vector }) => vector),
      columns,
    ),
    ...(hasFrames && {
      frames: stack(
        taken.map(({ frames }) => frames),
        columns,
      ),
    }),
  };
}

function stack(parts: readonly Float32Array[], columns: number): Matrix {
  const data = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let offset = 0;
  for (const part of parts) {
    data.set(part, offset);
    offset += part.length;
  }

  return { data, shape: [data.length / columns, columns] };
}

/** Videos have a folder of their own. */
function otherModality(modality: Modality): Modality | undefined {
  return { image: 'text', text: 'image', video: undefined }[modality] as Modality | undefined;
}

/** Writes a partition: vectors first, then the metadata. */
export async function writePartition(
  directory: string,
  modality: Modality,
  at: Partition,
  { entries, vectors, frames }: Rows,
): Promise<void> {
  const files = partitionFiles(directory, modality, at);
  if (frames !== undefined) await writeNpy(files.frames, frames);
  await writeNpy(files.npy, vectors);
  await writeEntries(files.parquet, entries, modality === 'video');
}

/** What a finished partition holds; undefined when it is missing or torn. */
export async function readPartition(
  directory: string,
  modality: Modality,
  at: Partition,
): Promise<Rows | undefined> {
  const files = partitionFiles(directory, modality, at);
  if (!(await exists(files.npy)) || !(await exists(files.parquet))) return undefined;
  try {
    const entries = await readEntries(files.parquet);
    const vectors = await readNpy(files.npy);
    if (entries.length !== vectors.shape[0]) return undefined;
    if (modality !== 'video') return { entries, vectors };
    const { shape } = await readNpyShape(files.frames);
    return shape[0] === countFrames(entries)
      ? { entries, vectors, frames: await readNpy(files.frames) }
      : undefined;
  } catch {
    return undefined;
  }
}

/** Frames of some videos. */
export function countFrames(entries: readonly Entry[]): number {
  return entries.reduce((sum, { clip }) => sum + (clip?.indices.length ?? 0), 0);
}

/** Reads a folder of embeddings whole. */
import { readdir } from 'node:fs/promises';
import type { Matrix } from '../binding.js';
import { DataError } from '../errors.js';
import { type EmbeddingsManifest, readEmbeddingsManifest } from './embeddings.js';
import { type Entry, readEntries } from './metadata.js';
import { readNpy } from './npy.js';
import { folders, type Modality, partitionFiles } from './partitions.js';

/** Reads all vectors of a modality (the only one present, else images) and what their rows are about; `frameFiles` are of videos. */
export async function readEmbeddings(
  directory: string,
  modality?: Modality,
): Promise<{
  manifest: EmbeddingsManifest;
  modality: Modality;
  vectors: Matrix;
  entries: Entry[];
  /** The frames' rows, partition by partition. */
  frameFiles: string[];
}> {
  const manifest = await readEmbeddingsManifest(directory);
  const present = (['image', 'video', 'text'] as const).find(
    (name) => manifest.modalities[name] !== undefined,
  );
  const chosen = modality ?? present ?? 'image';
  const part = manifest.modalities[chosen];
  if (part === undefined || !part.complete) {
    const state = part === undefined ? 'none' : 'an unfinished run';
    throw new DataError(
      `Expected ${directory} to hold complete ${chosen} vectors, got ${state}. Run \`cots embed ${chosen}s\` to its end first.`,
    );
  }

  const matrices: Matrix[] = [];
  const entries: Entry[] = [];
  const frameFiles: string[] = [];
  for (let index = 0; index < part.partitions; index++) {
    const files = partitionFiles(directory, chosen, { index, partitions: part.partitions });
    const matrix = await readNpy(files.npy);
    const rows = await readEntries(files.parquet);
    if (rows.length !== matrix.shape[0] || matrix.shape[1] !== manifest.dimension) {
      throw new DataError(
        `Expected ${files.npy} to be [${rows.length}, ${manifest.dimension}] as its metadata and manifest say, got [${matrix.shape.join(', ')}]. Embed again.`,
      );
    }

    matrices.push(matrix);
    for (const row of rows) entries.push(row);
    if (chosen === 'video') frameFiles.push(files.frames);
  }

  return {
    manifest,
    modality: chosen,
    vectors: concatenateRows(matrices, manifest.dimension),
    entries,
    frameFiles,
  };
}

/** Stacks matrices of equal width. */
export function concatenateRows(matrices: readonly Matrix[], columns: number): Matrix {
  const only = matrices[0];
  if (matrices.length === 1 && only !== undefined) return only;
  const rows = matrices.reduce((sum, { shape }) => sum + shape[0], 0);
  const data = new Float32Array(rows * columns);
  let offset = 0;
  for (const matrix of matrices) {
    data.set(matrix.data, offset);
    offset += matrix.data.length;
  }

  return { data, shape: [rows, columns] };
}

/** Whether a folder holds embeddings. */
export async function isEmbeddings(directory: string): Promise<boolean> {
  const names: string[] = await readdir(directory).catch(() => []);
  return names.some((name) => [folders.image, folders.text, folders.video].some((one) => one === name));
}

/** Opens a folder of embeddings: all partitions of a modality as one. */
import { readdir } from 'node:fs/promises';
import type { Matrix } from '../binding.js';
import { DataError } from '../errors.js';
import { type EmbeddingsManifest, readEmbeddingsManifest } from './embeddings.js';
import { type GalleryFile, npyRows } from './gallery.js';
import { type Entry, readEntries } from './metadata.js';
import { folders, type Modality, partitionFiles } from './partitions.js';

/** The vectors of a modality (the only one present, else images) where they lie, and what their rows are about. */
export interface EmbeddingsRows {
  readonly manifest: EmbeddingsManifest;
  readonly modality: Modality;
  /** One a partition. */
  readonly files: readonly GalleryFile[];
  readonly entries: readonly Entry[];
  /** Of videos: the frames' rows, partition by partition. */
  readonly frameFiles: readonly string[];
}

/** Throws `ERR_COTS_DATA` for vectors that are not there, unfinished, or not those of the metadata; `ERR_COTS_FILE`. */
export async function openEmbeddings(directory: string, modality?: Modality): Promise<EmbeddingsRows> {
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

  const files: GalleryFile[] = [];
  const entries: Entry[] = [];
  const frameFiles: string[] = [];
  for (let index = 0; index < part.partitions; index++) {
    const names = partitionFiles(directory, chosen, { index, partitions: part.partitions });
    const { columns, ...rows } = await npyRows(names.npy);
    const about = await readEntries(names.parquet);
    if (about.length !== rows.rows || columns !== manifest.dimension) {
      throw new DataError(
        `Expected ${names.npy} to be [${about.length}, ${manifest.dimension}] as its metadata and manifest say, got [${rows.rows}, ${columns}]. Embed again.`,
      );
    }

    files.push(rows);
    for (const entry of about) entries.push(entry);
    if (chosen === 'video') frameFiles.push(names.frames);
  }

  return { manifest, modality: chosen, files, entries, frameFiles };
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

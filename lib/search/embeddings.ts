/**
 * A folder of embeddings in clip-retrieval's layout (ECOSYSTEM 3.3): `img_emb/img_emb_I.npy`, `text_emb/text_emb_I.npy`,
 * `metadata/metadata_I.parquet` whose row k belongs to row k of both, and `manifest.json`. A partition is written whole or
 * not at all; a run that was stopped goes on with the first partition that is missing.
 */
import { createHash } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { asyncBufferFromFile, parquetReadObjects } from 'hyparquet';
import { parquetWriteBuffer } from 'hyparquet-writer';
import type { Matrix } from '../binding.js';
import { CotsError, DataError } from '../errors.js';
import { exists, fileError, kindOf, readJson } from '../read-file.js';
import { makeDirectory, refuseForeign, removeUnfinished, writeFileAtomic } from '../write-file.js';
import { readNpy, writeNpy } from './npy.js';

export type Modality = 'image' | 'text';

/** The model that made vectors: where it was, and the hash by which it is known again. */
export interface ModelMark {
  readonly path: string;
  readonly hash: string;
}

/** What a row is about. */
export interface Entry {
  readonly id: string;
  /** Path of the image, or empty. */
  readonly image: string;
  /** A caption or the text itself, or empty. */
  readonly caption: string;
}

export interface EmbeddingsManifest {
  readonly format: 'cots-embeddings';
  readonly version: 1;
  readonly model: ModelMark;
  readonly dimension: number;
  readonly dtype: 'float32';
  readonly normalized: true;
  /** Partitions and input rows of each modality present; rows that could not be embedded are left out of the files. */
  readonly modalities: Partial<
    Record<Modality, { partitions: number; inputHash: string; rows: number; complete: boolean }>
  >;
  readonly created: string;
}

const layout = { image: ['img_emb', 'img_emb'], text: ['text_emb', 'text_emb'] } as const;

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

/** Identifies an input: the same entries in the same order and partition size. */
export function inputHash(entries: readonly Entry[], partitionRows: number): string {
  const hash = createHash('sha256').update(`${partitionRows}\n`);
  for (const { id, image, caption } of entries) hash.update(`${JSON.stringify([id, image, caption])}\n`);
  return hash.digest('hex');
}

/** Begins or continues a folder. Throws `ERR_COTS_DATA` when it holds the vectors of another model or input. */
export async function beginEmbeddings(
  directory: string,
  modality: Modality,
  plan: { model: ModelMark; dimension: number; partitions: number; inputHash: string },
): Promise<EmbeddingsManifest> {
  await refuseForeignEmbeddings(directory);
  const found = (await exists(path.join(directory, 'manifest.json')))
    ? await readEmbeddingsManifest(directory)
    : undefined;
  if (found !== undefined && found.model.hash !== plan.model.hash) {
    throw new DataError(
      `Expected ${directory} to hold vectors of the model ${plan.model.path}, got those of ${found.model.path} (another hash). Use another --out.`,
    );
  }

  const other = Object.entries(found?.modalities ?? {}).find(([, part]) => part.inputHash !== plan.inputHash);
  if (other !== undefined) {
    throw new DataError(
      `Expected ${directory} to be empty or of the same input, got the ${other[0]} vectors of another one (${other[1].rows} rows). Use another --out: texts of a data set are a row a caption, so images and texts share a folder only where every image has one.`,
    );
  }

  for (const folder of ['', layout[modality][0], 'metadata']) {
    await makeDirectory(path.join(directory, folder));
    await removeUnfinished(path.join(directory, folder));
  }

  const manifest: EmbeddingsManifest = {
    format: 'cots-embeddings',
    version: 1,
    model: plan.model,
    dimension: plan.dimension,
    dtype: 'float32',
    normalized: true,
    modalities: {
      ...found?.modalities,
      [modality]: { partitions: plan.partitions, inputHash: plan.inputHash, rows: 0, complete: false },
    },
    created: found?.created ?? new Date().toISOString(),
  };
  await writeManifest(directory, manifest);
  return manifest;
}

/** A run that was killed early leaves these without a manifest. */
const ownNames = ['img_emb', 'text_emb', 'metadata'];

async function refuseForeignEmbeddings(directory: string): Promise<void> {
  const names = (await kindOf(directory)) === 'directory' ? await readdir(directory) : [];
  if (names.length > 0 && names.every((name) => ownNames.includes(name))) return;
  await refuseForeign(directory, 'embeddings', 'manifest.json');
}

/** Marks a modality as complete, with the rows that its files hold; the other one's are aligned with them. */
export async function endEmbeddings(
  directory: string,
  manifest: EmbeddingsManifest,
  modality: Modality,
  rows: number,
): Promise<void> {
  const modalities = Object.entries(manifest.modalities).map(([name, part]) => [
    name,
    { ...part, rows, complete: part.complete || name === modality },
  ]);
  await writeManifest(directory, { ...manifest, modalities: Object.fromEntries(modalities) });
}

async function writeManifest(directory: string, manifest: EmbeddingsManifest): Promise<void> {
  await writeFileAtomic(path.join(directory, 'manifest.json'), `${JSON.stringify(manifest, null, 2)}\n`);
}

/** A partition of a run. */
export interface Partition {
  readonly index: number;
  readonly partitions: number;
}

/** The entries of a partition that the other modality has vectors for; undefined where it has none yet. */
export async function alignedEntries(
  directory: string,
  modality: Modality,
  at: Partition,
): Promise<Entry[] | undefined> {
  return (await readPartition(directory, otherModality(modality), at))?.entries;
}

/** Leaves `entries` alone in the other modality's files, so that row k stays the same thing in both. */
export async function keepEntries(
  directory: string,
  modality: Modality,
  at: Partition,
  entries: readonly Entry[],
): Promise<void> {
  const other = otherModality(modality);
  const before = await readPartition(directory, other, at);
  if (before === undefined || before.entries.length === entries.length) return;
  const { npy, parquet } = partitionFiles(directory, other, at.index, at.partitions);
  await writeMetadata(parquet, entries); // a crash from here on leaves a partition that the next run makes anew
  await writeNpy(npy, takeRows([before], entries, before.vectors.shape[1]));
}

/** The rows of `entries`, in their order, out of blocks that hold them all. */
export function takeRows(
  blocks: readonly { entries: readonly Entry[]; vectors: Matrix }[],
  entries: readonly Entry[],
  columns: number,
): Matrix {
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
): Promise<{ entries: Entry[]; vectors: Matrix } | undefined> {
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

/** Reads and checks `manifest.json`. */
export async function readEmbeddingsManifest(directory: string): Promise<EmbeddingsManifest> {
  const file = path.join(directory, 'manifest.json');
  if ((await kindOf(file)) !== 'file')
    throw new DataError(
      `Expected ${directory} to be a folder of embeddings, found no manifest.json in it. Make one with \`cots embed\`.`,
    );
  const manifest = (await readJson(file, 'ERR_COTS_DATA')) as EmbeddingsManifest;
  if (manifest?.format !== 'cots-embeddings' || manifest.version !== 1) {
    throw new DataError(
      `Expected ${directory} to hold embeddings of format cots-embeddings 1, got ${manifest?.format} ${manifest?.version}. Make them with \`cots embed\`.`,
    );
  }

  return manifest;
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

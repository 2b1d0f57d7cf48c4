/** What `cots embed` reads and writes: an input as entries, and their vectors partition by partition. */
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import type { Matrix } from '../binding.js';
import { openDataset } from '../data/open.js';
import { DataError } from '../errors.js';
import type { Cots } from '../model/cots.js';
import type { Item } from '../model/embed-stream.js';
import { hashModel } from '../model/model-folder.js';
import { kindOf, readText } from '../read-file.js';
import {
  beginEmbeddings,
  type Entry,
  endEmbeddings,
  finishedRows,
  inputHash,
  type Modality,
  writePartition,
} from './embeddings.js';
import { concatenateRows } from './read-embeddings.js';

const imageEndings = new Set(['.jpg', '.jpeg', '.png', '.webp', '.gif', '.tif', '.tiff', '.avif']);
const partitionRows = 10_000;

/** Entries of an input: a data set (its images, or one entry a caption), a folder of images, or for texts a file with one a line. */
export async function readInput(input: string, modality: Modality, split: string | null): Promise<Entry[]> {
  const isText = modality === 'text' && (await kindOf(input)) === 'file' && !/\.jsonl?$/i.test(input);
  if (isText) return readLines(input);
  if (modality === 'image' && (await isPlainFolder(input))) return readImageFolder(input);
  const { entries } = await openDataset(input, { split });
  if (modality === 'image') {
    return entries.flatMap(({ id, image, captions }) =>
      image === undefined ? [] : [{ id, image, caption: captions[0] ?? '' }],
    );
  }

  return entries.flatMap(({ id, image = '', captions }) =>
    captions.map((caption, index) => ({ id: captions.length === 1 ? id : `${id}#${index}`, image, caption })),
  );
}

async function readLines(file: string): Promise<Entry[]> {
  const lines = (await readText(file)).split(/\r?\n/);
  if (lines.at(-1) === '') lines.pop();
  return lines.map((caption, index) => ({ id: String(index), image: '', caption }));
}

async function isPlainFolder(input: string): Promise<boolean> {
  return (
    (await kindOf(input)) === 'directory' && (await kindOf(path.join(input, 'manifest.jsonl'))) === undefined
  );
}

async function readImageFolder(folder: string): Promise<Entry[]> {
  const names = await readdir(folder, { recursive: true });
  const images = names.filter((name) => imageEndings.has(path.extname(name).toLowerCase())).sort();
  if (images.length === 0) {
    throw new DataError(
      `Expected ${folder} to hold images (${[...imageEndings].join(', ')}), found none. Name another folder, or a manifest.`,
    );
  }

  return images.map((name) => ({ id: name, image: path.join(folder, name), caption: '' }));
}

export interface EmbedInputOptions {
  readonly modality: Modality;
  readonly out: string;
  /** The model's folder. */
  readonly modelPath: string;
  readonly batchSize?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((done: number) => void) | undefined;
}

export interface EmbedSummary {
  readonly rows: number;
  readonly dimension: number;
  readonly partitions: number;
  /** Partitions that an earlier run had finished. */
  readonly skippedPartitions: number;
  readonly errors: readonly { id: string; code: string; message: string }[];
}

/** Embeds entries into a folder; an entry that cannot be embedded is reported and left out. */
export async function embedInto(
  model: Cots,
  entries: readonly Entry[],
  options: EmbedInputOptions,
): Promise<EmbedSummary> {
  const { modality, out, modelPath } = options;
  const dimension = model.config.embedDim === 0 ? model.config[modality].width : model.config.embedDim;
  const partitions = Math.max(1, Math.ceil(entries.length / partitionRows));
  const plan = {
    model: { path: path.resolve(modelPath), hash: await hashModel(modelPath) },
    dimension,
    partitions,
    inputHash: inputHash(entries, partitionRows),
  };
  const manifest = await beginEmbeddings(out, modality, plan);
  const errors: EmbedSummary['errors'][number][] = [];
  let rows = 0;
  let skippedPartitions = 0;
  for (let index = 0; index < partitions; index++) {
    const at = { index, partitions };
    const part = entries.slice(index * partitionRows, (index + 1) * partitionRows);
    const done = await finishedRows(out, modality, at);
    if (done !== undefined) {
      rows += done;
      skippedPartitions++;
    } else {
      const embedded = await embedPartition(model, part, index * partitionRows, options);
      await writePartition(out, modality, at, concatenateRows(embedded.vectors, dimension), embedded.kept);
      rows += embedded.kept.length;
      errors.push(...embedded.errors);
    }

    options.onProgress?.(Math.min((index + 1) * partitionRows, entries.length));
  }

  await endEmbeddings(out, manifest, modality, rows);
  return { rows, dimension, partitions, skippedPartitions, errors };
}

async function embedPartition(
  model: Cots,
  part: readonly Entry[],
  before: number,
  { modality, batchSize, signal, onProgress }: EmbedInputOptions,
): Promise<{ vectors: Matrix[]; kept: Entry[]; errors: EmbedSummary['errors'][number][] }> {
  const byId = new Map(part.map((entry, index) => [String(index), entry]));
  async function* items(): AsyncGenerator<Item> {
    for (const [id, entry] of byId)
      yield modality === 'image' ? { id, image: entry.image } : { id, text: entry.caption };
  }

  const vectors: Matrix[] = [];
  const kept: Entry[] = [];
  const errors: EmbedSummary['errors'][number][] = [];
  const embedOptions = {
    ...(batchSize === undefined ? {} : { batchSize }),
    ...(signal === undefined ? {} : { signal }),
  };
  for await (const batch of model.embed(items(), embedOptions)) {
    vectors.push(batch.vectors);
    for (const id of batch.ids) kept.push(byId.get(id) as Entry);
    for (const error of batch.errors) errors.push({ ...error, id: byId.get(error.id)?.id ?? error.id });
    onProgress?.(before + kept.length + errors.length);
  }

  return { vectors, kept, errors };
}

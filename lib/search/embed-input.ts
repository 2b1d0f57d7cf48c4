/** What `cots embed` reads and writes: an input as entries, and their vectors partition by partition. */
import path from 'node:path';
import type { Matrix } from '../binding.js';
import { isDatasetFile, openDataset } from '../data/open.js';
import { DataError } from '../errors.js';
import type { Cots } from '../model/cots.js';
import type { Item } from '../model/embedded-batch.js';
import { hashModel } from '../model/model-folder.js';
import { kindOf, readText } from '../read-file.js';
import { beginEmbeddings, endEmbeddings, inputHash } from './embeddings.js';
import {
  type Entry,
  keepEntries,
  type Modality,
  otherRows,
  type Rows,
  readPartition,
  takeRows,
  writePartition,
} from './partitions.js';
import { concatenateRows } from './read-embeddings.js';

const partitionRows = 10_000;

/** Entries of an input: a data set (its images, or one entry a caption), or for texts a file with one a line. Throws `ERR_COTS_DATA` for none. */
export async function readInput(input: string, modality: Modality, split: string | null): Promise<Entry[]> {
  const entries = await entriesOf(input, modality, split);
  if (entries.length > 0) return entries;
  throw new DataError(
    `Expected ${input} to hold ${modality === 'image' ? 'images' : 'texts or captions'}, got none. Name another input.`,
  );
}

async function entriesOf(input: string, modality: Modality, split: string | null): Promise<Entry[]> {
  const isText = modality === 'text' && (await kindOf(input)) === 'file' && !isDatasetFile(input);
  if (isText) {
    if (split === null) return readLines(input);
    throw new DataError(
      `Expected no --split with ${input}, a file of one text a line, got '${split}'. Leave it out.`,
    );
  }

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
  /** Vectors of the folder, and those of them that this run made. */
  readonly rows: number;
  readonly embedded: number;
  readonly dimension: number;
  readonly partitions: number;
  /** Partitions that an earlier run had finished. */
  readonly skippedPartitions: number;
  readonly errors: readonly { id: string; code: string; message: string }[];
}

/**
 * Embeds entries into a folder; an entry that cannot be embedded is reported, left out, and tried again by the next run.
 * Throws `ERR_COTS_DATA` when none could.
 */
export async function embedInto(
  model: Cots,
  entries: readonly Entry[],
  options: EmbedInputOptions,
): Promise<EmbedSummary> {
  const { modality, out, modelPath } = options;
  const dimension = dimensionOf(model, modality);
  const partitions = Math.max(1, Math.ceil(entries.length / partitionRows));
  const plan = {
    model: { path: path.resolve(modelPath), hash: await hashModel(modelPath) },
    dimension,
    partitions,
    inputHash: inputHash(entries, partitionRows),
  };
  const manifest = await beginEmbeddings(out, modality, plan);
  const errors: EmbedSummary['errors'][number][] = [];
  let [rows, embedded, skippedPartitions] = [0, 0, 0];
  for (let index = 0; index < partitions; index++) {
    const at = { index, partitions };
    const part = entries.slice(index * partitionRows, (index + 1) * partitionRows);
    const other = await otherRows(out, modality, at);
    const { aligned, left } = align(out, other, part);
    errors.push(...left);
    const before = await readPartition(out, modality, at);
    const known = new Set(before?.entries.map(({ id }) => id));
    const missing = aligned.filter(({ id }) => !known.has(id));
    if (before !== undefined && missing.length === 0) {
      rows += before.entries.length;
      skippedPartitions++;
    } else {
      const made = await embedPartition(model, missing, index * partitionRows, options);
      const has = new Set([...known, ...made.entries.map(({ id }) => id)]);
      const kept = aligned.filter(({ id }) => has.has(id));
      const blocks = before === undefined ? [made] : [before, made];
      if (other !== undefined) await keepEntries(out, modality, at, other, kept);
      await writePartition(out, modality, at, takeRows(blocks, kept, dimension), kept);
      rows += kept.length;
      embedded += made.entries.length;
      errors.push(...made.errors);
    }

    options.onProgress?.(Math.min((index + 1) * partitionRows, entries.length));
  }

  const [first] = errors;
  if (rows === 0 && first !== undefined)
    throw new DataError(
      `Expected ${modality}s that can be embedded, got none of ${entries.length}. The first, ${first.id}: ${first.message}`,
    );
  await endEmbeddings(out, manifest, modality, rows);
  return { rows, embedded, dimension, partitions, skippedPartitions, errors };
}

function dimensionOf({ config }: Cots, modality: Modality): number {
  return config.embedDim === 0 ? config[modality].width : config.embedDim;
}

/** The rows of both modalities stand for the same things, so what the other one had to leave out is left out here too. */
function align(
  out: string,
  other: Rows | undefined,
  part: readonly Entry[],
): { aligned: readonly Entry[]; left: EmbedSummary['errors'] } {
  if (other === undefined) return { aligned: part, left: [] };
  const ids = new Set(other.entries.map(({ id }) => id));
  const left = part.filter(({ id }) => !ids.has(id));
  const message = `Expected the other vectors of this row in ${out}, they were left out. Embed this modality into a folder of its own to have it.`;
  return {
    aligned: part.filter(({ id }) => ids.has(id)),
    left: left.map(({ id }) => ({ id, code: 'ERR_COTS_DATA', message })),
  };
}

async function embedPartition(
  model: Cots,
  part: readonly Entry[],
  before: number,
  { modality, batchSize, signal, onProgress }: EmbedInputOptions,
): Promise<{ entries: Entry[]; vectors: Matrix; errors: EmbedSummary['errors'][number][] }> {
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

  return { entries: kept, vectors: concatenateRows(vectors, dimensionOf(model, modality)), errors };
}

/** What `cots embed` writes: the vectors of its input, partition by partition. */
import path from 'node:path';
import { DataError } from '../errors.js';
import type { Cots } from '../model/cots.js';
import type { EmbeddedBatch, FrameEmbeddings, Item } from '../model/embedded-batch.js';
import { hashModel } from '../model/model-folder.js';
import { requireTower } from '../model/towers.js';
import { type Share, wholeInput } from './embed-share.js';
import { beginEmbeddings, endEmbeddings, inputHash, type VideoSampling } from './embeddings.js';
import { type EmbedError, writeErrors } from './errors-file.js';
import type { ClipFacts, Entry } from './metadata.js';
import {
  keepEntries,
  type Modality,
  otherRows,
  type Partition,
  type Rows,
  readPartition,
  takeRows,
  writePartition,
} from './partitions.js';
import { concatenateRows } from './read-embeddings.js';

/** Rows of a partition, of which a stopped run loses one at most: a video takes as long as its frames. */
const usualPartitionRows = { image: 10_000, text: 10_000, video: 500 } as const;

export interface EmbedInputOptions {
  readonly modality: Modality;
  readonly out: string;
  /** The model's folder. */
  readonly modelPath: string;
  readonly batchSize?: number | undefined;
  /** Of videos. */
  readonly sampling?: VideoSampling | undefined;
  /** Of images, as in `ImageOptions`. */
  readonly scaleOnLoad?: boolean | undefined;
  /** Rows of a file. @default 10,000; of videos 500 */
  readonly partitionRows?: number | undefined;
  /** The partitions that are made here, where several processes fill one folder. @default all */
  readonly share?: Share | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((done: number) => void) | undefined;
}

export interface EmbedSummary {
  /** Vectors of the partitions that fall to this run, and those of them that it made. */
  readonly rows: number;
  readonly embedded: number;
  readonly dimension: number;
  readonly partitions: number;
  /** Partitions that an earlier run had finished. */
  readonly skippedPartitions: number;
  /** Whether the folder holds all partitions now, those of other processes too. */
  readonly complete: boolean;
  readonly errors: readonly EmbedError[];
}

/**
 * Embeds entries into a folder; an entry that cannot be embedded is reported (in `errors.jsonl` too), left out, and tried again by the next run.
 * Throws `ERR_COTS_DATA` when none could, `ERR_COTS_OPTION` for a model without the tower; nothing is written then.
 */
export async function embedInto(
  model: Cots,
  entries: readonly Entry[],
  options: EmbedInputOptions,
): Promise<EmbedSummary> {
  const { modality, out, modelPath, share = wholeInput } = options;
  requireTower(model.config, sideOf(modality));
  const dimension = dimensionOf(model, modality);
  const size = options.partitionRows ?? usualPartitionRows[modality];
  const partitions = Math.max(1, Math.ceil(entries.length / size));
  const plan = {
    model: {
      path: path.resolve(modelPath),
      hash: await hashModel(modelPath),
      ...(model.precision === 'float32' ? {} : { precision: model.precision }),
    },
    dimension,
    partitions,
    inputHash: inputHash(entries, size, options.sampling),
    sampling: options.sampling,
    scaleOnLoad: options.scaleOnLoad ?? false,
  };
  const manifest = await beginEmbeddings(out, modality, plan, share);
  const errors: EmbedError[] = [];
  let [rows, embedded, skippedPartitions] = [0, 0, 0];
  for (let index = share.rank; index < partitions; index += share.world) {
    const part = entries.slice(index * size, (index + 1) * size);
    const made = await embedPartition(model, part, { index, partitions }, index * size, options);
    rows += made.rows;
    embedded += made.embedded;
    if (made.isSkipped) skippedPartitions++;
    errors.push(...made.errors);
    options.onProgress?.(Math.min((index + 1) * size, entries.length));
  }

  const [first] = errors;
  if (rows === 0 && first !== undefined && share.world === 1)
    throw new DataError(
      `Expected ${modality}s that can be embedded, got none of ${entries.length}. The first, ${first.id}: ${first.message}`,
    );
  await writeErrors(out, modality, share, errors);
  const all = share.world === 1 ? rows : await rowsOfAll(out, modality, partitions);
  if (all !== undefined) await endEmbeddings(out, manifest, modality, all);
  const complete = all !== undefined;
  return { rows, embedded, dimension, partitions, skippedPartitions, complete, errors };
}

/** Rows of all partitions; undefined while one of another process is missing. */
async function rowsOfAll(out: string, modality: Modality, partitions: number): Promise<number | undefined> {
  let rows = 0;
  for (let index = 0; index < partitions; index++) {
    const found = await readPartition(out, modality, { index, partitions });
    if (found === undefined) return undefined;
    rows += found.entries.length;
  }

  return rows;
}

interface EmbeddedPartition {
  readonly rows: number;
  readonly embedded: number;
  readonly isSkipped: boolean;
  readonly errors: readonly EmbedError[];
}

/** Embeds what a partition lacks and writes it; `before` entries stand in other partitions before it. */
async function embedPartition(
  model: Cots,
  part: readonly Entry[],
  at: Partition,
  before: number,
  options: EmbedInputOptions,
): Promise<EmbeddedPartition> {
  const { modality, out } = options;
  const other = await otherRows(out, modality, at);
  const { aligned, left } = align(out, other, part);
  const old = await readPartition(out, modality, at);
  const known = new Set(old?.entries.map(({ id }) => id));
  const missing = aligned.filter(({ id }) => !known.has(id));
  if (old !== undefined && missing.length === 0)
    return { rows: old.entries.length, embedded: 0, isSkipped: true, errors: left };
  const { made, errors } = await embedEntries(model, missing, before, options);
  const has = new Set([...known, ...made.entries.map(({ id }) => id)]);
  const kept = aligned.filter(({ id }) => has.has(id));
  if (other !== undefined) await keepEntries(out, modality, at, other, kept);
  const blocks = old === undefined ? [made] : [old, made];
  await writePartition(out, modality, at, takeRows(blocks, kept, dimensionOf(model, modality)));
  return { rows: kept.length, embedded: made.entries.length, isSkipped: false, errors: [...left, ...errors] };
}

function dimensionOf({ config }: Cots, modality: Modality): number {
  return config.embedDim === 0 ? config[sideOf(modality)].width : config.embedDim;
}

/** The tower that embeds it. */
function sideOf(modality: Modality): 'image' | 'text' {
  return modality === 'text' ? 'text' : 'image';
}

/** The rows of both modalities stand for the same things, so what the other one had to leave out is left out here too. */
function align(
  out: string,
  other: Rows | undefined,
  part: readonly Entry[],
): { aligned: readonly Entry[]; left: readonly EmbedError[] } {
  if (other === undefined) return { aligned: part, left: [] };
  const ids = new Set(other.entries.map(({ id }) => id));
  const left = part.filter(({ id }) => !ids.has(id));
  const message = `Expected the other vectors of this row in ${out}, they were left out. Embed this modality into a folder of its own to have it.`;
  return {
    aligned: part.filter(({ id }) => ids.has(id)),
    left: left.map(({ id }) => ({ id, code: 'ERR_COTS_DATA', message })),
  };
}

async function embedEntries(
  model: Cots,
  part: readonly Entry[],
  before: number,
  { modality, batchSize, sampling, scaleOnLoad, signal, onProgress }: EmbedInputOptions,
): Promise<{ made: Rows; errors: readonly EmbedError[] }> {
  async function* items(): AsyncGenerator<Item> {
    for (const [index, entry] of part.entries()) yield itemOf(String(index), entry, modality);
  }

  const batches: EmbeddedBatch[] = [];
  const entries: Entry[] = [];
  const errors: EmbedError[] = [];
  const embedOptions = {
    ...(batchSize === undefined ? {} : { batchSize }),
    ...sampling,
    ...(scaleOnLoad === undefined ? {} : { scaleOnLoad }),
    ...(signal === undefined ? {} : { signal }),
  };
  for await (const batch of model.embed(items(), embedOptions)) {
    batches.push(batch);
    for (const [row, id] of batch.ids.entries()) {
      const entry = part[Number(id)] as Entry;
      entries.push(batch.frames === undefined ? entry : { ...entry, clip: clipOf(batch.frames, row) });
    }

    for (const error of batch.errors) errors.push({ ...error, id: part[Number(error.id)]?.id ?? error.id });
    onProgress?.(before + entries.length + errors.length);
  }

  const dimension = dimensionOf(model, modality);
  const vectors = concatenateRows(
    batches.map((batch) => batch.vectors),
    dimension,
  );
  if (modality !== 'video') return { made: { entries, vectors }, errors };
  const frames = concatenateRows(
    batches.flatMap((batch) => (batch.frames === undefined ? [] : [batch.frames.vectors])),
    dimension,
  );
  return { made: { entries, vectors, frames }, errors };
}

function itemOf(id: string, { image, caption, video = '' }: Entry, modality: Modality): Item {
  if (modality === 'video') return { id, video };
  return modality === 'image' ? { id, image } : { id, text: caption };
}

function clipOf({ offsets, indices, timestamps, durations }: FrameEmbeddings, row: number): ClipFacts {
  const [begin, end] = [offsets[row], offsets[row + 1]];
  return {
    duration: durations[row] as number,
    indices: Array.from(indices.subarray(begin, end)),
    timestamps: Array.from(timestamps.subarray(begin, end)),
  };
}

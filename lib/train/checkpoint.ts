/**
 * A checkpoint: a model folder, the state (`state.safetensors`, or a piece a rank) and `trainer.json`. It is written beside its place, synced and renamed, so
 * that one that is there is complete; `trainer.json` holds the size of each file, by which a torn copy is known.
 */
import { stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { configKeys } from '../config/keys.js';
import type { TrainConfig } from '../config/schema.js';
import { CheckpointError } from '../errors.js';
import { modelFiles } from '../model/config-file.js';
import { fileError, kindOf, readJson } from '../read-file.js';
import { type UnfinishedFolder, writeFileAtomic } from '../write-file.js';

const trainerFile = 'trainer.json';

/** What trainer.json holds besides the file sizes. */
export interface CheckpointState {
  /** Steps done. */
  readonly step: number;
  /** Where the data stands after these steps. */
  readonly cursor: unknown;
  readonly config: TrainConfig;
  /** Identity of the training pairs, their captions and weights. */
  readonly data: { readonly pairs: number; readonly hash: string };
  /** SHA-256 of the image tokenizer's weights; null without CMVM. */
  readonly tokenizerHash: string | null;
  /** The evaluation that `best` points to; `validation` is the identity of what it was measured on. */
  readonly best: { readonly step: number; readonly rsum: number; readonly validation?: string } | null;
  /** Identity of the run in whose folder it was written. */
  readonly run?: string;
}

/** Bytes of files by name. */
export type FileSizes = Readonly<Record<string, number>>;

/** Which of how many ranks wrote a part. */
interface Part {
  readonly rank: number;
  readonly world: number;
}

/** The sizes of the files that a rank has written into a checkpoint. */
export async function partSizes(directory: string, part: Part): Promise<FileSizes> {
  const names = [...(part.rank === 0 ? Object.values(modelFiles) : []), stateFile(part)];
  const sizes = names.map(async (name) => [name, (await stat(path.join(directory, name))).size] as const);
  return Object.fromEntries(await Promise.all(sizes));
}

/** The state is one file, or one a rank; the native trainer gives them these names. */
function stateFile({ rank, world }: Part): string {
  const digits = (value: number): string => String(value).padStart(5, '0');
  return world === 1 ? 'state.safetensors' : `state-${digits(rank + 1)}-of-${digits(world)}.safetensors`;
}

/** Puts a folder that holds all parts in its place, with trainer.json. Throws `ERR_COTS_FILE`. */
export async function completeCheckpoint(
  folder: UnfinishedFolder,
  state: CheckpointState,
  sizes: FileSizes,
): Promise<void> {
  const json = { format: 'cots-checkpoint', version: 1, written: Date.now(), ...state, sizes };
  const file = path.join(folder.path, trainerFile);
  try {
    await writeFile(file, jsonText(json));
  } catch (error) {
    await folder.discard();
    throw fileError(error, 'write', file);
  }

  await folder.commit();
}

/** When a checkpoint was written, in milliseconds since 1970; undefined where it does not say. */
export async function writtenAt(directory: string): Promise<number | undefined> {
  return (await said(directory)).written;
}

/** The run that wrote a checkpoint; undefined where it does not say. */
export async function runOf(directory: string): Promise<string | undefined> {
  return (await said(directory)).run;
}

async function said(directory: string): Promise<{ written?: number; run?: string }> {
  const found = await readJson(path.join(directory, trainerFile)).catch(() => null);
  return (found as { written?: number; run?: string } | null) ?? {};
}

/** Notes in a checkpoint that is there the evaluation that `best` points to: it is known only after the checkpoint is written. */
export async function writeBest(directory: string, best: CheckpointState['best']): Promise<void> {
  const file = path.join(directory, trainerFile);
  await writeFileAtomic(file, jsonText({ ...((await readJson(file)) as CheckpointState), best }));
}

function jsonText(value: object): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

/** Reads trainer.json and checks that every file has its size. Throws `ERR_COTS_CHECKPOINT` that says what is torn. */
export async function readCheckpoint(directory: string): Promise<CheckpointState> {
  const file = path.join(directory, trainerFile);
  if ((await kindOf(file)) !== 'file') {
    throw new CheckpointError(
      `Expected a checkpoint at ${directory}, found no ${trainerFile}. Name RUN/checkpoints/step-NNNNNNNN, or use --resume latest.`,
    );
  }

  const found = (await readJson(file)) as
    | (CheckpointState & { format?: string; version?: number; sizes?: Record<string, number> })
    | null;
  if (found?.format !== 'cots-checkpoint' || found.version !== 1 || found.sizes === undefined) {
    throw new CheckpointError(
      `Expected ${file} to be of format cots-checkpoint 1, got ${found?.format} ${found?.version}. Use a checkpoint of this version.`,
    );
  }

  for (const [name, want] of Object.entries(found.sizes)) {
    const size = await stat(path.join(directory, name)).then(
      (entry) => entry.size,
      () => undefined,
    );
    if (size !== want) {
      throw new CheckpointError(
        `Expected ${path.join(directory, name)} to have ${want} bytes, got ${size ?? 'no file'}: the checkpoint is torn. Use an older one.`,
      );
    }
  }

  return found;
}

/**
 * Keys that may differ between a checkpoint and the run that goes on from it. They change no number of a step, but for
 * `train.steps` and `train.epochs`: they move the end of the cosine, of which the run warns. What of `data.train` changes a
 * number, the pairs and their weights, is held by `CheckpointState.data`.
 */
const freeKeys = [
  /^train\.(out|threads|timeout|init|steps|epochs|tensorboard|checkpointing)$/,
  /^optim\.(sharded|bucketMegabytes)$/,
  /^model\.(image|text)\.(init|arch)$/,
  /^data\.(train|validation|workers|prefetch|prefetchBytes|cacheBytes|cacheImageBytes|maxBadFraction|vocabulary)(\.|$)/,
  /^token\.tokenizer$/,
  /^tokenizer\./,
  /^checkpoint\./,
  /^evaluate\./,
  /^guard\./,
  /^queue\.prefill$/,
];

/** Throws `ERR_COTS_CHECKPOINT` naming each key in which the checkpoint's config differs from the run's. */
export function checkSameConfig(directory: string, found: TrainConfig, wanted: TrainConfig): void {
  // A key that is newer than the checkpoint had its default then.
  const defaults = configKeys().map(({ key, default: value }): [string, string] => [
    key,
    JSON.stringify(value),
  ]);
  const a = new Map([...defaults, ...flattenConfig(found)]);
  const b = flattenConfig(wanted);
  const differing = [...new Set([...a.keys(), ...b.keys()])].filter(
    (key) => a.get(key) !== b.get(key) && !freeKeys.some((free) => free.test(key)),
  );
  if (differing.length === 0) return;
  const list = differing.slice(0, 8).map((key) => `${key} (checkpoint ${a.get(key)}, run ${b.get(key)})`);
  const more = differing.length > 8 ? ` and ${differing.length - 8} more` : '';
  throw new CheckpointError(
    `Expected the checkpoint ${directory} to be of the same config, it differs in ${list.join(', ')}${more}. Set these keys back, or start a new run from its weights with train.init=${directory}.`,
  );
}

/** Leaves of a config by their dotted names, each as JSON. */
export function flattenConfig(value: unknown, prefix = ''): Map<string, string> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return new Map([[prefix, JSON.stringify(value)]]);
  return new Map(
    Object.entries(value).flatMap(([key, child]) => [
      ...flattenConfig(child, prefix === '' ? key : `${prefix}.${key}`),
    ]),
  );
}

/** Which checkpoint a run goes on from: found, held against config and data, and restored. */
import { createHash } from 'node:crypto';
import type { NativeTrainer } from '../binding.js';
import type { TrainConfig } from '../config/schema.js';
import type { Cursor } from '../data/sampler.js';
import type { TrainingSet } from '../data/training-set.js';
import { CheckpointError, ConfigError, CotsError } from '../errors.js';
import { type CheckpointState, checkSameConfig, readCheckpoint, writtenAt } from './checkpoint.js';
import type { Ranks } from './ranks.js';
import type { RunFolder } from './run-folder.js';
import type { TokenizerFolder } from './tokenizer-folder.js';

/** Tells the user's loop of something that is probably not meant. */
export type Warn = (code: string, message: string) => void;

/** Where a run stands when it begins. */
export interface Start {
  readonly step: number;
  readonly cursor: Cursor | undefined;
  readonly best: CheckpointState['best'];
}

/** A checkpoint to go on from. */
export interface Candidate {
  readonly directory: string;
  readonly state: CheckpointState;
}

/** Checkpoints to try, best first. `latest`: every one that is whole, newest first; a folder: that one alone. */
export async function findCandidates(
  folder: RunFolder,
  resume: string,
  config: TrainConfig,
  warn: Warn,
): Promise<Candidate[]> {
  if (resume !== 'latest') {
    const state = await readCheckpoint(resume);
    checkSameConfig(resume, state.config, config);
    await refuseOtherRun(folder, resume, state.run);
    return [{ directory: resume, state }];
  }

  const found: Candidate[] = [];
  const steps = await folder.steps();
  const mark = await folder.lastResume();
  let left = 0;
  for (const step of steps) {
    const directory = folder.checkpoint(step);
    if (mark !== undefined && step > mark.step && ((await writtenAt(directory)) ?? Infinity) < mark.at) {
      left++;
      continue;
    }

    try {
      found.push({ directory, state: await readCheckpoint(directory) });
    } catch (error) {
      if (!(error instanceof CotsError && error.code === 'ERR_COTS_CHECKPOINT')) throw error;
      warn('WARN_COTS_TORN_CHECKPOINT', `${directory} is left out: ${error.message}`);
    }
  }

  if (found.length === 0 && left > 0)
    throw new CheckpointError(
      `Expected a checkpoint of at most step ${mark?.step} in ${folder.directory}, to which the run went back, found ${left} of later steps that it left. Name one with --resume ${folder.checkpoint(steps[0] as number)}.`,
    );
  if (found.length === 0 && steps.length > 0)
    throw new CheckpointError(
      `Expected a whole checkpoint in ${folder.directory}, all ${steps.length} are torn. Start anew in another folder.`,
    );
  if (found.length === 0)
    warn('WARN_COTS_NO_CHECKPOINT', `${folder.directory} has no checkpoint: the run starts at step 0.`);
  for (const { directory, state } of found) checkSameConfig(directory, state.config, config);
  return found;
}

/** Throws `ERR_COTS_CONFIG` for a folder with the checkpoints of another run, which this one would cut and delete. */
async function refuseOtherRun(folder: RunFolder, resume: string, run: string | undefined): Promise<void> {
  const owner = await folder.owner();
  if (owner?.run === undefined || run === undefined || owner.run === run) return;
  throw new ConfigError(
    `Expected \`train.out\` to be the folder of the run that ${resume} is of, or one without a run, got ${folder.directory}, which has another run's checkpoint at step ${owner.step}. Set train.out to one of these.`,
  );
}

/** Throws `ERR_COTS_DISTRIBUTED` when ranks have not found the same checkpoints. */
export async function checkSameCandidates(candidates: readonly Candidate[], ranks: Ranks): Promise<void> {
  const own = candidates.map(({ state }) => state.step).join(', ');
  const all = await ranks.gather('candidates', own);
  const other = all.findIndex((steps) => steps !== own);
  if (other < 0) return;
  throw new CotsError(
    'ERR_COTS_DISTRIBUTED',
    `Expected all ranks to find the same checkpoints, rank ${ranks.rank} has those of steps ${own || 'none'} and rank ${other} ${all[other] || 'none'}. Put train.out on storage that all ranks see.`,
  );
}

/** Throws `ERR_COTS_CHECKPOINT` for other pairs, captions or weights than the checkpoint's. */
export function checkSameData({ directory, state }: Candidate, data: CheckpointState['data']): void {
  if (state.data.hash === data.hash) return;
  throw new CheckpointError(
    `Expected data.train to hold the pairs that ${directory} was trained on (${state.data.pairs}), with their captions and weights, got ${data.pairs} others. Restore the data, or start a new run with train.init=${directory}.`,
  );
}

/** Of all that decides which pair is drawn when, and what it says. */
export function fingerprint({ entries, weights }: TrainingSet): CheckpointState['data'] {
  const hash = createHash('sha256');
  for (const [item, { id, captions }] of entries.entries())
    hash.update(`${JSON.stringify([id, captions, weights?.[item] ?? 1])}\n`);
  return { pairs: entries.length, hash: hash.digest('hex') };
}

/** Restores the first candidate that every rank can; the others before it are told as torn. */
export async function restore(
  native: NativeTrainer,
  candidates: readonly Candidate[],
  imageTokenizer: TokenizerFolder | null,
  ranks: Ranks,
  warn: Warn,
): Promise<CheckpointState | undefined> {
  for (const [index, { directory, state }] of candidates.entries()) {
    if (state.tokenizerHash !== (imageTokenizer?.hash ?? null)) {
      throw new CheckpointError(
        `Expected token.tokenizer to be the image tokenizer that ${directory} was trained with, its weights differ. Name that one.`,
      );
    }

    const error = await native.restore({ directory }).then(
      () => undefined,
      (failure: unknown) => failure as CotsError,
    );
    const messages = await ranks.gather('restore', error?.message ?? null);
    const failed = messages.findIndex((message) => message !== null);
    if (failed < 0) return state;
    if (index === candidates.length - 1)
      throw error ?? new CheckpointError(`Rank ${failed}: ${messages[failed]}`);
    warn('WARN_COTS_TORN_CHECKPOINT', `${directory} is left out: ${messages[failed]}`);
  }

  return undefined;
}

/** Where a run goes on, and which checkpoint is its best one still. */
export async function startOf(
  folder: RunFolder,
  restored: CheckpointState | undefined,
  validationHash: string,
  warn: Warn,
): Promise<Start> {
  let best = restored?.best ?? null;
  // It is gone when the checkpoint is of another folder, or older than one that was the best after it.
  if (best !== null && !(await folder.hasCheckpoint(best.step))) best = null;
  if (best !== null && best.validation !== undefined && best.validation !== validationHash) {
    warn(
      'WARN_COTS_BEST',
      `The best checkpoint, of step ${best.step}, was measured on other pairs, by another protocol or of other frames: the next evaluation is the best one so far.`,
    );
    best = null;
  }

  return { step: restored?.step ?? 0, cursor: restored?.cursor as Cursor | undefined, best };
}

/** The steps that are done keep their rates; those to come have the rates of a run of the new length. */
export function warnOfSchedule(
  { step }: CheckpointState,
  before: number | null,
  now: number,
  warn: Warn,
): void {
  if (before === now) return;
  warn(
    'WARN_COTS_SCHEDULE',
    `The run has ${now} steps now, ${before} when the checkpoint of step ${step} was written: from step ${step + 1} on the learning rate follows the cosine of ${now} steps.`,
  );
}

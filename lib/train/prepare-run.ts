/** From a config to a run that can start: data, vocabulary, image tokenizer, native trainer, and a restored checkpoint. */
import { randomUUID } from 'node:crypto';
import { rmdir } from 'node:fs/promises';
import path from 'node:path';
import { binding, type NativeTrainer } from '../binding.js';
import { placeOf } from '../config/environment.js';
import { pairFlops } from '../config/flops.js';
import { checkDevice, loadConfig, resolveConfig, threadsOf } from '../config/load.js';
import { nativeTokenizerConfig, nativeTrainConfig, trainingPlacement } from '../config/native.js';
import { planTraining, totalSteps } from '../config/plan.js';
import type { TrainConfig, TrainConfigInput } from '../config/schema.js';
import { type LoaderOptions, pairLoader } from '../data/loaders.js';
import type { ManifestEntry } from '../data/manifest.js';
import { epochLength } from '../data/sampler.js';
import { CaptionEncoder, captionRules, textTokenizerFor, trainableWords } from '../data/text/captions.js';
import { TextTokenizer } from '../data/text/tokenizer.js';
import { captionsOf, openSources, type TrainingSet } from '../data/training-set.js';
import { measurePeak } from '../device.js';
import { checkSplit } from '../evaluate/embed-split.js';
import { describedModel, type ModelDescription, modelFiles } from '../model/config-file.js';
import { kindOf } from '../read-file.js';
import { BatchSource, type LoadedBatch } from './batch-source.js';
import { checkRanks, checkSameRun, digest } from './check-ranks.js';
import type { CheckpointState } from './checkpoint.js';
import { initializeWeights, initialTokenizer } from './initial-weights.js';
import { Ranks } from './ranks.js';
import {
  type Candidate,
  checkSameCandidates,
  checkSameData,
  findCandidates,
  fingerprint,
  restore,
  type Start,
  startOf,
  type Warn,
  warnOfSchedule,
} from './resume.js';
import { RunFolder } from './run-folder.js';
import { RunLock } from './run-lock.js';
import { readTokenizerFolder, type TokenizerFolder } from './tokenizer-folder.js';
import type { TrainEvent } from './trainer.js';
import { UpcomingBatch } from './upcoming-batch.js';

/** All that the loop, the recorder and the trainer share. */
export interface PreparedRun {
  readonly config: TrainConfig;
  readonly totalSteps: number;
  readonly folder: RunFolder;
  /** Held until the trainer is disposed; by the first rank alone. */
  readonly lock: RunLock | undefined;
  readonly ranks: Ranks;
  readonly description: ModelDescription;
  readonly tokenizer: TextTokenizer;
  readonly tokenizerHash: string | null;
  readonly native: NativeTrainer;
  readonly loader: BatchSource;
  /** The loader's batches, with a look ahead on a GPU; one for all runs of a trainer, which go on with what was looked at. */
  readonly batches: UpcomingBatch<LoadedBatch>;
  readonly validation: readonly ManifestEntry[];
  /** Identity of what evaluations are measured on: pairs, protocol, frames. */
  readonly validationHash: string;
  /** Identity of the run in this folder. */
  readonly runId: string;
  readonly data: CheckpointState['data'];
  readonly start: Start;
  /** Flops of one training pair with captions of that many tokens (SPEC 8). */
  flopsPerPair(tokens: number): number;
  /** Flops a second of a dense product here, in the number type of the run. */
  readonly peakFlops: number;
  /** A loader for filling the queue: its sampler does not move the run's, and gives another order (SPEC 3.8). */
  openPrefillLoader(): BatchSource;
  /** Warnings since the last call. */
  takeWarnings(): TrainEvent[];
}

/** Leads above the largest `train.seed`, so that no run draws in the order of another's prefill. */
const prefillSeedOffset = 2 ** 32;

/** Throws what `Trainer.create` documents. `resume`: `latest` or a checkpoint folder. */
export async function prepareRun(
  input: TrainConfigInput | TrainConfig | string,
  resume: string | undefined,
): Promise<PreparedRun> {
  const config = typeof input === 'string' ? await loadConfig(input) : resolveConfig(input);
  checkDevice(config);
  checkRanks(config, placeOf()?.world ?? 1); // before the ranks meet: NCCL would wait for a rank that has another device
  const ranks = await Ranks.join(config.train.timeout, trainingPlacement(config).device);
  try {
    return await prepareLocked(config, resume, ranks);
  } catch (error) {
    ranks.dispose();
    throw error;
  }
}

async function prepareLocked(
  config: TrainConfig,
  resume: string | undefined,
  ranks: Ranks,
): Promise<PreparedRun> {
  const folder = new RunFolder(config.train.out);
  const isNew = (await kindOf(folder.directory)) === undefined;
  const lock = ranks.isFirst ? await RunLock.take(folder.directory) : undefined;
  try {
    return await prepareIn(folder, lock, ranks, config, resume);
  } catch (error) {
    lock?.release();
    if (lock !== undefined && isNew) await rmdir(folder.directory).catch(() => {}); // what it has got meanwhile stays
    throw error;
  }
}

async function prepareIn(
  folder: RunFolder,
  lock: RunLock | undefined,
  ranks: Ranks,
  config: TrainConfig,
  resume: string | undefined,
): Promise<PreparedRun> {
  const warnings: TrainEvent[] = [];
  const warn: Warn = (code, message) => warnings.push({ type: 'warning', code, message });
  const candidates = resume === undefined ? [] : await findCandidates(folder, resume, config, warn);
  if (candidates.length === 0) await folder.refuseOlderRun();

  const set = await openSources(config.data.train, 'train');
  const { entries: validation, warnings: odd } = await openSources(config.data.validation, 'validation');
  for (const text of [...set.warnings, ...odd]) warn('WARN_COTS_DATA', text);
  if (validation.length > 0) checkSplit(validation, config.evaluate.protocol); // now, not at the first evaluation
  const data = fingerprint(set);
  for (const candidate of candidates) checkSameData(candidate, data);
  await checkSameCandidates(candidates, ranks);
  const tokenizer = await tokenizerOf(config, candidates[0], set);
  const imageTokenizer = await imageTokenizerOf(config);
  const pairs = epochLength(set.entries.length, set.weights);
  const steps = totalSteps(config, pairs) as number;
  const validationPairs = digest(validation.map(({ id, captions }) => [id, captions]));
  await checkSameRun(ranks, config, {
    'data.train': data.hash,
    'data.validation': validationPairs,
    vocabulary: digest(tokenizer.toJSON()),
    'token.tokenizer': imageTokenizer?.hash ?? null,
  });
  if (ranks.isFirst) await folder.prepare();
  await ranks.gather('prepared', true);
  const { protocol, frames: validationFrames } = config.evaluate;
  const validationHash = digest([validationPairs, protocol, validationFrames]);
  const captions = new CaptionEncoder(tokenizer, captionRules(config));
  const open = (options: LoaderOptions): BatchSource =>
    new BatchSource(pairLoader(config, set, captions, { ...options, peers: ranks.peers }), set.entries);
  const frames = set.hasClips ? config.train.frames : 1;
  const native = await createNative(config, tokenizer, imageTokenizer, steps, ranks);
  let loader: BatchSource | undefined;
  try {
    const restored = await initialState(config, native, candidates, imageTokenizer, ranks, warn);
    if (restored !== undefined) warnOfSchedule(restored, totalSteps(restored.config, pairs), steps, warn);
    else for (const text of planTraining(config, { pairs, frames }).warnings) warn('WARN_COTS_PLAN', text);
    const start = await startOf(folder, restored, validationHash, warn);
    loader = open({
      cursor: start.cursor,
      badFile: ranks.isFirst ? folder.file('bad-images.jsonl') : null,
    });
    if (ranks.isFirst) await folder.writeConfig(config);
    return {
      config,
      totalSteps: steps,
      folder,
      lock,
      ranks,
      description: describedModel(config),
      tokenizer,
      tokenizerHash: imageTokenizer?.hash ?? null,
      native,
      loader,
      batches: new UpcomingBatch(loader, config.train.device !== 'cpu'),
      validation,
      validationHash,
      runId: (await folder.owner())?.run ?? randomUUID(),
      data,
      start,
      flopsPerPair: (tokens) =>
        pairFlops(config, tokens, imageTokenizer?.config ?? nativeTokenizerConfig(config), frames).total,
      peakFlops: await measurePeak(threadsOf(config), trainingPlacement(config)),
      openPrefillLoader: () => open({ seed: config.train.seed + prefillSeedOffset }),
      takeWarnings: () => warnings.splice(0),
    };
  } catch (error) {
    loader?.close();
    native.dispose();
    throw error;
  }
}

/** The vocabulary of the checkpoint, of the initial weights, of `data.vocabulary`, or one made from the captions. */
async function tokenizerOf(
  config: TrainConfig,
  candidate: Candidate | undefined,
  set: TrainingSet,
): Promise<TextTokenizer> {
  if (candidate !== undefined)
    return TextTokenizer.load(path.join(candidate.directory, modelFiles.tokenizer));
  return (await initialTokenizer(config)) ?? textTokenizerFor(config, captionsOf(set));
}

function createNative(
  config: TrainConfig,
  tokenizer: TextTokenizer,
  imageTokenizer: TokenizerFolder | null,
  steps: number,
  ranks: Ranks,
): Promise<NativeTrainer> {
  const facts = {
    totalSteps: steps,
    words: trainableWords(tokenizer),
    codes: imageTokenizer?.config.vocab ?? config.token.vocab,
  };
  return binding().createTrainer({
    config: nativeTrainConfig(config, facts),
    tokenizer: imageTokenizer === null ? null : { config: imageTokenizer.config, file: imageTokenizer.file },
    threads: threadsOf(config),
    ranks: ranks.native,
  });
}

async function imageTokenizerOf({ loss, token }: TrainConfig): Promise<TokenizerFolder | null> {
  return loss.weights.cmvm > 0 && token.tokenizer !== null ? readTokenizerFolder(token.tokenizer) : null;
}

/** Restores a checkpoint, or puts in the initial weights of a new run. */
async function initialState(
  config: TrainConfig,
  native: NativeTrainer,
  candidates: readonly Candidate[],
  imageTokenizer: TokenizerFolder | null,
  ranks: Ranks,
  warn: Warn,
): Promise<CheckpointState | undefined> {
  const restored = await restore(native, candidates, imageTokenizer, ranks, warn);
  if (restored === undefined) await initializeWeights(config, native);
  return restored;
}

/** What a run will cost, before it starts: `cots train --dry-run`. */
import type { NativeTokenizerConfig } from '../binding.js';
import { fewestMicroBatches, largestBatch, quickestCheckpointing } from './fitting.js';
import { type PairFlops, pairFlops } from './flops.js';
import { type Checkpointing, type MemoryEstimate, memoryEstimate, type PairFacts } from './memory.js';
import { nativeTokenizerConfig } from './native.js';
import type { TrainConfig } from './schema.js';
import { type ParameterCounts, parameterCounts } from './size.js';
import { type StepProbe, type StepSeconds, wholeStep } from './step-time.js';

/** What `--dry-run` prints. */
export interface TrainPlan {
  readonly parameters: ParameterCounts;
  /** Optimizer steps; null while neither `train.steps` nor the number of pairs is known. */
  readonly steps: number | null;
  /** Passes over the data; null while the number of pairs is unknown. */
  readonly epochs: number | null;
  /** Pairs of one epoch; null if unknown. */
  readonly pairs: number | null;
  readonly flopsPerPair: PairFlops;
  readonly memoryBytes: MemoryEstimate;
  /** What fits this machine; null while its memory is not given. */
  readonly fit: Fit | null;
  /** Time of a step on this machine; null while no steps were timed. */
  readonly seconds: StepSeconds | null;
  /** Losses with a weight above 0. */
  readonly losses: {
    readonly instance: boolean;
    readonly cmvm: boolean;
    readonly cmlm: boolean;
    readonly task: boolean;
  };
  readonly filter: {
    readonly enabled: boolean;
    readonly k: number;
    readonly largestNoise: number;
    readonly firstStep: number | null;
  };
  /** Settings that work but are probably not meant. */
  readonly warnings: readonly string[];
}

/** How a run fits a machine's memory, less a tenth for what the estimate is off. */
export interface Fit {
  readonly limitBytes: number;
  readonly fits: boolean;
  /** The largest `train.batchSize` with `train.accumulate` and `train.checkpointing` as they are; 0: not even one pair a micro-batch. */
  readonly largestBatch: number;
  /** The same with `train.checkpointing=full`, which takes least memory. */
  readonly largestBatchFull: number;
  /** The least `train.accumulate` with which `train.batchSize` fits; null: none. */
  readonly accumulate: number | null;
  /** The quickest `train.checkpointing` with which `train.batchSize` fits, micro-batches as they are; null: none. */
  readonly checkpointing: Checkpointing | null;
}

/** What is known of a run's files, and of the machine. */
export interface PlanFacts {
  /** Pairs of one epoch. */
  readonly pairs?: number | undefined;
  /** The trained image tokenizer; by default the one `cots train-tokenizer` would make. */
  readonly imageTokenizer?: NativeTokenizerConfig | undefined;
  /** Frames of a pair: `train.frames` for clips. @default 1 */
  readonly frames?: number | undefined;
  /** Bytes that the process may take. */
  readonly memoryBytes?: number | undefined;
  readonly probe?: StepProbe | undefined;
}

/** The estimate is good to a tenth (bench/plan.ts measures it). */
const usableShare = 0.9;

/** Plans a run. FLOPs and memory are for captions of `data.textMaxLen` tokens: an upper bound. */
export function planTraining(config: TrainConfig, facts: PlanFacts = {}): TrainPlan {
  const imageTokenizer = facts.imageTokenizer ?? nativeTokenizerConfig(config);
  const known = { pairs: facts.pairs ?? null, frames: facts.frames ?? 1 };
  const { pairs } = known;
  const { batchSize } = config.train;
  const steps = totalSteps(config, pairs);
  const { instance, cmvm, cmlm, task } = config.loss.weights;
  const minValid = config.amf.minValid ?? config.queue.size;
  const plan = {
    parameters: parameterCounts(config, imageTokenizer.vocab),
    steps,
    epochs: steps === null || pairs === null ? null : (steps * batchSize) / pairs,
    pairs,
    flopsPerPair: pairFlops(config, config.data.textMaxLen, imageTokenizer, known.frames),
    memoryBytes: memoryEstimate(config, imageTokenizer, known),
    fit: facts.memoryBytes === undefined ? null : fitOf(config, imageTokenizer, known, facts.memoryBytes),
    seconds: facts.probe === undefined ? null : wholeStep(config, facts.probe),
    losses: { instance: instance > 0, cmvm: cmvm > 0, cmlm: cmlm > 0, task: task > 0 },
    filter: {
      enabled: config.amf.enabled,
      k: config.amf.k,
      largestNoise: largestNoise(config.amf.k),
      firstStep: config.amf.enabled ? Math.ceil(minValid / batchSize) + 1 : null,
    },
  };
  return { ...plan, warnings: warnings(config, plan) };
}

function fitOf(
  config: TrainConfig,
  imageTokenizer: NativeTokenizerConfig,
  facts: PairFacts,
  memoryBytes: number,
): Fit {
  const limitBytes = Math.floor(usableShare * memoryBytes);
  return {
    limitBytes,
    fits: memoryEstimate(config, imageTokenizer, facts).total <= limitBytes,
    largestBatch: largestBatch(config, imageTokenizer, limitBytes, facts),
    largestBatchFull: largestBatch(
      { ...config, train: { ...config.train, checkpointing: 'full' } },
      imageTokenizer,
      limitBytes,
      facts,
    ),
    accumulate: fewestMicroBatches(config, imageTokenizer, limitBytes, facts),
    checkpointing: quickestCheckpointing(config, imageTokenizer, limitBytes, facts),
  };
}

/** Steps of a run: `train.steps`, or what `train.epochs` make of `pairs`; null if neither is known. */
export function totalSteps({ train }: TrainConfig, pairs: number | null): number | null {
  if (train.steps !== null) return train.steps;
  return pairs === null ? null : Math.max(1, Math.ceil((train.epochs * pairs) / train.batchSize));
}

/**
 * The largest share p of mismatched pairs that a threshold of mean - k * std can tell apart (SPEC 2.4): with two
 * clusters the lower one lies sqrt((1 - p) / p) deviations below the mean, so k < sqrt((1 - p) / p), p < 1 / (1 + k^2).
 */
export function largestNoise(k: number): number {
  return 1 / (1 + k ** 2);
}

function warnings(config: TrainConfig, plan: Omit<TrainPlan, 'warnings'>): string[] {
  const { sched, optim, queue, train, evaluate, data, loss, token } = config;
  const { steps, pairs, filter, fit } = plan;
  const found: [boolean, string][] = [
    [
      steps !== null && sched.warmupSteps >= steps,
      `sched.warmupSteps (${sched.warmupSteps}) is not below the run's ${steps} steps: the rate never reaches optim.lr.`,
    ],
    [
      sched.minLr > optim.lr,
      `sched.minLr (${sched.minLr}) is above optim.lr (${optim.lr}): the rate rises to the end.`,
    ],
    [
      pairs !== null && queue.size > pairs - train.batchSize,
      `queue.size (${queue.size}) is not below the ${pairs} pairs less a batch: images meet their own older keys as negatives.`,
    ],
    [
      steps !== null && filter.firstStep !== null && filter.firstStep > steps,
      `The filter starts at step ${filter.firstStep}, after the run's ${steps} steps: lower amf.minValid or queue.size.`,
    ],
    [
      evaluate.everySteps > 0 && data.validation.length === 0,
      'evaluate.everySteps is set but data.validation is not: nothing is evaluated.',
    ],
    [
      loss.weights.cmvm > 0 && token.tokenizer === null,
      'token.tokenizer is not set: run `cots train-tokenizer` first, or set loss.weights.cmvm=0.',
    ],
    [fit !== null && !fit.fits, fit === null ? '' : memoryWarning(config, plan.memoryBytes.total, fit)],
  ];
  return found.filter(([holds]) => holds).map(([, text]) => text);
}

function memoryWarning(
  { train }: TrainConfig,
  bytes: number,
  { limitBytes, accumulate, checkpointing, largestBatch }: Fit,
): string {
  const gib = (count: number): string => `${(count / 2 ** 30).toFixed(1)} GiB`;
  const sameResult = [
    ...(checkpointing === null ? [] : [`train.checkpointing=${checkpointing}`]),
    ...(accumulate === null ? [] : [`train.accumulate=${accumulate}`]),
  ];
  const wayOut =
    sameResult.length === 0
      ? 'even single pairs do not fit: take a smaller model or image'
      : `set ${sameResult.join(' or ')} (the same result)${largestBatch > 0 ? `, or train.batchSize=${largestBatch}` : ''}`;
  return `A step of train.batchSize=${train.batchSize} needs about ${gib(bytes)}, more than ${gib(limitBytes)}: ${wayOut}.`;
}

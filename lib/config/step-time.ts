/**
 * Time of one optimizer step, from timed steps of the same model with fewer blocks and fewer pairs (`lib/bench/step-probe.ts` times them in
 * seconds). Blocks of a tower are alike and pairs are too, so with t(i, j) the time of a step of i vision and j BERT blocks over p pairs
 *
 *   stage(n_I, n_T) = t(1, 1) + (n_I - 1) (t(2, 1) - t(1, 1)) + (n_T - 1) (t(1, 2) - t(1, 1))
 *   step            = (B / p) (tokenise + momentum + forward + losses + backward) + optimizer + B load
 *
 * for each stage on its own. The moving average of the weights, a small part of `momentum`, is counted B / p times with it.
 */
import type { NativeTokenizerConfig } from '../binding.js';
import { pairFlops } from './flops.js';
import type { TrainConfig } from './schema.js';

/** Seconds of the parts of a step, as `cots bench train` names them. */
export interface StageSeconds {
  readonly tokenise: number;
  readonly momentum: number;
  /** Clean and masked passes. */
  readonly forward: number;
  readonly losses: number;
  readonly backward: number;
  readonly optimizer: number;
}

/** Seconds of one optimizer step by part. */
export interface StepSeconds extends StageSeconds {
  /** What making the batch takes from the step: the processor's time for it, over the cores. */
  readonly load: number;
  readonly total: number;
}

/** Blocks of the towers of a probe. */
export interface ProbeDepth {
  readonly image: number;
  readonly text: number;
}

/** What was timed. */
export interface StepProbe {
  /** Pairs of each timed step. */
  readonly pairs: number;
  readonly steps: readonly { readonly depth: ProbeDepth; readonly seconds: StageSeconds }[];
  /** Seconds of all cores that a pair takes to decode, crop and tokenize. */
  readonly loadSeconds: number;
}

/** A probe's step takes about a second on two cores, and less memory than the run's. */
const probeFlops = 2e11;

/** The depths to time: two of each tower, as far as it has them, the other at one block. */
export function probeDepths({ model }: Pick<TrainConfig, 'model'>): ProbeDepth[] {
  return [
    { image: 1, text: 1 },
    ...(model.image.layers > 1 ? [{ image: 2, text: 1 }] : []),
    ...(model.text.layers > 1 ? [{ image: 1, text: 2 }] : []),
  ];
}

/** The config of a probe: `train`'s micro-batch or as much of it as takes a second, full queues, and no files. `frames`: of a pair. */
export function probeConfig(
  config: TrainConfig,
  imageTokenizer: NativeTokenizerConfig,
  depth: ProbeDepth,
  frames = 1,
): TrainConfig {
  const { model, train, queue } = config;
  const shallow = atDepth(config, { image: Math.min(2, model.image.layers), text: 1 });
  const affordable = Math.floor(
    probeFlops / pairFlops(shallow, config.data.textMaxLen, imageTokenizer, frames).total,
  );
  const micro = Math.ceil(train.batchSize / train.accumulate);
  return {
    ...config,
    model: atDepth(config, depth).model,
    queue: { ...queue, init: 'random' },
    train: { ...train, batchSize: Math.max(1, Math.min(micro, affordable)), accumulate: 1, init: null },
  };
}

function atDepth(config: TrainConfig, { image, text }: ProbeDepth): TrainConfig {
  const { model } = config;
  return {
    ...config,
    model: {
      ...model,
      image: { ...model.image, layers: image },
      text: { ...model.text, layers: text },
    },
  };
}

/** The step as configured, out of the steps that were timed. */
export function wholeStep(
  { model, train }: TrainConfig,
  { pairs, steps, loadSeconds }: StepProbe,
): StepSeconds {
  const at = (image: number, text: number): StageSeconds | undefined =>
    steps.find(({ depth }) => depth.image === image && depth.text === text)?.seconds;
  const least = at(1, 1) as StageSeconds;
  const parts = { ...least };
  for (const name of Object.keys(parts) as (keyof StageSeconds)[]) {
    const block = (deeper: StageSeconds | undefined): number =>
      deeper === undefined ? 0 : Math.max(0, deeper[name] - least[name]);
    const blocks = (model.image.layers - 1) * block(at(2, 1)) + (model.text.layers - 1) * block(at(1, 2));
    parts[name] = (least[name] + blocks) * (name === 'optimizer' ? 1 : train.batchSize / pairs);
  }

  const load = train.batchSize * loadSeconds;
  return { ...parts, load, total: Object.values(parts).reduce((sum, seconds) => sum + seconds, load) };
}

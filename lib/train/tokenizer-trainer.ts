/** Training of the image tokenizer, a discrete VAE (SPEC 4.5). Legend: B images, S side. */

import { binding, type NativeTokenizerMetrics, type NativeTokenizerTrainer } from '../binding.js';
import { requireCpu, threadsOf } from '../config/load.js';
import { nativeTokenizerConfig, nativeTokenizerTrainConfig, tokenizerRun } from '../config/native.js';
import type { TrainConfig } from '../config/schema.js';
import type { LoadedBatch } from '../data/loader.js';
import { imageLoader } from '../data/loaders.js';
import { epochLength } from '../data/sampler.js';
import { openSources } from '../data/training-set.js';
import { CotsError } from '../errors.js';
import { checkWritable, refuseForeign } from '../write-file.js';
import { writeTokenizerFolder } from './tokenizer-folder.js';

/** Health of a trained tokenizer (SPEC 4.5). The errors are on the batch after the last step's: crops that are new, of images that may not be. */
export interface TokenizerHealth {
  /** Mean absolute error of the reconstruction from hard tokens, pixels in [0, 1]. */
  readonly hardError: number;
  /** The same from the relaxed distribution. */
  readonly softError: number;
  /** e^H of the mean distribution of the last step. */
  readonly perplexity: number;
  /** Entropy of the hard tokens in nats: the loss of CMVM by chance. */
  readonly unigramEntropy: number;
  /** Share of codes that the last batch did not use. */
  readonly deadCodes: number;
}

export type TokenizerEvent =
  | ({ type: 'step'; images_per_second: number } & NativeTokenizerMetrics)
  | { type: 'end'; step: number; reason: 'done' | 'aborted'; path: string; health: TokenizerHealth };

/** Steps of a run with `images` training images. */
function tokenizerSteps(config: TrainConfig, images: number): number {
  const { steps, batchSize } = tokenizerRun(config);
  return steps ?? Math.max(1, Math.ceil((config.train.epochs * images) / batchSize));
}

/**
 * Trains on the images of `data.train` and writes the folder `tokenizer.out`. On abort the step in progress ends and the folder
 * is written as it is; `onStart` is told the number of steps, `warn` what is odd in the data. Throws `ERR_COTS_DATA`, `ERR_COTS_DEVICE`,
 * `ERR_COTS_FILE`, `ERR_COTS_NON_FINITE`.
 */
export async function* trainImageTokenizer(
  config: TrainConfig,
  options: {
    signal?: AbortSignal;
    onStart?: (steps: number) => void;
    warn?: (message: string) => void;
  } = {},
): AsyncGenerator<TokenizerEvent, void, undefined> {
  requireCpu(config, 'training an image tokenizer');
  const { size, out } = tokenizerRun(config);
  await refuseForeign(out, 'a tokenizer', 'dvae.safetensors');
  await checkWritable(out);
  const set = await openSources(config.data.train, 'train', false);
  for (const warning of set.warnings) options.warn?.(warning);
  const total = tokenizerSteps(config, epochLength(set.entries.length, set.weights));
  options.onStart?.(total);
  const trainer = await binding().createTokenizerTrainer({
    config: nativeTokenizerTrainConfig(config, total),
    threads: threadsOf(config),
  });
  let loader: ReturnType<typeof imageLoader> | undefined;
  try {
    loader = imageLoader(config, set);
    let last: NativeTokenizerMetrics | undefined;
    while ((last?.step ?? 0) < total && options.signal?.aborted !== true) {
      const start = performance.now();
      const batch = await loader.next();
      last = await step(trainer, batch, size);
      yield { type: 'step', ...last, images_per_second: (batch.size / (performance.now() - start)) * 1000 };
    }

    if (last === undefined) return;
    const health = await measure(trainer, await loader.next(), size, last);
    const training = {
      steps: last.step,
      image_size: size,
      reconstruction: config.tokenizer.reconstruction,
      ...health,
    };
    await writeTokenizerFolder(out, nativeTokenizerConfig(config), training, (file) =>
      trainer.save({ file }),
    );
    yield {
      type: 'end',
      step: last.step,
      reason: last.step >= total ? 'done' : 'aborted',
      path: out,
      health,
    };
  } finally {
    loader?.close();
    trainer.dispose();
  }
}

async function step(
  trainer: NativeTokenizerTrainer,
  { views, size: count, samples }: LoadedBatch,
  size: number,
): Promise<NativeTokenizerMetrics> {
  const metrics = await trainer.step({ images: views[0] as Uint8Array, count, size, samples, cancel: null });
  const { loss, gradNorm } = metrics;
  if (Number.isFinite(loss) && Number.isFinite(gradNorm)) return metrics;
  throw new CotsError(
    'ERR_COTS_NON_FINITE',
    `Expected a finite loss and gradient, got loss ${loss} and gradient norm ${gradNorm} at step ${metrics.step}. Lower tokenizer.lr.`,
  );
}

async function measure(
  trainer: NativeTokenizerTrainer,
  batch: LoadedBatch,
  size: number,
  last: NativeTokenizerMetrics,
): Promise<TokenizerHealth> {
  const { hard, soft } = await trainer.evaluate({
    images: batch.views[0] as Uint8Array,
    count: batch.size,
    size,
  });
  return {
    hardError: hard,
    softError: soft,
    perplexity: last.perplexity,
    unigramEntropy: last.unigramEntropy,
    deadCodes: last.deadCodes,
  };
}

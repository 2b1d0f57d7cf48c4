/** Times what `wholeStep` (lib/config/step-time.ts) makes a whole step of: `cots train --dry-run`. */
import { binding, type NativeBatch, type NativeStepMetrics, type NativeTokenizerConfig } from '../binding.js';
import { threadsOf } from '../config/load.js';
import { nativeTrainConfig } from '../config/native.js';
import type { TrainConfig } from '../config/schema.js';
import { probeConfig, probeDepths, type StageSeconds, type StepProbe } from '../config/step-time.js';
import { pairLoader } from '../data/loaders.js';
import { CaptionEncoder, captionRules, textTokenizerFor, trainableWords } from '../data/text/captions.js';
import type { TextTokenizer } from '../data/text/tokenizer.js';
import { captionsOf, openSources, type TrainingSet } from '../data/training-set.js';
import { usableCores } from '../device.js';
import { BatchSource } from '../train/batch-source.js';
import { withPairs } from './made-pairs.js';
import { median } from './timing.js';

/** Of each depth, after a step to warm up; at least three steps. */
const timedSeconds = 1;
const fewestSteps = 3;

/** Of the loader, after a batch to warm up. */
const loadPairs = 16;
const loadedSeconds = 0.5;

/**
 * Seconds of steps of the config's towers with one or two blocks, on its own pairs or on made ones, and of making its batches. Takes some
 * seconds; two vision blocks at the paper's size about 20 on two cores. Rejects what a run on the same files would.
 */
export function probeStep(config: TrainConfig, imageTokenizer: NativeTokenizerConfig): Promise<StepProbe> {
  return withPairs(config, async (ready) => {
    const set = await openSources(ready.data.train, 'train');
    const tokenizer = await textTokenizerFor(ready, captionsOf(set));
    const frames = set.hasClips ? ready.train.frames : 1;
    const at = (depth: { image: number; text: number }) => probeConfig(ready, imageTokenizer, depth, frames);
    const depths = probeDepths(ready);
    const batch = await firstBatch(at(depths[0] as (typeof depths)[number]), set, tokenizer);
    const steps = [];
    for (const depth of depths)
      steps.push({ depth, seconds: await timeSteps(at(depth), imageTokenizer, tokenizer, batch) });
    return { pairs: batch.size, steps, loadSeconds: await timeLoading(ready, set, tokenizer) };
  });
}

async function firstBatch(
  config: TrainConfig,
  set: TrainingSet,
  tokenizer: TextTokenizer,
): Promise<NativeBatch> {
  const source = sourceOf(config, set, tokenizer);
  try {
    return (await source.next()).batch;
  } finally {
    await source.drain();
  }
}

function sourceOf(config: TrainConfig, set: TrainingSet, tokenizer: TextTokenizer): BatchSource {
  return new BatchSource(
    pairLoader(config, set, new CaptionEncoder(tokenizer, captionRules(config))),
    set.entries,
  );
}

/** Median seconds of each stage. */
async function timeSteps(
  config: TrainConfig,
  imageTokenizer: NativeTokenizerConfig,
  tokenizer: TextTokenizer,
  batch: NativeBatch,
): Promise<StageSeconds> {
  const facts = { totalSteps: 1000, words: trainableWords(tokenizer), codes: imageTokenizer.vocab };
  const trainer = await binding().createTrainer({
    config: nativeTrainConfig(config, facts),
    tokenizer: config.loss.weights.cmvm > 0 ? { config: imageTokenizer, file: null } : null,
    threads: threadsOf(config),
  });
  try {
    await trainer.step({ batch, cancel: null });
    const rows: NativeStepMetrics['seconds'][] = [];
    const begin = performance.now();
    while (rows.length < fewestSteps || performance.now() - begin < 1000 * timedSeconds)
      rows.push((await trainer.step({ batch, cancel: null })).seconds);
    const stage = (of: (row: NativeStepMetrics['seconds']) => number): number => median(rows.map(of));
    return {
      tokenise: stage((row) => row.tokenise),
      momentum: stage((row) => row.momentum),
      forward: stage((row) => row.cleanPass + row.maskedPass),
      losses: stage((row) => row.losses),
      backward: stage((row) => row.backward),
      optimizer: stage((row) => row.optimizer),
    };
  } finally {
    trainer.dispose();
  }
}

/** Processor seconds of making a pair, over the cores: what is made beside a step on the same cores takes as much from it. */
async function timeLoading(config: TrainConfig, set: TrainingSet, tokenizer: TextTokenizer): Promise<number> {
  const batchSize = Math.min(loadPairs, config.train.batchSize);
  const source = sourceOf(
    { ...config, train: { ...config.train, batchSize, accumulate: 1 } },
    set,
    tokenizer,
  );
  try {
    await source.next();
    const [begin, before] = [performance.now(), process.cpuUsage()];
    let batches = 0;
    for (; batches === 0 || performance.now() - begin < 1000 * loadedSeconds; batches++) await source.next();
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1e6 / usableCores() / (batches * batchSize);
  } finally {
    await source.drain();
  }
}

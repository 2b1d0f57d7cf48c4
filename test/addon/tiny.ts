/** A trainer of a few thousand weights, and batches for it, by the addon alone. */
import {
  binding,
  type NativeBatch,
  type NativeModelConfig,
  type NativeOptimizerConfig,
  type NativeTokenizerConfig,
  type NativeTrainConfig,
  type NativeTrainer,
} from '../../lib/binding.js';
import { plainImage, plainText } from '../support/plain-towers.js';

export const pairs = 6;
export const size = 24;
const words = 10;

export const model: NativeModelConfig = {
  image: {
    size,
    patch: 8,
    width: 16,
    layers: 2,
    heads: 2,
    mlpRatio: 2,
    dropPath: 0.1,
    layerNormEps: 1e-6,
    ...plainImage,
  },
  text: {
    width: 16,
    layers: 2,
    heads: 2,
    mlpRatio: 2,
    vocabSize: 50,
    maxPositions: 12,
    dropout: 0.1,
    layerNormEps: 1e-12,
    ...plainText,
  },
  towers: 'both',
  embedDim: 8,
};

export const optimizer: NativeOptimizerConfig = {
  lr: 1e-3,
  beta1: 0.9,
  beta2: 0.999,
  eps: 1e-8,
  weightDecay: 0.02,
  clipGrad: 3,
  warmupSteps: 5,
  warmupFrom: 1e-4,
  minLr: 1e-4,
  totalSteps: 100,
};

export const tokenizerConfig: NativeTokenizerConfig = {
  arch: 'small',
  vocab: 32,
  hidden: 8,
  codebookDim: 8,
  blocks: 1,
  pixels: 'mean_std_half',
};

export const config: NativeTrainConfig = {
  model,
  token: {
    maskImageRatio: 0.4,
    maskImageMode: 'block',
    maskImageExact: false,
    maskTextRatio: 0.3,
    maskId: 4,
    passes: 'separate',
    globalSource: 'hidden',
    fusion: 'add',
    headImage: 'mlp',
    vocab: 32,
  },
  queue: { size: 20, includeBatchKeys: false, randomInit: false, duplicates: 'keep' },
  loss: {
    tau: 0.05,
    tauLearnable: false,
    weightInstance: 1,
    weightCmvm: 1,
    weightCmlm: 1,
    weightTask: 1,
    instanceMean: false,
    taskIncludePositive: true,
    taskStopgradTarget: false,
    taskHalf: false,
    taskWarmupSteps: 0,
  },
  filter: { enabled: true, k: 1, applyTo: 'all', minValid: 20, minKeepFraction: 0 },
  optimizer,
  layerDecay: 1,
  emaM: 0.9,
  seed: 1,
  accumulate: 1,
  checkpointing: 'off',
  maxNonFinite: 10,
  bucketBytes: 25e6,
  shardedOptimizer: false,
  weightInit: 'fixed',
  device: 'cpu',
  precision: 'float32',
  imageMean: [0.5, 0.5, 0.5],
  imageStd: [0.5, 0.5, 0.5],
};

/** Numbers in [0, 1), the same for a seed. */
export function draws(seed: number): () => number {
  let state = (seed * 2654435761 + 12345) % 4294967296;
  return () => {
    state = (state * 1664525 + 1013904223) % 4294967296;
    return state / 4294967296;
  };
}

/** Batch number `step` of a run that goes over four batches again and again. */
export function batch(step: number): NativeBatch {
  const draw = draws(step % 4);
  const images = Uint8Array.from({ length: pairs * size * size * 3 }, () => draw() * 256);
  const lengths = Int32Array.from({ length: pairs }, () => 4 + Math.floor(draw() * 7));
  const ids = new Int32Array(pairs * words);
  lengths.forEach((length, pair) => {
    for (let place = 0; place < length; place++) {
      ids[pair * words + place] = place === 0 ? 2 : place === length - 1 ? 3 : 5 + Math.floor(draw() * 45);
    }
  });
  const numbers = (first: number): Float64Array => Float64Array.from({ length: pairs }, (_, i) => first + i);
  return {
    size: pairs,
    frames: null,
    images,
    tokenViews: images,
    ids,
    lengths,
    samples: numbers(step * pairs),
    imageIds: numbers((step % 4) * pairs),
  };
}

export function createTrainer(changes: Partial<NativeTrainConfig> = {}): Promise<NativeTrainer> {
  return binding().createTrainer({
    config: { ...config, ...changes },
    tokenizer: { config: tokenizerConfig, file: null },
    threads: 1,
  });
}

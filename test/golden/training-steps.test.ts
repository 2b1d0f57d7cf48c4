/** Steps of the whole method, on images and on clips, against the plain PyTorch implementation in test/reference/cots_reference.py. */
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import test from 'ava';
import { binding, type NativeTrainConfig } from '../../lib/binding.js';
import {
  fixturePath,
  maxDifference,
  pick,
  readSettings,
  readTensors,
  type Tensor,
} from '../support/fixtures.js';
import { plainImage, plainText } from '../support/plain-towers.js';

type Step = {
  loss: number;
  loss_image_to_text: number;
  loss_text_to_image: number;
  loss_task: number;
  loss_cmvm: number;
  loss_cmlm: number;
  lr: number;
  grad_norm: number;
  kept: number;
  queue_valid: number;
  filter_mean?: number;
  filter_std?: number;
  filter_threshold?: number;
};

// The settings of TINY in make_golden.py.
const config: NativeTrainConfig = {
  model: {
    image: {
      size: 32,
      patch: 8,
      width: 24,
      layers: 2,
      heads: 2,
      mlpRatio: 2,
      dropPath: 0,
      layerNormEps: 1e-6,
      ...plainImage,
    },
    text: {
      width: 24,
      layers: 2,
      heads: 2,
      mlpRatio: 2,
      vocabSize: 60,
      maxPositions: 16,
      dropout: 0,
      layerNormEps: 1e-12,
      ...plainText,
    },
    towers: 'both',
    embedDim: 16,
  },
  token: {
    maskImageRatio: 0.4,
    maskImageMode: 'random',
    maskImageExact: false,
    maskTextRatio: 0.3,
    maskId: 4,
    passes: 'separate',
    globalSource: 'hidden',
    fusion: 'add',
    headImage: 'mlp',
    vocab: 48,
  },
  queue: { size: 20, includeBatchKeys: false, randomInit: false, duplicates: 'keep' },
  loss: {
    tau: 0.1,
    tauLearnable: false,
    weightInstance: 1,
    weightCmvm: 1,
    weightCmlm: 1,
    weightTask: 1,
    instanceMean: false,
    taskIncludePositive: true,
    taskStopgradTarget: false,
    taskHalf: false,
    taskWarmupSteps: 4,
  },
  filter: { enabled: true, k: 0.5, applyTo: 'all', minValid: 12, minKeepFraction: 0 },
  optimizer: {
    lr: 2e-3,
    beta1: 0.9,
    beta2: 0.999,
    eps: 1e-8,
    weightDecay: 0.02,
    clipGrad: 3,
    warmupSteps: 3,
    warmupFrom: 1e-4,
    minLr: 1e-4,
    totalSteps: 10,
  },
  layerDecay: 1,
  emaM: 0.9,
  seed: 0,
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

const batchOf = (tensors: Map<string, Tensor>, step: number, size: number) => ({
  size,
  frames: tensors.has(`frames.${step}`) ? pick(tensors, `frames.${step}`, Int32Array) : null,
  images: pick(tensors, `images.${step}`, Uint8Array),
  tokenViews: pick(tensors, `token_views.${step}`, Uint8Array),
  ids: pick(tensors, `ids.${step}`, Int32Array),
  lengths: pick(tensors, `lengths.${step}`, Int32Array),
  samples: Float64Array.from({ length: size }, (_, i) => step * size + i),
  imageIds: Float64Array.from({ length: size }, (_, i) => step * size + i),
  overrides: {
    imageMask: pick(tensors, `image_mask.${step}`, Uint8Array),
    maskedIds: pick(tensors, `masked_ids.${step}`, Int32Array),
    textMask: pick(tensors, `text_mask.${step}`, Uint8Array),
  },
});

/** Batches and settings of each kind; those of the layer-wise rates are of the same batches. */
const fixtures = {
  images: { batches: 'training-steps', settings: 'training-steps' },
  clips: { batches: 'clip-steps', settings: 'clip-steps' },
  'images, a rate a layer': { batches: 'training-steps', settings: 'layer-decay-steps' },
} as const;

const trainSteps = async (kind: keyof typeof fixtures, accumulate: number) => {
  const { batches, settings } = fixtures[kind];
  const tensors = readTensors(batches);
  const {
    batch,
    steps,
    layer_decay: layerDecay = 1,
  } = readSettings<{ batch: number; steps: Step[]; layer_decay?: number }>(settings);
  const trainer = await binding().createTrainer({
    config: { ...config, accumulate, layerDecay },
    tokenizer: {
      config: { arch: 'small', vocab: 48, hidden: 16, codebookDim: 8, blocks: 1, pixels: 'mean_std_half' },
      file: fixturePath('training-steps-dvae.safetensors'),
    },
    threads: 1,
  });
  await trainer.initializeFrom({ file: fixturePath('training-steps-initial.safetensors') });
  const measured = [];
  for (let step = 0; step < steps.length; step++) {
    measured.push(await trainer.step({ batch: batchOf(tensors, step, batch), cancel: null }));
  }

  return { scores: readTensors(settings), steps, measured, trainer };
};

for (const [kind, accumulate] of [
  ['images', 1],
  ['images', 4],
  ['clips', 1],
  ['clips', 2],
  ['images, a rate a layer', 1],
] as const) {
  test(`training steps on ${kind} follow the PyTorch implementation, accumulate ${accumulate}`, async (t) => {
    const { scores, steps, measured, trainer } = await trainSteps(kind, accumulate);
    const folder = await mkdtemp(path.join(os.tmpdir(), 'cots-golden-'));
    t.teardown(async () => rm(folder, { recursive: true, force: true }));
    for (const [index, expected] of steps.entries()) {
      const found = measured[index];
      t.truthy(found);
      if (found === undefined) {
        continue;
      }

      const pairs: [string, number, number][] = [
        ['loss', found.loss, expected.loss],
        ['image to text', found.lossImageToText, expected.loss_image_to_text],
        ['text to image', found.lossTextToImage, expected.loss_text_to_image],
        ['task', found.lossTask, expected.loss_task],
        ['cmvm', found.lossCmvm, expected.loss_cmvm],
        ['cmlm', found.lossCmlm, expected.loss_cmlm],
        ['lr', found.lr, expected.lr],
      ];
      for (const [name, value, wanted] of pairs) {
        t.true(Math.abs(value - wanted) < 1e-4, `${name} at step ${index + 1}: ${value}, PyTorch ${wanted}`);
      }

      t.true(
        Math.abs(found.gradNorm - expected.grad_norm) < 1e-3 * expected.grad_norm,
        `gradient norm at step ${index + 1}: ${found.gradNorm}, PyTorch ${expected.grad_norm}`,
      );
      t.is(found.filterKept, expected.kept);
      t.is(found.queueValid, expected.queue_valid);
      t.true(maxDifference(found.scores, pick(scores, `scores.${index}`, Float32Array)) < 1e-4);
      if (expected.filter_mean !== undefined) {
        t.true(
          maxDifference(
            [found.filterMean, found.filterStd, found.filterThreshold],
            [expected.filter_mean, expected.filter_std ?? 0, expected.filter_threshold ?? 0],
          ) < 1e-4,
        );
      }
    }

    await trainer.save({ directory: folder });
    trainer.dispose();
  });
}

test('each layer moves by its own rate, as in PyTorch with a parameter group a layer', async (t) => {
  const { trainer } = await trainSteps('images, a rate a layer', 1);
  const folder = await mkdtemp(path.join(os.tmpdir(), 'cots-golden-'));
  t.teardown(async () => rm(folder, { recursive: true, force: true }));
  await trainer.save({ directory: folder });
  trainer.dispose();
  const saved = readTensors(path.join(folder, 'model'));
  const plain = readTensors('training-steps');
  const wanted = [...readTensors('layer-decay-steps')].filter(([name]) => name.startsWith('final.'));
  t.is(wanted.length, 11);
  for (const [name, { data }] of wanted) {
    const found = pick(saved, name.slice('final.'.length), Float32Array);
    t.true(maxDifference(found, data) < 1e-4, `${name}: ${maxDifference(found, data)}`);
    t.true(maxDifference(data, pick(plain, name, Float32Array)) > 3e-4, `${name} tells the two apart`);
  }
});

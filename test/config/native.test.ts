import test from 'ava';
import { binding } from '../../lib/binding.js';
import { resolveConfig, resolveModelConfig } from '../../lib/config/load.js';
import { memoryEstimate } from '../../lib/config/memory.js';
import {
  nativeModelConfig,
  nativeTokenizerConfig,
  nativeTokenizerTrainConfig,
  nativeTrainConfig,
  tokenizerRun,
} from '../../lib/config/native.js';
import { parameterCounts } from '../../lib/config/size.js';

const facts = { totalSteps: 100, words: { pad: 0, cls: 2, sep: 3, mask: 4 }, codes: 64 };

test('each key arrives in its place', (t) => {
  const config = resolveConfig({
    data: { train: 'a', imageNorm: { mean: [0.1, 0.2, 0.3], std: [0.4, 0.5, 0.6] } },
    token: {
      tokenizer: 'd',
      maskImage: { ratio: 0.3, mode: 'random', exact: true },
      maskText: { ratio: 0.2 },
      headImage: 'bare',
      fusion: 'concat',
    },
    queue: { size: 99, init: 'random', dupPolicy: 'mask_same_image' },
    loss: {
      tau: 0.07,
      tauLearnable: true,
      weights: { instance: 2, cmvm: 3, cmlm: 4, task: 5 },
      inst: { reduction: 'mean' },
      task: { includePositive: false, stopgrad: 'target', half: true, warmupSteps: 6 },
    },
    amf: { k: 1, applyTo: 'contrast', minKeepFrac: 0.5 },
    ema: { m: 0.9 },
    optim: { lr: 0.01 },
    train: { seed: 8, accumulate: 2 },
    guard: { maxNonFinite: 3 },
  });
  const native = nativeTrainConfig(config, facts);
  t.deepEqual(native.token, {
    maskImageRatio: 0.3,
    maskImageMode: 'random',
    maskImageExact: true,
    maskTextRatio: 0.2,
    maskId: 4,
    passes: 'separate',
    globalSource: 'hidden',
    fusion: 'concat',
    headImage: 'bare',
    vocab: 64,
  });
  t.deepEqual(native.queue, {
    size: 99,
    includeBatchKeys: false,
    randomInit: true,
    duplicates: 'mask_same_image',
  });
  t.deepEqual(native.loss, {
    tau: 0.07,
    tauLearnable: true,
    weightInstance: 2,
    weightCmvm: 3,
    weightCmlm: 4,
    weightTask: 5,
    instanceMean: true,
    taskIncludePositive: false,
    taskStopgradTarget: true,
    taskHalf: true,
    taskWarmupSteps: 6,
  });
  t.deepEqual(native.filter, {
    enabled: true,
    k: 1,
    applyTo: 'contrast',
    minValid: 99,
    minKeepFraction: 0.5,
  });
  t.is(nativeTrainConfig(resolveConfig({ ...config, amf: { minValid: 7 } }), facts).filter.minValid, 7);
  t.deepEqual(native.optimizer, {
    lr: 0.01,
    beta1: 0.9,
    beta2: 0.999,
    eps: 1e-8,
    weightDecay: 0.02,
    clipGrad: 3,
    warmupSteps: 2000,
    warmupFrom: 1e-5,
    minLr: 1e-5,
    totalSteps: 100,
  });
  t.deepEqual([native.emaM, native.seed, native.accumulate, native.maxNonFinite], [0.9, 8, 2, 3]);
  t.deepEqual(
    [native.imageMean, native.imageStd],
    [
      [0.1, 0.2, 0.3],
      [0.4, 0.5, 0.6],
    ],
  );
});

test('the tokenizer run inherits from the training run', (t) => {
  const config = resolveConfig(
    { data: { train: 'a' }, train: { out: 'run', steps: 9, batchSize: 5 } },
    [],
    'tokenizer',
  );
  t.deepEqual(tokenizerRun(config), { size: 192, batchSize: 5, steps: 9, out: 'run' });
  const own = resolveConfig(
    config,
    ['tokenizer.size=64', 'tokenizer.steps=3', 'tokenizer.batchSize=2', 'token.tokenizer=dvae'],
    'tokenizer',
  );
  t.deepEqual(tokenizerRun(own), { size: 64, batchSize: 2, steps: 3, out: 'dvae' });
  const native = nativeTokenizerTrainConfig(own, 3);
  t.deepEqual(native.tokenizer, {
    arch: 'small',
    vocab: 8192,
    hidden: 256,
    codebookDim: 512,
    blocks: 2,
    pixels: 'mean_std_half',
  });
  t.is(native.optimizer.totalSteps, 3);
  t.is(native.lrDecay, 0.98);
});

test('the defaults of the schema are the constants of the native headers', (t) => {
  const { model, train } = binding().info().defaults;
  const config = resolveConfig({ data: { train: 'a' }, token: { tokenizer: 'd' } });
  t.deepEqual(model, nativeModelConfig(resolveModelConfig({})));
  const want = nativeTrainConfig(config, {
    totalSteps: 0,
    words: { pad: 0, cls: 101, sep: 102, mask: 103 },
    codes: 8192,
  });
  for (const [key, value] of Object.entries(train)) {
    if (key !== 'model') t.deepEqual(value, want[key as keyof typeof want], key);
  }

  t.true(Object.keys(train).length > 3);
});

test('the native towers have the parameters that the plan counts', async (t) => {
  const config = resolveConfig(
    {
      model: { image: { arch: 'vit_micro' }, text: { arch: 'bert_micro', vocabSize: 50, maxPositions: 40 } },
    },
    [],
    'plan',
  );
  const { image: vision } = config.model;
  for (const [embedDim, mlpRatio] of [
    [0, 4],
    [16, 4],
    [16, 2.67], // 341.76 hidden units: 341
  ] as const) {
    const model = { ...config.model, embedDim, image: { ...vision, mlpRatio } };
    const native = await binding().createModel({
      config: nativeModelConfig(model),
      seed: 0,
      threads: 1,
      device: 'cpu',
      precision: 'float32',
    });
    const counts = native.parameterCounts();
    native.dispose();
    const { image, text, projections } = parameterCounts({ ...config, model }, 64);
    t.is(counts.image + counts.text, image + text + projections);
  }
});

test('the native trainer holds the bytes that the plan counts', async (t) => {
  const config = resolveConfig(
    {
      model: {
        image: { arch: 'vit_micro' },
        text: { arch: 'bert_micro', vocabSize: 50, maxPositions: 40 },
        embedDim: 16,
      },
      token: { vocab: 16 },
      tokenizer: { hidden: 8, codebookDim: 8 },
      queue: { size: 100 },
    },
    [],
    'plan',
  );
  const plan = memoryEstimate(config, nativeTokenizerConfig(config));
  const native = await binding().createTrainer({
    config: nativeTrainConfig(config, { ...facts, codes: 16 }),
    tokenizer: { config: nativeTokenizerConfig(config), file: null },
    threads: 1,
  });
  const held = native.memory();
  native.dispose();
  t.is(held.weights, plan.weights + plan.gradients);
  t.is(held.optimizer, plan.optimizer);
  t.is(held.momentum, plan.momentum);
  t.true(Math.abs(held.queues - plan.queues) < 64, `${held.queues} ${plan.queues}`);
});

test('in bfloat16 a plan counts half of the states, and the weights once more as rounded', (t) => {
  const plan = (precision: string) => {
    const config = resolveConfig({ token: { vocab: 16 } }, [`train.precision=${precision}`], 'plan');
    return memoryEstimate(config, nativeTokenizerConfig(config));
  };
  const [whole, half] = [plan('float32'), plan('bfloat16')];
  t.is(half.activations, whole.activations / 2 + whole.weights / 2);
  t.true(half.backward < whole.backward);
  t.is(half.weights, whole.weights);
});

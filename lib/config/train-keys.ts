/** Keys of pre-training: contrast, filter, optimizer, schedule, run (SPEC 2.2, 2.4, 2.5). */
import { z } from 'zod';
import { choice, filePath, flag, integer, number, optionalInteger, optionalPath, section } from './key.js';

export const queueKeys = section({
  size: integer(
    12_800,
    'Pairs kept in the two queues of momentum features; any number, the queue wraps around.',
    { min: 1, max: 100_000_000 },
  ),
  includeBatchKeys: flag(
    false,
    "Count the batch's own momentum keys as negatives too; not with `train.accumulate` above 1 or several ranks.",
  ),
  init: choice(
    ['empty', 'random'],
    'empty',
    'Queue at the first step: empty, or random unit rows that the filter does not count.',
  ),
  dupPolicy: choice(
    ['keep', 'mask_same_image', 'multi_positive'],
    'keep',
    'What a queued pair of the same image is: a negative, left out, or a positive too.',
  ),
  prefill: flag(
    false,
    'Fill the queue by the momentum towers before the first step; the data cursor does not move.',
  ),
});

/** More would leave float32. */
const weightRange = { max: 1e6 };

export const lossKeys = section({
  tau: number(0.05, 'Temperature of the contrast.', { min: 1e-4, max: 100 }),
  tauLearnable: flag(false, 'Learn the temperature, clamped to [0.001, 0.5].'),
  weights: section({
    instance: number(1, 'Weight of the instance level (InfoNCE both ways).', weightRange),
    cmvm: number(1, 'Weight of masked vision modelling; above 0 needs `token.tokenizer`.', weightRange),
    cmlm: number(1, 'Weight of masked language modelling.', weightRange),
    task: number(1, 'Weight of the task level (symmetric KL).', weightRange),
  }),
  inst: section({
    reduction: choice(['sum', 'mean'], 'sum', 'The two directions of the contrast, summed or averaged.'),
  }),
  task: section({
    includePositive: flag(true, 'The paired key is entry 0 of both distributions.'),
    stopgrad: choice(['none', 'target'], 'none', '`target`: the first argument of each KL is a constant.'),
    half: flag(false, 'Halve the symmetric KL.'),
    warmupSteps: integer(0, 'Steps over which the weight of the KL rises from 0.'),
  }),
});

export const filterKeys = section({
  enabled: flag(true, 'Adaptive momentum filter: leave pairs of low momentum score out of the losses.'),
  k: number(
    2,
    "Threshold = mean - k * std of the queue's scores; k separates a noise share below 1 / (1 + k^2).",
    { max: 100 },
  ),
  applyTo: choice(['all', 'contrast'], 'all', 'Losses that the filter applies to.'),
  minValid: optionalInteger('Real pairs in the queue before the filter starts; null: `queue.size`.', {
    min: 1,
  }),
  minKeepFrac: number(0, 'Keep at least this share of a batch, the best by score.', { max: 1 }),
  log: choice(
    ['dropped', 'all'],
    'dropped',
    '`dropped`: filtered.jsonl has the pairs left out; `all`: scores.jsonl has every pair of every step too (about 80 bytes each).',
  ),
});

export const emaKeys = section({
  m: number(0.99, 'Momentum of the momentum towers: theta_m = m * theta_m + (1 - m) * theta.', { max: 1 }),
  baseBatch: optionalInteger(
    'Batch that `ema.m` is meant for: another `train.batchSize` b trains with m^(b / baseBatch); null: with m.',
    { min: 1, max: 10_000_000 },
  ),
});

export const optimKeys = section({
  lr: number(1e-4, 'Peak learning rate of AdamW.', { above: true, max: 10 }),
  beta1: number(0.9, 'Decay of the first moment.', { max: 0.999999 }),
  beta2: number(0.999, 'Decay of the second moment.', { max: 0.9999999 }),
  eps: number(1e-8, 'Added to the root of the second moment.', { above: true, max: 1 }),
  weightDecay: number(
    0.02,
    'Decoupled weight decay; not of biases, norms, image positions, class and mask tokens.',
    { max: 10 },
  ),
  clipGrad: number(3, 'Largest global gradient norm; 0: no clipping.'),
  layerDecay: number(
    1,
    'Factor on the learning rate a layer, from the output down, as BEiT fine-tunes; 1: one rate for all.',
    { above: true, max: 1 },
  ),
  sharded: flag(
    false,
    'With several ranks each keeps the moments, and makes the update, of its own part of the weights alone (ZeRO-1).',
  ),
  bucketMegabytes: number(25, 'Gradients that several ranks sum in one go, while backward runs on.', {
    above: true,
    max: 2000,
  }),
});

export const schedKeys = section({
  warmupSteps: integer(2000, 'Steps of linear warm-up from `sched.warmupFrom` to `optim.lr`.'),
  warmupFrom: number(1e-5, 'Learning rate at step 0.', { max: 10 }),
  minLr: number(1e-5, 'Learning rate at the end of the cosine.', { max: 10 }),
});

export const runKeys = section({
  batchSize: integer(512, 'Pairs of one optimizer step.', { min: 1, max: 10_000_000 }),
  steps: optionalInteger('Optimizer steps; null: as many as `train.epochs` make.', { min: 1 }),
  epochs: number(30, 'Passes over `data.train`; not read when `train.steps` is given.', {
    above: true,
    max: 1e6,
  }),
  frames: integer(
    4,
    'Frames of a clip that a draw takes, a random one of each of as many equal parts; a shorter clip gives all it has.',
    { min: 1, max: 4096 },
  ),
  accumulate: integer(1, "Micro-batches that a step's pairs are cut into; less memory, same result.", {
    min: 1,
    max: 1_000_000,
  }),
  checkpointing: choice(
    ['off', 'selective', 'full'],
    'off',
    "What is computed again in backward instead of kept: nothing, each block's feed-forward layer, or all of a block but its input; same result.",
  ),
  seed: integer(0, 'Seed of every random draw.', { max: 2 ** 32 - 1 }),
  threads: optionalInteger('Threads of the native work; null: the cores this process may use.', {
    min: 1,
    max: 1024,
  }),
  device: z
    .string()
    .regex(/^(cpu|cuda(:\d+)?)$/)
    .default('cpu')
    .meta({
      description: 'Device that trains; of several ranks each takes the GPU of its place on the machine.',
      rule: 'one of cpu, cuda, cuda:N',
      text: true,
    }),
  precision: z.enum(['auto', 'float32', 'bfloat16', 'int8', 'bf16', 'fp32']).default('auto').meta({
    description:
      'Compute type; `auto` is float32 on a CPU and bfloat16 on CUDA. A CPU needs AVX-512 BF16 or AMX for bfloat16.',
    rule: 'one of auto, float32, bfloat16',
  }),
  timeout: number(600, 'Seconds after which ranks give up on one that has not come or does not answer.', {
    above: true,
    max: 1e6,
  }),
  out: filePath('runs/cots', 'Folder of the run; with several ranks one that all of them see.'),
  init: optionalPath('Model folder to start from; null: random weights.'),
  tensorboard: flag(false, "Write RUN/tensorboard: the figures of metrics.jsonl as TensorBoard's scalars."),
  weightInit: choice(
    ['fixed', 'fan_in'],
    'fixed',
    'Random weights: standard deviation 0.02 (BERT, ViT), or 1 / sqrt(fan-in), right for towers much narrower than 768.',
  ),
});

export const checkpointKeys = section({
  everySteps: integer(
    1000,
    'Steps between checkpoints; one is written before each evaluation and at the end too. 0: only then.',
  ),
  keep: integer(2, 'Checkpoints kept, the best one apart.', { min: 1, max: 1_000_000 }),
  keepEveryHours: number(0, 'Keep besides the first checkpoint of every so many hours; 0: none.', {
    max: 1e6,
  }),
  async: flag(
    true,
    'Write the state while the next step runs, in as much memory again as is not written by its end; false: stop meanwhile.',
  ),
});

export const evaluateKeys = section({
  everySteps: integer(0, 'Steps between evaluations on `data.validation`; 0: only at the end.'),
  protocol: choice(
    ['plain', 'coco-5k', 'coco-1k-5fold', 'flickr30k-1k', 'msrvtt-1ka'],
    'plain',
    'Protocol of the evaluation (SPEC 5).',
  ),
  frames: integer(12, 'Frames of a video in the evaluation: the middle one of each of as many equal parts.', {
    min: 1,
    max: 100_000,
  }),
});

export const guardKeys = section({
  maxNonFinite: integer(
    10,
    'Steps in a row with a loss or gradient that is not finite before the run stops.',
    { min: 1 },
  ),
});

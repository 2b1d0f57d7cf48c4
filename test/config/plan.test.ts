import path from 'node:path';
import test from 'ava';
import { packageRoot } from '../../lib/binding.js';
import { imageFlops, pairFlops, textFlops, tokenizerFlops } from '../../lib/config/flops.js';
import { configKeys } from '../../lib/config/keys.js';
import { loadConfig, resolveConfig } from '../../lib/config/load.js';
import { nativeTokenizerConfig } from '../../lib/config/native.js';
import { largestNoise, planTraining } from '../../lib/config/plan.js';
import type { TrainConfigInput } from '../../lib/config/schema.js';
import { probeConfig, probeDepths, type StageSeconds, type StepProbe } from '../../lib/config/step-time.js';

const openAi = {
  arch: 'openai',
  vocab: 8192,
  hidden: 256,
  codebookDim: 128,
  blocks: 2,
  pixels: 'map_pixels',
} as const;
const config = (input: TrainConfigInput = {}) => resolveConfig(input, [], 'plan');
const giga = (flops: number) => Number((flops / 1e9).toFixed(2));

test('the table of SPEC 8: one forward pass', (t) => {
  const { model } = config();
  t.is(giga(imageFlops(model)), 110.97);
  t.is(giga(imageFlops(config({ model: { image: { size: 224 } } }).model)), 35.13);
  t.is(giga(imageFlops(config({ model: { image: { size: 256 } } }).model)), 46.39);
  t.deepEqual(
    [30, 32, 40, 50].map((tokens) => giga(textFlops(model, tokens))),
    [5.13, 5.47, 6.85, 8.59],
  );
  t.is(giga(tokenizerFlops(openAi, 192)), 153.17);
  t.is(Number((tokenizerFlops(openAi, 256) / 1e9).toFixed(1)), 272.3);
});

test('the table of SPEC 8: a training pair', (t) => {
  const flops = pairFlops(config(), 40, openAi);
  t.is(giga(flops.cmvmHead), 3.17);
  t.is(giga(flops.cmlmHead), 0.27);
  t.is(Math.round(flops.total / 1e9), 988);
  t.true(Math.abs(pairFlops(config(), 50, openAi).total / 1e9 - 1000) < 1); // the table keeps the head of 40 tokens
  t.is(Math.round(pairFlops(config({ token: { passes: 'shared' } }), 40, openAi).total / 1e9), 635);
  const instance = config({ loss: { weights: { cmvm: 0, cmlm: 0, task: 0 } } });
  t.is(Math.round(pairFlops(instance, 40, openAi).total / 1e9), 471);
  t.is(giga(pairFlops(config({ queue: { size: 9600 } }), 40, openAi).contrast), 0.03);
});

test('base.yaml plans 988 GFLOP a pair, 86.09 M and 108.89 M parameters', async (t) => {
  const plan = planTraining(await loadConfig(path.join(packageRoot(), 'configs/base.yaml'), [], 'plan'), {
    pairs: 200_000,
  });
  t.is(Math.round(plan.flopsPerPair.total / 1e9), 988);
  t.is((plan.parameters.image / 1e6).toFixed(2), '86.09');
  t.is((plan.parameters.text / 1e6).toFixed(2), '108.89');
  t.is(plan.parameters.projections, 2 * (768 * 256 + 256));
  t.is(plan.steps, Math.ceil((30 * 200_000) / 512));
  t.deepEqual(plan.losses, { instance: true, cmvm: true, cmlm: true, task: true });
  t.deepEqual(plan.filter, { enabled: true, k: 2, largestNoise: 0.2, firstStep: 26 });
  t.deepEqual(plan.warnings, []);
});

test('memory: what is counted exactly', (t) => {
  const small = config({
    model: {
      image: { arch: 'vit_micro' },
      text: { arch: 'bert_micro', vocabSize: 100, maxPositions: 40 },
      embedDim: 16,
    },
    queue: { size: 10 },
    data: { cacheBytes: 7 },
  });
  const { memoryBytes, parameters } = planTraining(small, { imageTokenizer: { ...openAi, vocab: 32 } });
  t.is(memoryBytes.weights, 4 * parameters.trained);
  t.is(memoryBytes.optimizer, 8 * parameters.trained);
  t.is(memoryBytes.momentum, 4 * (parameters.image + parameters.text + parameters.projections));
  t.is(memoryBytes.queues, 10 * (2 * 16 * 4 + 4 + 8 + 1));
  t.is(memoryBytes.pixelCache, 7);
  const { total, ...parts } = memoryBytes;
  t.is(
    total,
    Object.values(parts).reduce((sum, bytes) => sum + bytes, 0),
  );
  t.is(memoryBytes.imageTokenizer, 4 * (53_786_240 - (8192 - 32) * 2049));
});

test('memory falls with accumulation, and without the masked pass of the texts', (t) => {
  const bytes = (input: TrainConfigInput) => planTraining(config(input)).memoryBytes.activations;
  t.true(bytes({ train: { accumulate: 8 } }) < bytes({}) / 7);
  const states = 512 * 40 * (12 * (8 * 768 + 3072) + 3 * 768);
  const heads = 512 * 5 * 768 * (0.4 * 576 + 0.15 * 40);
  t.is(bytes({}) - bytes({ loss: { weights: { cmvm: 0, cmlm: 0 } } }), Math.round(4 * (states + heads)));
});

test('clips count all their frames: operations, states of the vision tower, batches', (t) => {
  const at = (frames: number) => planTraining(config({ data: { prefetchBytes: 2 ** 40 } }), { frames });
  const [image, clip] = [at(1), at(3)];
  t.is(clip.flopsPerPair.image, 3 * image.flopsPerPair.image);
  t.is(clip.flopsPerPair.text, image.flopsPerPair.text);
  const states = 577 * (12 * (6 * 768 + 3072) + 3 * 768) + 6 * 384 ** 2 + 5 * 768 * 0.4 * 576;
  t.is(clip.memoryBytes.activations - image.memoryBytes.activations, Math.round(4 * 2 * 512 * states));
  t.true(clip.memoryBytes.backward > 2 * image.memoryBytes.backward);
  t.true(clip.memoryBytes.batches > 2.9 * image.memoryBytes.batches);
});

test('what is kept of decoded pixels is bounded by the images there are, and 0 where they are larger than what is kept', (t) => {
  const cache = (size: number, pairs?: number) =>
    planTraining(config({ model: { image: { size } } }), { pairs }).memoryBytes.pixelCache;
  t.is(cache(64, 100), 100 * 3 * 80 ** 2);
  t.is(cache(64), 512 * 2 ** 20);
  t.is(cache(64, 1e9), 512 * 2 ** 20);
  t.is(cache(384, 100), 0);
});

test('the largest batch and the fewest micro-batches are the ends of what fits', (t) => {
  const at = (batchSize: number, accumulate: number, memoryBytes?: number) =>
    planTraining(config({ train: { batchSize, accumulate } }), { memoryBytes, pairs: 1000 });
  const memoryBytes = 16 * 2 ** 30;
  for (const accumulate of [1, 3, 8]) {
    const { fit } = at(256, accumulate, memoryBytes);
    const limit = fit?.limitBytes ?? 0;
    t.is(limit, Math.floor(0.9 * memoryBytes));
    const largest = fit?.largestBatch ?? 0;
    t.is(largest % accumulate, 0);
    t.true(at(largest, accumulate).memoryBytes.total <= limit);
    t.true(at(largest + accumulate, accumulate).memoryBytes.total > limit);
  }

  const fewest = at(256, 1, memoryBytes).fit?.accumulate ?? 0;
  t.true(at(256, fewest).memoryBytes.total <= 0.9 * memoryBytes);
  t.true(at(256, fewest - 1).memoryBytes.total > 0.9 * memoryBytes);
  t.deepEqual(at(256, 1, 2 ** 30).fit, {
    limitBytes: Math.floor(0.9 * 2 ** 30),
    fits: false,
    largestBatch: 0,
    largestBatchFull: 0,
    accumulate: null,
    checkpointing: null,
  });
  t.is(at(256, 1).fit, null);
});

test('checkpointing leaves the states it names, of one pass of an image and two of a text', (t) => {
  const kept = (checkpointing: 'off' | 'selective' | 'full') =>
    planTraining(config({ train: { batchSize: 3, checkpointing } })).memoryBytes.activations;
  const [image, text] = [577 * 12, 40 * 12 * 2]; // tokens a pair, layers, passes
  t.is(kept('off') - kept('selective'), 4 * 3 * (image * 3072 + text * (3072 + 768)));
  t.is(kept('selective') - kept('full'), 4 * 3 * (image * 5 * 768 + text * 6 * 768));
});

test('the quickest checkpointing that fits is named, and what full checkpointing makes room for', (t) => {
  const fitAt = (batchSize: number, checkpointing: 'off' | 'full' = 'off') =>
    planTraining(config({ train: { batchSize, checkpointing } }), { memoryBytes: 12 * 2 ** 30, pairs: 1e6 })
      .fit;
  const off = fitAt(1)?.largestBatch ?? 0;
  const full = fitAt(1)?.largestBatchFull ?? 0;
  t.is(fitAt(1, 'full')?.largestBatch, full);
  t.true(full > 3 * off && off > 0, `${off} ${full}`);
  t.is(fitAt(off)?.checkpointing, 'off');
  t.is(fitAt(off + 1)?.checkpointing, 'selective');
  t.is(fitAt(full)?.checkpointing, 'full');
  t.is(fitAt(full + 1)?.checkpointing, null);
});

test('a batch that does not fit is warned of with what fits', (t) => {
  const big = config({ train: { batchSize: 256 }, token: { tokenizer: 'd' } });
  const { warnings, fit } = planTraining(big, { memoryBytes: 16 * 2 ** 30, pairs: 1e6 });
  t.is(warnings.length, 1);
  const [said = ''] = warnings;
  t.regex(said, /^A step of train\.batchSize=256 needs about [\d.]+ GiB, more than 14\.4 GiB: /);
  t.true(
    said.endsWith(
      `set train.accumulate=${fit?.accumulate} (the same result), or train.batchSize=${fit?.largestBatch}.`,
    ),
  );
  const smaller = config({ train: { batchSize: 48 }, token: { tokenizer: 'd' } });
  t.regex(
    planTraining(smaller, { memoryBytes: 16 * 2 ** 30, pairs: 1e6 }).warnings[0] ?? '',
    /set train\.checkpointing=(selective|full) or train\.accumulate=\d+ \(the same result\), or train\.batchSize=/,
  );
  const { warnings: none } = planTraining(big, { memoryBytes: 2 ** 30, pairs: 1e6 });
  t.regex(none[0] ?? '', /even single pairs do not fit/);
});

// A step of made costs: what a stage takes a pair beside the blocks, and in each block of a tower.
const stageNames = ['tokenise', 'momentum', 'forward', 'losses', 'backward', 'optimizer'] as const;
const cost = { rest: 0.5, image: 0.25, text: 0.125 };
function madeProbe(input: TrainConfigInput, pairs: number): StepProbe {
  const steps = probeDepths(config(input)).map((depth) => {
    const each = cost.rest + depth.image * cost.image + depth.text * cost.text;
    const seconds = stageNames.map((name, at) => [
      name,
      (at + 1) * (name === 'optimizer' ? 1 : pairs) * each,
    ]);
    return { depth, seconds: Object.fromEntries(seconds) as unknown as StageSeconds };
  });
  return { pairs, steps, loadSeconds: 0.01 };
}

test('time: blocks and pairs that were not timed take what those that were do, the optimizer once', (t) => {
  for (const [image, text] of [
    [12, 6],
    [1, 3],
    [5, 1],
    [1, 1],
  ] as const) {
    const model = { image: { layers: image }, text: { layers: text } };
    const input = { model, train: { batchSize: 48, accumulate: 3 } } as TrainConfigInput;
    const { seconds } = planTraining(config(input), { probe: madeProbe(input, 4) });
    const each = cost.rest + image * cost.image + text * cost.text;
    t.deepEqual(seconds, {
      tokenise: 48 * each,
      momentum: 2 * 48 * each,
      forward: 3 * 48 * each,
      losses: 4 * 48 * each,
      backward: 5 * 48 * each,
      optimizer: 6 * each,
      load: 0.48,
      total: 15 * 48 * each + 6 * each + 0.48,
    });
  }

  t.is(planTraining(config()).seconds, null);
});

test('time: a stage that noise made shorter with a block more never shortens the step', (t) => {
  const { steps, ...rest } = madeProbe({}, 2);
  const none = Object.fromEntries(stageNames.map((name) => [name, 0])) as unknown as StageSeconds;
  const odd = { ...rest, steps: steps.map((step, at) => (at === 1 ? { ...step, seconds: none } : step)) };
  const { seconds } = planTraining(config({ train: { batchSize: 2 } }), { probe: odd });
  const each = cost.rest + cost.image + 12 * cost.text;
  t.true(Math.abs((seconds?.tokenise ?? 0) - 2 * each) < 1e-9);
});

test('time: what is timed has few blocks and pairs, full queues, and no model to start from', (t) => {
  const big = config({ train: { batchSize: 512, accumulate: 8, init: '/model' } });
  t.deepEqual(probeDepths(big), [
    { image: 1, text: 1 },
    { image: 2, text: 1 },
    { image: 1, text: 2 },
  ]);
  const probe = probeConfig(big, openAi, { image: 2, text: 1 });
  t.deepEqual([probe.model.image.layers, probe.model.text.layers], [2, 1]);
  t.deepEqual([probe.train.batchSize, probe.train.accumulate, probe.train.init], [1, 1, null]);
  t.deepEqual([probe.queue.init, probe.queue.size], ['random', big.queue.size]);
  const small = config({
    model: { image: { size: 64, width: 192, heads: 6 }, text: { width: 192, heads: 6 } },
  });
  const micro = { ...small, train: { ...small.train, batchSize: 20, accumulate: 2 } };
  t.is(probeConfig(micro, { ...openAi, arch: 'small' }, { image: 1, text: 1 }).train.batchSize, 10);
});

test('the largest share of noise that k separates', (t) => {
  t.is(largestNoise(1), 0.5);
  t.is(largestNoise(2), 0.2);
  const p = largestNoise(1.7);
  t.true(Math.abs(Math.sqrt((1 - p) / p) - 1.7) < 1e-12);
});

test('steps: given, from epochs, or unknown', (t) => {
  t.is(planTraining(config({ train: { steps: 7 } })).steps, 7);
  t.is(planTraining(config()).steps, null);
  const plan = planTraining(config({ train: { batchSize: 100, epochs: 1.5 } }), { pairs: 1000 });
  t.deepEqual([plan.steps, plan.epochs], [15, 1.5]);
});

test('warnings name what is probably not meant', (t) => {
  const { warnings } = planTraining(
    config({
      train: { steps: 20, batchSize: 8 },
      queue: { size: 100 },
      optim: { lr: 1e-6 },
      evaluate: { everySteps: 5 },
      amf: { minValid: 100 },
    }),
    { pairs: 50 },
  );
  t.deepEqual(warnings, [
    "sched.warmupSteps (2000) is not below the run's 20 steps: the rate never reaches optim.lr.",
    'sched.minLr (0.00001) is above optim.lr (0.000001): the rate rises to the end.',
    'queue.size (100) is not below the 50 pairs less a batch: images meet their own older keys as negatives.',
    'evaluate.everySteps is set but data.validation is not: nothing is evaluated.',
    'token.tokenizer is not set: run `cots train-tokenizer` first, or set loss.weights.cmvm=0.',
  ]);
  const late = planTraining(
    config({ train: { steps: 20, batchSize: 8 }, sched: { warmupSteps: 1 }, token: { tokenizer: 'd' } }),
  );
  t.deepEqual(late.warnings, [
    "The filter starts at step 1601, after the run's 20 steps: lower amf.minValid or queue.size.",
  ]);
});

test('every key has a sentence, a rule and a default', (t) => {
  const rows = configKeys();
  t.true(rows.length > 90);
  t.is(new Set(rows.map(({ key }) => key)).size, rows.length);
  for (const { key, description, rule } of rows) {
    t.regex(description, /\.$/, key);
    t.true(rule.length > 3, key);
  }

  t.deepEqual(rows.find(({ key }) => key === 'amf.k')?.default, 2);
  t.is(nativeTokenizerConfig(config()).arch, 'small');
});

import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import test from 'ava';
import { parse, stringify } from 'yaml';
import { packageRoot } from '../../lib/binding.js';
import { loadConfig, resolveConfig, resolveModelConfig } from '../../lib/config/load.js';
import { configSchema } from '../../lib/config/schema.js';
import { temporaryFolder } from '../data/temporary.js';

const trained = { data: { train: 'a.jsonl' }, token: { tokenizer: 'dvae' } };

test('an empty config has the defaults of SPEC 2', (t) => {
  const config = resolveConfig(trained);
  t.deepEqual(config.model, {
    image: {
      arch: 'vit_b16',
      size: 384,
      patch: 16,
      width: 768,
      layers: 12,
      heads: 12,
      mlpRatio: 4,
      dropPath: 0.1,
      layerNormEps: 1e-6,
      pool: null,
      activation: 'gelu',
      inputNorm: false,
      layerScale: false,
      relativeBias: false,
      pooledNorm: false,
      init: null,
    },
    text: {
      arch: 'bert_base',
      width: 768,
      layers: 12,
      heads: 12,
      mlpRatio: 4,
      vocabSize: 30522,
      maxPositions: 512,
      dropout: 0.1,
      layerNormEps: 1e-12,
      pool: null,
      activation: 'gelu',
      norm: 'post',
      causal: false,
      init: null,
    },
    towers: 'both',
    pool: 'cls',
    embedDim: 256,
  });
  t.deepEqual(config.token, {
    maskImage: { ratio: 0.4, mode: 'block', exact: false },
    maskText: { ratio: 0.15 },
    passes: 'separate',
    globalSource: 'hidden',
    fusion: 'add',
    headImage: 'mlp',
    tokenizer: 'dvae',
    vocab: 8192,
  });
  t.deepEqual(config.queue, {
    size: 12800,
    includeBatchKeys: false,
    init: 'empty',
    dupPolicy: 'keep',
    prefill: false,
  });
  t.deepEqual(config.loss, {
    tau: 0.05,
    tauLearnable: false,
    weights: { instance: 1, cmvm: 1, cmlm: 1, task: 1 },
    inst: { reduction: 'sum' },
    task: { includePositive: true, stopgrad: 'none', half: false, warmupSteps: 0 },
  });
  t.like(config.amf, { enabled: true, k: 2, applyTo: 'all', minValid: null, minKeepFrac: 0 });
  t.is(config.ema.m, 0.99);
  t.deepEqual(config.optim, {
    lr: 1e-4,
    beta1: 0.9,
    beta2: 0.999,
    eps: 1e-8,
    weightDecay: 0.02,
    clipGrad: 3,
    layerDecay: 1,
    sharded: false,
    bucketMegabytes: 25,
  });
  t.deepEqual(config.sched, { warmupSteps: 2000, warmupFrom: 1e-5, minLr: 1e-5 });
  t.deepEqual(config.data.aug, {
    crop: { scale: [0.2, 1], ratio: [3 / 4, 4 / 3] },
    flip: 0.5,
    jitter: { brightness: 0.4, contrast: 0.4, saturation: 0.4 },
  });
  t.deepEqual(config.data.imageNorm, { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] });
  t.is(config.data.textMaxLen, 40);
  t.is(config.data.textClean, 'albef');
  t.is(config.data.textMaxWords, 30);
  t.is(config.data.secondView.filter, 'lanczos');
  t.is(config.train.epochs, 30);
  t.is(config.train.batchSize, 512);
  t.is(config.guard.maxNonFinite, 10);
});

test('float32 is the default on a CPU and bfloat16 on CUDA', (t) => {
  t.is(resolveConfig(trained).train.precision, 'float32');
  t.is(resolveConfig({ ...trained, train: { device: 'cuda:1' } }).train.precision, 'bfloat16');
});

test('a resolved config survives YAML and a second resolution', (t) => {
  const config = resolveConfig({ ...trained, data: { train: ['a.jsonl', { path: 'b', weight: 2 }] } }, [
    'model.image.layers=3',
  ]);
  t.deepEqual(resolveConfig(parse(stringify(config))), config);
});

test('every config of the package loads', async (t) => {
  const folder = path.join(packageRoot(), 'configs');
  for (const name of ['base', 'small', 'demo', 'finetune', 'ablation/instance', 'ablation/all']) {
    await t.notThrowsAsync(loadConfig(path.join(folder, `${name}.yaml`), ['data.train=a.jsonl']), name);
  }
});

test('overrides win over the file, the file over what it extends', async (t) => {
  const folder = await temporaryFolder(t);
  await writeFile(
    path.join(folder, 'base.yaml'),
    'train: { batchSize: 8, seed: 1, epochs: 2 }\ndata: { train: a.jsonl }\nloss: { weights: { cmvm: 0 } }\n',
  );
  await mkdir(path.join(folder, 'sub'));
  await writeFile(
    path.join(folder, 'sub/child.yaml'),
    'extends: ../base.yaml\ntrain: { batchSize: 16, seed: 2 }\n',
  );
  const { train, loss } = await loadConfig(path.join(folder, 'sub/child.yaml'), [
    'train.seed=3',
    'loss.tau=1e-1',
  ]);
  t.deepEqual([train.batchSize, train.seed, train.epochs, loss.tau, loss.weights.cmvm], [16, 3, 2, 0.1, 0]);
});

test('a preset fills sizes, written sizes win, an override of arch replaces them', async (t) => {
  const folder = await temporaryFolder(t);
  const file = path.join(folder, 'a.yaml');
  await writeFile(
    file,
    'model: { image: { arch: vit_s16, layers: 2 }, text: { arch: bert_small } }\ndata: { train: a }\ntoken: { tokenizer: d }\n',
  );
  const { model } = await loadConfig(file);
  t.deepEqual(
    [model.image.arch, model.image.width, model.image.heads, model.image.layers],
    ['custom', 384, 6, 2],
  );
  t.deepEqual([model.text.arch, model.text.width, model.text.layers], ['bert_small', 384, 12]);
  const over = await loadConfig(file, ['model.image.arch=vit_b16', 'model.text.arch=bert_base']);
  t.deepEqual([over.model.image.arch, over.model.image.layers, over.model.image.size], ['vit_b16', 12, 384]);
});

test('sources of data: a path, a list, weights and splits', (t) => {
  const one = { weight: 1, split: null, images: null, columns: null };
  t.deepEqual(resolveConfig(trained).data.train, [{ path: 'a.jsonl', ...one }]);
  t.deepEqual(resolveConfig(trained).data.validation, []);
  const list = resolveConfig(trained, ['data.train=[a, {path: b, weight: 0.5, split: test}]']).data.train;
  t.deepEqual(list, [
    { path: 'a', ...one },
    { path: 'b', weight: 0.5, split: 'test', images: null, columns: null },
  ]);
  t.is(resolveConfig(trained, ['data.train=123']).data.train[0]?.path, '123');
});

test('data.textClean takes a name or a switch', (t) => {
  t.is(resolveConfig(trained, ['data.textClean=false']).data.textClean, 'none');
  t.is(resolveConfig(trained, ['data.textClean=true']).data.textClean, 'albef');
});

const refused = test.macro({
  exec(t, override: string, message: string) {
    const error = t.throws(() => resolveConfig(trained, [override]));
    t.is((error as { code?: string }).code, 'ERR_COTS_CONFIG');
    t.is(error?.message, message);
  },
  title: (_, override) => `refused: ${override}`,
});

test(
  refused,
  'train.batchsize=3',
  'Expected only known config keys, got `train.batchsize`. Did you mean `train.batchSize`?',
);
test(
  refused,
  'model.embed_dim=3',
  'Expected only known config keys, got `model.embed_dim`. Did you mean `model.embedDim`?',
);
test(
  refused,
  'batchSize=3',
  'Expected only known config keys, got `batchSize`. Did you mean `train.batchSize`?',
);
test(
  refused,
  'colour=3',
  'Expected only known config keys, got `colour`. Sections: model, token, tokenizer, queue, loss, amf, ema, optim, sched, train, data, checkpoint, evaluate, guard; `cots train --dry-run --json` prints them all.',
);
test(
  refused,
  '__proto__.x=1',
  'Expected only known config keys, got `__proto__.x`. Sections: model, token, tokenizer, queue, loss, amf, ema, optim, sched, train, data, checkpoint, evaluate, guard; `cots train --dry-run --json` prints them all.',
);
test(
  refused,
  'optim.lr',
  "Expected an override of the form key.path=value, got 'optim.lr'. Write for example train.batchSize=128.",
);
test(
  refused,
  'optim.lr=fast',
  "Expected `optim.lr` to be a finite number above 0 and at most 10, got 'fast'. The default is 0.0001: set optim.lr=0.0001 or leave it out.",
);
test(
  refused,
  'optim.lr=.nan',
  'Expected `optim.lr` to be a finite number above 0 and at most 10, got NaN. The default is 0.0001: set optim.lr=0.0001 or leave it out.',
);
test(
  refused,
  'loss.tau=.inf',
  'Expected `loss.tau` to be a finite number from 0.0001 to 100, got Infinity. The default is 0.05: set loss.tau=0.05 or leave it out.',
);
test(
  refused,
  'train.batchSize=1.5',
  'Expected `train.batchSize` to be a whole number from 1 to 10000000, got 1.5. The default is 512: set train.batchSize=512 or leave it out.',
);
test(
  refused,
  'ema.m=1.1',
  'Expected `ema.m` to be a finite number from 0 to 1, got 1.1. The default is 0.99: set ema.m=0.99 or leave it out.',
);
test(
  refused,
  'model.pool=max',
  'Expected `model.pool` to be one of cls, mean, got \'max\'. The default is "cls": set model.pool="cls" or leave it out.',
);
test(
  refused,
  'data.aug.crop.scale=[1, 0.2]',
  'Expected `data.aug.crop.scale` to be two numbers [low, high] with 0 < low <= high, got [1,0.2]. The default is [0.2,1]: set data.aug.crop.scale=[0.2,1] or leave it out.',
);
test(
  refused,
  'data.train=[{path: a, wait: 2}]',
  'Expected `data.train` to be null, a path, or a list of { path, weight?, split?, images?, columns? }, got [{"path":"a","wait":2}]. Set for example data.train=data/train.jsonl.',
);
test(
  refused,
  'queue=5',
  'Expected `queue` to be a map of keys, got 5. Write it as `key: value` lines, or leave it out.',
);
test(
  refused,
  'model.image.size=50',
  'Expected `model.image.size` to be a multiple of model.image.patch (16), got 50. Use 48.',
);
test(
  refused,
  'model.text.heads=7',
  'Expected `model.text.width` to be a multiple of model.text.heads (7), got 768. Use 770.',
);
test(
  refused,
  'model.text.maxPositions=30',
  'Expected `model.text.maxPositions` to be at least data.textMaxLen (40), got 30. Raise it, or lower data.textMaxLen.',
);
test(
  refused,
  'amf.minValid=20000',
  'Expected `amf.minValid` to be at most queue.size (12800), got 20000: the filter would never start. Use 12800 or null.',
);
test(
  refused,
  'loss.weights={instance: 0, cmvm: 0, cmlm: 0, task: 0}',
  'Expected one of `loss.weights.*` to be above 0, got none: nothing would be trained. Set loss.weights.instance=1.',
);
test(
  refused,
  'train.accumulate=513',
  'Expected `train.accumulate` to be at most train.batchSize (512), got 513. Use 512 or less.',
);

test('unknown keys and wrong types of an object are refused as those of a file are', (t) => {
  t.is(
    t.throws(() => resolveConfig({ ...trained, train: { epoch: 3 } } as never))?.message,
    'Expected only known config keys, got `train.epoch`. Did you mean `train.epochs`?',
  );
  t.is(
    t.throws(() => resolveConfig({ ...trained, model: { image: { sise: 3 } } } as never))?.message,
    'Expected only known config keys, got `model.image.sise`. Did you mean `model.image.size`?',
  );
  t.regex(
    t.throws(() => resolveConfig([] as never))?.message ?? '',
    /^Expected a config to be an object of sections, got \[\]/,
  );
  t.regex(
    t.throws(() => resolveConfig({ ...trained, ema: { m: 2 }, queue: { size: 0 } }))?.message ?? '',
    /\(1 more of the config's keys are wrong\.\)$/,
  );
});

test('include_batch_keys is refused with accumulation', (t) => {
  const error = t.throws(() => resolveConfig(trained, ['queue.includeBatchKeys=true', 'train.accumulate=2']));
  t.is(
    error?.message,
    'Expected `train.accumulate` to be 1 with queue.includeBatchKeys, got 2: a micro-batch does not see the keys of the others. Set one of them back.',
  );
});

test('towers of two widths need an embedding, and a global state that fits', (t) => {
  const narrow = ['model.text.width=384', 'model.text.heads=6'];
  t.regex(
    t.throws(() => resolveConfig(trained, narrow))?.message ?? '',
    /got 384\. Make them equal, or set token\.globalSource=embed\.$/,
  );
  t.notThrows(() => resolveConfig(trained, [...narrow, 'token.globalSource=embed']));
  t.regex(
    t.throws(() => resolveConfig(trained, [...narrow, 'token.fusion=none', 'model.embedDim=0']))?.message ??
      '',
    /^Expected `model\.embedDim` to be above 0 where the towers' widths differ \(768 and 384\), got 0\./,
  );
});

test('CMVM without a tokenizer names cots train-tokenizer', (t) => {
  const error = t.throws(() => resolveConfig({ data: { train: 'a' } }));
  t.is((error as { code?: string }).code, 'ERR_COTS_CONFIG');
  t.is(
    error?.message,
    'Expected `token.tokenizer` to be the folder of a trained discrete VAE while loss.weights.cmvm is 1, got null. ' +
      'Train one with `cots train-tokenizer --config FILE token.tokenizer=DIR`, or set loss.weights.cmvm=0.',
  );
  t.notThrows(() => resolveConfig({ data: { train: 'a' }, loss: { weights: { cmvm: 0 } } }));
  t.notThrows(() => resolveConfig({ data: { train: 'a' } }, [], 'tokenizer'));
  t.notThrows(() => resolveConfig({}, [], 'plan'));
});

test('data.train is asked for', (t) => {
  const error = t.throws(() => resolveConfig({ token: { tokenizer: 'd' } }));
  t.is(
    error?.message,
    'Expected `data.train` to name the training pairs, got nothing. Set data.train=FILE: a manifest, a Karpathy file or a folder of images with captions.',
  );
});

test('fp16 asked for in training', (t) => {
  for (const name of ['fp16', 'float16']) {
    const error = t.throws(() => resolveConfig(trained, [`train.precision=${name}`]));
    t.is((error as { code?: string }).code, 'ERR_COTS_CONFIG');
    t.is(
      error?.message,
      `Expected \`train.precision\` to be float32 or bfloat16, got '${name}'. Gradients of a loss averaged over many pairs ` +
        'underflow in float16 without loss scaling. Set train.precision=bfloat16, which has the range of float32.',
    );
  }
});

test('int8 serves embedding only', (t) => {
  for (const device of ['cpu', 'cuda'])
    t.throws(() => resolveConfig(trained, [`train.device=${device}`, 'train.precision=int8']), {
      code: 'ERR_COTS_NOT_IMPLEMENTED',
      message:
        "Expected `train.precision` to be float32 or bfloat16, got 'int8': int8 serves embedding only. Set train.precision=float32.",
    });
});

test('a model by itself is completed and checked', (t) => {
  const model = resolveModelConfig({
    image: { arch: 'vit_micro' },
    text: { arch: 'bert_micro', vocabSize: 100 },
    embedDim: 32,
  });
  t.deepEqual(
    [model.image.width, model.text.width, model.text.vocabSize, model.embedDim],
    [128, 128, 100, 32],
  );
  const error = t.throws(() => resolveModelConfig({ image: { size: 'big' } } as never));
  t.regex(
    error?.message ?? '',
    /^Expected `model\.image\.size` to be a whole number from 1 to 4096, got 'big'\./,
  );
  t.is(
    t.throws(() => resolveModelConfig({ embedDims: 3 } as never))?.message,
    'Expected only known config keys, got `model.embedDims`. Did you mean `model.embedDim`?',
  );
});

test('files: none, a directory, not YAML, not a map, a cycle', async (t) => {
  const folder = await temporaryFolder(t);
  const at = (name: string) => path.join(folder, name);
  const missing = await t.throwsAsync(loadConfig(at('none.yaml')));
  t.is((missing as { code?: string }).code, 'ERR_COTS_FILE');
  t.is(
    missing?.message,
    `Expected to read a config file at ${at('none.yaml')}, got no such file or directory. Check the path.`,
  );
  t.is(
    (await t.throwsAsync(loadConfig(folder)))?.message,
    `Expected to read a config file at ${folder}, got a directory where a file is needed. Name a file.`,
  );
  await writeFile(at('broken.yaml'), 'train: {\n');
  t.regex(
    (await t.throwsAsync(loadConfig(at('broken.yaml'))))?.message ?? '',
    /^Expected .*broken\.yaml to be YAML, got: .* at line \d+/,
  );
  await writeFile(at('list.yaml'), '- 1\n');
  t.regex(
    (await t.throwsAsync(loadConfig(at('list.yaml'))))?.message ?? '',
    /to hold a map of keys, got \[1\]\.$/,
  );
  await writeFile(at('a.yaml'), 'extends: b.yaml\n');
  await writeFile(at('b.yaml'), 'extends: a.yaml\n');
  const cycle = await t.throwsAsync(loadConfig(at('a.yaml')));
  t.is((cycle as { code?: string }).code, 'ERR_COTS_CONFIG');
  t.regex(cycle?.message ?? '', /a\.yaml -> .*b\.yaml -> .*a\.yaml\. Remove one of them\.$/);
});

test('the schema accepts what it resolves', (t) => {
  t.notThrows(() => configSchema.parse(resolveConfig(trained)));
});

test('configs/finetune.yaml has the fine-tune column of SPEC 2.5', async (t) => {
  const file = path.join(packageRoot(), 'configs/finetune.yaml');
  const config = await loadConfig(file, ['data.train=dataset_coco.json', 'train.init=runs/base/best']);
  t.like(config.optim, { lr: 1e-5, weightDecay: 0.02, clipGrad: 3, beta1: 0.9, beta2: 0.999, eps: 1e-8 });
  t.deepEqual(config.sched, { warmupSteps: 0, warmupFrom: 1e-5, minLr: 1e-6 });
  t.like(config.train, { batchSize: 256, epochs: 5, init: 'runs/base/best' });
  t.is(config.queue.dupPolicy, 'mask_same_image');
  t.deepEqual(config.data.aug.crop.scale, [0.5, 1]);
  t.like(config.model.image, { arch: 'vit_b16', size: 384 });
  t.is(config.data.textMaxLen, 40);
});

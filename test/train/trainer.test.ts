/** Whole runs of a tiny model: events, files, resuming bit for bit, abort, busy, dispose. */
import { cp, mkdir, readdir, readFile, readlink, rm, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import test from 'ava';
import { resolveConfig } from '../../lib/config/load.js';
import { Cots, CotsError, type TrainEvent, Trainer } from '../../lib/index.js';
import { prepareRun } from '../../lib/train/prepare-run.js';
import { trainImageTokenizer } from '../../lib/train/tokenizer-trainer.js';
import { UpcomingBatch } from '../../lib/train/upcoming-batch.js';
import { makeShapes } from '../support/tiny.js';
import {
  type Config,
  fresh,
  hash,
  lines,
  refusal,
  run,
  trained,
  trainerJson,
  trainerOver,
  untimed,
} from './runs.js';

async function tokenizerFor(folder: string, config: Config): Promise<string> {
  const out = path.join(folder, 'dvae');
  const over = {
    ...config,
    token: { vocab: 32 },
    tokenizer: { hidden: 16, codebookDim: 8, blocks: 1, steps: 6, batchSize: 8, out, lr: 1e-3 },
  };
  for await (const event of trainImageTokenizer(resolveConfig(over, [], 'tokenizer'))) t_noop(event);
  return out;
}

function t_noop(_: unknown): void {}

test('a run yields steps, checkpoints and an end, and leaves the files that DESIGN 5 names', async (t) => {
  const { out, config } = await fresh(t);
  const events = await trained(config);
  t.deepEqual(
    events
      .map((event) => `${event.type}${'step' in event ? event.step : ''}`)
      .filter((name) => !name.startsWith('step')),
    ['checkpoint5', 'checkpoint10', 'checkpoint12', 'end12'],
  );
  t.deepEqual(
    events.filter(({ type }) => type === 'step').map((event) => (event as { step: number }).step),
    Array.from({ length: 12 }, (_, i) => i + 1),
  );
  t.deepEqual(events.at(-1), { type: 'end', step: 12, reason: 'done' });
  t.deepEqual((await readdir(out)).sort(), [
    'checkpoints',
    'config.yaml',
    'filtered.jsonl',
    'latest',
    'metrics.jsonl',
    'non-finite.jsonl',
  ]);
  t.deepEqual((await readdir(path.join(out, 'checkpoints'))).sort(), [
    'step-00000005',
    'step-00000010',
    'step-00000012',
  ]);
  t.is(await readlink(path.join(out, 'latest')), 'checkpoints/step-00000012');
  t.deepEqual((await readdir(path.join(out, 'latest'))).sort(), [
    'config.json',
    'model.safetensors',
    'preprocessor_config.json',
    'state.safetensors',
    'tokenizer.json',
    'trainer.json',
  ]);
  const metrics = await lines(path.join(out, 'metrics.jsonl'));
  t.is(metrics.length, 12);
  t.deepEqual(Object.keys(metrics[0] ?? {}), [
    'step',
    'pairs',
    'loss',
    'loss_image_to_text',
    'loss_text_to_image',
    'loss_task',
    'loss_cmvm',
    'loss_cmlm',
    'filter_mean',
    'filter_std',
    'filter_threshold',
    'filter_kept',
    'queue_valid',
    'lr',
    'temperature',
    'momentum',
    'grad_norm',
    'pairs_per_second',
    'mfu',
    'rss_bytes',
    'device_bytes',
  ]);
  const { type: _, ...last } = events.filter(({ type }) => type === 'step').at(-1) as { type: string };
  t.deepEqual(metrics[11], last as Record<string, unknown>);
  t.is(metrics[2]?.['queue_valid'], 20);
  t.true(metrics.every(({ mfu }) => typeof mfu === 'number' && mfu > 0));
});

test('what is probably not meant is a warning of the run, not of the dry run alone', async (t) => {
  const { config } = await fresh(t, { evaluate: { everySteps: 2 }, train: { steps: 2 } });
  const events = await trained(config);
  t.like(
    events.find(
      (event) =>
        event.type === 'warning' &&
        event.code === 'WARN_COTS_PLAN' &&
        /nothing is evaluated/.test(event.message),
    ),
    { type: 'warning' },
  );
});

test('filtered.jsonl lists exactly the pairs that the filter dropped', async (t) => {
  const { out, config } = await fresh(t);
  await trained(config);
  const metrics = await lines(path.join(out, 'metrics.jsonl'));
  const dropped = await lines(path.join(out, 'filtered.jsonl'));
  t.true(dropped.length > 0);
  for (const row of metrics) {
    const own = dropped.filter(({ step }) => step === row['step']);
    t.is(
      own.length,
      (row['pairs'] as number) - (row['filter_kept'] as number),
      `step ${String(row['step'])}`,
    );
    for (const { id, score, threshold } of own) {
      t.regex(String(id), /^train-\d+$/);
      t.is(threshold, row['filter_threshold']);
      t.true((score as number) < (threshold as number));
    }
  }
});

test('12 steps equal 5 steps, stop, resume and 7 steps, bit for bit, with every loss, the filter and an image tokenizer', async (t) => {
  const { folder, config } = await fresh(t, { loss: { weights: { cmvm: 1 } }, train: { accumulate: 2 } });
  const tokenizer = await tokenizerFor(folder, config);
  const whole = {
    ...config,
    token: { tokenizer },
    train: { ...config.train, out: path.join(folder, 'whole') },
  };
  const halves = {
    ...config,
    token: { tokenizer },
    train: { ...config.train, out: path.join(folder, 'halves') },
  };
  await trained(whole);
  const first = await trained(halves, { until: 7 });
  t.deepEqual(first.at(-1), { type: 'end', step: 7, reason: 'aborted' });
  const second = await trained(halves, { resume: 'latest' });
  t.deepEqual(
    second.find(({ type }) => type === 'step') &&
      (second.find(({ type }) => type === 'step') as { step: number }).step,
    8,
  );
  for (const name of ['model.safetensors', 'state.safetensors', 'tokenizer.json', 'config.json']) {
    t.is(
      await hash(path.join(folder, 'whole', 'latest', name)),
      await hash(path.join(folder, 'halves', 'latest', name)),
      name,
    );
  }

  t.deepEqual(
    untimed(await lines(path.join(folder, 'whole', 'metrics.jsonl'))),
    untimed(await lines(path.join(folder, 'halves', 'metrics.jsonl'))),
  );
  t.deepEqual(
    await readFile(path.join(folder, 'whole', 'filtered.jsonl'), 'utf8'),
    await readFile(path.join(folder, 'halves', 'filtered.jsonl'), 'utf8'),
  );
  t.true(
    (await lines(path.join(folder, 'whole', 'metrics.jsonl'))).every(
      (row) => (row['loss_cmvm'] as number) > 0,
    ),
  );
});

test('another seed gives another run', async (t) => {
  const { folder, config } = await fresh(t);
  const other = { ...config, train: { ...config.train, seed: 8, out: path.join(folder, 'other') } };
  await trained(config);
  await trained(other);
  t.not(
    await hash(path.join(folder, 'run', 'latest', 'model.safetensors')),
    await hash(path.join(folder, 'other', 'latest', 'model.safetensors')),
  );
});

test('leaving the loop writes a checkpoint, and the same trainer can go on', async (t) => {
  const { out, config } = await fresh(t, { checkpoint: { everySteps: 0 } });
  const trainer = await Trainer.create(config);
  t.teardown(() => trainer.dispose());
  for await (const event of trainer.run()) if (event.type === 'step' && event.step === 3) break;
  t.is(await readlink(path.join(out, 'latest')), 'checkpoints/step-00000003');
  const rest = await run(trainer);
  t.is((rest[0] as { step: number }).step, 4);
  t.deepEqual(rest.at(-1), { type: 'end', step: 12, reason: 'done' });
  t.is((await lines(path.join(out, 'metrics.jsonl'))).length, 12);
});

test('a batch that was looked at in one run of a trainer is the first of the next', async (t) => {
  const { out, config } = await fresh(t);
  await trained(config);
  const ahead = { ...config, train: { ...config.train, out: `${out}-ahead` } };
  const prepared = await prepareRun(ahead, undefined);
  const trainer = new Trainer({ ...prepared, batches: new UpcomingBatch(prepared.loader, true) });
  await run(trainer, 5);
  await run(trainer);
  trainer.dispose();
  t.deepEqual(
    untimed(await lines(path.join(`${out}-ahead`, 'metrics.jsonl'))),
    untimed(await lines(path.join(out, 'metrics.jsonl'))),
  );
});

test('a trainer of several ranks runs once', async (t) => {
  const { config } = await fresh(t);
  const prepared = await prepareRun(config, undefined);
  const ranks = new Proxy(prepared.ranks, {
    get: (target, name) => {
      const value: unknown = name === 'world' ? 2 : Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  const trainer = new Trainer({ ...prepared, ranks });
  for await (const event of trainer.run({ signal: AbortSignal.abort() })) t_noop(event);
  await refusal(
    t,
    () => run(trainer),
    'ERR_COTS_BUSY',
    /one run\(\) of a trainer of several ranks.*resume: latest/,
  );
  trainer.dispose();
});

test('an abort before the start does no work, writes nothing and throws nothing', async (t) => {
  const { out, config } = await fresh(t);
  const trainer = await Trainer.create(config);
  t.teardown(() => trainer.dispose());
  const events: TrainEvent[] = [];
  for await (const event of trainer.run({ signal: AbortSignal.abort() })) events.push(event);
  t.deepEqual(events, [{ type: 'end', step: 0, reason: 'aborted' }]);
  t.deepEqual(await readdir(path.join(out, 'checkpoints')), []);
});

test('of two runs begun at once the second is busy, and the trainer is free again when the first ends', async (t) => {
  const { config } = await fresh(t);
  const trainer = await Trainer.create(config);
  t.teardown(() => trainer.dispose());
  const [first, second] = [trainer.run(), trainer.run()].map((events) => events[Symbol.asyncIterator]());
  const [begun, refused] = await Promise.allSettled([first?.next(), second?.next()]);
  t.is(begun?.status, 'fulfilled');
  t.is(((refused as PromiseRejectedResult).reason as CotsError).code, 'ERR_COTS_BUSY');
  await refusal(t, () => run(trainer), 'ERR_COTS_BUSY', /no run in progress/);
  await first?.return?.();
  await t.notThrowsAsync(run(trainer));
});

const lastCheckpointFails = test.macro(async (t, isAsync: boolean) => {
  const { out, config } = await fresh(t, { checkpoint: { everySteps: 0, async: isAsync } });
  let full = true;
  const unlessFull =
    (write: (o: { directory: string }) => Promise<void>) =>
    async (o: { directory: string }): Promise<void> => {
      if (full) throw new CotsError('ERR_COTS_FILE', 'No space left on device.');
      return write(o);
    };
  const trainer = await trainerOver(t, config, (native) => ({
    save: unlessFull((o) => native.save(o)),
    capture: async () => {
      const part = await native.capture();
      return { write: unlessFull((o) => part.write(o)) };
    },
  }));
  const leave = async () => {
    for await (const event of trainer.run()) if (event.type === 'step' && event.step === 3) break;
  };
  await refusal(t, leave, 'ERR_COTS_FILE', /No space left/);
  if (process.platform === 'linux')
    t.deepEqual(
      (await openFiles()).filter((file) => file.startsWith(out)),
      [],
    );
  full = false;
  t.deepEqual((await run(trainer)).at(-1), { type: 'end', step: 12, reason: 'done' });
  t.is((await lines(path.join(out, 'metrics.jsonl'))).length, 12);
});
for (const isAsync of [false, true])
  test(
    `a checkpoint that cannot be written when the loop is left frees the trainer and closes the logs (${isAsync ? 'asynchronous' : 'at once'})`,
    lastCheckpointFails,
    isAsync,
  );

/** Paths that this process has open. */
async function openFiles(): Promise<string[]> {
  const handles = await readdir('/proc/self/fd');
  return Promise.all(handles.map((handle) => readlink(path.join('/proc/self/fd', handle)).catch(() => '')));
}

test('dispose is idempotent and a run in progress rejects', async (t) => {
  const { config } = await fresh(t);
  const trainer = await Trainer.create(config);
  const error = await t.throwsAsync(
    async () => {
      for await (const event of trainer.run()) {
        if (event.type === 'step') trainer.dispose();
      }
    },
    { instanceOf: CotsError },
  );
  t.is((error as CotsError).code, 'ERR_COTS_DISPOSED');
  trainer.dispose();
  t.throws(() => trainer.model(), { code: 'ERR_COTS_DISPOSED' });
});

test('model() is a copy: training on does not change it, and its folder loads to the same vectors', async (t) => {
  const { folder, config } = await fresh(t);
  const trainer = await Trainer.create(config);
  t.teardown(() => trainer.dispose());
  for await (const event of trainer.run()) if (event.type === 'step' && event.step === 4) break;
  const model = trainer.model();
  t.teardown(() => model.dispose());
  const before = await model.embedTexts(['a red box']);
  await run(trainer);
  t.deepEqual(await model.embedTexts(['a red box']), before);
  await model.save(path.join(folder, 'saved'));
  const loaded = await Cots.load(path.join(folder, 'saved'));
  t.deepEqual(await loaded.embedTexts(['a red box']), before);
  const trainedOn = await Cots.load(path.join(folder, 'run', 'latest'));
  t.notDeepEqual(await trainedOn.embedTexts(['a red box']), before);
  loaded.dispose();
  trainedOn.dispose();
});

test('validation: evaluations as asked, the best one is pointed to and kept', async (t) => {
  const { folder, out, config } = await fresh(t);
  const validation = await makeShapes(folder, 12, 'val', 'val.jsonl');
  const events = await trained({
    ...config,
    data: { ...config.data, validation },
    evaluate: { everySteps: 4 },
    checkpoint: { everySteps: 0, keep: 1 },
  });
  const evaluations = events.filter((event) => event.type === 'evaluation');
  t.deepEqual(
    evaluations.map(({ step }) => step),
    [4, 8, 12],
  );
  t.is(evaluations[0]?.result.n.texts, 24);
  const best = evaluations.reduce((a, b) => (b.result.rsum > a.result.rsum ? b : a));
  t.is(await readlink(path.join(out, 'best')), `checkpoints/step-${String(best.step).padStart(8, '0')}`);
  t.true((await readdir(path.join(out, 'best'))).includes('model.safetensors'));
  const { rsum } = best.result;
  for (const name of ['best', 'latest'])
    t.like((await trainerJson(path.join(out, name)))['best'], { step: best.step, rsum });
});

test('old checkpoints are deleted, keep of them stay', async (t) => {
  const { out, config } = await fresh(t, { checkpoint: { everySteps: 2, keep: 2 } });
  await trained(config);
  t.deepEqual((await readdir(path.join(out, 'checkpoints'))).sort(), ['step-00000010', 'step-00000012']);
});

const damages: Record<string, (checkpoint: string) => Promise<void>> = {
  'a truncated model.safetensors': (folder) => truncate(path.join(folder, 'model.safetensors'), 1000),
  'a truncated state.safetensors': (folder) => truncate(path.join(folder, 'state.safetensors'), 1000),
  'no trainer.json': (folder) => rm(path.join(folder, 'trainer.json')),
  'an empty trainer.json': (folder) => writeFile(path.join(folder, 'trainer.json'), ''),
  'no tokenizer.json': (folder) => rm(path.join(folder, 'tokenizer.json')),
  'state.safetensors of the right size and other bytes': async (folder) => {
    const file = path.join(folder, 'state.safetensors');
    await writeFile(file, new Uint8Array((await readFile(file)).length));
  },
};

for (const [name, damage] of Object.entries(damages)) {
  test(`the newest whole checkpoint is used when a later one has ${name}`, async (t) => {
    const { folder, out, config } = await fresh(t);
    const whole = path.join(folder, 'whole');
    await trained({ ...config, train: { ...config.train, out: whole } });
    await trained(config, { until: 10 });
    await damage(path.join(out, 'checkpoints', 'step-00000010'));
    const events = await trained(config, { resume: 'latest' });
    t.is(
      (events.find(({ type }) => type === 'warning') as { code: string }).code,
      'WARN_COTS_TORN_CHECKPOINT',
    );
    t.is((events.find(({ type }) => type === 'step') as { step: number }).step, 6);
    t.is(
      await hash(path.join(out, 'latest', 'state.safetensors')),
      await hash(path.join(whole, 'latest', 'state.safetensors')),
    );
    t.deepEqual(
      untimed(await lines(path.join(out, 'metrics.jsonl'))),
      untimed(await lines(path.join(whole, 'metrics.jsonl'))),
    );
  });
}

test('a checkpoint of another config is refused with the keys that differ', async (t) => {
  const { config } = await fresh(t);
  await trained(config, { until: 5 });
  await refusal(
    t,
    () => Trainer.create({ ...config, queue: { size: 24 }, ema: { m: 0.9 } }, { resume: 'latest' }),
    'ERR_COTS_CHECKPOINT',
    /differs in .*queue\.size \(checkpoint 20, run 24\).*ema\.m \(checkpoint 0\.99, run 0\.9\)/,
  );
});

test('resuming may change where, how often and how fast, not what', async (t) => {
  const { folder, out, config } = await fresh(t);
  const whole = path.join(folder, 'whole');
  await trained({ ...config, train: { ...config.train, out: whole } });
  await trained(config, { until: 5 });
  const moved = path.join(folder, 'moved');
  await trained(
    {
      ...config,
      train: { ...config.train, out: moved },
      checkpoint: { everySteps: 3, keep: 5 },
      data: { ...config.data, workers: 4, prefetch: 1, cacheBytes: 0 },
    },
    { resume: path.join(out, 'latest') },
  );
  for (const name of ['model.safetensors', 'state.safetensors'])
    t.is(await hash(path.join(moved, 'latest', name)), await hash(path.join(whole, 'latest', name)), name);
  t.deepEqual(
    untimed(await lines(path.join(moved, 'metrics.jsonl'))),
    untimed((await lines(path.join(whole, 'metrics.jsonl'))).slice(5)),
  );
});

test('other data under a checkpoint are refused', async (t) => {
  const { folder, config } = await fresh(t);
  await trained(config, { until: 5 });
  const other = await makeShapes(folder, 39, 'train', 'other.jsonl');
  await refusal(
    t,
    () => Trainer.create({ ...config, data: { ...config.data, train: other } }, { resume: 'latest' }),
    'ERR_COTS_CHECKPOINT',
    /40.*39 others/,
  );
});

test('a folder with a run is not overwritten', async (t) => {
  const { config } = await fresh(t);
  await trained(config, { until: 5 });
  await refusal(t, () => Trainer.create(config), 'ERR_COTS_CONFIG', /checkpoint at step 5.*--resume latest/);
});

test('latest without a checkpoint starts anew and says so; a folder that is none is refused', async (t) => {
  const { folder, config } = await fresh(t);
  const events = await trained(config, { resume: 'latest', until: 1 });
  t.is((events[0] as { code: string }).code, 'WARN_COTS_NO_CHECKPOINT');
  await mkdir(path.join(folder, 'empty'));
  await refusal(
    t,
    () => Trainer.create(config, { resume: path.join(folder, 'empty') }),
    'ERR_COTS_CHECKPOINT',
    /found no trainer\.json/,
  );
});

test('resuming from a named checkpoint goes back and drops the later ones once a new one is there', async (t) => {
  const { folder, out, config } = await fresh(t);
  await trained(config);
  const back = path.join(folder, 'back');
  await cp(path.join(out, 'checkpoints', 'step-00000005'), back, { recursive: true });
  const events = await trained(config, { resume: back, until: 6 });
  t.deepEqual(events.at(-1), { type: 'end', step: 6, reason: 'aborted' });
  t.deepEqual((await readdir(path.join(out, 'checkpoints'))).sort(), ['step-00000005', 'step-00000006']);
  t.is((await lines(path.join(out, 'metrics.jsonl'))).length, 6);
});

test('bad images are skipped, counted and listed; above maxBadFraction the run stops', async (t) => {
  const { folder, out, config } = await fresh(t);
  await writeFile(path.join(folder, 'images', 'train-3.png'), 'no image');
  const events = await trained({ ...config, data: { ...config.data, maxBadFraction: 0.1 } });
  t.is((events.find(({ type }) => type === 'warning') as { code: string }).code, 'WARN_COTS_BAD_IMAGE');
  t.deepEqual(
    (await lines(path.join(out, 'bad-images.jsonl'))).map(({ id }) => id),
    ['train-3'],
  );
  const strict = {
    ...config,
    data: { ...config.data, maxBadFraction: 0 },
    train: { ...config.train, out: path.join(folder, 'strict') },
  };
  await refusal(t, () => trained(strict), 'ERR_COTS_DATA', /maxBadFraction.*train-3\.png/);
});

test('a prefilled queue is full at the first step, of other pairs than the first batches, and does not move the data', async (t) => {
  const { folder, out, config } = await fresh(t, { checkpoint: { everySteps: 1 } });
  const filled: number[][] = [];
  const stepped: number[][] = [];
  const watched = await trainerOver(t, { ...config, queue: { size: 20, prefill: true } }, (native) => ({
    prefill: (o) => {
      filled.push([...o.batch.imageIds]);
      return native.prefill(o);
    },
    step: (o) => {
      stepped.push([...o.batch.imageIds]);
      return native.step(o);
    },
  }));
  await run(watched, 3);
  t.is((await lines(path.join(out, 'metrics.jsonl')))[0]?.['queue_valid'], 20);
  t.is(filled.length, 3);
  t.notDeepEqual(filled, stepped);

  const plain: number[][] = [];
  const other = { ...config, train: { ...config.train, out: path.join(folder, 'plain') } };
  const unfilled = await trainerOver(t, other, (native) => ({
    step: (o) => {
      plain.push([...o.batch.imageIds]);
      return native.step(o);
    },
  }));
  await run(unfilled, 3);
  t.deepEqual(stepped, plain);
  const [{ cursor }, { cursor: unmoved }] = [
    await trainerJson(path.join(out, 'latest')),
    await trainerJson(path.join(folder, 'plain', 'latest')),
  ] as [{ cursor: unknown }, { cursor: unknown }];
  t.deepEqual(cursor, unmoved);
});

for (const [stop, code, message] of [
  ['non_finite', 'ERR_COTS_NON_FINITE', /step 3.*10 in a row.*guard\.maxNonFinite.*Lower optim\.lr/],
  ['collapsed', 'ERR_COTS_COLLAPSED', /step 3.*collapsed.*Lower optim\.lr/],
] as const) {
  test(`a step that stops the run is recorded before the run ends: ${stop}`, async (t) => {
    const { out, config } = await fresh(t);
    const trainer = await trainerOver(t, config, (native) => ({
      step: async (o) => {
        const metrics = await native.step(o);
        if (metrics.step < 3) return { ...metrics, stop: null };
        if (stop === 'collapsed') return { ...metrics, stop, collapsedSteps: 101 };
        return { ...metrics, stop, loss: Number.NaN, skipped: true, nonFiniteInRow: 10 };
      },
    }));
    const events: TrainEvent[] = [];
    const work = async () => {
      for await (const event of trainer.run()) events.push(event);
    };
    await refusal(t, work, code, message);
    t.is(events.filter(({ type }) => type === 'step').length, 3);
    t.is((await lines(path.join(out, 'metrics.jsonl'))).length, 3);
    if (stop === 'collapsed') return;
    const [bad] = (await lines(path.join(out, 'non-finite.jsonl'))) as { step: number; ids: string[] }[];
    t.is(bad?.step, 3);
    t.is(bad?.ids.length, 8);
  });
}

test('a device that this build does not have is refused before any work', async (t) => {
  const { out, config } = await fresh(t);
  for (const precision of ['auto', 'float32'] as const) {
    const on = { ...config, train: { ...config.train, device: 'cuda', precision } };
    await refusal(t, () => Trainer.create(on), 'ERR_COTS_DEVICE', /CUDA build of libtorch.*use device 'cpu'/);
  }

  await t.throwsAsync(readdir(out), { code: 'ENOENT' });
});

test('train.init starts from the weights and the words of a model folder', async (t) => {
  const { folder, out, config } = await fresh(t);
  await trained(config, { until: 5 });
  const next = {
    ...config,
    train: { ...config.train, out: path.join(folder, 'next'), init: path.join(out, 'latest') },
  };
  const trainer = await Trainer.create(next);
  t.teardown(() => trainer.dispose());
  const model = trainer.model();
  const source = await Cots.load(path.join(out, 'latest'));
  t.deepEqual(await model.embedTexts(['a red box']), await source.embedTexts(['a red box']));
  model.dispose();
  source.dispose();
});

test('no permission and a file in the way of the run folder', async (t) => {
  const { folder, config } = await fresh(t);
  const file = path.join(folder, 'file');
  await writeFile(file, '');
  await refusal(
    t,
    () => Trainer.create({ ...config, train: { ...config.train, out: path.join(file, 'run') } }),
    'ERR_COTS_FILE',
    /directory/,
  );
  await refusal(
    t,
    () => Trainer.create({ ...config, train: { ...config.train, out: '/proc/cots-run' } }),
    'ERR_COTS_FILE',
    /\/proc\/cots-run/,
  );
});

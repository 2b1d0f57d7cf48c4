/** NativeTrainer: steps, checkpoints, busy, cancel, dispose. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test from 'ava';
import { binding, type NativeStepMetrics } from '../../lib/binding.js';
import { CotsError } from '../../lib/errors.js';
import { batch, createTrainer, optimizer, pairs, tokenizerConfig } from './tiny.js';

const folder = mkdtempSync(path.join(tmpdir(), 'cots-addon-'));
test.after.always(() => rmSync(folder, { recursive: true, force: true }));

test('fifty steps: the token losses fall and every figure is there', async (t) => {
  const trainer = await createTrainer();
  const losses: number[] = [];
  let last: NativeStepMetrics | undefined;
  for (let step = 0; step < 50; step++) {
    last = await trainer.step({ batch: batch(step), cancel: null });
    if (!last.skipped) losses.push(last.lossCmvm + last.lossCmlm);
  }
  const sum = (part: number[]): number => part.reduce((a, b) => a + b, 0);
  t.true(sum(losses.slice(-8)) < sum(losses.slice(0, 8)), losses.join(' '));
  t.is(last?.step, 50);
  t.is(last?.pairs, pairs);
  t.is(last?.scores.length, pairs);
  t.is(
    last?.kept.reduce((sum, kept) => sum + kept, 0),
    last?.filterKept,
  );
  t.true(last?.filterActive);
  t.is(last?.queueValid, 20);
  for (const [name, value] of Object.entries({ ...last, ...last?.seconds })) {
    if (typeof value === 'number') t.true(Number.isFinite(value), name);
  }
  const memory = trainer.memory();
  t.is(memory.optimizer, memory.weights);
  t.true(memory.momentum > 0 && memory.queues > 0);
  trainer.dispose();
});

test('a checkpoint resumes to the same numbers', async (t) => {
  const [first, second] = await Promise.all([createTrainer(), createTrainer({ seed: 1 })]);
  for (let step = 0; step < 6; step++) await first.step({ batch: batch(step), cancel: null });
  await first.save({ directory: folder });
  await second.restore({ directory: folder });
  const [a, b] = await Promise.all(
    [first, second].map((trainer) => trainer.step({ batch: batch(6), cancel: null })),
  );
  t.is(a?.loss, b?.loss);
  t.is(a?.gradNorm, b?.gradNorm);
  t.deepEqual(a?.scores, b?.scores);
  first.dispose();
  second.dispose();
});

test('a second step before the first settled rejects ERR_COTS_BUSY; saving queues', async (t) => {
  const trainer = await createTrainer();
  const first = trainer.step({ batch: batch(0), cancel: null });
  await t.throwsAsync(trainer.step({ batch: batch(1), cancel: null }), {
    instanceOf: CotsError,
    code: 'ERR_COTS_BUSY',
  });
  await t.throwsAsync(trainer.prefill({ batch: batch(1), cancel: null }), { code: 'ERR_COTS_BUSY' });
  await t.notThrowsAsync(trainer.save({ directory: folder }));
  t.is((await first).step, 1);
  t.is((await trainer.step({ batch: batch(1), cancel: null })).step, 2);
  trainer.dispose();
});

test('a run that learns nothing any more says so with its last step, and takes no other', async (t) => {
  const lost = { ...optimizer, lr: 1e38, warmupSteps: 0 };
  const trainer = await createTrainer({ maxNonFinite: 2, optimizer: lost });
  const stops: unknown[] = [];
  for (let step = 0; stops.at(-1) !== 'non_finite' && step < 10; step++) {
    const metrics = await trainer.step({ batch: batch(step), cancel: null });
    t.is(metrics.scores.length, pairs);
    stops.push(metrics.stop);
  }
  t.deepEqual(stops, [null, null, 'non_finite']); // the first step learns, two more do not
  await t.throwsAsync(trainer.step({ batch: batch(3), cancel: null }), {
    code: 'ERR_COTS_NON_FINITE',
    message: /2 steps in a row/,
  });
  trainer.dispose();
});

test('memory is told beside a step', async (t) => {
  const trainer = await createTrainer();
  const before = trainer.memory();
  const step = trainer.step({ batch: batch(0), cancel: null });
  t.deepEqual(trainer.memory(), before);
  await step;
  t.deepEqual(trainer.memory(), before);
  trainer.dispose();
});

test('dispose rejects what is pending and what comes later, and may be called twice', async (t) => {
  const trainer = await createTrainer();
  await trainer.step({ batch: batch(0), cancel: null });
  const pending = [trainer.step({ batch: batch(1), cancel: null }), trainer.save({ directory: folder })];
  trainer.dispose();
  trainer.dispose();
  for (const promise of pending) await t.throwsAsync(promise, { code: 'ERR_COTS_DISPOSED' });
  await t.throwsAsync(trainer.step({ batch: batch(1), cancel: null }), { code: 'ERR_COTS_DISPOSED' });
  await t.throwsAsync(trainer.snapshot({ momentum: false }), { code: 'ERR_COTS_DISPOSED' });
  t.throws(() => trainer.memory(), { code: 'ERR_COTS_DISPOSED' });
});

test('a cancelled step rejects, and repeated it gives what it would have given', async (t) => {
  const [calm, disturbed] = await Promise.all([createTrainer(), createTrainer()]);
  const wanted: number[] = [];
  for (let step = 0; step < 4; step++)
    wanted.push((await calm.step({ batch: batch(step), cancel: null })).loss);
  for (let step = 0; step < 4; step++) {
    const cancel = binding().createCancel();
    const attempt = disturbed.step({ batch: batch(step), cancel });
    cancel.cancel();
    await t.throwsAsync(attempt, { instanceOf: CotsError, code: 'ERR_COTS_CANCELLED' });
    t.is((await disturbed.step({ batch: batch(step), cancel: null })).loss, wanted[step] as number);
  }
  const cancelled = binding().createCancel();
  cancelled.cancel();
  await t.throwsAsync(disturbed.step({ batch: batch(4), cancel: cancelled }), { code: 'ERR_COTS_CANCELLED' });
  calm.dispose();
  disturbed.dispose();
});

test('a snapshot is a model of its own', async (t) => {
  const trainer = await createTrainer();
  const texts = { ids: batch(0).ids, lengths: batch(0).lengths, cancel: null };
  const first = await trainer.snapshot({ momentum: false });
  const before = await first.embedTexts(texts);
  for (let step = 0; step < 5; step++) await trainer.step({ batch: batch(step), cancel: null });
  t.deepEqual(await first.embedTexts(texts), before);
  const [online, momentum] = [
    await trainer.snapshot({ momentum: false }),
    await trainer.snapshot({ momentum: true }),
  ];
  t.notDeepEqual(await online.embedTexts(texts), before);
  t.notDeepEqual(await momentum.embedTexts(texts), await online.embedTexts(texts));
  trainer.dispose();
  t.is((await online.embedTexts(texts)).length, pairs * 8);
  for (const snapshot of [first, online, momentum]) snapshot.dispose();
  await t.throwsAsync(online.embedTexts(texts), { code: 'ERR_COTS_DISPOSED' });
});

test('the image tokenizer trains, is written, and gives tokens and pictures', async (t) => {
  const addon = binding();
  const trainer = await addon.createTokenizerTrainer({
    config: {
      tokenizer: tokenizerConfig,
      reconstruction: 'mse',
      temperatureStart: 1,
      temperatureMin: 0.5,
      temperatureRate: 0.01,
      klWeight: 1e-3,
      klWarmupSteps: 0,
      optimizer: {
        lr: 3e-3,
        beta1: 0.9,
        beta2: 0.999,
        eps: 1e-8,
        weightDecay: 0,
        clipGrad: 0,
        warmupSteps: 0,
        warmupFrom: 0,
        minLr: 1e-3,
        totalSteps: 100,
      },
      lrDecay: 1,
      seed: 1,
    },
    threads: 1,
  });
  const { images, samples } = batch(0);
  const input = { images, count: pairs, size: 24 };
  const step = () => trainer.step({ ...input, samples, cancel: null });
  const first = await step();
  const busy = [step(), step()] as const;
  await t.throwsAsync(busy[1], { code: 'ERR_COTS_BUSY' });
  await busy[0];
  let last = first;
  for (let i = 0; i < 20; i++) last = await step();
  t.true(last.reconstruction < first.reconstruction);
  t.is((last as { skipped?: unknown }).skipped, false);
  const errors = await trainer.evaluate(input);
  t.true(errors.hard > 0 && errors.hard < 1 && errors.soft > 0);
  const file = path.join(folder, 'dvae.safetensors');
  await trainer.save({ file });
  trainer.dispose();

  const tokenizer = await addon.loadTokenizer({ config: tokenizerConfig, file, threads: 1 });
  const tokens = await tokenizer.tokens({ ...input, cancel: null });
  t.is(tokens.length, pairs * 9);
  t.true(tokens.every((token) => token >= 0 && token < 32));
  t.is((await tokenizer.reconstruct({ ...input, cancel: null })).length, images.length);
  tokenizer.dispose();
  await t.throwsAsync(tokenizer.tokens({ ...input, cancel: null }), { code: 'ERR_COTS_DISPOSED' });
});

/** Every op of the addon takes a cancel: one that was cancelled before, and one that comes in the middle. */
import test from 'ava';
import { binding, type Matrix } from '../../lib/binding.js';

const addon = binding();

const matrix = (rows: number, columns: number): Matrix => ({
  data: Float32Array.from({ length: rows * columns }, (_, i) => Math.sin(i * 0.7)),
  shape: [rows, columns],
});

const small = matrix(2, 4);
const ops = {
  queueContrast: {
    image: small,
    text: small,
    imageKey: small,
    textKey: small,
    imageQueue: small,
    textQueue: small,
    weights: Float32Array.of(1, 1),
    temperature: 0.1,
    instanceWeight: 1,
    taskWeight: 1,
    includePositive: true,
    device: 'cpu',
  },
  momentumFilter: {
    scores: Float32Array.of(1, 2),
    queueScores: Float32Array.of(1, 2),
    deviations: 1,
    device: 'cpu',
  },
  topK: { queries: small, gallery: small, k: 1, device: 'cpu' },
  resize: {
    data: new Uint8Array(12),
    width: 2,
    height: 2,
    to: [3, 3] as [number, number],
    filter: 'bicubic',
  },
  retrievalRanks: { images: small, texts: small, imageOfText: Int32Array.of(0, 1) },
};

const run = (name: keyof typeof ops, options: object): Promise<unknown> =>
  (addon[name] as (o: object) => Promise<unknown>)(options);

for (const name of Object.keys(ops) as (keyof typeof ops)[]) {
  test(`${name} rejects when its cancel was cancelled, and runs with null or nothing`, async (t) => {
    const cancel = addon.createCancel();
    await t.notThrowsAsync(run(name, { ...ops[name], cancel }));
    cancel.cancel();
    await t.throwsAsync(run(name, { ...ops[name], cancel }), { code: 'ERR_COTS_CANCELLED' });
    await t.notThrowsAsync(run(name, { ...ops[name], cancel: null }));
    await t.notThrowsAsync(run(name, ops[name]));
    await t.throwsAsync(run(name, { ...ops[name], cancel: {} }), { code: 'ERR_COTS_OPTION' });
  });
}

const many = matrix(16_000, 128);
const long = {
  retrievalRanks: {
    images: many,
    texts: many,
    imageOfText: Int32Array.from({ length: 16_000 }, (_, i) => i),
  },
  topK: { queries: many, gallery: many, k: 100, device: 'cpu' },
};

for (const name of Object.keys(long) as (keyof typeof long)[]) {
  test.serial(`${name} ends in the middle when it is cancelled`, async (t) => {
    const cancel = addon.createCancel();
    const job = run(name, { ...long[name], cancel });
    setTimeout(() => cancel.cancel(), 50);
    await t.throwsAsync(job, { code: 'ERR_COTS_CANCELLED' });
  });
}

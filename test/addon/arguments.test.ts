/** The native door: every buffer's type, rank and length is checked, whatever TypeScript let through. */
import test from 'ava';
import { binding, type NativeBatch, type NativeModel } from '../../lib/binding.js';
import { CotsError } from '../../lib/errors.js';
import { batch, config, createTrainer, model, pairs, size } from './tiny.js';

const addon = binding();

const onCpu = { device: 'cpu', precision: 'float32' } as const;

test('a batch with an array of another length or kind is refused by name', async (t) => {
  const trainer = await createTrainer();
  const spoiled: [keyof NativeBatch, unknown, string][] = [
    ['images', batch(0).images.subarray(1), 'ERR_COTS_SHAPE'],
    ['tokenViews', batch(0).images.subarray(1), 'ERR_COTS_SHAPE'],
    ['ids', batch(0).ids.subarray(1), 'ERR_COTS_SHAPE'],
    ['lengths', batch(0).lengths.subarray(1), 'ERR_COTS_SHAPE'],
    ['samples', batch(0).samples.subarray(1), 'ERR_COTS_SHAPE'],
    ['imageIds', new Float64Array(pairs + 1), 'ERR_COTS_SHAPE'],
    ['images', new Float32Array(pairs * size * size * 3), 'ERR_COTS_OPTION'],
    ['images', [...batch(0).images], 'ERR_COTS_OPTION'],
    ['samples', Float64Array.from({ length: pairs }, () => 0.5), 'ERR_COTS_OPTION'],
    ['samples', Float64Array.from({ length: pairs }, () => Number.NaN), 'ERR_COTS_OPTION'],
    ['size', 0, 'ERR_COTS_OPTION'],
    ['size', Number.NaN, 'ERR_COTS_OPTION'],
    ['size', 2.5, 'ERR_COTS_OPTION'],
    ['size', '6', 'ERR_COTS_OPTION'],
  ];
  for (const [key, value, code] of spoiled) {
    const error = await t.throwsAsync(
      trainer.step({ batch: { ...batch(0), [key]: value } as NativeBatch, cancel: null }),
      { instanceOf: CotsError, code },
      key,
    );
    t.regex(error.message, new RegExp(`"${key}"`));
  }
  const outside = { ...batch(0), ids: batch(0).ids.map(() => 50) };
  await t.throwsAsync(trainer.step({ batch: outside, cancel: null }), {
    code: 'ERR_COTS_SHAPE',
    message: /ids/,
  });
  const long = { ...batch(0), lengths: batch(0).lengths.map(() => 11) };
  await t.throwsAsync(trainer.step({ batch: long, cancel: null }), {
    code: 'ERR_COTS_SHAPE',
    message: /lengths/,
  });
  t.is((await trainer.step({ batch: batch(0), cancel: null })).step, 1);
  trainer.dispose();
});

test('a detached buffer is an array of length 0', async (t) => {
  const trainer = await createTrainer();
  const spoiled = batch(0);
  structuredClone(spoiled.images, { transfer: [spoiled.images.buffer as ArrayBuffer] });
  await t.throwsAsync(trainer.step({ batch: spoiled, cancel: null }), { code: 'ERR_COTS_SHAPE' });
  trainer.dispose();
});

test('configs: a missing key, a wrong word and a wrong type are named', async (t) => {
  const create = (changed: object) =>
    addon.createTrainer({ config: { ...config, ...changed } as typeof config, tokenizer: null, threads: 1 });
  await t.throwsAsync(create({ emaM: undefined }), { code: 'ERR_COTS_OPTION', message: /"emaM"/ });
  await t.throwsAsync(create({ token: { ...config.token, fusion: 'sum' } }), {
    code: 'ERR_COTS_OPTION',
    message: /add, concat, none, got 'sum'/,
  });
  await t.throwsAsync(create({ imageMean: [0.5, 0.5] }), { code: 'ERR_COTS_OPTION', message: /"imageMean"/ });
  await t.throwsAsync(create({}), { code: 'ERR_COTS_CONFIG', message: /cots train-tokenizer/ });
  await t.throwsAsync(
    addon.createModel({
      config: { ...model, image: { ...model.image, size: 20 } },
      seed: 1,
      threads: 1,
      ...onCpu,
    }),
    {
      code: 'ERR_COTS_SHAPE',
      message: /multiple of the patch/,
    },
  );
  for (const [other, message] of [
    [{ device: 'gpu' }, /"device" to be cpu or cuda:N, got "gpu"/],
    [{ device: 'cuda:' }, /got "cuda:"/],
    [{ device: 'cpu', precision: 'int4' }, /float32, bfloat16, int8, got 'int4'/],
  ] as const) {
    const options = { config: model, seed: 1, threads: 1, ...onCpu, ...other };
    await t.throwsAsync(addon.createModel(options as never), { code: 'ERR_COTS_OPTION', message });
  }
});

test('texts: ids outside the vocabulary and lengths outside the row are refused', async (t) => {
  const embedder = await addon.createModel({ config: model, seed: 1, threads: 1, ...onCpu });
  const embed = (ids: number[], lengths: number[]) =>
    embedder.embedTexts({ ids: Int32Array.from(ids), lengths: Int32Array.from(lengths), cancel: null });
  t.is((await embed([2, 5, 3, 2, 3, 0], [3, 2])).length, 16);
  t.is((await embed([], [])).length, 0);
  for (const [ids, lengths] of [
    [[2, 50, 3], [3]],
    [[2, -1, 3], [3]],
    [[2, 5, 3], [4]],
    [[2, 5, 3], [0]],
    [
      [2, 5, 3],
      [1, 1],
    ],
    [new Array(13).fill(5), [13]],
  ] as [number[], number[]][]) {
    await t.throwsAsync(embed(ids, lengths), { code: 'ERR_COTS_SHAPE' });
  }
  embedder.dispose();
});

test('a cancel of other make, a bare constructor and a foreign receiver are refused', async (t) => {
  const embedder = await addon.createModel({ config: model, seed: 1, threads: 1, ...onCpu });
  const texts = { ids: Int32Array.of(2, 3), lengths: Int32Array.of(2) };
  await t.throwsAsync(embedder.embedTexts({ ...texts, cancel: { cancel() {} } }), {
    code: 'ERR_COTS_OPTION',
  });
  const Constructor = embedder.constructor as new () => NativeModel;
  t.throws(() => new Constructor(), { message: /Illegal constructor/ });
  t.throws(() => embedder.embedTexts.call({} as NativeModel, { ...texts, cancel: null }));
  embedder.dispose();
});

test('a rejection carries the stack of the call', async (t) => {
  const embedder = await addon.createModel({ config: model, seed: 1, threads: 1, ...onCpu });
  const error = await t.throwsAsync(embedder.save({ file: '/none/model.safetensors' }), {
    instanceOf: CotsError,
    code: 'ERR_COTS_FILE',
  });
  t.regex(error.stack as string, /arguments\.test/);
  t.notRegex(error.message, /frame #|Exception raised/);
  embedder.dispose();
});

test('results are right when they are large enough to be handed over without a copy', async (t) => {
  const views = await addon.makeViews({
    images: [
      {
        data: new Uint8Array(300 * 200 * 3).fill(77),
        width: 300,
        height: 200,
        transform: { left: 10, top: 20, width: 100, height: 90, flip: true, jitter: null },
      },
    ],
    views: [
      { size: 256, filter: 'bicubic', jitter: false },
      { size: 24, filter: 'lanczos', jitter: true },
    ],
  });
  t.deepEqual(
    views.map((view) => view.length),
    [256 * 256 * 3, 24 * 24 * 3],
  );
  t.true(views.every((view) => view.every((byte) => byte === 77)));
  await t.throwsAsync(
    addon.makeViews({
      images: [
        {
          data: new Uint8Array(12),
          width: 2,
          height: 2,
          transform: { left: 1, top: 0, width: 2, height: 2, flip: false, jitter: null },
        },
      ],
      views: [],
    }),
    { code: 'ERR_COTS_OPTION', message: /crop/ },
  );
});

test('views made ahead stand in the place of their image, once', async (t) => {
  const whole = { left: 0, top: 0, width: 8, height: 6, flip: true, jitter: null };
  const image = (seed: number) => ({
    data: Uint8Array.from({ length: 8 * 6 * 3 }, (_, at) => (at * seed) % 251),
    width: 8,
    height: 6,
    transform: whole,
  });
  const views = [
    { size: 5, filter: 'bicubic' as const, jitter: false },
    { size: 3, filter: 'lanczos' as const, jitter: false },
  ];
  const images = [3, 5, 7, 11].map(image);
  const wanted = await addon.makeViews({ images, views });
  const ahead = await addon.prepareViews({ images: images.slice(1, 3), views });
  const mixed = [images[0], ahead, images[3]] as Parameters<typeof addon.makeViews>[0]['images'];
  t.deepEqual(await addon.makeViews({ images: mixed, views }), wanted);
  const used = { code: 'ERR_COTS_OPTION', message: /not used yet/ };
  await t.throwsAsync(addon.makeViews({ images: mixed, views }), used);
  const other = await addon.prepareViews({ images, views });
  await t.throwsAsync(addon.makeViews({ images: [other], views: views.slice(1) }), used);
  t.deepEqual(await addon.makeViews({ images: [other], views }), wanted);
});

test('the defaults of the addon are the constants of the paper', (t) => {
  const { defaults } = addon.info();
  t.is(defaults.model.image.size / defaults.model.image.patch, 24);
  t.deepEqual(Object.keys(defaults.train).sort(), Object.keys(config).sort());
});

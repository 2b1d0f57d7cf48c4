/** The public model: load, create, embed, stream, save, abort, dispose. */
import { createHash } from 'node:crypto';
import { chmod, mkdir, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import test, { type ExecutionContext } from 'ava';
import sharp from 'sharp';
import { binding } from '../../lib/binding.js';
import { decodeImage } from '../../lib/data/decode.js';
import {
  Cots,
  CotsError,
  type EmbeddedBatch,
  type ImageInput,
  type Item,
  type ModelConfigInput,
} from '../../lib/index.js';
import { maxDifference } from '../support/fixtures.js';
import { temporaryFolder } from '../support/tiny.js';

const sizes: ModelConfigInput = {
  image: { size: 32, patch: 8, width: 32, layers: 2, heads: 2 },
  text: { width: 32, layers: 2, heads: 2, vocabSize: 200, maxPositions: 64 },
  embedDim: 16,
};

async function created(t: ExecutionContext, config = sizes, seed = 1): Promise<Cots> {
  const model = await Cots.create(config, { seed });
  t.teardown(() => model.dispose());
  return model;
}

const gray = (value: number, side = 32) => ({
  data: new Uint8Array(3 * side * side).fill(value),
  width: side,
  height: side,
});

async function code(
  t: ExecutionContext,
  call: () => Promise<unknown>,
  want: string,
  message?: RegExp,
): Promise<void> {
  const error = await t.throwsAsync(call, {
    instanceOf: CotsError,
    ...(message === undefined ? {} : { message }),
  });
  t.is((error as CotsError).code as string, want);
}

test('rows have length 1, the seed decides them, and nothing gives no rows', async (t) => {
  const model = await created(t);
  const twin = await created(t);
  const other = await created(t, sizes, 2);
  const texts = ['a red box', 'zwei Hunde', ''];
  const rows = await model.embedTexts(texts);
  t.deepEqual(rows.shape, [3, 16]);
  for (let row = 0; row < 3; row++)
    t.true(Math.abs(Math.hypot(...rows.data.subarray(row * 16, row * 16 + 16)) - 1) < 1e-6);
  t.deepEqual(await twin.embedTexts(texts), rows);
  t.notDeepEqual(await other.embedTexts(texts), rows);
  t.deepEqual(await model.embedImages([]), { data: new Float32Array(0), shape: [0, 16] });
  t.deepEqual(await model.embedTexts([]), { data: new Float32Array(0), shape: [0, 16] });
});

test('a path, a URL, bytes and pixels of one image give one vector, whatever the batch size', async (t) => {
  const model = await created(t);
  const folder = await temporaryFolder(t);
  const file = path.join(folder, 'a b.png');
  const data = Uint8Array.from({ length: 3 * 40 * 50 }, (_, i) => (i * 7) % 256);
  await sharp(data, { raw: { width: 40, height: 50, channels: 3 } })
    .png()
    .toFile(file);
  const forms = [file, pathToFileURL(file), await readFile(file), { data, width: 40, height: 50 }];
  const { data: rows, shape } = await model.embedImages(forms, { batchSize: 3 });
  t.deepEqual(shape, [4, 16]);
  for (const row of [1, 2, 3])
    t.true(maxDifference(rows.subarray(0, 16), rows.subarray(row * 16, row * 16 + 16)) < 1e-6);
});

test('scaleOnLoad takes a large JPEG at a part of its size, in a list and in a stream, and leaves the rest alone', async (t) => {
  const model = await created(t);
  const side = 32 * 2 * 4 + 3;
  const pixels = Uint8Array.from({ length: 3 * side * side }, (_, i) => ((i * i) >> 9) % 256);
  const jpeg = await sharp(pixels, { raw: { width: side, height: side, channels: 3 } })
    .jpeg()
    .toBuffer();
  const png = await sharp(jpeg).png().toBuffer();
  const row = async (image: ImageInput, scaleOnLoad: boolean): Promise<Float32Array> =>
    (await model.embedImages([image], { scaleOnLoad })).data;
  const quarter = await decodeImage(jpeg, { least: 64 });
  t.is(quarter.width, binding().info().jpeg ? 65 : side);
  const small = await row(jpeg, true);
  t.deepEqual(small, await row(quarter, false));
  t.is(maxDifference(small, await row(jpeg, false)) > 0, binding().info().jpeg);
  t.deepEqual(await row(png, true), await row(png, false));
  const stream = (async function* (): AsyncGenerator<Item> {
    yield { id: 'a', image: jpeg };
  })();
  for await (const { vectors } of model.embed(stream, { scaleOnLoad: true }))
    t.deepEqual(vectors.data, small);
  await code(
    t,
    () => model.embedImages([jpeg], { scaleOnLoad: 2 as never }),
    'ERR_COTS_OPTION',
    /scaleOnLoad/,
  );
});

test("cleaning is the model's own: a created model cleans as its default says", async (t) => {
  const model = await created(t);
  const { data } = await model.embedTexts(['A red-box!', 'a red box']);
  t.true(maxDifference(data.subarray(0, 16), data.subarray(16)) < 1e-6);
});

test('10,000 words are cut to the limit', async (t) => {
  const model = await created(t);
  const { data } = await model.embedTexts(['a '.repeat(10_000), 'a '.repeat(9000)]);
  t.true(maxDifference(data.subarray(0, 16), data.subarray(16)) < 1e-6);
});

test('without a projection the towers may differ in width', async (t) => {
  const model = await created(t, { ...sizes, text: { ...sizes.text, width: 48, heads: 4 }, embedDim: 0 });
  t.deepEqual((await model.embedImages([gray(1)])).shape, [1, 32]);
  t.deepEqual((await model.embedTexts(['a'])).shape, [1, 48]);
});

test('save and load: the files of DESIGN 5, the same vectors, the same config', async (t) => {
  const model = await created(t);
  const folder = path.join(await temporaryFolder(t), 'model');
  await model.save(folder);
  t.deepEqual((await readdir(folder)).sort(), [
    'config.json',
    'model.safetensors',
    'preprocessor_config.json',
    'tokenizer.json',
  ]);
  const loaded = await Cots.load(folder, { threads: 1 });
  t.teardown(() => loaded.dispose());
  t.deepEqual(loaded.config, model.config);
  t.deepEqual(await loaded.embedTexts(['a box']), await model.embedTexts(['a box']));
  t.deepEqual(await loaded.embedImages([gray(9)]), await model.embedImages([gray(9)]));
  const config = JSON.parse(await readFile(path.join(folder, 'config.json'), 'utf8')) as {
    vision_config: object;
    text_config: object;
    projection_dim: number;
  };
  t.like(config.vision_config, {
    model_type: 'vit',
    image_size: 32,
    patch_size: 8,
    hidden_size: 32,
    num_hidden_layers: 2,
    num_attention_heads: 2,
    intermediate_size: 128,
    hidden_act: 'gelu',
    layer_norm_eps: 1e-6,
  });
  t.like(config.text_config, {
    model_type: 'bert',
    vocab_size: 200,
    max_position_embeddings: 64,
    hidden_size: 32,
    layer_norm_eps: 1e-12,
  });
  t.is(config.projection_dim, 16);
});

test('tensor names are those of the interface', async (t) => {
  const model = await created(t);
  const folder = path.join(await temporaryFolder(t), 'model');
  await model.save(folder);
  const bytes = await readFile(path.join(folder, 'model.safetensors'));
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + Number(bytes.readBigUInt64LE(0)))) as Record<
    string,
    { shape: number[] }
  >;
  for (const [name, shape] of Object.entries({
    'visual.blocks.0.ln1.weight': [32],
    'text.blocks.0.qkv.bias': [96],
    'text.embed.word.weight': [200, 32],
    'visual.cls_token': [1, 1, 32],
    'visual.pos_embed': [1, 17, 32],
    'visual.proj.weight': [16, 32],
  }))
    t.deepEqual(header[name]?.shape, shape, name);
});

test('saving into a folder that is there replaces the files and leaves others', async (t) => {
  const folder = await temporaryFolder(t);
  await writeFile(path.join(folder, 'notes.txt'), 'mine');
  await (await created(t)).save(folder);
  const second = await created(t, sizes, 2);
  await second.save(folder);
  t.is(await readFile(path.join(folder, 'notes.txt'), 'utf8'), 'mine');
  const loaded = await Cots.load(folder);
  t.deepEqual(await loaded.embedTexts(['x']), await second.embedTexts(['x']));
  loaded.dispose();
});

const damages: [string, (folder: string) => Promise<unknown>, string, RegExp][] = [
  [
    'no folder',
    (folder) => rm(folder, { recursive: true }),
    'ERR_COTS_CHECKPOINT',
    /model folder at .*got nothing/,
  ],
  [
    'a file for a folder',
    async (folder) => rm(folder, { recursive: true }).then(() => writeFile(folder, '')),
    'ERR_COTS_CHECKPOINT',
    /got file/,
  ],
  [
    'no weights',
    (folder) => rm(path.join(folder, 'model.safetensors')),
    'ERR_COTS_CHECKPOINT',
    /lacks model\.safetensors/,
  ],
  [
    'truncated weights',
    (folder) => truncate(path.join(folder, 'model.safetensors'), 5000),
    'ERR_COTS_CHECKPOINT',
    /model\.safetensors/,
  ],
  [
    'weights of 4 bytes',
    (folder) => truncate(path.join(folder, 'model.safetensors'), 4),
    'ERR_COTS_CHECKPOINT',
    /model\.safetensors/,
  ],
  [
    'config.json that is not JSON',
    (folder) => writeFile(path.join(folder, 'config.json'), '{'),
    'ERR_COTS_CHECKPOINT',
    /config\.json to be JSON/,
  ],
  [
    'weights of another shape',
    (folder) =>
      edit(folder, (config) => {
        config['projection_dim'] = 24;
      }),
    'ERR_COTS_CHECKPOINT',
    /visual\.proj|text\.proj/,
  ],
  [
    'a width that is no number',
    (folder) =>
      edit(folder, (config) => {
        (config['vision_config'] as Record<string, unknown>)['hidden_size'] = 'wide';
      }),
    'ERR_COTS_CHECKPOINT',
    /"hidden_size".*a number, got "wide"/,
  ],
  [
    'a width that the heads do not divide',
    (folder) =>
      edit(folder, (config) => {
        (config['vision_config'] as Record<string, unknown>)['num_attention_heads'] = 3;
      }),
    'ERR_COTS_CHECKPOINT',
    /heads.*config\.json/,
  ],
  [
    'a caption limit above the positions',
    (folder) =>
      edit(folder, (config) => {
        config['text_max_length'] = 1000;
      }),
    'ERR_COTS_CHECKPOINT',
    /"text_max_length".*whole number from 3 to \d+, got 1000/,
  ],
  [
    'an unknown cleaning',
    (folder) =>
      edit(folder, (config) => {
        config['text_clean'] = 'tidy';
      }),
    'ERR_COTS_CHECKPOINT',
    /"text_clean".*none, albef, got "tidy"/,
  ],
  [
    'a deviation of 0',
    (folder) =>
      edit(
        folder,
        (config) => {
          config['image_std'] = [0.5, 0, 0.5];
        },
        'preprocessor_config.json',
      ),
    'ERR_COTS_CHECKPOINT',
    /"image_std".*three numbers above 0, got \[0\.5,0,0\.5\]/,
  ],
  [
    'a vocabulary above the word table',
    (folder) =>
      edit(folder, (config) => {
        (config['text_config'] as Record<string, unknown>)['vocab_size'] = 20;
      }),
    'ERR_COTS_CHECKPOINT',
    /20 words/,
  ],
];

async function edit(
  folder: string,
  change: (config: Record<string, unknown>) => void,
  name = 'config.json',
): Promise<void> {
  const file = path.join(folder, name);
  const config = JSON.parse(await readFile(file, 'utf8')) as Record<string, unknown>;
  change(config);
  await writeFile(file, JSON.stringify(config));
}

for (const [name, damage, want, message] of damages) {
  test(`load refuses ${name}`, async (t) => {
    const folder = path.join(await temporaryFolder(t), 'model');
    await (await created(t)).save(folder);
    await damage(folder);
    await code(t, () => Cots.load(folder), want, message);
  });
}

test("options are checked, with the caller's line in the stack", async (t) => {
  const model = await created(t);
  await code(t, () => model.embedTexts(['a'], { batchSize: 0 }), 'ERR_COTS_OPTION', /`batchSize`/);
  await code(
    t,
    () => model.embedTexts(['a'], { batchsize: 1 } as never),
    'ERR_COTS_OPTION',
    /Did you mean `batchSize`/,
  );
  await code(t, () => model.embedTexts('a' as never), 'ERR_COTS_OPTION', /`texts` to be an array/);
  await code(t, () => model.embedTexts(['a', 3 as never]), 'ERR_COTS_OPTION', /`texts\[1\]`/);
  await code(
    t,
    () => Cots.create({ ...sizes, image: { ...sizes.image, size: 33 } }),
    'ERR_COTS_CONFIG',
    /multiple of model\.image\.patch/,
  );
  await code(t, () => Cots.create(sizes, { device: 'cuda' }), 'ERR_COTS_DEVICE');
  await code(t, () => Cots.create(sizes, { seed: -1 }), 'ERR_COTS_OPTION', /`seed`/);
  const error = await t.throwsAsync(() => Cots.load('/nowhere'), { instanceOf: CotsError });
  t.regex(error?.stack ?? '', /CheckpointError \[ERR_COTS_CHECKPOINT\][\s\S]*cots\.test/);
});

test('a bad image is named by its index', async (t) => {
  const model = await created(t);
  await code(t, () => model.embedImages([gray(1), Buffer.from('no image')]), 'ERR_COTS_IMAGE', /images\[1\]/);
  await code(
    t,
    () => model.embedImages([{ data: new Uint8Array(5), width: 32, height: 32 }]),
    'ERR_COTS_OPTION',
    /3 \* width \* height/,
  );
  await code(t, () => model.embedImages(['/nowhere.jpg']), 'ERR_COTS_FILE', /nowhere\.jpg/);
});

test('an attention map: a value a patch, the score of the vectors, and what is refused', async (t) => {
  const model = await created(t);
  const image = {
    data: Uint8Array.from({ length: 3 * 32 * 32 }, (_, i) => (i * 7919) % 256),
    width: 32,
    height: 32,
  };
  const { map, grid, score } = await model.attention(image, 'a bus');
  t.deepEqual(grid, [4, 4]);
  t.is(map.length, 16);
  t.is(Math.max(...map), 1);
  t.is(Math.min(...map), 0);
  const [one, other] = [await model.embedImages([image]), await model.embedTexts(['a bus'])];
  t.true(
    Math.abs(score - one.data.reduce((sum, value, i) => sum + value * (other.data[i] as number), 0)) < 1e-5,
  );
  t.notDeepEqual((await model.attention(image, 'a bus', { method: 'patch_sim' })).map, map);
  t.notDeepEqual((await model.attention(image, 'a bus', { startLayer: 0 })).map, map);
  await code(t, () => model.attention(image, 'a', { startLayer: 2 }), 'ERR_COTS_OPTION', /startLayer/);
  await code(t, () => model.attention(image, 'a', { method: 'x' as 'dino' }), 'ERR_COTS_OPTION', /relevancy/);
  await code(t, () => model.attention(image, 3 as unknown as string), 'ERR_COTS_OPTION');
  await code(t, () => model.attention('/nowhere.jpg', 'a'), 'ERR_COTS_FILE', /nowhere/);
});

test('an abort rejects with its reason: before any work, and during it', async (t) => {
  const model = await created(t);
  const reason = new Error('enough');
  t.is(await t.throwsAsync(() => model.embedTexts(['a'], { signal: AbortSignal.abort(reason) })), reason);
  t.is(await t.throwsAsync(() => Cots.load('/nowhere', { signal: AbortSignal.abort(reason) })), reason);
  const controller = new AbortController();
  const pending = model.embedTexts(
    Array.from({ length: 20_000 }, (_, i) => `text number ${i}`),
    { signal: controller.signal },
  );
  setTimeout(() => controller.abort(reason), 20);
  t.is(await t.throwsAsync(() => pending), reason);
  t.deepEqual((await model.embedTexts(['a'])).shape, [1, 16]);
});

test('an abort or dispose ends a native call that is under way, and what waits behind it, at once', async (t) => {
  const model = await Cots.create(sizes);
  const texts = Array.from({ length: 12_000 }, (_, i) => `text number ${i} with some more words to it`);
  const all = { batchSize: texts.length };
  const begin = performance.now();
  await model.embedTexts(texts, all);
  const whole = performance.now() - begin;
  const timed = async (call: Promise<unknown>, stop: () => void): Promise<number> => {
    const settled = call.then(
      () => t.fail('it ended by itself'),
      () => {},
    );
    await new Promise((resolve) => setTimeout(resolve, 50));
    const start = performance.now();
    stop();
    await settled;
    return performance.now() - start;
  };
  const controller = new AbortController();
  const aborted = await timed(model.embedTexts(texts, { ...all, signal: controller.signal }), () =>
    controller.abort(),
  );
  t.true(aborted < whole / 3, `${aborted} of ${whole} ms`);
  const behind = model.embedTexts(['a']);
  behind.catch(() => {});
  const disposed = await timed(Promise.all([model.embedTexts(texts, all), behind]), () => model.dispose());
  t.true(disposed < whole / 3, `${disposed} of ${whole} ms`);
});

test('calls queue and keep their own results', async (t) => {
  const model = await created(t);
  const texts = ['a', 'b', 'c', 'd'];
  const together = await model.embedTexts(texts);
  const apart = await Promise.all(texts.map((text) => model.embedTexts([text])));
  for (const [row, { data }] of apart.entries())
    t.true(maxDifference(data, together.data.subarray(row * 16, row * 16 + 16)) < 1e-6);
});

test('dispose: idempotent, pending and later calls reject', async (t) => {
  const model = await Cots.create(sizes);
  const pending = model.embedTexts(Array.from({ length: 20_000 }, (_, i) => `text number ${i}`));
  setImmediate(() => model.dispose());
  await code(t, () => pending, 'ERR_COTS_DISPOSED');
  model.dispose();
  await code(t, () => model.embedTexts(['a']), 'ERR_COTS_DISPOSED');
  await code(t, () => model.embedImages([gray(1)]), 'ERR_COTS_DISPOSED');
  await code(t, () => model.save('/tmp/never'), 'ERR_COTS_DISPOSED');
});

async function collect(batches: AsyncIterable<EmbeddedBatch>): Promise<EmbeddedBatch[]> {
  const all: EmbeddedBatch[] = [];
  for await (const batch of batches) all.push(batch);
  return all;
}

test('a stream keeps its order, mixes images and texts, and reports bad items', async (t) => {
  const model = await created(t);
  async function* items(): AsyncGenerator<Item> {
    for (let index = 0; index < 5; index++) {
      yield { id: `t${index}`, text: `text ${index}` };
      yield index === 2
        ? { id: 'bad', image: Buffer.from('no image') }
        : { id: `i${index}`, image: gray(index) };
    }

    yield { id: 'clip', video: '/nowhere.mp4' };
  }

  const batches = await collect(model.embed(items(), { batchSize: 4 }));
  t.deepEqual(
    batches.flatMap(({ ids }) => ids),
    ['t0', 'i0', 't1', 'i1', 't2', 't3', 'i3', 't4', 'i4'],
  );
  t.deepEqual(
    batches.flatMap(({ errors }) => errors.map(({ id, code: own }) => [id, own])),
    [
      ['bad', 'ERR_COTS_IMAGE'],
      ['clip', 'ERR_COTS_FILE'],
    ],
  );
  t.true(
    batches.every(
      ({ ids, vectors }) => vectors.shape[0] === ids.length && vectors.data.length === ids.length * 16,
    ),
  );
  const direct = await model.embedImages([gray(3)]);
  const third = batches.find(({ ids }) => ids.includes('i3')) as EmbeddedBatch;
  const row = third.ids.indexOf('i3');
  t.true(maxDifference(third.vectors.data.subarray(row * 16, row * 16 + 16), direct.data) < 1e-6);
});

test('a stream is read two batches ahead at most', async (t) => {
  const model = await created(t);
  let read = 0;
  async function* items(): AsyncGenerator<Item> {
    for (; read < 1000; read++) yield { id: String(read), text: 'a' };
  }

  for await (const { ids } of model.embed(items(), { batchSize: 10 })) {
    t.is(ids.length, 10);
    break;
  }

  t.true(read <= 31, `read ${read}`);
});

test('a stream that fails, an abort and an item without an id are thrown', async (t) => {
  const model = await created(t);
  async function* failing(): AsyncGenerator<Item> {
    yield { id: 'a', text: 'a' };
    throw new Error('source');
  }

  await t.throwsAsync(() => collect(model.embed(failing())), { message: 'source' });
  async function* nameless(): AsyncGenerator<Item> {
    yield { text: 'a' } as never;
  }

  await code(t, () => collect(model.embed(nameless())), 'ERR_COTS_OPTION', /`id`/);
  const controller = new AbortController();
  async function* endless(): AsyncGenerator<Item> {
    for (let index = 0; ; index++) yield { id: String(index), text: 'a' };
  }

  let batches = 0;
  await t.throwsAsync(
    async () => {
      for await (const batch of model.embed(endless(), { batchSize: 4, signal: controller.signal })) {
        t.is(batch.ids.length, 4);
        if (++batches === 3) controller.abort(new Error('stop'));
      }
    },
    { message: 'stop' },
  );
});

test('a source may fill one buffer again and again', async (t) => {
  const model = await created(t);
  const images = [10, 90, 170].map((value) => gray(value));
  async function* items(): AsyncGenerator<Item> {
    const { width, height } = gray(1);
    const data = new Uint8Array(3 * width * height);
    for (const [index, image] of images.entries()) {
      data.set(image.data);
      yield { id: String(index), image: { data, width, height } };
    }
  }

  const [batch] = await collect(model.embed(items()));
  const { data } = await model.embedImages(images);
  t.true(maxDifference(batch?.vectors.data ?? new Float32Array(data.length), data) < 1e-6);
});

test('a source that stalls does not delay an abort or a disposal', async (t) => {
  const model = await created(t);
  let closed = 0;
  const stalled = (): AsyncIterable<Item> => ({
    [Symbol.asyncIterator]: () => ({
      next: () => new Promise<never>(() => {}),
      return: async () => {
        closed++;
        return { done: true, value: undefined };
      },
    }),
  });
  const controller = new AbortController();
  const reason = new Error('enough');
  setTimeout(() => controller.abort(reason), 50);
  t.is(await t.throwsAsync(() => collect(model.embed(stalled(), { signal: controller.signal }))), reason);
  const pending = collect(model.embed(stalled()));
  setTimeout(() => model.dispose(), 50);
  await code(t, () => pending, 'ERR_COTS_DISPOSED');
  t.is(closed, 2);
});

test('200 embed calls do not grow the process', async (t) => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const model = await created(t);
  const texts = Array.from({ length: 64 }, (_, i) => `text ${i} of many`);
  const images = [gray(1), gray(2), gray(3), gray(4)];
  const native: number[] = [];
  const script: number[] = [];
  for (let call = 0; call < 240; call++) {
    await model.embedTexts(texts);
    await model.embedImages(images);
    if (call < 40) continue;
    if (call % 10 === 0) collect();
    const { rss, heapTotal, heapUsed } = process.memoryUsage();
    native.push(rss - heapTotal);
    if (call % 10 === 0) script.push(heapUsed);
  }

  // V8 grows and shrinks its heap as it likes, by more than a leak of ours would: each side is watched for itself.
  t.true(grown(native) < 12 * 2 ** 20, `beyond V8's heap by ${(grown(native) / 2 ** 20).toFixed(1)} MiB`);
  t.true(grown(script) < 2 * 2 ** 20, `what V8 keeps by ${(grown(script) / 2 ** 20).toFixed(1)} MiB`);
});

/** The mean of the last quarter less that of the first. */
function grown(values: readonly number[]): number {
  const quarter = Math.floor(values.length / 4);
  const mean = (part: readonly number[]): number => part.reduce((sum, value) => sum + value, 0) / part.length;
  return mean(values.slice(-quarter)) - mean(values.slice(0, quarter));
}

test('saving without permission, or under a file', async (t) => {
  const model = await created(t);
  const folder = await temporaryFolder(t);
  await writeFile(path.join(folder, 'file'), '');
  await code(t, () => model.save(path.join(folder, 'file', 'model')), 'ERR_COTS_FILE');
  await code(t, () => model.save('/proc/model'), 'ERR_COTS_FILE');
  if (process.getuid?.() !== 0) {
    await mkdir(path.join(folder, 'closed'));
    await chmod(path.join(folder, 'closed'), 0o500);
    await code(t, () => model.save(path.join(folder, 'closed', 'model')), 'ERR_COTS_FILE', /permission/);
  }
});

test('a failed save leaves the model that was there', async (t) => {
  const folder = path.join(await temporaryFolder(t), 'model');
  const model = await created(t);
  await model.save(folder);
  const hash = async (): Promise<string> =>
    createHash('sha256')
      .update(await readFile(path.join(folder, 'model.safetensors')))
      .digest('hex');
  const before = await hash();
  const other = await created(t, sizes, 2);
  await rm(path.join(folder, 'tokenizer.json'));
  await mkdir(path.join(folder, 'tokenizer.json'));
  await code(t, () => other.save(folder), 'ERR_COTS_FILE', /tokenizer\.json/);
  t.is(await hash(), before);
  t.deepEqual((await readdir(folder)).sort(), [
    'config.json',
    'model.safetensors',
    'preprocessor_config.json',
    'tokenizer.json',
  ]);
});

for (const precision of ['bfloat16', 'int8'] as const) {
  test(`${precision}: near the vectors of float32, bit-equal in any batch, saved as it was loaded`, async (t) => {
    const folder = await temporaryFolder(t);
    const directory = path.join(folder, 'model');
    await (await created(t)).save(directory);
    const model = await Cots.load(directory, { precision });
    t.teardown(() => model.dispose());
    t.is(model.precision, precision);
    const exact = await Cots.load(directory);
    t.teardown(() => exact.dispose());
    const texts = ['a red box', 'zwei Hunde am Strand', ''];
    const rows = await model.embedTexts(texts);
    const near = await exact.embedTexts(texts);
    t.not(maxDifference(rows.data, near.data), 0);
    t.true(maxDifference(rows.data, near.data) < 0.05);
    t.deepEqual((await model.embedTexts(texts.slice(1, 2))).data, rows.data.slice(16, 32));
    const images = [gray(3), gray(200)];
    const pictures = await model.embedImages(images);
    t.deepEqual((await model.embedImages(images.slice(1))).data, pictures.data.slice(16));
    await model.save(path.join(folder, 'again'));
    t.deepEqual(
      await readFile(path.join(folder, 'again', 'model.safetensors')),
      await readFile(path.join(directory, 'model.safetensors')),
    );
  });
}

test('a precision that is none is refused', async (t) => {
  await code(
    t,
    () => Cots.load('x', { precision: 'int4' as 'int8' }),
    'ERR_COTS_OPTION',
    /`precision`.*int8.*int4/,
  );
});

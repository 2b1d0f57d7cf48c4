import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { buffer } from 'node:stream/consumers';
import test, { type ExecutionContext } from 'ava';
import sharp from 'sharp';
import { pack } from 'tar-stream';
import { resolveConfig } from '../../lib/config/load.js';
import type { TrainConfigInput } from '../../lib/config/schema.js';
import { drawTransform } from '../../lib/data/augment.js';
import { decodeImage } from '../../lib/data/decode.js';
import type { LoadedBatch, Loader } from '../../lib/data/loader.js';
import { imageLoader, type LoaderOptions, nativeBatch, pairLoader } from '../../lib/data/loaders.js';
import { writeManifest } from '../../lib/data/manifest.js';
import { CaptionEncoder, captionRules } from '../../lib/data/text/captions.js';
import { TextTokenizer } from '../../lib/data/text/tokenizer.js';
import { openSources } from '../../lib/data/training-set.js';
import { ops } from '../../lib/index.js';
import { temporaryFolder } from './temporary.js';

const words = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', 'picture', 'number', ...'0123456789'];

/** `count` PNGs of 20 x 16 noise with two captions each, and a config for views of 16 pixels. */
async function dataset(t: ExecutionContext, count: number): Promise<string> {
  const folder = await temporaryFolder(t);
  for (let index = 0; index < count; index++) {
    const pixels = Uint8Array.from(
      { length: 20 * 16 * 3 },
      (_, at) => (at * 7 + index * 31 + ((at * at) % 97)) % 256,
    );
    await sharp(pixels, { raw: { width: 20, height: 16, channels: 3 } })
      .png()
      .toFile(path.join(folder, `${index}.png`));
  }

  await writeManifest(
    path.join(folder, 'm.jsonl'),
    Array.from({ length: count }, (_, index) => ({
      id: `id${index}`,
      image: `${index}.png`,
      captions: [`picture ${index % 10}`, `picture number ${index % 10}`],
      split: 'train',
      source: '',
    })),
  );
  return folder;
}

function configOf(folder: string, input: TrainConfigInput = {}, overrides: string[] = []) {
  return resolveConfig(
    {
      model: {
        image: { size: 16, patch: 8, width: 8, layers: 1, heads: 1 },
        text: { width: 8, layers: 1, heads: 1 },
        embedDim: 4,
      },
      train: { batchSize: 4, seed: 5 },
      data: { train: path.join(folder, 'm.jsonl'), maxBadFraction: 0.5 },
      ...input,
    },
    overrides,
    'plan',
  );
}

async function loaderOf(
  folder: string,
  overrides: string[] = [],
  options: LoaderOptions = {},
): Promise<Loader> {
  const config = configOf(folder, {}, overrides);
  const encoder = new CaptionEncoder(TextTokenizer.fromVocabulary(words), captionRules(config));
  return pairLoader(config, await openSources(config.data.train, 'train'), encoder, options);
}

async function take(loader: Loader, count: number): Promise<LoadedBatch[]> {
  const batches: LoadedBatch[] = [];
  for (let index = 0; index < count; index++) batches.push(await loader.next());
  loader.close();
  return batches;
}

test('a batch has views, ids, sample indices and the cursor after it', async (t) => {
  const loader = await loaderOf(await dataset(t, 10));
  const [first, second, third] = (await take(loader, 3)) as [LoadedBatch, LoadedBatch, LoadedBatch];
  t.deepEqual([first.size, first.views.map(({ length }) => length)], [4, [4 * 16 * 16 * 3, 4 * 16 * 16 * 3]]);
  t.deepEqual(
    [...first.samples, ...second.samples, ...third.samples],
    Array.from({ length: 12 }, (_, sample) => sample),
  );
  t.deepEqual(first.cursor, { epoch: 0, position: 4, sample: 4, items: 10 });
  t.deepEqual(third.cursor, { epoch: 1, position: 2, sample: 12, items: 10 });
  t.is(new Set([...first.items, ...second.items, ...third.items.slice(0, 2)]).size, 10);
  for (const [row, item] of first.items.entries()) {
    const caption = first.captions[row] as string;
    t.true(caption === `picture ${item}` || caption === `picture number ${item}`);
    const ids = [...(first.texts?.ids ?? [])]
      .slice(row * (first.texts?.columns ?? 0))
      .slice(0, first.texts?.lengths[row]);
    t.deepEqual(ids, [2, 5, ...(caption.includes('number') ? [6] : []), 7 + item, 3]);
  }

  const native = nativeBatch(first);
  t.true(native.images === first.views[0]);
  t.true(native.tokenViews === first.views[1]);
  t.deepEqual([...native.imageIds], first.items);
});

test('views are the crop of the sample, resized as ops.resize does, both of one box and flip', async (t) => {
  const folder = await dataset(t, 6);
  const still = ['data.aug.jitter={brightness: 0, contrast: 0, saturation: 0}', 'model.image.size=24'];
  const [batch] = (await take(await loaderOf(folder, still), 1)) as [LoadedBatch];
  const { data } = configOf(folder, {}, still);
  let flips = 0;
  for (const [row, item] of batch.items.entries()) {
    const image = await decodeImage(path.join(folder, `${item}.png`));
    const { left, top, width, height, flip } = drawTransform(
      image.width,
      image.height,
      data.aug,
      5,
      batch.samples[row] as number,
    );
    flips += flip ? 1 : 0;
    const box = new Uint8Array(3 * width * height);
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const from = 3 * ((top + y) * image.width + left + (flip ? width - 1 - x : x));
        box.set(image.data.subarray(from, from + 3), 3 * (y * width + x));
      }
    }

    for (const [view, filter] of (['bicubic', 'lanczos'] as const).entries()) {
      const want = await ops.resize({ data: box, width, height, to: [24, 24], filter });
      const bytes = 3 * 24 * 24;
      t.deepEqual(batch.views[view]?.subarray(row * bytes, (row + 1) * bytes), want, `row ${row} ${filter}`);
    }
  }

  t.true(flips > 0 && flips < 4);
});

test('the same batches whatever the workers, the prefetch, the cache and the memory', async (t) => {
  const folder = await dataset(t, 10);
  await writeFile(path.join(folder, '3.png'), 'broken');
  const plain = await take(await loaderOf(folder), 7);
  for (const overrides of [
    ['data.workers=1', 'data.prefetch=1'],
    ['data.workers=16', 'data.prefetch=8'],
    ['data.cacheBytes=0'],
    ['data.cacheImageBytes=100', 'data.prefetchBytes=1048576'],
    ['data.cacheBytes=3000'],
  ]) {
    t.deepEqual(await take(await loaderOf(folder, overrides), 7), plain, overrides.join(' '));
  }

  const other = await take(await loaderOf(folder, ['train.seed=6']), 1);
  t.notDeepEqual(other[0]?.views, plain[0]?.views);
});

test('a loader goes on exactly from the cursor of any batch', async (t) => {
  const folder = await dataset(t, 10);
  await writeFile(path.join(folder, '7.png'), '');
  const whole = await take(await loaderOf(folder), 8);
  for (const behind of [1, 2, 5]) {
    const cursor = JSON.parse(JSON.stringify(whole[behind - 1]?.cursor));
    const rest = await take(await loaderOf(folder, [], { cursor }), 8 - behind);
    t.deepEqual(
      rest.map((batch) => ({ ...batch, badImages: 0 })),
      whole.slice(behind).map((batch) => ({ ...batch, badImages: 0 })),
    );
  }
});

test('a bad image is skipped, replaced by the next, counted once and listed', async (t) => {
  const folder = await dataset(t, 10);
  const good = await take(await loaderOf(folder), 3);
  const bad = good[0]?.items[2] as number;
  const next = good[1]?.items[0];
  const bytes = await readFile(path.join(folder, `${bad}.png`));
  await writeFile(path.join(folder, `${bad}.png`), bytes.subarray(0, bytes.length / 2));
  const badFile = path.join(folder, 'run', 'bad.jsonl');
  const batches = await take(await loaderOf(folder, [], { badFile }), 6);
  t.deepEqual(batches[0]?.items, [good[0]?.items[0], good[0]?.items[1], good[0]?.items[3], next]);
  t.deepEqual(batches[0]?.cursor, { epoch: 0, position: 5, sample: 5, items: 10 });
  t.is(batches[5]?.badImages, 1);
  t.false(batches.some(({ items }) => items.includes(bad)));
  const lines = (await readFile(badFile, 'utf8'))
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, string>);
  t.is(lines.length, 1);
  t.like(lines[0], { id: `id${bad}`, image: path.join(folder, `${bad}.png`), code: 'ERR_COTS_IMAGE' });
  t.regex(lines[0]?.['message'] ?? '', /to be an image that can be decoded whole/);
});

test('above maxBadFraction the run stops with a clear error', async (t) => {
  const folder = await dataset(t, 10);
  for (const name of ['1', '4', '8']) await writeFile(path.join(folder, `${name}.png`), 'x');
  const badFile = path.join(folder, 'bad.jsonl');
  const loader = await loaderOf(folder, ['data.maxBadFraction=0.2'], { badFile });
  const error = (await t.throwsAsync(async () => {
    for (;;) await loader.next();
  })) as Error & { code: string };
  t.is(error.code, 'ERR_COTS_DATA');
  t.regex(
    error.message,
    /^Expected at most 20 % of the images to be bad \(data\.maxBadFraction\), got 3 of 10; the last one: Expected .*\.png to be an image /,
  );
  t.true(error.message.endsWith(`${badFile} lists them. Mend the data, or raise data.maxBadFraction.`));
  await t.notThrowsAsync(async () => take(await loaderOf(folder, ['data.maxBadFraction=0.3']), 6));
});

test('a data set of bad images alone ends, even at maxBadFraction 1', async (t) => {
  const folder = await dataset(t, 3);
  for (const name of ['0', '1', '2']) await writeFile(path.join(folder, `${name}.png`), 'x');
  const loader = await loaderOf(folder, ['data.maxBadFraction=1']);
  const error = await t.throwsAsync(loader.next());
  t.regex(error?.message ?? '', /^Expected at most 100 % of the images to be bad/);
});

test('abort rejects with the reason and loses no batch', async (t) => {
  const folder = await dataset(t, 10);
  const whole = await take(await loaderOf(folder), 3);
  const loader = await loaderOf(folder);
  t.deepEqual(await loader.next(), whole[0]);
  const reason = new Error('enough');
  const aborted = new AbortController();
  const waiting = loader.next({ signal: aborted.signal });
  aborted.abort(reason);
  t.is(await t.throwsAsync(waiting), reason);
  t.is(await t.throwsAsync(loader.next({ signal: aborted.signal })), reason);
  t.deepEqual(await loader.next(), whole[1]);
  for await (const batch of loader.batches()) {
    t.deepEqual(batch, whole[2]);
    break;
  }

  loader.close();
});

test('images for the discrete VAE: one view, no jitter, no texts', async (t) => {
  const folder = await dataset(t, 5);
  const config = configOf(folder, {}, ['tokenizer.size=24', 'tokenizer.batchSize=3']);
  const loader = imageLoader(config, await openSources(config.data.train, 'any'));
  const [batch] = (await take(loader, 1)) as [LoadedBatch];
  t.is(batch.texts, null);
  t.deepEqual(
    batch.views.map(({ length }) => length),
    [3 * 24 * 24 * 3],
  );
});

test('without CMVM there is no second view', async (t) => {
  const [batch] = (await take(await loaderOf(await dataset(t, 4), ['loss.weights.cmvm=0']), 1)) as [
    LoadedBatch,
  ];
  t.is(nativeBatch(batch).tokenViews, null);
});

test('large images get their views alone, in bounded memory, the same as in company', async (t) => {
  const folder = await dataset(t, 8);
  const small = await take(await loaderOf(folder), 4);
  const mixed = await take(await loaderOf(folder, ['data.cacheImageBytes=959']), 4);
  t.deepEqual(mixed, small);
});

test('JPEGs that the addon decodes by the crop give the bytes that sharp gives', async (t) => {
  const folder = await dataset(t, 8);
  const noise = (channels: 1 | 3) =>
    sharp(
      Uint8Array.from({ length: 90 * 70 * channels }, (_, at) => (at * at * 31 + at * 7) % 251),
      {
        raw: { width: 90, height: 70, channels },
      },
    ).blur(0.6);
  const kinds = [
    noise(3).jpeg({ chromaSubsampling: '4:4:4' }),
    noise(3).jpeg({ chromaSubsampling: '4:2:0', quality: 95 }),
    noise(3).jpeg({ progressive: true }),
    noise(3)
      .jpeg()
      .withExif({ IFD0: { Orientation: '6' } }),
    noise(3).jpeg().withMetadata({ orientation: 8 }),
    noise(1).toColourspace('b-w').jpeg(),
    noise(3).toColourspace('cmyk').jpeg(),
    noise(3).png(),
  ];
  for (const [index, kind] of kinds.entries()) await kind.toFile(path.join(folder, `${index}.png`));
  const bytes = await readFile(path.join(folder, '1.png'));
  await writeFile(path.join(folder, '1.png'), bytes.subarray(0, bytes.length - 40));
  const whole = await take(await loaderOf(folder), 6);
  t.is(whole[5]?.badImages, 1);
  t.deepEqual(await take(await loaderOf(folder, ['data.cacheImageBytes=0']), 6), whole);
});

test('a sample of a shard without text is left out, counted and listed', async (t) => {
  const folder = await temporaryFolder(t);
  const shard = path.join(folder, '00.tar');
  const tar = pack();
  const image = await sharp({ create: { width: 20, height: 16, channels: 3, background: 'red' } })
    .jpeg()
    .toBuffer();
  for (let index = 0; index < 8; index++) {
    tar.entry({ name: `${index}.jpg` }, image);
    if (index !== 5) tar.entry({ name: `${index}.txt` }, `picture ${index}`);
  }

  tar.finalize();
  await writeFile(shard, await buffer(tar as AsyncIterable<Buffer>));
  const badFile = path.join(folder, 'bad.jsonl');
  const loader = await loaderOf(folder, [`data.train=${shard}`], { badFile });
  const batches = await take(loader, 4);
  t.is(batches[3]?.badImages, 1);
  t.false(batches.some(({ items }) => items.includes(5)));
  t.like(JSON.parse(await readFile(badFile, 'utf8')), { id: '00/5', code: 'ERR_COTS_DATA' });
});

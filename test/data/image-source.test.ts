import { mkdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import test, { type ExecutionContext } from 'ava';
import sharp from 'sharp';
import { ImageSource, type ImageSourceOptions } from '../../lib/data/image-source.js';
import { temporaryFolder } from './temporary.js';

const bytes = 10 * 10 * 3;

async function sourceOf(t: ExecutionContext, options: Partial<ImageSourceOptions> = {}) {
  const folder = await temporaryFolder(t);
  await mkdir(folder, { recursive: true });
  const file = (item: number) => path.join(folder, `${item}.png`);
  for (let item = 0; item < 5; item++) {
    const color = { r: item, g: 0, b: 0 };
    await sharp({ create: { width: 10, height: 10, channels: 3, background: color } })
      .png()
      .toFile(file(item));
  }

  const limits = { workers: 4, workBytes: 1e6, cacheBytes: 1e6, cacheImageBytes: 1e6 };
  return { file, source: new ImageSource({ path: file, exifRotate: true, ...limits, ...options }) };
}

const first = async (source: ImageSource, item: number) =>
  source.load(item, { pixels: async ({ data }) => data[0] as number, jpeg: async () => null });

test('pixels are kept up to cacheBytes, small images only', async (t) => {
  const { source } = await sourceOf(t, { cacheBytes: 2 * bytes + 1 });
  for (let item = 0; item < 5; item++) t.is(await first(source, item), item);
  t.is(source.keptBytes, 2 * bytes);
  t.deepEqual(
    [0, 1, 2, 3].map((item) => source.kept(item)?.data[0]),
    [0, 1, undefined, undefined],
  );
  const { source: large } = await sourceOf(t, { cacheImageBytes: bytes - 1 });
  await first(large, 0);
  t.is(large.keptBytes, 0);
});

test('no more than `workers` images and `workBytes` bytes are in work', async (t) => {
  for (const [options, most] of [
    [{ workers: 2 }, 2],
    [{ workers: 5, workBytes: 3 * bytes }, 3],
    [{ workers: 5, workBytes: 1 }, 1],
  ] as const) {
    const { source } = await sourceOf(t, options);
    let now = 0;
    let peak = 0;
    const held = async () => {
      peak = Math.max(peak, ++now);
      await new Promise((resolve) => setTimeout(resolve, 30));
      now--;
    };
    await Promise.all([0, 1, 2, 3, 4].map((item) => source.load(item, { pixels: held, jpeg: held })));
    t.is(peak, most);
  }
});

test('a failure frees its place and is told again without another try', async (t) => {
  const { source, file } = await sourceOf(t, { workers: 1 });
  await rm(file(3));
  const error = await t.throwsAsync(first(source, 3));
  t.is((error as { code?: string }).code, 'ERR_COTS_FILE');
  await sharp({ create: { width: 1, height: 1, channels: 3, background: 'red' } })
    .png()
    .toFile(file(3));
  const { code, message } = (await t.throwsAsync(first(source, 3))) as Error & { code?: string };
  t.deepEqual({ code, message }, { code: 'ERR_COTS_FILE', message: error?.message });
  t.is(await first(source, 4), 4);
});

test('of a failure the error with its stack and cause is not kept', async (t) => {
  const { source, file } = await sourceOf(t);
  await rm(file(3));
  const failure = async () => new WeakRef((await first(source, 3).catch((error: unknown) => error)) as Error);
  const kept = await failure();
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const isGone = () => kept.deref() === undefined; // in a function of its own, whose frame holds on to nothing
  for (let turn = 0; turn < 20 && !isGone(); turn++) {
    await new Promise((resolve) => setImmediate(resolve)); // a WeakRef holds on until the end of its turn
    collect();
  }

  t.true(isGone());
  t.is(await first(source, 4), 4);
});

/** `bench load`: training batches from images, as fast as the machine makes them, and where the time of one image goes. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { NativeView } from '../binding.js';
import type { TrainConfig } from '../config/schema.js';
import { drawTransform } from '../data/augment.js';
import { decodeBytes } from '../data/decode.js';
import { plainJpeg } from '../data/jpeg.js';
import type { Loader } from '../data/loader.js';
import { pairLoader, pairViews } from '../data/loaders.js';
import { readMedia } from '../data/media.js';
import { CaptionEncoder, captionRules, textTokenizerFor } from '../data/text/captions.js';
import { captionsOf, openSources, type TrainingSet } from '../data/training-set.js';
import { makeViews, prepareJpegViews } from '../data/views.js';
import { type BenchContext, benchContext } from './machine.js';
import { writePhotoShards } from './photo-shards.js';
import { type Latency, latency, median } from './timing.js';

export interface BenchLoadResult extends BenchContext {
  readonly data: 'config' | 'made';
  readonly batchSize: number;
  readonly batches: number;
  readonly views: readonly NativeView[];
  readonly itemsPerSecond: number;
  /** From one batch to the next. */
  readonly latencyMs: Latency;
  /**
   * Median milliseconds an image, each alone: reading its bytes; decoding it whole with sharp; making the views of its pixels; decoding
   * its crop and making the views in the addon (`jpegViews`, null where it takes no such image). Null on clips alone.
   */
  readonly stages: {
    readonly read: number | null;
    readonly decode: number | null;
    readonly views: number | null;
    readonly jpegViews: number | null;
  };
  readonly badImages: number;
}

const madeImages = { shards: 2, imagesPerShard: 16, width: 640, height: 480, seed: 1 };
const sampledImages = 32;

/** `batches` measured ones, after those made ahead. Without `data.train`: made JPEGs of 640 x 480 in shards. */
export async function benchLoad(config: TrainConfig, batches: number): Promise<BenchLoadResult> {
  const made = config.data.train.length === 0;
  const folder = made ? await mkdtemp(path.join(tmpdir(), 'cots-bench-')) : null;
  try {
    return await measure(folder === null ? config : await withMadeShards(config, folder), batches, made);
  } finally {
    if (folder !== null) await rm(folder, { recursive: true, force: true });
  }
}

/** Seconds that `batches` take a loader in its stride; it is closed and at rest afterwards. `onBatch` hears the milliseconds of each. */
export async function timeBatches(
  loader: Loader,
  ahead: number,
  batches: number,
  onBatch: (milliseconds: number) => void = () => {},
): Promise<number> {
  for (let batch = 0; batch < ahead; batch++) await loader.next(); // as many are in the making from now on
  const begin = performance.now();
  let last = begin;
  for (let batch = 0; batch < batches; batch++) {
    await loader.next();
    const now = performance.now();
    onBatch(now - last);
    last = now;
  }

  await loader.drain();
  return (last - begin) / 1000;
}

async function measure(config: TrainConfig, batches: number, made: boolean): Promise<BenchLoadResult> {
  const set = await openSources(config.data.train, 'train');
  const tokenizer = await textTokenizerFor(config, captionsOf(set));
  const loader = pairLoader(config, set, new CaptionEncoder(tokenizer, captionRules(config)));
  const times: number[] = [];
  const seconds = await timeBatches(loader, loader.ahead, batches, (time) => times.push(time));
  const { batchSize } = config.train;
  return {
    data: made ? 'made' : 'config',
    batchSize,
    batches,
    views: pairViews(config),
    itemsPerSecond: (batches * batchSize) / seconds,
    latencyMs: latency(times),
    stages: await timeStages(config, set),
    badImages: loader.badImages,
    ...benchContext(1),
  };
}

async function timeStages(config: TrainConfig, { entries }: TrainingSet): Promise<BenchLoadResult['stages']> {
  const times = { read: [] as number[], decode: [] as number[], views: [] as number[], jpeg: [] as number[] };
  const timed = async <T>(list: number[], work: () => Promise<T>): Promise<T> => {
    const start = performance.now();
    const value = await work();
    list.push(performance.now() - start);
    return value;
  };
  const { exifRotate, aug } = config.data;
  const images = entries.flatMap(({ image }) => (image === undefined ? [] : [image]));
  for (const [sample, location] of images.slice(0, sampledImages).entries()) {
    const bytes = await timed(times.read, () => readMedia(location, 'an image'));
    const pixels = await timed(times.decode, () => decodeBytes(bytes, location, exifRotate, async () => {}));
    const transform = drawTransform(pixels.width, pixels.height, aug, config.train.seed, sample);
    const views = pairViews(config);
    await timed(times.views, () => makeViews([{ image: pixels, transform }], views));
    const jpeg = plainJpeg(bytes, exifRotate);
    if (jpeg !== null) await timed(times.jpeg, () => prepareJpegViews({ image: jpeg, transform }, views));
  }

  const typical = (list: readonly number[]): number | null => (list.length === 0 ? null : median(list));
  return {
    read: typical(times.read),
    decode: typical(times.decode),
    views: typical(times.views),
    jpegViews: typical(times.jpeg),
  };
}

async function withMadeShards(config: TrainConfig, folder: string): Promise<TrainConfig> {
  const shards = await writePhotoShards({ folder, ...madeImages });
  return {
    ...config,
    data: {
      ...config.data,
      train: shards.map((file) => ({ path: file, weight: 1, split: null, images: null, columns: null })),
      vocabulary: null,
    },
  };
}

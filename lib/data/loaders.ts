/** The loaders of a config: pairs for pre-training, images for the discrete VAE. */
import type { NativeBatch } from '../binding.js';
import { geometry } from '../config/load.js';
import { tokenizerRun } from '../config/native.js';
import type { TrainConfig } from '../config/schema.js';
import { drawTransform } from './augment.js';
import { BadImages } from './bad-images.js';
import { ClipSource } from './clip-source.js';
import { ImageSource } from './image-source.js';
import { type LoadedBatch, Loader, type LoaderParts } from './loader.js';
import type { ManifestEntry } from './manifest.js';
import { noPeers, type Peers } from './peers.js';
import { type Cursor, Sampler } from './sampler.js';
import type { CaptionEncoder } from './text/captions.js';
import type { TrainingSet } from './training-set.js';
import type { View } from './views.js';

export interface LoaderOptions {
  /** Where to go on; absent: at the start. */
  readonly cursor?: Cursor | undefined;
  /** File that lists bad images; null: none. @default null */
  readonly badFile?: string | null;
  /** @default train.seed */
  readonly seed?: number;
  /** Who makes the other slices of each batch. @default nobody */
  readonly peers?: Peers;
}

/** Pairs: the vision tower's view, the image tokenizer's while CMVM is on, and ids. */
export function pairLoader(
  config: TrainConfig,
  set: TrainingSet,
  captions: CaptionEncoder,
  options: LoaderOptions = {},
): Loader {
  const { batchSize, frames } = config.train;
  const { aug } = config.data;
  return loader(config, set, { captions, views: pairViews(config), batchSize, frames, aug }, options);
}

/** The vision tower's view and, while CMVM is on, the image tokenizer's. */
export function pairViews({ model, data, loss }: TrainConfig): View[] {
  const { size, view } = geometry(model);
  const { filter, jitter } = data.secondView;
  const views: View[] = [{ size, filter: data.filter, jitter: true }];
  if (loss.weights.cmvm > 0) views.push({ size: view, filter, jitter });
  return views;
}

/** Images for training the discrete VAE, of a clip one frame: a random crop and flip, no color jitter. */
export function imageLoader(config: TrainConfig, set: TrainingSet, options: LoaderOptions = {}): Loader {
  const { data, tokenizer } = config;
  const { size, batchSize } = tokenizerRun(config);
  const aug = {
    crop: { ...data.aug.crop, scale: tokenizer.crop },
    flip: data.aug.flip,
    jitter: { brightness: 0, contrast: 0, saturation: 0 },
  };
  const views: View[] = [{ size, filter: data.secondView.filter, jitter: false }];
  return loader(config, set, { captions: null, views, batchSize, frames: 1, aug }, options);
}

/** A batch of pairs in the shape that the trainer takes. */
export function nativeBatch({ size, frames, views, texts, items, samples }: LoadedBatch): NativeBatch {
  const [images, tokenViews] = views;
  return {
    size,
    frames,
    images: images as Uint8Array,
    tokenViews: tokenViews ?? null,
    ids: texts?.ids ?? new Int32Array(0),
    lengths: texts?.lengths ?? new Int32Array(0),
    samples,
    imageIds: Float64Array.from(items),
  };
}

interface Shape extends Pick<LoaderParts, 'captions' | 'views' | 'batchSize'> {
  /** Of a clip. */
  readonly frames: number;
  readonly aug: TrainConfig['data']['aug'];
}

function loader(
  config: TrainConfig,
  set: TrainingSet,
  shape: Shape,
  { cursor, badFile = null, seed = config.train.seed, peers = noPeers }: LoaderOptions,
): Loader {
  const { data } = config;
  const { entries, weights } = set;
  const items = entries.length;
  const entry = (item: number) => entries[item] as ManifestEntry;
  const frames = set.hasClips ? shape.frames : 1;
  const batchBytes =
    Math.ceil(shape.batchSize / peers.world) *
    frames *
    shape.views.reduce((sum, { size }) => sum + 3 * size * size, 0);
  const limits = { workers: data.workers, workBytes: data.prefetchBytes / 2 };
  return new Loader({
    ...shape,
    peers,
    entries,
    sampler: new Sampler({ seed, items, captions: (item) => entry(item).captions.length, weights, cursor }),
    images: new ImageSource({
      path: (item) => entry(item).image as string,
      exifRotate: data.exifRotate,
      ...limits,
      cacheBytes: data.cacheBytes,
      cacheImageBytes: data.cacheImageBytes,
    }),
    clips: new ClipSource({
      path: (item) => entry(item).video as string,
      frames: shape.frames,
      seed,
      ...limits,
    }),
    bad: new BadImages({ items, maxFraction: data.maxBadFraction, file: badFile }),
    transform: ({ width, height }, sample) => drawTransform(width, height, shape.aug, seed, sample),
    prefetch: Math.max(1, Math.min(data.prefetch, Math.floor(data.prefetchBytes / 2 / batchBytes))),
    lookahead: 4 * data.workers,
  });
}

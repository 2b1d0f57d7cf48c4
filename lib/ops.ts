/**
 * The kernels by themselves, on typed arrays. Legend: B pairs, D embedding, n queue entries, Q queries, N gallery rows.
 * Every function copies what it is given before it returns its promise, and takes `device`: 'cpu' by default, 'cuda' or 'cuda:N' where the build and the machine have one.
 */
import { binding, type Matrix } from './binding.js';
import * as check from './checks.js';
import { type Device, resolveDevice } from './device.js';
import { OptionError } from './errors.js';
import { callSite, fromSite } from './native-call.js';

export interface QueueContrastOptions {
  /** Online image embeddings [B, D], B >= 1; used as given, unit rows expected. */
  readonly image: Matrix;
  /** Online text embeddings [B, D]. */
  readonly text: Matrix;
  /** Momentum image embeddings [B, D]: the positives of the texts. Constants. */
  readonly imageKey: Matrix;
  /** Momentum text embeddings [B, D]: the positives of the images. Constants. */
  readonly textKey: Matrix;
  /** Queue of momentum image embeddings [n, D], n >= 0, paired row by row with `textQueue`. */
  readonly imageQueue: Matrix;
  readonly textQueue: Matrix;
  /** Weight of each pair in [0, 1], length B. @default all 1 */
  readonly weights?: Float32Array;
  /** Softmax temperature, above 0. */
  readonly temperature: number;
  /** @default 1 */
  readonly instanceWeight?: number;
  /** @default 1 */
  readonly taskWeight?: number;
  /** Whether the two retrieval distributions contain the positive. @default true */
  readonly includePositive?: boolean;
  /** @default 'cpu' */
  readonly device?: Device;
}

export interface QueueContrastResult {
  /** instanceWeight * (imageToText + textToImage) + taskWeight * task, in nats. */
  loss: number;
  imageToText: number;
  textToImage: number;
  /** Symmetric KL of the two retrieval distributions. */
  task: number;
  /** d loss / d image [B, D]. */
  gradImage: Matrix;
  /** d loss / d text [B, D]. */
  gradText: Matrix;
  /** d loss / d ln(1 / temperature). */
  gradLogScale: number;
}

/**
 * InfoNCE of each modality against the other's queue, and the symmetric KL between the two retrieval distributions, with
 * gradients (SPEC 3.2, 3.3). Sums are divided by max(sum(weights), 1). Never holds a [B, n] matrix (SPEC 3.5).
 * Rejects `ERR_COTS_OPTION`, `ERR_COTS_SHAPE` and, for NaN or infinity anywhere, `ERR_COTS_NON_FINITE`.
 */
export async function queueContrast(o: QueueContrastOptions): Promise<QueueContrastResult> {
  const site = callSite(queueContrast);
  return fromSite(site, async () => {
    check.options('queueContrast', o, queueContrastKeys);
    const image = check.matrix('image', o?.image);
    const [rows, columns] = image.shape;
    check.integer('image.shape[0]', rows, 1);
    const like = { rows, columns };
    const imageQueue = check.matrix('imageQueue', o.imageQueue, { columns });
    const complete = {
      image,
      text: check.matrix('text', o.text, like),
      imageKey: check.matrix('imageKey', o.imageKey, like),
      textKey: check.matrix('textKey', o.textKey, like),
      imageQueue,
      textQueue: check.matrix('textQueue', o.textQueue, { rows: imageQueue.shape[0], columns }),
      weights: checkWeights(o.weights, rows),
      temperature: check.finite('temperature', o.temperature, 0, Infinity, true),
      instanceWeight: check.finite('instanceWeight', o.instanceWeight ?? 1),
      taskWeight: check.finite('taskWeight', o.taskWeight ?? 1),
      includePositive: check.boolean('includePositive', o.includePositive ?? true),
    };
    return binding().queueContrast({ ...complete, device: resolveDevice(o.device) });
  });
}

const matrixNames = ['image', 'text', 'imageKey', 'textKey', 'imageQueue', 'textQueue'] as const;
const queueContrastKeys = [
  ...matrixNames,
  'weights',
  'temperature',
  'instanceWeight',
  'taskWeight',
  'includePositive',
  'device',
] as const;

function checkWeights(value: Float32Array | undefined, rows: number): Float32Array {
  if (value === undefined) return new Float32Array(rows).fill(1);
  const weights = check.floats('weights', value, rows);
  for (const [index, weight] of weights.entries()) check.finite(`weights[${index}]`, weight, 0, 1);
  return weights;
}

export interface MomentumFilterOptions {
  /** Scores of the batch's pairs, length B >= 0. */
  readonly scores: Float32Array;
  /** Scores of the queued pairs, length n >= 1. */
  readonly queueScores: Float32Array;
  /** How many standard deviations below the mean a pair may score. @default 2 */
  readonly deviations?: number;
  /** @default 'cpu' */
  readonly device?: Device;
}

/**
 * The adaptive momentum filter (SPEC 3.6): mean and population standard deviation of the queue's scores in float64,
 * threshold = mean - deviations * std, keep = score >= threshold (1 or 0; all 1 when std < 1e-6).
 * Rejects `ERR_COTS_OPTION` for an empty queue and `ERR_COTS_NON_FINITE`.
 */
export async function momentumFilter(
  o: MomentumFilterOptions,
): Promise<{ mean: number; std: number; threshold: number; keep: Uint8Array }> {
  const site = callSite(momentumFilter);
  return fromSite(site, async () => {
    check.options('momentumFilter', o, ['scores', 'queueScores', 'deviations', 'device']);
    const scores = check.floats('scores', o?.scores);
    const queueScores = check.floats('queueScores', o.queueScores);
    if (queueScores.length === 0) {
      throw new OptionError(
        'Expected `queueScores` to hold at least one score, got none. Keep every pair until the queue has some.',
      );
    }

    const deviations = check.finite('deviations', o.deviations ?? 2);
    return binding().momentumFilter({ scores, queueScores, deviations, device: resolveDevice(o.device) });
  });
}

export interface TopKOptions {
  /** [Q, D], Q >= 0. */
  readonly queries: Matrix;
  /** [N, D]. */
  readonly gallery: Matrix;
  /** 1 to N. */
  readonly k: number;
  /** @default 'cpu' */
  readonly device?: Device;
}

/** `indices` and `scores` are row-major [Q, k]. */
export interface TopKResult {
  indices: Uint32Array;
  scores: Float32Array;
  shape: [number, number];
}

/**
 * The k gallery rows of greatest dot product for each query, best first, equal scores by lower index. Exact: a score
 * depends only on its two vectors. Rejects `ERR_COTS_OPTION` when k exceeds the gallery, `ERR_COTS_SHAPE`,
 * `ERR_COTS_NON_FINITE`.
 */
export async function topK(o: TopKOptions): Promise<TopKResult> {
  const site = callSite(topK);
  return fromSite(site, async () => {
    check.options('topK', o, ['queries', 'gallery', 'k', 'device']);
    const queries = check.matrix('queries', o?.queries);
    const gallery = check.matrix('gallery', o.gallery, { columns: queries.shape[1] });
    const k = check.integer('k', o.k, 1);
    if (k > gallery.shape[0]) {
      throw new OptionError(`Expected \`k\` to be at most the gallery's ${gallery.shape[0]} rows, got ${k}.`);
    }

    return binding().topK({ queries, gallery, k, device: resolveDevice(o.device) });
  });
}

/** Resampling filters, as Pillow names them. */
export type ResizeFilter = 'bicubic' | 'bilinear' | 'lanczos';

export interface ResizeOptions {
  /** RGB pixels, row-major, 3 * width * height bytes. */
  readonly data: Uint8Array;
  readonly width: number;
  readonly height: number;
  /** New width and height, each 1 to 65,535. */
  readonly to: readonly [width: number, height: number];
  readonly filter: ResizeFilter;
  /** @default 'cpu' */
  readonly device?: Device;
}

/** Pillow's two-pass fixed-point resampling, 0 levels off. Resolves to RGB pixels of the new size. Rejects `ERR_COTS_OPTION`, `ERR_COTS_SHAPE`. */
export async function resize(o: ResizeOptions): Promise<Uint8Array> {
  const site = callSite(resize);
  return fromSite(site, async () => {
    check.options('resize', o, ['data', 'width', 'height', 'to', 'filter', 'device']);
    if (!(o?.data instanceof Uint8Array))
      throw new OptionError(`Expected \`data\` to be a Uint8Array, got ${check.show(o?.data)}.`);
    const width = check.integer('width', o.width, 1, maxSide);
    const height = check.integer('height', o.height, 1, maxSide);
    if (o.data.length !== 3 * width * height) {
      throw check.shapeError(
        `Expected \`data\` to hold 3 * ${width} * ${height} = ${3 * width * height} bytes, got ${o.data.length}.`,
      );
    }

    if (!Array.isArray(o.to) || o.to.length !== 2)
      throw new OptionError(`Expected \`to\` to be [width, height], got ${check.show(o.to)}.`);
    const to: [number, number] = [
      check.integer('to[0]', o.to[0], 1, maxSide),
      check.integer('to[1]', o.to[1], 1, maxSide),
    ];
    const filter = check.oneOf('filter', o.filter, ['bicubic', 'bilinear', 'lanczos']);
    resolveDevice(o.device); // checked like any other; images are resized on the CPU, before they are copied
    return binding().resize({ data: o.data, width, height, to, filter });
  });
}

const maxSide = 65_535;

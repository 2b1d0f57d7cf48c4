/**
 * Peak memory of a training process by owner, from its config alone. Legend: d width, f feed-forward width, L tokens,
 * V classes, B pairs of a micro-batch, M masked positions of it, D embedding.
 *
 *   weights = gradients = 4 n, optimizer = 8 n         n trained scalars, AdamW's two moments
 *   momentum = 4 n_m                                   n_m scalars of towers and projections
 *   queues = N_q (8 D + 13)                            two float32 rows, score, id, valid flag
 *   activations = 4 kept                               what backward needs of one micro-batch; kept =
 *     a pass:   B L layers (6 d + f), BERT (8 d + f)   block's input, q, k, v, the attention's result, the sum after it, the
 *                                                      feed-forward layer before GELU; BERT's norms keep their input too
 *               + 3 B L d + 6 B size^2                 embedding, final norm; pixels as float32, and cut into patches
 *     a head:   5 M d                                  gathered states, sum, dense, GELU, norm
 *     contrast: 8 B D
 *   losses = 8 sum over heads of V d + chunk           the classifier's gradient as the cross-entropy made it, and scaled
 *   backward = 4 (B L (f + 3 d) + V d) + chunk         gradients on their way through a block; of the word table; panels
 *   allocator = slack (all of the above)               blocks that are kept for the next step, and sizes rounded up
 *   batches = min(prefetchBytes, (prefetch + 1) batch) uint8 views and token ids as the loader makes them
 */
import type { NativeTokenizerConfig } from '../binding.js';
import { feedForwardWidth, geometry } from './load.js';
import type { TrainConfig } from './schema.js';
import { encoderParameters, parameterCounts } from './size.js';

/** Estimated peak bytes of a training process by owner. */
export interface MemoryEstimate {
  /** Node, libtorch and the addon themselves. */
  readonly runtime: number;
  readonly weights: number;
  readonly gradients: number;
  readonly optimizer: number;
  readonly momentum: number;
  readonly queues: number;
  readonly imageTokenizer: number;
  /** States kept for backward by one micro-batch. */
  readonly activations: number;
  /** The classifiers' gradients, and a chunk of logits. */
  readonly losses: number;
  /** What backward has in hand. */
  readonly backward: number;
  /** Freed blocks that are kept, and the rounding of sizes. */
  readonly allocator: number;
  /** Batches made ahead, at most. */
  readonly batches: number;
  /** Decoded pixels kept, at most. */
  readonly pixelCache: number;
  readonly total: number;
}

interface Trunk {
  readonly width: number;
  readonly layers: number;
  readonly mlpRatio: number;
}

const bytesPerFloat = 4;

/** Resident bytes of a process that has loaded the addon and made a small trainer (measured on Linux x64). */
const runtimeBytes = 250 * 2 ** 20;

/** Of the tensors in use: io/memory.h allows a quarter; 0.11 to 0.26 were measured on eight configs of the demo's to the paper's size. */
const slack = 0.19;

/** Logits that the cross-entropy holds at a time; and panels that the gradient of a linear layer does. */
const chunkBytes = 8 * 2 ** 20;

/** The peak of a run as configured. `pairs`: of an epoch, where it is known. */
export function memoryEstimate(
  config: TrainConfig,
  imageTokenizer: NativeTokenizerConfig,
  pairs: number | null = null,
): MemoryEstimate {
  const { queue, data, loss } = config;
  const counts = parameterCounts(config, imageTokenizer.vocab);
  const weights = bytesPerFloat * counts.trained;
  const tensors = {
    weights,
    gradients: weights,
    optimizer: 2 * weights,
    momentum: bytesPerFloat * (counts.image + counts.text + counts.projections),
    queues: queue.size * (2 * embeddingWidth(config) * bytesPerFloat + bytesPerFloat + 8 + 1),
    imageTokenizer: loss.weights.cmvm > 0 ? bytesPerFloat * encoderParameters(imageTokenizer) : 0,
    activations: Math.round(bytesPerFloat * keptFloats(config)),
    losses: lossBytes(config, imageTokenizer.vocab),
    backward: backwardBytes(config),
  };
  const parts = {
    runtime: runtimeBytes,
    ...tensors,
    allocator: Math.round(slack * sum(tensors)),
    batches: Math.min(data.prefetchBytes, (data.prefetch + 1) * batchBytes(config)),
    pixelCache: Math.min(data.cacheBytes, pairs === null ? Infinity : pairs * cachedImageBytes(config)),
  };
  return { ...parts, total: sum(parts) };
}

function sum(parts: Readonly<Record<string, number>>): number {
  return Object.values(parts).reduce((total, bytes) => total + bytes, 0);
}

/** The largest batch that fits, `train.accumulate` as it is; 0 where not even one pair a micro-batch does. */
export function largestBatch(
  config: TrainConfig,
  imageTokenizer: NativeTokenizerConfig,
  limitBytes: number,
  pairs: number | null = null,
): number {
  const { accumulate } = config.train;
  const fits = (batchSize: number): boolean =>
    memoryEstimate({ ...config, train: { ...config.train, batchSize } }, imageTokenizer, pairs).total <=
    limitBytes;
  let [low, high] = [0, accumulate];
  while (high < 2 ** 24 && fits(high)) [low, high] = [high, 2 * high];
  while (high - low > accumulate) {
    const middle = accumulate * Math.floor((low + high) / 2 / accumulate);
    if (fits(middle)) low = middle;
    else high = middle;
  }

  return low;
}

/** The fewest micro-batches with which the batch fits; null where single pairs do not. */
export function fewestMicroBatches(
  config: TrainConfig,
  imageTokenizer: NativeTokenizerConfig,
  limitBytes: number,
  pairs: number | null = null,
): number | null {
  const { batchSize } = config.train;
  for (let accumulate = 1; accumulate <= batchSize; accumulate = nextDivision(batchSize, accumulate)) {
    const cut = { ...config, train: { ...config.train, accumulate } };
    if (memoryEstimate(cut, imageTokenizer, pairs).total <= limitBytes) return accumulate;
  }

  return null;
}

/** The next number of parts that makes the largest part smaller. */
function nextDivision(whole: number, parts: number): number {
  const part = Math.ceil(whole / parts);
  return part === 1 ? whole + 1 : Math.ceil(whole / (part - 1));
}

/** Bytes of one batch as the loader makes it. */
export function batchBytes({ model, train, loss, data }: TrainConfig): number {
  const { size, view } = geometry(model);
  const pixels = size ** 2 + (loss.weights.cmvm > 0 ? view ** 2 : 0);
  return train.batchSize * (3 * pixels + bytesPerFloat * (data.textMaxLen + 5));
}

/** Decoded pixels of an image a quarter larger than the model's; 0 where that is more than is kept. */
function cachedImageBytes({ model, data }: TrainConfig): number {
  const bytes = 3 * Math.round(1.25 * model.image.size) ** 2;
  return bytes > data.cacheImageBytes ? 0 : bytes;
}

function embeddingWidth({ model }: TrainConfig): number {
  return model.embedDim === 0 ? model.image.width : model.embedDim;
}

function microBatch({ train }: TrainConfig): number {
  return Math.ceil(train.batchSize / train.accumulate);
}

/** Clean and masked passes of a tower. */
function passesOf({ token }: TrainConfig, tokenWeight: number): number {
  return token.passes === 'separate' && tokenWeight > 0 ? 2 : 1;
}

/** Floats of one micro-batch that backward needs. */
function keptFloats(config: TrainConfig): number {
  const { model, token, loss, data } = config;
  const { grid, size } = geometry(model);
  const { cmvm, cmlm } = loss.weights;
  const pass = (trunk: Trunk, tokens: number, states: number): number =>
    tokens * (trunk.layers * (states * trunk.width + feedForwardWidth(trunk)) + 3 * trunk.width);
  const image =
    passesOf(config, cmvm) * (pass(model.image, grid ** 2 + 1, 6) + 3 * size ** 2) + 3 * size ** 2;
  const text = passesOf(config, cmlm) * pass(model.text, data.textMaxLen, 8);
  const heads =
    (cmvm > 0 ? 5 * token.maskImage.ratio * grid ** 2 * model.image.width : 0) +
    (cmlm > 0 ? 5 * token.maskText.ratio * data.textMaxLen * model.text.width : 0);
  return microBatch(config) * (image + text + heads + 8 * embeddingWidth(config));
}

function lossBytes({ model, loss }: TrainConfig, codes: number): number {
  const { cmvm, cmlm } = loss.weights;
  const classifiers =
    (cmvm > 0 ? codes * model.image.width : 0) + (cmlm > 0 ? model.text.vocabSize * model.text.width : 0);
  return 2 * bytesPerFloat * classifiers + (cmvm + cmlm > 0 ? chunkBytes : 0);
}

function backwardBytes(config: TrainConfig): number {
  const { model, data } = config;
  const step = (trunk: Trunk, tokens: number): number =>
    microBatch(config) * tokens * (feedForwardWidth(trunk) + 3 * trunk.width);
  const widest = Math.max(
    step(model.image, geometry(model).grid ** 2 + 1),
    step(model.text, data.textMaxLen),
  );
  return bytesPerFloat * (widest + model.text.vocabSize * model.text.width) + chunkBytes;
}

/**
 * Peak memory of a training process by owner, from its config alone. Legend: d width, f feed-forward width, L tokens
 * (of clips, of all frames), V classes, B pairs of a micro-batch, M masked positions of it, D embedding.
 *
 *   weights = gradients = 4 n, optimizer = 8 n         n trained scalars, AdamW's two moments
 *   momentum = 4 n_m                                   n_m scalars of towers and projections
 *   queues = N_q (8 D + 13)                            two float32 rows, score, id, valid flag
 *   activations = 4 kept                               what backward needs of one micro-batch; kept = one image pass (the
 *                                                      masked one is done before the clean one begins), all text passes:
 *     a pass:   B L layers (6 d + f), BERT (8 d + f)   block's input, q, k, v, the attention's result, the sum after it, the
 *                                                      feed-forward layer before GELU; BERT's norms keep their input too
 *       train.checkpointing selective: 6 d, BERT 7 d   not the feed-forward layer, nor the input of the norm after it
 *                           full:      d               the block's input
 *               + 3 B L d + 6 B size^2                 embedding, final norm; pixels as float32, and cut into patches
 *     a head:   5 M d                                  gathered states, sum, dense, GELU, norm
 *     contrast: 8 B D
 *     in bfloat16: half of it, + 2 n                   and the weights rounded, which backward reads again
 *   losses = 4 sum over heads of V d + chunk           the classifier's gradient as the cross-entropy made it
 *   backward = 4 (B L (f + 3 d) + V d) + chunk         gradients on their way through a block; of the word table; panels
 *     with checkpointing: + 4 (B L (what a block does  a block's states, made again, and the gradients of the parameters
 *     not keep) + its parameters)                      that they are made with; in bfloat16 half of the states
 *   allocator = slack (all of the above)               freed memory that is kept for the next step
 *   batches = min(prefetchBytes, (prefetch + 1) batch) uint8 views and token ids as the loader makes them
 */
import type { NativeTokenizerConfig } from '../binding.js';
import { embeddingWidth, feedForwardWidth, geometry } from './load.js';
import type { ModelConfig, TrainConfig } from './schema.js';
import { blockParameters, encoderParameters, parameterCounts } from './size.js';

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
  /** Freed memory that is kept. */
  readonly allocator: number;
  /** Batches made ahead, at most. */
  readonly batches: number;
  /** Decoded pixels kept, at most. */
  readonly pixelCache: number;
  readonly total: number;
}

/** What is known of a run's pairs. */
export interface PairFacts {
  /** Of an epoch; null where it is not known. */
  readonly pairs: number | null;
  /** Of a pair: 1 for images. */
  readonly frames: number;
}

const someImages: PairFacts = { pairs: null, frames: 1 };

/** What is kept for backward: `train.checkpointing`. */
export type Checkpointing = TrainConfig['train']['checkpointing'];

interface Trunk {
  readonly width: number;
  readonly layers: number;
  readonly mlpRatio: number;
}

/** A tower's blocks, with the norms after each sum (BERT) or before each branch. */
interface Tower {
  readonly trunk: Trunk;
  readonly tokens: number;
  readonly postNorm: boolean;
}

const bytesPerFloat = 4;

/** Bytes of a number of the towers' states. */
const bytesPerState = ({ train }: TrainConfig): number =>
  train.precision === 'bfloat16' ? 2 : bytesPerFloat;

/** Resident bytes of a process that has loaded the addon and made a small trainer (measured on Linux x64). */
const runtimeBytes = 250 * 2 ** 20;

/** Of the tensors in use: io/memory.h allows 1/32, and the holes between blocks took 1/100 at the paper's size. */
const slack = 0.01;

/** Logits that the cross-entropy holds at a time; and panels that the gradient of a linear layer does. */
const chunkBytes = 8 * 2 ** 20;

/** The peak of a run as configured. */
export function memoryEstimate(
  config: TrainConfig,
  imageTokenizer: NativeTokenizerConfig,
  { pairs, frames }: PairFacts = someImages,
): MemoryEstimate {
  const { queue, data, loss } = config;
  const counts = parameterCounts(config, imageTokenizer.vocab);
  const weights = bytesPerFloat * counts.trained;
  const tensors = {
    weights,
    gradients: weights,
    optimizer: 2 * weights,
    momentum: bytesPerFloat * (counts.image + counts.text + counts.projections),
    queues: queue.size * (2 * embeddingWidth(config.model) * bytesPerFloat + bytesPerFloat + 8 + 1),
    imageTokenizer: loss.weights.cmvm > 0 ? bytesPerFloat * encoderParameters(imageTokenizer) : 0,
    activations:
      Math.round(bytesPerState(config) * keptStates(config, frames)) + roundedWeights(config, counts.trained),
    losses: lossBytes(config, imageTokenizer.vocab),
    backward: backwardBytes(config, frames),
  };
  const parts = {
    runtime: runtimeBytes,
    ...tensors,
    allocator: Math.round(slack * sum(tensors)),
    batches: Math.min(data.prefetchBytes, (data.prefetch + 1) * batchBytes(config, frames)),
    pixelCache: Math.min(data.cacheBytes, pairs === null ? Infinity : pairs * cachedImageBytes(config)),
  };
  return { ...parts, total: sum(parts) };
}

function sum(parts: Readonly<Record<string, number>>): number {
  return Object.values(parts).reduce((total, bytes) => total + bytes, 0);
}

/** Bytes of one batch as the loader makes it. */
export function batchBytes({ model, train, loss, data }: TrainConfig, frames = 1): number {
  const { size, view } = geometry(model);
  const pixels = size ** 2 + (loss.weights.cmvm > 0 ? view ** 2 : 0);
  return train.batchSize * (3 * frames * pixels + bytesPerFloat * (data.textMaxLen + 5));
}

/** Decoded pixels of an image a quarter larger than the model's; 0 where that is more than is kept. */
function cachedImageBytes({ model, data }: TrainConfig): number {
  const bytes = 3 * Math.round(1.25 * model.image.size) ** 2;
  return bytes > data.cacheImageBytes ? 0 : bytes;
}

function microBatch({ train }: TrainConfig): number {
  return Math.ceil(train.batchSize / train.accumulate);
}

/** Clean and masked passes of a text. */
function textPasses({ token, loss }: TrainConfig): number {
  return token.passes === 'separate' && loss.weights.cmlm > 0 ? 2 : 1;
}

/** Bytes of the weights as bfloat16, which are rounded where they meet activations. */
function roundedWeights({ train }: TrainConfig, trained: number): number {
  return train.precision === 'bfloat16' ? 2 * trained : 0;
}

/** States of one micro-batch that backward needs, in numbers. */
function keptStates(config: TrainConfig, frames: number): number {
  const { model, token, loss, data, train } = config;
  const { grid, size } = geometry(model);
  const { cmvm, cmlm } = loss.weights;
  const { image: vision, text: bert } = towersOf(config);
  const pass = (tower: Tower): number =>
    tower.tokens * (tower.trunk.layers * blockStates(tower, train.checkpointing) + 3 * tower.trunk.width);
  const image = frames * (pass(vision) + 6 * size ** 2);
  const text = textPasses(config) * pass(bert);
  const heads =
    (cmvm > 0 ? 5 * frames * token.maskImage.ratio * grid ** 2 * model.image.width : 0) +
    (cmlm > 0 ? 5 * token.maskText.ratio * data.textMaxLen * model.text.width : 0);
  return microBatch(config) * (image + text + heads + 8 * embeddingWidth(config.model));
}

function lossBytes({ model, loss }: TrainConfig, codes: number): number {
  const { cmvm, cmlm } = loss.weights;
  const classifiers =
    (cmvm > 0 ? codes * model.image.width : 0) + (cmlm > 0 ? model.text.vocabSize * model.text.width : 0);
  return bytesPerFloat * classifiers + (cmvm + cmlm > 0 ? chunkBytes : 0);
}

function backwardBytes(config: TrainConfig, frames: number): number {
  const { model, train } = config;
  const block = (tower: Tower, tokens: number): number => {
    const { trunk } = tower;
    const again = blockStates(tower, 'off') - blockStates(tower, train.checkpointing);
    const states = feedForwardWidth(trunk) + 3 * trunk.width + again;
    const parameters = again > 0 ? blockParameters(trunk) : 0;
    return bytesPerState(config) * microBatch(config) * tokens * states + bytesPerFloat * parameters;
  };
  const { image, text } = towersOf(config);
  const widest = Math.max(block(image, frames * image.tokens), block(text, text.tokens));
  return widest + bytesPerFloat * model.text.vocabSize * model.text.width + chunkBytes;
}

function towersOf({ model, data }: { model: ModelConfig; data: TrainConfig['data'] }) {
  return {
    image: { trunk: model.image, tokens: geometry(model).grid ** 2 + 1, postNorm: false },
    text: { trunk: model.text, tokens: data.textMaxLen, postNorm: model.text.norm === 'post' },
  };
}

/** Floats that backward has of a token in one block. */
function blockStates({ trunk, postNorm }: Tower, checkpointing: Checkpointing): number {
  const { width } = trunk;
  switch (checkpointing) {
    case 'off':
      return (postNorm ? 8 : 6) * width + feedForwardWidth(trunk);
    case 'selective':
      return (postNorm ? 7 : 6) * width;
    case 'full':
      return width;
  }
}

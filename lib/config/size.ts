/** Parameters and memory of a run, counted from its config. */
import type { NativeTokenizerConfig } from '../binding.js';
import { feedForwardWidth, geometry } from './load.js';
import type { TrainConfig } from './schema.js';

/** Scalars by part. */
export interface ParameterCounts {
  readonly image: number;
  readonly text: number;
  readonly projections: number;
  readonly cmvmHead: number;
  readonly cmlmHead: number;
  /** All that the optimizer moves. */
  readonly trained: number;
}

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
  /** States kept for backward by one micro-batch, and the largest temporary. */
  readonly activations: number;
  /** Batches made ahead, at most. */
  readonly batches: number;
  /** Decoded pixels kept, at most. */
  readonly pixelCache: number;
  readonly total: number;
}

interface Trunk {
  readonly width: number;
  readonly layers: number;
  readonly heads: number;
  readonly mlpRatio: number;
}

const bytesPerFloat = 4;

/** Resident bytes of a process that has loaded the addon and made a small trainer (measured on Linux x64). */
const runtimeBytes = 250 * 2 ** 20;

/** What the allocator and short-lived tensors add to the states that backward keeps (measured at the demo's size). */
const activationOverhead = 1.1;

/** Rows of logits that the chunked cross-entropy holds at once (SPEC 3.4). */
const crossEntropyRows = 4096;

/** Scalars of a network with its heads. */
export function parameterCounts(
  { model, token }: Pick<TrainConfig, 'model' | 'token'>,
  codes: number,
): ParameterCounts {
  const { image, text, embedDim } = model;
  const patches = geometry(model).grid ** 2;
  const vision =
    blocks(image) +
    linear(3 * image.patch ** 2, image.width) +
    (patches + 3) * image.width +
    norm(image.width) +
    variants(model);
  const bert = blocks(text) + (text.vocabSize + text.maxPositions + 2) * text.width + norm(text.width);
  const projections = embedDim === 0 ? 0 : linear(image.width, embedDim) + linear(text.width, embedDim);
  const bare = token.headImage === 'bare';
  const joined = (own: number, other: number) =>
    (token.fusion === 'concat' ? linear(2 * own, own) : 0) +
    (token.fusion !== 'none' && token.globalSource !== 'hidden'
      ? linear(embedDim === 0 ? other : embedDim, own)
      : 0);
  const cmvmHead =
    (bare ? 0 : linear(image.width, image.width) + norm(image.width)) +
    linear(image.width, codes) +
    joined(image.width, text.width);
  const cmlmHead =
    linear(text.width, text.width) + norm(text.width) + text.vocabSize + joined(text.width, image.width);
  return {
    image: vision,
    text: bert,
    projections,
    cmvmHead,
    cmlmHead,
    trained: vision + bert + projections + cmvmHead + cmlmHead + 1,
  };
}

/** Peak bytes of a training process: weights, optimizer, queues exactly, the rest by estimate. */
export function memoryEstimate(config: TrainConfig, imageTokenizer: NativeTokenizerConfig): MemoryEstimate {
  const { model, queue, data, loss } = config;
  const counts = parameterCounts(config, imageTokenizer.vocab);
  const dim = model.embedDim === 0 ? model.image.width : model.embedDim;
  const weights = bytesPerFloat * counts.trained;
  const parts = {
    runtime: runtimeBytes,
    weights,
    gradients: weights,
    optimizer: 2 * weights, // two moments
    momentum: bytesPerFloat * (counts.image + counts.text + counts.projections),
    queues: queue.size * (2 * dim * bytesPerFloat + bytesPerFloat + 8 + 1),
    imageTokenizer: loss.weights.cmvm > 0 ? bytesPerFloat * encoderParameters(imageTokenizer) : 0,
    activations: activationBytes(config, imageTokenizer.vocab),
    batches: Math.min(data.prefetchBytes, (data.prefetch + 1) * batchBytes(config)),
    pixelCache: data.cacheBytes,
  };
  return { ...parts, total: Object.values(parts).reduce((sum, bytes) => sum + bytes, 0) };
}

/** Bytes of one batch as the loader makes it. */
export function batchBytes({ model, train, loss, data }: TrainConfig): number {
  const { size, view } = geometry(model);
  const pixels = size ** 2 + (loss.weights.cmvm > 0 ? view ** 2 : 0);
  return train.batchSize * (3 * pixels + bytesPerFloat * (data.textMaxLen + 5));
}

/**
 * What backward needs of a block, a token: the two norms' inputs and outputs, q, k, v, the attention's result, the
 * feed-forward layer before and after GELU: 8 * width + 2 * feedForwardWidth floats, and a log-sum-exp a head.
 */
function activationBytes({ model, token, train, loss, data }: TrainConfig, codes: number): number {
  const micro = Math.ceil(train.batchSize / train.accumulate);
  const patches = geometry(model).grid ** 2;
  const perToken = (trunk: Trunk) =>
    trunk.layers * (8 * trunk.width + 2 * feedForwardWidth(trunk) + trunk.heads);
  const passes = (weight: number) => (token.passes === 'separate' && weight > 0 ? 2 : 1);
  const image = passes(loss.weights.cmvm) * (patches + 1) * perToken(model.image);
  const text = passes(loss.weights.cmlm) * data.textMaxLen * perToken(model.text);
  const cmvmRows =
    loss.weights.cmvm > 0 ? Math.min(crossEntropyRows, micro * patches * token.maskImage.ratio) : 0;
  const cmlmRows =
    loss.weights.cmlm > 0 ? Math.min(crossEntropyRows, micro * data.textMaxLen * token.maskText.ratio) : 0;
  const logits = 2 * Math.max(cmvmRows * codes, cmlmRows * model.text.vocabSize);
  return Math.round(activationOverhead * bytesPerFloat * (micro * (image + text) + logits));
}

function encoderParameters({ arch, hidden, blocks: count, vocab }: NativeTokenizerConfig): number {
  const conv = (kernel: number, from: number, to: number) => kernel ** 2 * from * to + to;
  if (arch === 'small') {
    const residual = 2 * conv(3, hidden, hidden) + conv(1, hidden, hidden);
    return conv(4, 3, hidden) + 2 * conv(4, hidden, hidden) + count * residual + conv(1, hidden, vocab);
  }

  let total = conv(7, 3, hidden) + conv(1, 8 * hidden, vocab);
  let from = hidden;
  for (let group = 0; group < 4; group++) {
    const to = hidden * 2 ** group;
    for (let block = 0; block < count; block++) {
      total +=
        conv(3, from, to / 4) +
        2 * conv(3, to / 4, to / 4) +
        conv(1, to / 4, to) +
        (from === to ? 0 : conv(1, from, to));
      from = to;
    }
  }

  return total;
}

function blocks(trunk: Trunk): number {
  const { width, layers } = trunk;
  const ffn = feedForwardWidth(trunk);
  return (
    layers *
    (linear(width, 3 * width) +
      linear(width, width) +
      linear(width, ffn) +
      linear(ffn, width) +
      2 * norm(width))
  );
}

/** What BEiT's and CLIP's variants add to a plain ViT. */
function variants(model: TrainConfig['model']): number {
  const { image } = model;
  const offsets = (2 * geometry(model).grid - 1) ** 2 + 3;
  return (
    (image.inputNorm ? norm(image.width) : 0) +
    (image.layerScale ? 2 * image.layers * image.width : 0) +
    (image.relativeBias ? image.layers * offsets * image.heads : 0)
  );
}

function linear(from: number, to: number): number {
  return from * to + to;
}

function norm(width: number): number {
  return 2 * width;
}

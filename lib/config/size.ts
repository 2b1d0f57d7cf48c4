/** Parameters of a network, counted from its config. */
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

interface Trunk {
  readonly width: number;
  readonly layers: number;
  readonly mlpRatio: number;
}

/** Scalars of a network with its heads. */
export function parameterCounts(
  { model, token }: Pick<TrainConfig, 'model' | 'token'>,
  codes: number,
): ParameterCounts {
  const { image, text, embedDim } = model;
  const patches = geometry(model).grid ** 2;
  const vision =
    image.layers * blockParameters(image) +
    linear(3 * image.patch ** 2, image.width) +
    (patches + 3) * image.width +
    norm(image.width) +
    variants(model);
  const bert =
    text.layers * blockParameters(text) +
    (text.vocabSize + text.maxPositions + 2) * text.width +
    norm(text.width);
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

/** Scalars of the image tokenizer's encoder. */
export function encoderParameters({ arch, hidden, blocks: count, vocab }: NativeTokenizerConfig): number {
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

/** Scalars of one Transformer block. */
export function blockParameters(trunk: Pick<Trunk, 'width' | 'mlpRatio'>): number {
  const { width } = trunk;
  const ffn = feedForwardWidth(trunk);
  return (
    linear(width, 3 * width) +
    linear(width, width) +
    linear(width, ffn) +
    linear(ffn, width) +
    2 * norm(width)
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

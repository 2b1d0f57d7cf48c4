/** Floating-point operations of one pair (SPEC 8): a multiply-add counts 2; softmax, norms and GELU are left out. */
import type { NativeTokenizerConfig } from '../binding.js';
import { embeddingWidth, feedForwardWidth, geometry } from './load.js';
import type { ModelConfig, TrainConfig } from './schema.js';

/** Flops of one training pair by part. */
export interface PairFlops {
  /** One forward pass of a tower; of a clip, over all its frames. */
  readonly image: number;
  readonly text: number;
  /** One pass of the frozen image tokenizer over the same; 0 without CMVM. */
  readonly imageTokenizer: number;
  /** One forward pass of a head over a pair's masked positions; 0 where its loss is off. */
  readonly cmvmHead: number;
  readonly cmlmHead: number;
  /** Instance and task losses with their gradients. */
  readonly contrast: number;
  /** All of a training step: forward, backward, momentum. */
  readonly total: number;
}

interface Trunk {
  readonly width: number;
  readonly layers: number;
  readonly mlpRatio: number;
}

/** n layers over L tokens: n * [2 L (4 d^2 + 2 d f) + 4 L^2 d]. */
function transformerFlops(trunk: Trunk, tokens: number): number {
  const { width, layers } = trunk;
  const ffn = feedForwardWidth(trunk);
  return layers * (2 * tokens * (4 * width ** 2 + 2 * width * ffn) + 4 * tokens ** 2 * width);
}

/** One forward pass of the vision Transformer over one image, patch embedding included. */
export function imageFlops(model: ModelConfig): number {
  const { image } = model;
  const patches = geometry(model).grid ** 2;
  return transformerFlops(image, patches + 1) + 2 * patches * 3 * image.patch ** 2 * image.width;
}

/** One forward pass of BERT over one caption of `tokens` tokens. */
export function textFlops(model: ModelConfig, tokens: number): number {
  return transformerFlops(model.text, tokens);
}

/** One pass of the image tokenizer's encoder over a `side` x `side` image (SPEC 4.1, 4.5). */
export function tokenizerFlops({ arch, hidden, blocks, vocab }: NativeTokenizerConfig, side: number): number {
  const conv = (area: number, kernel: number, from: number, to: number) => 2 * area * kernel ** 2 * from * to;
  const grid = (side / 8) ** 2;
  if (arch === 'small') {
    const down =
      conv(grid * 16, 4, 3, hidden) + conv(grid * 4, 4, hidden, hidden) + conv(grid, 4, hidden, hidden);
    const residual = 2 * conv(grid, 3, hidden, hidden) + conv(grid, 1, hidden, hidden);
    return down + blocks * residual + conv(grid, 1, hidden, vocab);
  }

  let total = conv(side ** 2, 7, 3, hidden) + conv(grid, 1, 8 * hidden, vocab);
  let from = hidden;
  for (let group = 0; group < 4; group++) {
    const to = hidden * 2 ** group;
    const area = (side / 2 ** group) ** 2;
    for (let block = 0; block < blocks; block++) {
      const inner = to / 4;
      total += conv(area, 3, from, inner) + 2 * conv(area, 3, inner, inner) + conv(area, 1, inner, to);
      if (from !== to) total += conv(area, 1, from, to);
      from = to;
    }
  }

  return total;
}

/**
 * C = k_I F_I + k_T F_T + F_dVAE + 3 (F_cmvm + F_cmlm) + 12 N_q D. A tower runs 1 clean and 1 momentum forward pass and
 * a backward of twice the cost: k = 4; a masked pass of its own adds 3. `frames`: of a clip.
 */
export function pairFlops(
  config: TrainConfig,
  tokens: number,
  imageTokenizer: NativeTokenizerConfig,
  frames = 1,
): PairFlops {
  const { model, token, loss, queue } = config;
  const { grid, view } = geometry(model);
  const cmvm = loss.weights.cmvm > 0;
  const cmlm = loss.weights.cmlm > 0;
  const separate = token.passes === 'separate' ? 3 : 0;
  const head = (masked: number, width: number, classes: number) =>
    2 * masked * (width ** 2 + width * classes);
  const dim = embeddingWidth(model);
  const parts = {
    image: frames * imageFlops(model),
    text: textFlops(model, tokens),
    imageTokenizer: cmvm ? frames * tokenizerFlops(imageTokenizer, view) : 0,
    cmvmHead: cmvm
      ? frames * head(Math.round(token.maskImage.ratio * grid ** 2), model.image.width, imageTokenizer.vocab)
      : 0,
    cmlmHead: cmlm ? head(token.maskText.ratio * (tokens - 2), model.text.width, model.text.vocabSize) : 0,
    contrast: 12 * queue.size * dim,
  };
  const total =
    (4 + (cmvm ? separate : 0)) * parts.image +
    (4 + (cmlm ? separate : 0)) * parts.text +
    parts.imageTokenizer +
    3 * (parts.cmvmHead + parts.cmlmHead) +
    parts.contrast;
  return { ...parts, total };
}

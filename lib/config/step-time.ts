/**
 * Time of one optimizer step, from the machine's rate of matrix products of the model's own shapes and of reading memory, which
 * `measureRates` times in about a second. Legend: T tokens of a micro-batch, L tokens of an item, d width, f feed-forward width, V classes,
 * M masked positions, D embedding.
 *
 *   product(r, i, c) = 2 r i c / rate(min(r, 4096), i, c)           the measured rate of X [r, i] W [i, c]
 *   block forward  = product(T, d, 3d) + product(T, d, d) + product(T, d, f) + product(T, f, d)
 *                    + 4 T L d / (peak attentionShare) + 4 T (11 d + 2 f) / bytes
 *   block backward = 2 products + 2.5 attentions + 2 passes over memory, and with train.checkpointing what is made again:
 *     selective    = product(T, d, f), with a norm after it also product(T, f, d)
 *     full         = block forward, but without a norm after it product(T, f, d)
 *   tower          = momentum forward + passes (forward + backward)
 *   tokenizer      = its flops / (peak convolutionShare)
 *   head           = 3 product(M, d, d) + 3 product(M, d, V)         forward and two gradients
 *   contrast       = 12 B N_q D / (peak contrastShare)
 *   update         = 4 (9 n + 3 n_m) / bytes                         AdamW 7, norm 1, zeroing 1; EMA 3
 *   and `secondsAnOp` for each operation of a block, of which a small model's step mostly is made.
 * `peak` is the rate at 1,024 x 1,024 x 1,024; the shares of it were fitted once, and bench/plan.ts checks them. Loading is hidden behind
 * the step.
 */
import type { NativeTokenizerConfig } from '../binding.js';
import { tokenizerFlops } from './flops.js';
import { feedForwardWidth, geometry } from './load.js';
import type { TrainConfig } from './schema.js';
import { parameterCounts } from './size.js';

/** X [rows, inner] times W [inner, columns]. */
export type ProductShape = readonly [rows: number, inner: number, columns: number];

/** What this machine does in a second. */
export interface MachineRates {
  /** Flops of a product of one of `productShapes`. */
  product(shape: ProductShape): number;
  /** Flops of a large product. */
  readonly peak: number;
  /** Bytes read from memory. */
  readonly bytes: number;
}

/** Seconds of one optimizer step by part, as `cots bench train` names them. */
export interface StepSeconds {
  readonly tokenise: number;
  readonly momentum: number;
  /** Clean and masked passes. */
  readonly forward: number;
  readonly losses: number;
  readonly backward: number;
  readonly optimizer: number;
  readonly total: number;
}

const bytesPerFloat = 4;

/** More rows go at the same rate, and would take gigabytes and a minute to time. */
const mostRows = 4096;

/** Shares of the peak that kernels reach which are no plain products. */
const attentionShare = 0.5;
const convolutionShare = 0.68;
const contrastShare = 0.5;

/** Start and end of a parallel operation. */
const secondsAnOp = 1e-5;
const opsForward = 25;
const opsBackward = 50;

interface Trunk {
  readonly width: number;
  readonly layers: number;
  readonly mlpRatio: number;
}

/** The products whose rates `stepSeconds` asks for, of at most 4,096 rows. */
export function productShapes(config: TrainConfig, codes: number): ProductShape[] {
  const shapes = towersOf(config).flatMap(({ trunk, tokens }) => blockShapes(trunk, tokens));
  const heads = headsOf(config, codes).flatMap(({ rows, width, classes }): ProductShape[] => [
    [rows, width, width],
    [chunkRows(rows, classes), width, classes],
  ]);
  return [...shapes, ...heads].map(timedShape);
}

function timedShape([rows, inner, columns]: ProductShape): ProductShape {
  return [Math.min(rows, mostRows), inner, columns];
}

/** The time of a step as configured, captions of `data.textMaxLen` tokens, every pair kept by the filter. */
export function stepSeconds(
  config: TrainConfig,
  imageTokenizer: NativeTokenizerConfig,
  rates: MachineRates,
): StepSeconds {
  const { model, train, loss, queue } = config;
  const micro = microBatch(config);
  const counts = parameterCounts(config, imageTokenizer.vocab);
  const moved = (floats: number): number => (bytesPerFloat * floats) / rates.bytes;
  const parts = { tokenise: 0, momentum: 0, forward: 0, losses: 0, backward: 0, optimizer: 0 };
  for (const tower of towersOf(config)) {
    const { trunk, passes } = tower;
    const { forward, backward, again } = blockSeconds(tower, rates);
    parts.momentum += trunk.layers * forward;
    parts.forward += passes * trunk.layers * forward;
    parts.backward += passes * trunk.layers * (backward + again[train.checkpointing]);
  }

  for (const { rows, width, classes } of headsOf(config, imageTokenizer.vocab)) {
    const dense = productSeconds([rows, width, width], rates);
    const chunk = chunkRows(rows, classes);
    // The cross-entropy makes its gradients with the loss; backward scales them and adds them.
    parts.losses += dense + (3 * rows * productSeconds([chunk, width, classes], rates)) / chunk;
    parts.backward += 2 * dense + moved(4 * width * classes);
  }

  const dim = model.embedDim === 0 ? model.image.width : model.embedDim;
  parts.losses += (12 * micro * queue.size * dim) / (contrastShare * rates.peak);
  if (loss.weights.cmvm > 0)
    parts.tokenise +=
      (micro * tokenizerFlops(imageTokenizer, geometry(model).view)) / (convolutionShare * rates.peak);
  for (const name of Object.keys(parts) as (keyof typeof parts)[]) parts[name] *= train.accumulate;
  parts.momentum += moved(3 * (counts.image + counts.text + counts.projections));
  parts.optimizer += moved(9 * counts.trained);
  return { ...parts, total: Object.values(parts).reduce((sum, seconds) => sum + seconds, 0) };
}

interface Tower {
  readonly trunk: Trunk;
  /** Of a micro-batch, and of one item. */
  readonly tokens: number;
  readonly length: number;
  /** Backward reads what a block gives: there is a norm after each sum, or a scale before it. */
  readonly readsResult: boolean;
  /** Online passes. */
  readonly passes: number;
}

function towersOf(config: TrainConfig): Tower[] {
  const { model, token, loss, data } = config;
  const tower = (trunk: Trunk, length: number, weight: number, readsResult: boolean): Tower => ({
    trunk,
    tokens: microBatch(config) * length,
    length,
    readsResult,
    passes: token.passes === 'separate' && weight > 0 ? 2 : 1,
  });
  return [
    tower(model.image, geometry(model).grid ** 2 + 1, loss.weights.cmvm, model.image.layerScale),
    tower(model.text, data.textMaxLen, loss.weights.cmlm, model.text.norm === 'post'),
  ];
}

interface Head {
  readonly rows: number;
  readonly width: number;
  readonly classes: number;
}

function headsOf(config: TrainConfig, codes: number): Head[] {
  const { model, token, loss, data } = config;
  const masked = (positions: number, ratio: number): number =>
    Math.max(1, Math.round(microBatch(config) * positions * ratio));
  const image = {
    rows: masked(geometry(model).grid ** 2, token.maskImage.ratio),
    width: model.image.width,
    classes: codes,
  };
  const text = {
    rows: masked(data.textMaxLen - 2, token.maskText.ratio),
    width: model.text.width,
    classes: model.text.vocabSize,
  };
  return [...(loss.weights.cmvm > 0 ? [image] : []), ...(loss.weights.cmlm > 0 ? [text] : [])];
}

/** Rows of logits that the cross-entropy makes at a time: 8 MiB of them. */
function chunkRows(rows: number, classes: number): number {
  return Math.min(rows, Math.max(32, Math.floor(2 ** 21 / classes)));
}

function microBatch({ train }: TrainConfig): number {
  return Math.ceil(train.batchSize / train.accumulate);
}

function blockShapes(trunk: Trunk, tokens: number): ProductShape[] {
  const d = trunk.width;
  const f = feedForwardWidth(trunk);
  return [
    [tokens, d, 3 * d],
    [tokens, d, d],
    [tokens, d, f],
    [tokens, f, d],
  ];
}

interface BlockSeconds {
  readonly forward: number;
  readonly backward: number;
  /** What backward makes again. */
  readonly again: Readonly<Record<TrainConfig['train']['checkpointing'], number>>;
}

function blockSeconds({ trunk, tokens, length, readsResult }: Tower, rates: MachineRates): BlockSeconds {
  const each = blockShapes(trunk, tokens).map((shape) => productSeconds(shape, rates));
  const [, , widen = 0, narrow = 0] = each;
  const products = each.reduce((sum, seconds) => sum + seconds, 0);
  const attention = (4 * tokens * length * trunk.width) / (attentionShare * rates.peak);
  const memory = (bytesPerFloat * tokens * (11 * trunk.width + 2 * feedForwardWidth(trunk))) / rates.bytes;
  const forward = products + attention + memory + opsForward * secondsAnOp;
  return {
    forward,
    backward: 2 * products + 2.5 * attention + 2 * memory + opsBackward * secondsAnOp,
    again: {
      off: 0,
      selective: widen + (readsResult ? narrow : 0),
      full: forward - (readsResult ? 0 : narrow),
    },
  };
}

function productSeconds(shape: ProductShape, rates: MachineRates): number {
  const [rows, inner, columns] = shape;
  return (2 * rows * inner * columns) / rates.product(timedShape(shape));
}

/** A resolved config in the shape that the native addon takes. */
import {
  binding,
  type NativeModelConfig,
  type NativeOptimizerConfig,
  type NativeTokenizerConfig,
  type NativeTokenizerTrainConfig,
  type NativeTrainConfig,
} from '../binding.js';
import type { ResolvedDevice } from '../device.js';
import { localRank } from './environment.js';
import { geometry } from './load.js';
import type { ModelConfig, TrainConfig } from './schema.js';

/** What a run knows only once its files are read. */
export interface RunFacts {
  /** Optimizer steps of the whole run: the cosine ends there. */
  readonly totalSteps: number;
  /** Ids of the special tokens in the vocabulary in use. */
  readonly words: { readonly pad: number; readonly cls: number; readonly sep: number; readonly mask: number };
  /** Codes of the image tokenizer in use; `token.vocab` where there is none. */
  readonly codes: number;
}

/** Sizes and variants of the network. */
export function nativeModelConfig({ image, text, pool, towers, embedDim }: ModelConfig): NativeModelConfig {
  const { size, patch, dropPath, inputNorm, layerScale, relativeBias, pooledNorm } = image;
  const { vocabSize, maxPositions, dropout, norm, causal } = text;
  return {
    image: {
      size,
      patch,
      ...trunk(image),
      dropPath,
      pool: image.pool ?? pool,
      inputNorm,
      layerScale,
      relativeBias,
      pooledNorm,
    },
    text: { ...trunk(text), vocabSize, maxPositions, dropout, pool: text.pool ?? pool, norm, causal },
    towers,
    embedDim,
  };
}

/** Everything a trainer needs to know. */
export function nativeTrainConfig(
  config: TrainConfig,
  { totalSteps, words, codes }: RunFacts,
): NativeTrainConfig {
  const { model, token, queue, loss, amf, optim, train, guard, data } = config;
  return {
    model: nativeModelConfig(model),
    token: {
      maskImageRatio: token.maskImage.ratio,
      maskImageMode: token.maskImage.mode,
      maskImageExact: token.maskImage.exact,
      maskTextRatio: token.maskText.ratio,
      maskId: words.mask,
      passes: token.passes,
      globalSource: token.globalSource,
      fusion: token.fusion,
      headImage: token.headImage,
      vocab: codes,
    },
    queue: {
      size: queue.size,
      includeBatchKeys: queue.includeBatchKeys,
      randomInit: queue.init === 'random',
      duplicates: queue.dupPolicy,
    },
    loss: nativeLoss(loss),
    filter: {
      enabled: amf.enabled,
      k: amf.k,
      applyTo: amf.applyTo,
      minValid: amf.minValid ?? queue.size,
      minKeepFraction: amf.minKeepFrac,
    },
    optimizer: nativeOptimizer(config, totalSteps),
    layerDecay: optim.layerDecay,
    emaM: momentumOf(config),
    seed: train.seed,
    accumulate: train.accumulate,
    checkpointing: train.checkpointing,
    maxNonFinite: guard.maxNonFinite,
    bucketBytes: Math.round(optim.bucketMegabytes * 1e6),
    shardedOptimizer: optim.sharded,
    weightInit: train.weightInit,
    ...trainingPlacement(config),
    imageMean: data.imageNorm.mean,
    imageStd: data.imageNorm.std,
  };
}

/**
 * Where a run trains and in which number type. `cuda` is the GPU of this process's place among those of its machine (LOCAL_RANK); where a
 * launcher shows each process its own GPU alone, that one.
 */
export function trainingPlacement(
  { train }: Pick<TrainConfig, 'train'>,
  place: { localRank: number; gpus: number } = { localRank: localRank(), gpus: visibleGpus(train) },
): {
  device: ResolvedDevice;
  precision: 'float32' | 'bfloat16';
} {
  const device =
    train.device === 'cuda'
      ? (`cuda:${place.localRank % Math.max(1, place.gpus)}` as const)
      : (train.device as ResolvedDevice); // the schema's pattern
  return { device, precision: train.precision === 'bfloat16' ? 'bfloat16' : 'float32' };
}

/** The number type of the plans of a snapshot: float32 on a CPU, whatever training computes in. */
export function snapshotPrecision(config: Pick<TrainConfig, 'train'>): 'float32' | 'bfloat16' {
  const { device, precision } = trainingPlacement(config);
  return device === 'cpu' ? 'float32' : precision;
}

function visibleGpus({ device }: TrainConfig['train']): number {
  return device === 'cpu' ? 0 : binding().info().cuda.devices.length;
}

/** `ema.m`, rescaled to the batch in use where it was meant for another: the towers then follow the same number of pairs behind. */
export function momentumOf({ ema, train }: Pick<TrainConfig, 'ema' | 'train'>): number {
  return ema.baseBatch === null ? ema.m : ema.m ** (train.batchSize / ema.baseBatch);
}

/** The network of the image tokenizer. */
export function nativeTokenizerConfig({
  tokenizer,
  token,
}: Pick<TrainConfig, 'tokenizer' | 'token'>): NativeTokenizerConfig {
  const { arch, hidden, codebookDim, blocks, pixels } = tokenizer;
  return { arch, vocab: token.vocab, hidden, codebookDim, blocks, pixels };
}

/** Everything the training of an image tokenizer needs to know. The rate of SPEC 4.5's `small`: Adam, no decay of weights. */
export function nativeTokenizerTrainConfig(
  config: Pick<TrainConfig, 'tokenizer' | 'token' | 'train'>,
  totalSteps: number,
): NativeTokenizerTrainConfig {
  const { tokenizer, train } = config;
  return {
    tokenizer: nativeTokenizerConfig(config),
    reconstruction: tokenizer.reconstruction,
    temperatureStart: tokenizer.temperatureStart,
    temperatureMin: tokenizer.temperatureMin,
    temperatureRate: tokenizer.temperatureRate,
    klWeight: tokenizer.klWeight,
    klWarmupSteps: tokenizer.klWarmupSteps,
    optimizer: {
      lr: tokenizer.lr,
      beta1: 0.9,
      beta2: 0.999,
      eps: 1e-8,
      weightDecay: 0,
      clipGrad: tokenizer.clipGrad,
      warmupSteps: 0,
      warmupFrom: 0,
      minLr: 0,
      totalSteps,
    },
    lrDecay: tokenizer.lrDecay,
    seed: train.seed,
  };
}

/** The image tokenizer's training settings, with what they inherit filled in. */
export function tokenizerRun({ tokenizer, token, train, model }: TrainConfig): {
  size: number;
  batchSize: number;
  steps: number | null;
  out: string;
} {
  return {
    size: tokenizer.size ?? geometry(model).view,
    batchSize: tokenizer.batchSize ?? train.batchSize,
    steps: tokenizer.steps ?? train.steps,
    out: tokenizer.out ?? token.tokenizer ?? train.out,
  };
}

function trunk(tower: ModelConfig['image'] | ModelConfig['text']) {
  const { width, layers, heads, mlpRatio, layerNormEps, activation } = tower;
  return { width, layers, heads, mlpRatio, layerNormEps, activation };
}

function nativeLoss(loss: TrainConfig['loss']): NativeTrainConfig['loss'] {
  return {
    tau: loss.tau,
    tauLearnable: loss.tauLearnable,
    weightInstance: loss.weights.instance,
    weightCmvm: loss.weights.cmvm,
    weightCmlm: loss.weights.cmlm,
    weightTask: loss.weights.task,
    instanceMean: loss.inst.reduction === 'mean',
    taskIncludePositive: loss.task.includePositive,
    taskStopgradTarget: loss.task.stopgrad === 'target',
    taskHalf: loss.task.half,
    taskWarmupSteps: loss.task.warmupSteps,
  };
}

function nativeOptimizer({ optim, sched }: TrainConfig, totalSteps: number): NativeOptimizerConfig {
  const { layerDecay: _, sharded: __, bucketMegabytes: ___, ...adamW } = optim;
  return { ...adamW, ...sched, totalSteps };
}

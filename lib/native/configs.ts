/** Types of the addon (native/addon). Configs as the addon takes them: complete, the defaults are in lib/config. */

export interface NativeModelConfig {
  image: {
    size: number;
    patch: number;
    width: number;
    layers: number;
    heads: number;
    mlpRatio: number;
    dropPath: number;
    layerNormEps: number;
    pool: 'cls' | 'mean';
    activation: 'gelu' | 'quick_gelu';
    inputNorm: boolean;
    layerScale: boolean;
    relativeBias: boolean;
    pooledNorm: boolean;
  };
  text: {
    width: number;
    layers: number;
    heads: number;
    mlpRatio: number;
    vocabSize: number;
    maxPositions: number;
    dropout: number;
    layerNormEps: number;
    pool: 'cls' | 'mean' | 'last';
    activation: 'gelu' | 'quick_gelu';
    norm: 'pre' | 'post';
    causal: boolean;
  };
  towers: 'both' | 'image' | 'text';
  /** 0: no projection. */
  embedDim: number;
}

export interface NativeTokenConfig {
  maskImageRatio: number;
  maskImageMode: 'block' | 'random';
  maskImageExact: boolean;
  maskTextRatio: number;
  maskId: number;
  passes: 'separate' | 'shared';
  globalSource: 'hidden' | 'embed' | 'momentum';
  fusion: 'add' | 'concat' | 'none';
  headImage: 'mlp' | 'bare';
  vocab: number;
}

/** Mirror of native/train/config.h. */
export interface NativeTrainConfig {
  model: NativeModelConfig;
  token: NativeTokenConfig;
  queue: {
    size: number;
    includeBatchKeys: boolean;
    randomInit: boolean;
    duplicates: 'keep' | 'mask_same_image' | 'multi_positive';
  };
  loss: {
    tau: number;
    tauLearnable: boolean;
    weightInstance: number;
    weightCmvm: number;
    weightCmlm: number;
    weightTask: number;
    instanceMean: boolean;
    taskIncludePositive: boolean;
    taskStopgradTarget: boolean;
    taskHalf: boolean;
    taskWarmupSteps: number;
  };
  filter: {
    enabled: boolean;
    k: number;
    applyTo: 'all' | 'contrast';
    minValid: number;
    minKeepFraction: number;
  };
  optimizer: NativeOptimizerConfig;
  /** Factor on the learning rate a layer, from the output down. */
  layerDecay: number;
  emaM: number;
  seed: number;
  accumulate: number;
  checkpointing: 'off' | 'selective' | 'full';
  maxNonFinite: number;
  /** With several ranks: bytes of gradients summed in one go, and whether each rank updates its part alone (ZeRO-1). */
  bucketBytes: number;
  shardedOptimizer: boolean;
  weightInit: 'fixed' | 'fan_in';
  /** `cpu` or `cuda:N`, and the type that activations are computed in; weights are float32. */
  device: 'cpu' | `cuda:${number}`;
  precision: 'float32' | 'bfloat16';
  imageMean: [number, number, number];
  imageStd: [number, number, number];
}

export interface NativeOptimizerConfig {
  lr: number;
  beta1: number;
  beta2: number;
  eps: number;
  weightDecay: number;
  clipGrad: number;
  warmupSteps: number;
  warmupFrom: number;
  minLr: number;
  totalSteps: number;
}

export interface NativeTokenizerConfig {
  arch: 'openai' | 'small';
  vocab: number;
  hidden: number;
  codebookDim: number;
  blocks: number;
  pixels: 'map_pixels' | 'mean_std_half';
}

export interface NativeTokenizerTrainConfig {
  tokenizer: NativeTokenizerConfig;
  reconstruction: 'logit_laplace' | 'mse' | 'smooth_l1';
  temperatureStart: number;
  temperatureMin: number;
  temperatureRate: number;
  klWeight: number;
  klWarmupSteps: number;
  optimizer: NativeOptimizerConfig;
  lrDecay: number;
  seed: number;
}

/** The only file that loads the native addon, and the types of what it exports. Every entry takes one complete options object. */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { CotsError } from './errors.js';

/** Row-major float32 matrix. */
export type Matrix = { data: Float32Array; shape: [rows: number, columns: number] };

/** A flag shared with native jobs: cancel() ends the jobs that carry it between two layers or kernel blocks. */
export interface NativeCancel {
  cancel(): void;
}

export interface NativeInfo {
  /** libtorch version, e.g. `2.13.0`. */
  readonly libtorch: string;
  readonly cuda: NativeAccelerators;
  /** The build found the system's libjpeg-turbo. */
  readonly jpeg: boolean;
  /** What the processor reports, e.g. `AVX512`; the features found, such as `avx2` and `avx512_vnni`; how products of int8 and of bfloat16 are formed. */
  readonly cpu: {
    capability: string;
    features: string[];
    int8: 'portable' | 'avx2' | 'avx_vnni' | 'avx512_vnni';
    bfloat16: 'portable' | 'avx512_bf16';
  };
  /** Threads one native job uses by default. */
  readonly threads: number;
  /** The constants of native/model/config.h and native/train/config.h, in the shape of the config. */
  readonly defaults: { model: NativeModelConfig; train: Record<string, unknown> };
}

export type NativePrecision = 'float32' | 'bfloat16' | 'int8';
/** Mirror of native/device/accelerators.h. */
export interface NativeAccelerators {
  /** libtorch is a CUDA build. */
  readonly inLibtorch: boolean;
  /** This build has the CUDA kernels. */
  readonly inBuild: boolean;
  /** CUDA that libtorch was built for, 1000 * major + 10 * minor; 0 without. */
  readonly runtime: number;
  /** Newest CUDA that the driver runs, alike; 0: no driver. */
  readonly driver: number;
  /** Compute capabilities that the kernels are built for, 10 * major + minor. */
  readonly architectures: readonly number[];
  readonly devices: readonly { name: string; capability: number; memoryBytes: number }[];
  /** Why the devices could not be listed; empty when they were. */
  readonly failure: string;
}

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

/** Mirror of native/train/batch.h; B pairs, N frames of all of them, packed row-major. */
export interface NativeBatch {
  size: number;
  /** int32 [B], frames of each pair; null: every pair has an image, N = B. */
  frames: Int32Array | null;
  /** uint8 [N, S, S, 3]: the frames of pair 0, of pair 1, ... */
  images: Uint8Array;
  /** uint8 [N, V, V, 3], V = 8 * grid; null without CMVM. */
  tokenViews: Uint8Array | null;
  /** int32 [B, L], padded. */
  ids: Int32Array;
  /** int32 [B]. */
  lengths: Int32Array;
  /** Global sample index a pair, exact integers [B]. */
  samples: Float64Array;
  /** Image id a pair, exact integers [B]. */
  imageIds: Float64Array;
  /** Fixed draws for parity with other implementations (uint8 [N, P], int32 [B, L], uint8 [B, L]). */
  overrides?: { imageMask: Uint8Array; maskedIds: Int32Array; textMask: Uint8Array };
}

/** Mirror of native/train/metrics.h, camelCase. */
export interface NativeStepMetrics {
  step: number;
  pairs: number;
  loss: number;
  lossImageToText: number;
  lossTextToImage: number;
  lossTask: number;
  lossCmvm: number;
  lossCmlm: number;
  filterMean: number;
  filterStd: number;
  filterThreshold: number;
  filterKept: number;
  filterActive: boolean;
  queueValid: number;
  lr: number;
  temperature: number;
  momentum: number;
  gradNorm: number;
  skipped: boolean;
  nonFiniteInRow: number;
  nonFiniteKeys: number;
  collapsedSteps: number;
  /** Why no step may follow; null when one may. */
  stop: null | 'non_finite' | 'collapsed';
  scores: Float32Array;
  kept: Uint8Array;
  seconds: {
    tokenise: number;
    cleanPass: number;
    maskedPass: number;
    momentum: number;
    losses: number;
    backward: number;
    optimizer: number;
    /** Waiting for other ranks. */
    exchange: number;
  };
}

export interface NativeTokenizerMetrics {
  step: number;
  loss: number;
  reconstruction: number;
  kl: number;
  temperature: number;
  lr: number;
  gradNorm: number;
  perplexity: number;
  /** The gradient was not finite: no update. */
  skipped: boolean;
  deadCodes: number;
  unigramEntropy: number;
}

/** Where towers run, and in which number type; on a CPU in float32 alone. */
export interface NativePlacement {
  device: 'cpu' | `cuda:${number}`;
  precision: NativePrecision;
}

/** Towers for embedding. All promises run in order on the worker that owns the model. */
export interface NativeModel {
  /** pixels uint8 [count, S, S, 3]; resolves to float32 [count, D]. */
  embedImages(o: {
    pixels: Uint8Array;
    count: number;
    mean: [number, number, number];
    std: [number, number, number];
    cancel: NativeCancel | null;
  }): Promise<Float32Array>;
  /** ids int32 [count, L]; lengths int32 [count]. */
  embedTexts(o: { ids: Int32Array; lengths: Int32Array; cancel: NativeCancel | null }): Promise<Float32Array>;
  /** Writes model.safetensors. */
  save(o: { file: string }): Promise<void>;
  /** Number of scalars of each tower. */
  parameterCounts(): { image: number; text: number };
  dispose(): void;
}

/** Row-major [Q, k]. */
export interface NativeTopK {
  indices: Uint32Array;
  scores: Float32Array;
  shape: [number, number];
}

/** Vectors on disk, memory-mapped: a file that is open here is replaced by renaming, never cut. */
export interface NativeGallery {
  /** As `topK`, of the rows of the file. */
  topK(o: { queries: Matrix; k: number; cancel: NativeCancel | null }): Promise<NativeTopK>;
  dispose(): void;
}

export interface NativeTrainer {
  /** Runs on the trainer's own thread; a second call before the first settled rejects ERR_COTS_BUSY. */
  step(o: {
    batch: NativeBatch;
    /** The batch after it where it is there already: a GPU gets it while it is at work. */
    next?: NativeBatch | null;
    cancel: NativeCancel | null;
  }): Promise<NativeStepMetrics>;
  prefill(o: { batch: NativeBatch; cancel: NativeCancel | null }): Promise<void>;
  /** model.safetensors (on rank 0) and the rank's state into an existing directory. */
  save(o: { directory: string }): Promise<void>;
  /** The same in memory of its own, to be written beside the steps that follow. */
  capture(): Promise<NativeCheckpoint>;
  restore(o: { directory: string }): Promise<void>;
  initializeFrom(o: { file: string }): Promise<void>;
  /** A copy of the online (or momentum) towers as they are now. */
  snapshot(o: { momentum: boolean }): Promise<NativeModel>;
  /** Bytes by owner. */
  memory(): { weights: number; optimizer: number; momentum: number; queues: number };
  dispose(): void;
}

/** What one rank writes of a checkpoint. */
export interface NativeCheckpoint {
  /** Into an existing directory; on a thread of its own. Its memory is free afterwards: one call. */
  write(o: { directory: string }): Promise<void>;
}

/** The ranks of a data-parallel run. */
export interface NativeRanks {
  /** The bytes of every rank, by rank. Calls of one channel are the same on every rank, in the same order; the two go side by side. */
  gather(o: { channel: 'loop' | 'data'; bytes: Uint8Array }): Promise<Uint8Array[]>;
  dispose(): void;
}

export interface NativeTokenizerTrainer {
  /** images uint8 [count, size, size, 3]. */
  step(o: {
    images: Uint8Array;
    count: number;
    size: number;
    samples: Float64Array;
    cancel: NativeCancel | null;
  }): Promise<NativeTokenizerMetrics>;
  evaluate(o: { images: Uint8Array; count: number; size: number }): Promise<{ hard: number; soft: number }>;
  /** Writes dvae.safetensors. */
  save(o: { file: string }): Promise<void>;
  dispose(): void;
}

export interface NativeTokenizer {
  /** images uint8 [count, size, size, 3]; resolves to int32 [count, (size/8)^2]. */
  tokens(o: {
    images: Uint8Array;
    count: number;
    size: number;
    cancel: NativeCancel | null;
  }): Promise<Int32Array>;
  /** Decodes the hard tokens back: uint8 [count, size, size, 3]. */
  reconstruct(o: {
    images: Uint8Array;
    count: number;
    size: number;
    cancel: NativeCancel | null;
  }): Promise<Uint8Array>;
  dispose(): void;
}

export interface NativeTransform {
  left: number;
  top: number;
  width: number;
  height: number;
  flip: boolean;
  /** null: no color jitter. */
  jitter: { brightness: number; contrast: number; saturation: number; order: number } | null;
}

/** One view of an image: uint8 [size, size, 3]. */
export interface NativeView {
  size: number;
  filter: 'bicubic' | 'bilinear' | 'lanczos';
  jitter: boolean;
  /** What is resized to, at least `size` a side; the view is its centered square. Without it: `size` a side. */
  frame?: { width: number; height: number };
}

/** Pixels to make views of. */
export interface NativeImage {
  data: Uint8Array;
  width: number;
  height: number;
  transform: NativeTransform;
}

/** Views that were made ahead, in memory that JavaScript does not see; good for one `makeViews`. */
export type NativeMadeViews = object & { readonly madeViews: unique symbol };

export interface NativeDirectionRanks {
  pessimistic: Int32Array;
  optimistic: Int32Array;
}

/** Mirror of io::Family in native/io/dialect.h. */
export type NativeFamily = 'vit' | 'beit' | 'beit_pooled' | 'bert' | 'clip' | 'dual_encoder';

export interface NativeBinding {
  /** Hands the error class over once; native failures are then instances of it. */
  initialize(o: { CotsError: typeof CotsError }): void;
  info(): NativeInfo;
  /** Best flops a second of X [rows, inner] times W [columns, inner] transposed, over at least `seconds` and three products. */
  measureProduct(
    o: { rows: number; inner: number; columns: number; seconds: number; threads: number } & NativePlacement,
  ): Promise<number>;
  /** Seconds of each of `calls` calls of a single-stream encoder of BERT-base size on `pairs` pairs of `tokens` tokens. */
  timeCrossEncoder(o: { tokens: number; pairs: number; calls: number; threads: number }): Promise<number[]>;
  createCancel(): NativeCancel;
  queueContrast(o: {
    image: Matrix;
    text: Matrix;
    imageKey: Matrix;
    textKey: Matrix;
    imageQueue: Matrix;
    textQueue: Matrix;
    weights: Float32Array;
    temperature: number;
    instanceWeight: number;
    taskWeight: number;
    includePositive: boolean;
    device: NativePlacement['device'];
  }): Promise<{
    loss: number;
    imageToText: number;
    textToImage: number;
    task: number;
    gradImage: Matrix;
    gradText: Matrix;
    gradLogScale: number;
  }>;
  momentumFilter(o: {
    scores: Float32Array;
    queueScores: Float32Array;
    deviations: number;
    device: NativePlacement['device'];
  }): Promise<{ mean: number; std: number; threshold: number; keep: Uint8Array }>;
  topK(o: {
    queries: Matrix;
    gallery: Matrix;
    k: number;
    device: NativePlacement['device'];
  }): Promise<NativeTopK>;
  openGallery(o: {
    file: string;
    /** Bytes before the first vector. */
    offset: number;
    rows: number;
    dimension: number;
    dtype: 'float32' | 'float16';
    threads: number;
  }): Promise<NativeGallery>;
  resize(o: {
    data: Uint8Array;
    width: number;
    height: number;
    to: [number, number];
    filter: 'bicubic' | 'bilinear' | 'lanczos';
  }): Promise<Uint8Array>;
  retrievalRanks(o: {
    images: Matrix;
    texts: Matrix;
    imageOfText: Int32Array;
    cancel?: NativeCancel | null;
  }): Promise<{ imageToText: NativeDirectionRanks; textToImage: NativeDirectionRanks }>;
  /** One packed uint8 [n, size, size, 3] a view. Runs on a transform thread of the addon, beside a training step. */
  makeViews(o: { images: (NativeImage | NativeMadeViews)[]; views: NativeView[] }): Promise<Uint8Array[]>;
  /** The same, for a `makeViews` of the same views to put in its place. */
  prepareViews(o: { images: NativeImage[]; views: NativeView[] }): Promise<NativeMadeViews>;
  /** The same of one JPEG, of which only the transform's crop becomes pixels; null: it is not as plain as `jpegHeader` took it for. */
  prepareJpegViews(o: {
    jpeg: Uint8Array;
    width: number;
    height: number;
    transform: NativeTransform;
    views: NativeView[];
  }): Promise<NativeMadeViews | null>;
  /** RGB of a whole JPEG, uint8 [height, width, 3], at 1 / shrink (1, 2, 4 or 8) of the size given, rounded up; null as above. */
  decodeJpeg(o: {
    jpeg: Uint8Array;
    width: number;
    height: number;
    shrink: number;
  }): Promise<Uint8Array | null>;
  /** Size and EXIF orientation (1 to 8) of a JPEG of 8-bit gray or YCbCr; null for anything else, and where the build has no libjpeg-turbo. */
  jpegHeader(bytes: Uint8Array): { width: number; height: number; orientation: number } | null;
  createModel(
    o: { config: NativeModelConfig; seed: number; threads: number } & NativePlacement,
  ): Promise<NativeModel>;
  loadModel(
    o: { config: NativeModelConfig; file: string; threads: number } & NativePlacement,
  ): Promise<NativeModel>;
  /** Converts checkpoints of transformers to model.safetensors (SPEC 6.1 to 6.3); `files` are the shards of one. */
  importHuggingFace(o: {
    config: NativeModelConfig;
    sources: { family: NativeFamily; files: string[] }[];
    out: string;
  }): Promise<{ missing: string[]; unused: string[] }>;
  /** Writes the weights of a model.safetensors under the names of a model of transformers. */
  exportHuggingFace(o: {
    config: NativeModelConfig;
    file: string;
    family: NativeFamily;
    out: string;
  }): Promise<void>;
  /** Settles when all ranks have come. Rejects ERR_COTS_DISTRIBUTED after the time-out, which every later collective has too. */
  joinRanks(o: {
    rank: number;
    world: number;
    address: string;
    port: number;
    isServer: boolean;
    attempt: string;
    timeoutMs: number;
    cancel: NativeCancel | null;
  }): Promise<NativeRanks>;
  createTrainer(o: {
    config: NativeTrainConfig;
    tokenizer: { config: NativeTokenizerConfig; file: string | null } | null;
    threads: number;
    /** null: alone. */
    ranks?: NativeRanks | null;
  }): Promise<NativeTrainer>;
  createTokenizerTrainer(o: {
    config: NativeTokenizerTrainConfig;
    threads: number;
  }): Promise<NativeTokenizerTrainer>;
  /** file null: random weights. */
  loadTokenizer(o: {
    config: NativeTokenizerConfig;
    file: string | null;
    threads: number;
  }): Promise<NativeTokenizer>;
  /** Shapes and dtypes of a safetensors file. */
  readSafetensorsHeader(o: { file: string }): Promise<{ name: string; dtype: string; shape: number[] }[]>;
}

/** The folder that holds package.json. */
export function packageRoot(): string {
  let folder = path.dirname(fileURLToPath(import.meta.url));
  while (!existsSync(path.join(folder, 'package.json'))) {
    const parent = path.dirname(folder);
    if (parent === folder) {
      throw new CotsError(
        'ERR_COTS_INSTALL',
        `Expected a package.json above ${fileURLToPath(import.meta.url)}, found none. Reinstall the package.`,
      );
    }

    folder = parent;
  }

  return folder;
}

let loaded: NativeBinding | undefined;

/** Loads the addon on first use. Throws `ERR_COTS_INSTALL` that says what failed and which command mends it. */
export function binding(): NativeBinding {
  if (loaded === undefined) {
    const file = path.join(packageRoot(), 'build', 'Release', 'cots.node');
    if (!existsSync(file)) {
      throw new CotsError(
        'ERR_COTS_INSTALL',
        `Expected the native addon at ${file}, found no file. Run \`npm run setup\` in the package's folder, or \`npx cots doctor\` to see what is missing.`,
      );
    }

    // libgomp reads these once, when it is loaded. Its threads otherwise spin for milliseconds at every barrier, which starves the
    // decoder, the event loop and every other process of the cores (measured: a training step several times slower on a busy
    // machine); not to spin at all costs a sleep and a wake at each of the hundred barriers of a short forward pass (measured: one
    // caption in int8 in 9.2 ms rather than 6.5). So they spin for some ten microseconds.
    if (process.env['OMP_WAIT_POLICY'] === undefined) {
      process.env['OMP_WAIT_POLICY'] = 'passive';
      process.env['GOMP_SPINCOUNT'] ??= '1000';
    }
    try {
      loaded = createRequire(import.meta.url)(file) as NativeBinding;
    } catch (error) {
      throw new CotsError(
        'ERR_COTS_INSTALL',
        `Expected the native addon ${file} to load, got: ${(error as Error).message}. Run \`npm run setup\` to build it against the libtorch of this machine.`,
        { cause: error },
      );
    }

    loaded.initialize({ CotsError });
  }

  return loaded;
}

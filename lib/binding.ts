/** The only file that loads the native addon, and what it exports; its types are in lib/native. Every entry takes one complete options object. */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { CotsError } from './errors.js';
import type {
  NativeModelConfig,
  NativeTokenizerConfig,
  NativeTokenizerTrainConfig,
  NativeTrainConfig,
} from './native/configs.js';
import type {
  NativeDirectionRanks,
  NativeFamily,
  NativeGallery,
  NativeModel,
  NativeTokenizer,
  NativeTopK,
} from './native/embedding.js';
import type { NativeImage, NativeMadeViews, NativeTransform, NativeView } from './native/images.js';
import type { NativeRanks, NativeTokenizerTrainer, NativeTrainer } from './native/training.js';
import type { Matrix, NativeCancel, NativeInfo, NativePlacement } from './native/values.js';

export type * from './native/configs.js';
export type * from './native/embedding.js';
export type * from './native/images.js';
export type * from './native/training.js';
export type * from './native/values.js';

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
    /** This rank's, where the steps' collectives are; those of the loop are on the CPU. */
    device: 'cpu' | `cuda:${number}`;
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

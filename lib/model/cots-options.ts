/** Options and parts of the public model. */
import type { Matrix, NativeModel } from '../binding.js';
import type { TextTokenizer } from '../data/text/tokenizer.js';
import type { Device, Precision } from '../device.js';
import type { ModelDescription } from './config-file.js';

export interface LoadOptions {
  /** @default 'cpu' */
  readonly device?: Device;
  /** @default 'float32' on a CPU */
  readonly precision?: Precision;
  /** Threads of native work. @default the cores this process may use */
  readonly threads?: number;
  readonly signal?: AbortSignal;
}

export interface CreateOptions {
  /** Seed of the random weights. @default 0 */
  readonly seed?: number;
  /** @default 'cpu' */
  readonly device?: Device;
}

export interface EmbedOptions {
  /** Items a native call takes; bounds memory, changes no vector. @default 32 images, 256 texts */
  readonly batchSize?: number;
  readonly signal?: AbortSignal;
}

/** Per-video means, their frames, and where each video's frames begin. */
export interface VideoEmbeddings {
  videos: Matrix;
  frames: Matrix;
  /** n + 1 row numbers into `frames`. */
  offsets: Uint32Array;
  /** Seconds, one a frame. */
  timestamps: Float64Array;
}

/** What a `Cots` is made of. */
export interface CotsParts {
  readonly description: ModelDescription;
  readonly tokenizer: TextTokenizer;
  readonly native: Promise<NativeModel>;
}

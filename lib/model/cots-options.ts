/** Options and parts of the public model. */
import type { Matrix, NativeModel } from '../binding.js';
import type { TextTokenizer } from '../data/text/tokenizer.js';
import type { Device, Precision } from '../device.js';
import type { ModelDescription } from './config-file.js';

export interface LoadOptions {
  /** @default 'cpu' */
  readonly device?: Device;
  /** Number type of the towers: docs/inference.md says what each costs. @default 'float32' on a CPU, 'bfloat16' on CUDA */
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

/** How images are read. */
export interface ImageOptions extends EmbedOptions {
  /**
   * Decode a JPEG at 1/2, 1/4 or 1/8 of its size where that leaves at least twice the pixels a side that the model takes: less work on
   * large photographs, for vectors that differ a little from those of an evaluation. @default false
   */
  readonly scaleOnLoad?: boolean;
}

/** Which frames of a video stand for it. */
export interface VideoOptions extends EmbedOptions {
  /** Frames of a video: the middle one of each of as many equal parts; all of a shorter video. @default 12 */
  readonly frames?: number;
  /** In place of `frames`: those on screen every 1 / fps seconds, above 0. */
  readonly fps?: number;
  /** Take the nearest frame that is not black in place of a black one; decodes a video with black samples twice. @default false */
  readonly skipBlack?: boolean;
}

/** Per-video means, their frames, and where each video's frames begin. */
export interface VideoEmbeddings {
  /** Unit rows [n, D]: the mean of a video's frames, of length 1. */
  videos: Matrix;
  /** Unit rows of all frames, video by video in the order of showing. */
  frames: Matrix;
  /** n + 1 row numbers into `frames`. */
  offsets: Uint32Array;
  /** Seconds from the video's beginning, one a frame. */
  timestamps: Float64Array;
}

/** What a `Cots` is made of. */
export interface CotsParts {
  readonly description: ModelDescription;
  /** null: the model has no text tower. */
  readonly tokenizer: TextTokenizer | null;
  readonly precision: Precision;
  readonly native: Promise<NativeModel>;
}

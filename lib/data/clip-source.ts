/** Frames of clips by item, a random one of each of F equal parts (SPEC 5.2): a bounded number of clips decoded at a time. */

import { segmentDraws } from '../video/sample-frames.js';
import { sampleVideo } from '../video/sample-video.js';
import { clipsOfRun, SharedRuns } from '../video/shared-runs.js';
import type { DecodedImage } from './decode.js';
import { type Admit, DecodeQueue, type DecodeQueueOptions } from './decode-queue.js';
import { KeyedRandom, sites } from './random.js';

/** `workers` is the number of ffmpeg's runs at the same time, which several clips may share. */
export interface ClipSourceOptions extends DecodeQueueOptions {
  /** Location of an item's video. */
  readonly path: (item: number) => string;
  /** F; a clip of fewer frames gives all it has. */
  readonly frames: number;
  readonly seed: number;
}

/** Reads and decodes clips. A failure is remembered and told again without another try. */
export class ClipSource {
  readonly #options: ClipSourceOptions;
  readonly #queue: DecodeQueue;
  readonly #runs: SharedRuns;

  constructor(options: ClipSourceOptions) {
    this.#options = options;
    this.#queue = new DecodeQueue({ ...options, workers: options.workers * clipsOfRun });
    this.#runs = new SharedRuns(options.workers);
  }

  /**
   * Decodes the frames of a draw and hands them to `use`, in order; which they are follows from the seed and the global index
   * `sample`. Their bytes count as in work until `use` has settled. Throws `ERR_COTS_VIDEO`, `ERR_COTS_FILE`, `ERR_COTS_INSTALL`.
   */
  async load<T>(
    item: number,
    sample: number,
    use: (frames: readonly DecodedImage[]) => Promise<T>,
  ): Promise<T> {
    return this.#queue.run(item, (admit) => this.#decode(item, sample, admit), use);
  }

  async #decode(item: number, sample: number, admit: Admit): Promise<DecodedImage[]> {
    const { path, frames: count, seed } = this.#options;
    let chosen = 0;
    const draw = ({ timestamps }: { readonly timestamps: Float64Array }): number[] => {
      const drawn = segmentDraws(timestamps.length, count, new KeyedRandom(seed, sites.frames, sample));
      chosen = drawn.length;
      return drawn;
    };
    const video = sampleVideo(path(item), draw, { runs: this.#runs });
    const frames: DecodedImage[] = [];
    for await (const { data, width, height } of video) {
      if (frames.length === 0) await admit(chosen * data.length);
      frames.push({ data, width, height });
    }

    return frames;
  }
}

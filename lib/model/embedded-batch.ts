/** What a stream of things to embed gives and takes. */
import type { Matrix } from '../binding.js';
import type { ImageInput } from './image-input.js';

/** One thing to embed; `id` comes back with its vector. */
export type Item = { id: string } & ({ image: ImageInput } | { text: string } | { video: string });

/** `vectors` has one row for each of `ids`; `errors` names the items that have none. */
export interface EmbeddedBatch {
  ids: string[];
  vectors: Matrix;
  errors: { id: string; code: string; message: string }[];
  /** Of a batch of videos: the frames whose mean each vector is. */
  frames?: FrameEmbeddings;
}

/** Frames of videos. Legend: n videos, F frames of them all. */
export interface FrameEmbeddings {
  /** Unit rows [F, D], video by video in the order of showing. */
  vectors: Matrix;
  /** n + 1 row numbers: the rows of video i are offsets[i] to offsets[i + 1]. */
  offsets: Uint32Array;
  /** Seconds from the video's beginning, F. */
  timestamps: Float64Array;
  /** Frame numbers in the video, F. */
  indices: Uint32Array;
  /** Seconds of each video, n. */
  durations: Float64Array;
}

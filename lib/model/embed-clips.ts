/**
 * Clips to vectors (SPEC 5.2): each frame a unit row, the clip the unit row of their mean. Frames of several clips share a
 * forward batch, so that batches are full; the next clips are decoded meanwhile. Legend: D embedding, F frames of a clip.
 */
import type { DecodedImage } from '../data/decode.js';
import { CotsError } from '../errors.js';
import { type Sampling, sampleFrames } from '../video/sample-frames.js';
import { sampleVideo } from '../video/sample-video.js';
import { clipsOfRun, SharedRuns } from '../video/shared-runs.js';
import { type BatchModel, FrameBatch, type RowOwner } from './frame-batch.js';
import { Prefetched } from './prefetch.js';

/** A clip's vectors. */
export interface EmbeddedClip {
  /** Unit row [D]. */
  readonly vector: Float32Array;
  /** Unit rows [F, D], in the order of showing. */
  readonly frames: Float32Array;
  /** Seconds from the clip's beginning, F. */
  readonly timestamps: number[];
  /** Frame numbers in the clip, F. */
  readonly indices: number[];
  /** Seconds of the whole clip. */
  readonly duration: number;
}

/** What became of one item, in the order of the items. */
export type ClipResult<T> = { readonly item: T } & (
  | { readonly clip: EmbeddedClip }
  | { readonly error: CotsError }
);

export interface ClipOptions {
  readonly sampling: Sampling;
  readonly skipBlack: boolean;
  /** Frames of one forward call. */
  readonly batchSize: number;
  /** Runs of ffmpeg at the same time, and threads of each clip's decoder. With one thread several clips share a run. */
  readonly decoders: number;
  readonly threads: number;
  readonly signal: AbortSignal | undefined;
}

/** What it needs of a model. */
export interface ClipModel extends BatchModel {
  /** uint8 [size, size, 3]. */
  view(frame: DecodedImage): Promise<Uint8Array>;
  /** Rejects at once when the model is disposed or the signal aborts. */
  orStopped<R>(work: () => Promise<R>): Promise<R>;
}

/** Results in order, as groups of those that became known together. Aborts and disposal are thrown, a bad clip is a result. */
export async function* embedClips<T extends { readonly video: string }>(
  items: AsyncIterable<T>,
  model: ClipModel,
  options: ClipOptions,
): AsyncGenerator<ClipResult<T>[], void, undefined> {
  const batch = new FrameBatch(model, options.batchSize);
  const open: Pending<T>[] = [];
  const takeDone = (): ClipResult<T>[] => {
    const count = open.findIndex((pending) => !pending.isDone);
    return open.splice(0, count === -1 ? open.length : count).map((pending) => pending.result());
  };
  for await (const { item, views } of clipsAhead(items, model, options)) {
    const pending = new Pending(item, model.dimension);
    open.push(pending);
    for (;;) {
      const frame = await model
        .orStopped(() => views.next())
        .catch((error) => pending.fail(error, options.signal));
      if (frame === undefined) break;
      pending.expect(frame);
      await batch.add(frame.view, pending);
      if (open[0]?.isDone === true) yield takeDone();
    }

    pending.close();
    if (open[0]?.isDone === true) yield takeDone();
  }

  await batch.flush();
  if (open.length > 0) yield takeDone();
}

interface ClipFrame {
  readonly view: Uint8Array;
  readonly index: number;
  readonly timestamp: number;
  readonly duration: number;
}

/** Each item with its frames, while the next ones are decoded. */
async function* clipsAhead<T extends { readonly video: string }>(
  items: AsyncIterable<T>,
  model: ClipModel,
  options: ClipOptions,
): AsyncGenerator<{ item: T; views: Prefetched<ClipFrame> }, void, undefined> {
  const { decoders, threads, batchSize } = options;
  const runs = threads === 1 ? new SharedRuns(decoders) : undefined;
  const clips = runs === undefined ? decoders : decoders * clipsOfRun;
  const framesAhead = Math.ceil((batchSize * decoders) / clips);
  const running: { item: T; views: Prefetched<ClipFrame> }[] = [];
  const stop = new AbortController();
  const signal = AbortSignal.any([stop.signal, ...(options.signal === undefined ? [] : [options.signal])]);
  const takeFirst = async function* () {
    const first = running[0] as (typeof running)[0];
    yield first;
    running.shift();
    await first.views.close();
  };
  try {
    for await (const item of items) {
      const frames = clipViews(item.video, model, { ...options, signal }, runs);
      running.push({ item, views: new Prefetched(frames, framesAhead) });
      if (running.length >= clips) yield* takeFirst();
    }

    while (running.length > 0) yield* takeFirst();
  } finally {
    stop.abort();
    await Promise.all(running.map(({ views }) => views.close()));
  }
}

async function* clipViews(
  video: string,
  model: ClipModel,
  { sampling, skipBlack, threads, signal }: ClipOptions,
  runs: SharedRuns | undefined,
): AsyncGenerator<ClipFrame, void, undefined> {
  const choose = (table: Parameters<typeof sampleFrames>[0]): number[] => sampleFrames(table, sampling);
  const sampled = { signal, threads, skipBlack, ...(runs !== undefined && { runs }) };
  for await (const frame of sampleVideo(video, choose, sampled)) {
    const { index, timestamp, duration } = frame;
    yield { view: await model.view(frame), index, timestamp, duration };
  }
}

/** Not faults of a clip: they end the whole. */
const ends = ['ERR_COTS_DISPOSED', 'ERR_COTS_INSTALL', 'ERR_COTS_INTERNAL', 'ERR_COTS_MEMORY'];

/** A clip whose frames are still on their way. */
class Pending<T> implements RowOwner {
  readonly #item: T;
  readonly #dimension: number;
  readonly #frames: ClipFrame[] = [];
  readonly #rows: Float32Array[] = [];
  #isClosed = false;
  #error: CotsError | undefined;

  constructor(item: T, dimension: number) {
    this.#item = item;
    this.#dimension = dimension;
  }

  get isDone(): boolean {
    return this.#isClosed && (this.#error !== undefined || this.#rows.length === this.#frames.length);
  }

  expect(frame: ClipFrame): void {
    this.#frames.push({ ...frame, view: none });
  }

  /** Rows come in the order of the frames. */
  add(row: Float32Array): void {
    this.#rows.push(row);
  }

  /** Keeps why the clip cannot be embedded; throws what is no fault of its own. */
  fail(error: unknown, signal: AbortSignal | undefined): undefined {
    signal?.throwIfAborted();
    if (!(error instanceof CotsError) || ends.includes(error.code)) throw error;
    this.#error = error;
  }

  close(): void {
    this.#isClosed = true;
  }

  result(): ClipResult<T> {
    if (this.#error !== undefined) return { item: this.#item, error: this.#error };
    const frames = new Float32Array(this.#rows.length * this.#dimension);
    for (const [index, row] of this.#rows.entries()) frames.set(row, index * this.#dimension);
    const clip = {
      vector: unitMean(this.#rows, this.#dimension),
      frames,
      timestamps: this.#frames.map(({ timestamp }) => timestamp),
      indices: this.#frames.map(({ index }) => index),
      duration: this.#frames[0]?.duration ?? 0,
    };
    return { item: this.#item, clip };
  }
}

const none = new Uint8Array(0);

/** The mean of rows, divided by its length (by 1e-12 at least). */
function unitMean(rows: readonly Float32Array[], dimension: number): Float32Array {
  const mean = new Float64Array(dimension);
  for (const row of rows) {
    for (let column = 0; column < dimension; column++)
      mean[column] = (mean[column] as number) + (row[column] as number) / rows.length;
  }

  const norm = Math.max(Math.hypot(...mean), 1e-12);
  return Float32Array.from(mean, (value) => value / norm);
}

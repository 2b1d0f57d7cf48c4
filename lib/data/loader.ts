/**
 * Batches for training, made ahead of the step in progress: the addon decodes large JPEGs and makes the views on its transform
 * threads, sharp decodes the rest on its own, clips come from ffmpeg; the event loop only hands over. What a batch holds follows
 * from seed and cursor, whatever the number of workers and of ranks, each of which makes its slice of every batch.
 * Legend: B pairs, N frames of all of them, S and V sides of the views, L tokens.
 */
import type { NativeTransform } from '../binding.js';
import { CotsError, DataError } from '../errors.js';
import { disposedError } from '../native-call.js';
import type { BadImages } from './bad-images.js';
import { BatchQueue } from './batch-queue.js';
import type { ClipSource } from './clip-source.js';
import { DrawRounds, type Result } from './draw-rounds.js';
import type { ImageSource } from './image-source.js';
import type { ManifestEntry } from './manifest.js';
import type { Peers } from './peers.js';
import type { Cursor, Draw, Sampler } from './sampler.js';
import type { CaptionEncoder } from './text/captions.js';
import type { EncodedTexts } from './text/tokenizer.js';
import {
  type DrawnImage,
  type MadeViews,
  makeViews,
  prepareJpegViews,
  prepareViews,
  type View,
} from './views.js';

/** A batch as the loader makes it; with several ranks, this rank's slice of it. */
export interface LoadedBatch {
  /** B, of this rank. */
  readonly size: number;
  /** Frames of each pair, N in all; null where every pair has an image, N = B. */
  readonly frames: Int32Array | null;
  /** uint8 [N, side, side, 3], one a view. */
  readonly views: readonly Uint8Array[];
  /** Padded ids; null for a loader of images alone. */
  readonly texts: EncodedTexts | null;
  /** Index of each pair's entry in the training set. */
  readonly items: readonly number[];
  /** Caption of each pair. */
  readonly captions: readonly string[];
  /** Global sample index of each pair, unique over the run. */
  readonly samples: Float64Array;
  /** `items` of all ranks, in the order of the sample index. */
  readonly allItems: readonly number[];
  /** Where the sampler stands after this batch, the same on every rank. */
  readonly cursor: Cursor;
  /** Different images found bad so far. */
  readonly badImages: number;
}

export interface LoaderParts {
  readonly entries: readonly ManifestEntry[];
  readonly sampler: Sampler;
  readonly images: ImageSource;
  readonly clips: ClipSource;
  readonly bad: BadImages;
  /** Null: images alone. */
  readonly captions: CaptionEncoder | null;
  readonly views: readonly View[];
  /** The transform of one sample, drawn from its global index alone; of a clip, the same for all frames. */
  readonly transform: (size: { width: number; height: number }, sample: number) => NativeTransform;
  /** B, of all ranks. */
  readonly batchSize: number;
  readonly peers: Peers;
  /** Batches made ahead. */
  readonly prefetch: number;
  /** Images asked for ahead of the one that is needed next. */
  readonly lookahead: number;
}

/** A sample on its way: pixels that wait for the batch's one native call, or the views that a large image or a clip got at once. */
interface Prepared {
  readonly images: DrawnImage | MadeViews;
  readonly frames: number;
}

interface Taken extends Draw {
  readonly prepared: Prepared;
}

/** Endless batches, in the order that seed and cursor decide. */
export class Loader {
  readonly #parts: LoaderParts;
  readonly #rounds: DrawRounds<Prepared>;
  readonly #queue: BatchQueue<LoadedBatch>;
  #closed = false;

  constructor(parts: LoaderParts) {
    this.#parts = parts;
    this.#rounds = new DrawRounds({ ...parts, prepare: (draw) => this.#prepare(draw) });
    this.#queue = new BatchQueue(parts.prefetch, () => this.#collect());
  }

  /** Batches made ahead. */
  get ahead(): number {
    return this.#parts.prefetch;
  }

  /** Different images found bad so far. */
  get badImages(): number {
    return this.#parts.bad.count;
  }

  /**
   * The next batch; one call at a time. Throws `signal.reason` on abort, after which the batch is still the next one,
   * `ERR_COTS_DATA` when too many images are bad, `ERR_COTS_FILE` when they cannot be listed.
   */
  next(options: { signal?: AbortSignal | undefined } = {}): Promise<LoadedBatch> {
    return this.#queue.next(options.signal);
  }

  /** Batches until the iteration is left; a later one goes on where it stopped. Throws as `next`. */
  async *batches(
    options: { signal?: AbortSignal | undefined } = {},
  ): AsyncGenerator<LoadedBatch, never, void> {
    for (;;) yield await this.next(options);
  }

  /** Makes no further batches ahead and lists no further bad images. Idempotent. */
  close(): void {
    this.#closed = true;
    this.#rounds.close();
    this.#queue.stop();
  }

  /** Closes and settles when nothing is under way: after it the ranks owe each other no answer. Does not reject. */
  async drain(): Promise<void> {
    this.close();
    await this.#queue.settled();
  }

  /** The first B good samples in the sampler's order; their views and ids come as a promise, so that the next can start. */
  async #collect(): Promise<{ value: Promise<LoadedBatch> }> {
    const { bad } = this.#parts;
    const taken: Taken[] = [];
    const all: Draw[] = [];
    for (let owners = this.#rounds.owners; owners.length > 0; ) {
      const round = await this.#rounds.next(owners);
      owners = round.missing;
      taken.push(...round.own);
      for (const [at, draw] of round.draws.entries()) {
        if (!round.failures.has(at)) all.push(draw);
        if (!this.#closed) this.#judge(draw, round.failures.get(at));
      }

      await bad.flush();
    }

    if (this.#closed) throw disposedError('loader');
    return { value: this.#finish(taken, all, this.#rounds.cursor, bad.count) };
  }

  /** Counts the good and the bad of all ranks in the order of the draws: each rank stops at the same one. */
  #judge({ item, sample }: Draw, failure: unknown): void {
    const { bad, entries } = this.#parts;
    const { id, image, video } = entries[item] as ManifestEntry;
    if (failure === undefined) bad.good();
    else bad.bad(item, id, image ?? video ?? '', failure, sample + 1);
  }

  #prepare(draw: Draw): Result<Prepared> {
    const { images, transform, entries } = this.#parts;
    const kept = images.kept(draw.item);
    if (kept !== undefined)
      return { images: { image: kept, transform: transform(kept, draw.sample) }, frames: 1 };
    const { id, image, captions } = entries[draw.item] as ManifestEntry;
    if (this.#parts.captions !== null && captions.length === 0)
      return {
        failure: new DataError(`Expected a caption of ${id}, got none. Add one, or leave the sample out.`),
      };
    const isClip = image === undefined;
    const result = (isClip ? this.#prepareClip(draw) : this.#prepareImage(draw)).catch((failure: unknown) => {
      if (isBadItem(failure)) return { failure };
      throw failure;
    });
    result.catch(() => {});
    return result;
  }

  #prepareImage({ item, sample }: Draw): Promise<Prepared> {
    const { images, transform, views } = this.#parts;
    return images.load<Prepared>(item, {
      jpeg: async (image) => {
        const made = await prepareJpegViews({ image, transform: transform(image, sample) }, views);
        return made === null ? null : { images: made, frames: 1 };
      },
      pixels: async (image) => {
        const drawn = { image, transform: transform(image, sample) };
        return { images: images.isSmall(image) ? drawn : await prepareViews([drawn], views), frames: 1 };
      },
    });
  }

  #prepareClip({ item, sample }: Draw): Promise<Prepared> {
    const { clips, transform, views } = this.#parts;
    return clips.load(item, sample, async (frames) => {
      const drawn = frames.map((image) => ({ image, transform: transform(image, sample) }));
      return { images: await prepareViews(drawn, views), frames: frames.length };
    });
  }

  async #finish(
    taken: readonly Taken[],
    all: readonly Draw[],
    cursor: Cursor,
    badImages: number,
  ): Promise<LoadedBatch> {
    const { captions, entries } = this.#parts;
    const texts = taken.map(({ item, caption }) => (entries[item] as ManifestEntry).captions[caption] ?? '');
    const frames = taken.map(({ prepared }) => prepared.frames);
    const views = await makeViews(
      taken.map(({ prepared }) => prepared.images),
      this.#parts.views,
    );
    return {
      size: taken.length,
      frames: frames.every((count) => count === 1) ? null : Int32Array.from(frames),
      views,
      texts: captions === null ? null : captions.tokenizer.pad(texts.map((text) => captions.encode(text))),
      items: taken.map(({ item }) => item),
      allItems: all.map(({ item }) => item),
      captions: texts,
      samples: Float64Array.from(taken, ({ sample }) => sample),
      cursor,
      badImages,
    };
  }
}

function isBadItem(error: unknown): boolean {
  return (
    error instanceof CotsError && ['ERR_COTS_IMAGE', 'ERR_COTS_VIDEO', 'ERR_COTS_FILE'].includes(error.code)
  );
}

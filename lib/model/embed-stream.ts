/** Embedding of an endless stream: batches in order, two of them in memory, bad items reported. */
import type { Matrix } from '../binding.js';
import * as check from '../checks.js';
import { OptionError } from '../errors.js';
import {
  type ClipModel,
  type ClipOptions,
  type ClipResult,
  type EmbeddedClip,
  embedClips,
} from './embed-clips.js';
import { embedItems, type ItemModel, type PlainItem } from './embed-items.js';
import type { EmbeddedBatch, FrameEmbeddings, Item } from './embedded-batch.js';
import { Lookahead } from './lookahead.js';

/** What the stream needs of a model. */
export interface StreamModel extends ItemModel {
  readonly clips: { readonly model: ClipModel; readonly options: ClipOptions };
}

type VideoItem = { id: string; video: string };

/** Runs of videos and of other items take turns, each in batches of its own. */
export async function* embedStream(
  stream: AsyncIterable<Item>,
  model: StreamModel,
): AsyncGenerator<EmbeddedBatch, void, undefined> {
  const items = new Lookahead(itemsOf(stream, model));
  try {
    for (let item = await items.peek(); item !== undefined; item = await items.peek()) {
      if (isVideo(item)) yield* embedVideoItems(items.run(isVideo), model);
      else yield* embedItems(items.run(isPlain), model);
    }
  } finally {
    await items.close();
  }
}

function isVideo(item: Item): item is VideoItem {
  checkId(item);
  return 'video' in item && !('image' in item) && !('text' in item) && typeof item.video === 'string';
}

/** Of no kind at all too: the batch reports it. */
function isPlain(item: Item): item is PlainItem {
  return !isVideo(item);
}

function checkId(item: Item): void {
  if (typeof item?.id !== 'string')
    throw new OptionError(
      `Expected each item of the stream to have a text \`id\`, got ${check.show(item?.id)}.`,
    );
}

async function* embedVideoItems(
  items: AsyncIterable<VideoItem>,
  { clips }: StreamModel,
): AsyncGenerator<EmbeddedBatch, void, undefined> {
  for await (const results of embedClips(items, clips.model, clips.options))
    yield videoBatch(results, clips.model.dimension);
}

function videoBatch(results: readonly ClipResult<VideoItem>[], dimension: number): EmbeddedBatch {
  const good = results.flatMap((result) =>
    'clip' in result ? [{ id: result.item.id, clip: result.clip }] : [],
  );
  const { videos, ...frames } = stackClips(
    good.map(({ clip }) => clip),
    dimension,
  );
  return {
    ids: good.map(({ id }) => id),
    vectors: videos,
    errors: results.flatMap((result) =>
      'error' in result
        ? [{ id: result.item.id, code: result.error.code, message: result.error.message }]
        : [],
    ),
    frames,
  };
}

/** The rows of clips, stacked. */
export function stackClips(
  clips: readonly EmbeddedClip[],
  dimension: number,
): FrameEmbeddings & { videos: Matrix } {
  const offsets = new Uint32Array(clips.length + 1);
  for (const [index, { timestamps }] of clips.entries())
    offsets[index + 1] = (offsets[index] as number) + timestamps.length;
  const count = offsets[clips.length] as number;
  const videos = new Float32Array(clips.length * dimension);
  const vectors = new Float32Array(count * dimension);
  for (const [index, { vector, frames }] of clips.entries()) {
    videos.set(vector, index * dimension);
    vectors.set(frames, (offsets[index] as number) * dimension);
  }

  return {
    videos: { data: videos, shape: [clips.length, dimension] },
    vectors: { data: vectors, shape: [count, dimension] },
    offsets,
    timestamps: Float64Array.from(clips.flatMap(({ timestamps }) => timestamps)),
    indices: Uint32Array.from(clips.flatMap(({ indices }) => indices)),
    durations: Float64Array.from(clips, ({ duration }) => duration),
  };
}

/** The stream's items; a source that stalls does not delay an abort or a disposal. */
async function* itemsOf(
  stream: AsyncIterable<Item>,
  model: StreamModel,
): AsyncGenerator<Item, void, undefined> {
  if (typeof stream?.[Symbol.asyncIterator] !== 'function') {
    throw new OptionError(`Expected \`stream\` to be an async iterable of items, got ${check.show(stream)}.`);
  }

  const iterator = stream[Symbol.asyncIterator]();
  let ended = false;
  try {
    for (;;) {
      const { done, value } = await model.orStopped(() => iterator.next());
      if (done === true) {
        ended = true;
        return;
      }

      yield value;
    }
  } finally {
    // Not awaited: a generator in the middle of a wait answers only after it.
    if (!ended) iterator.return?.().catch(() => {});
  }
}

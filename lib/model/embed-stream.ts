/** Embedding of an endless stream: batches in order, two of them in memory, bad items reported. */
import type { Matrix } from '../binding.js';
import * as check from '../checks.js';
import { CotsError, OptionError } from '../errors.js';
import { type ImageInput, ownedInput } from './image-input.js';

/** One thing to embed; `id` comes back with its vector. */
export type Item = { id: string } & ({ image: ImageInput } | { text: string } | { video: string });

/** `vectors` has one row for each of `ids`; `errors` names the items that have none. */
export interface EmbeddedBatch {
  ids: string[];
  vectors: Matrix;
  errors: { id: string; code: string; message: string }[];
}

/** What the stream needs of a model. */
export interface StreamModel {
  readonly batchSize: number;
  /** Settles as the work does, or rejects at once when the model is disposed or the call's signal aborts. */
  orStopped<T>(work: () => Promise<T>): Promise<T>;
  readonly dimensions: { readonly image: number; readonly text: number };
  view(image: ImageInput): Promise<Uint8Array>;
  embedPixels(pixels: Uint8Array, count: number): Promise<Float32Array>;
  embedTexts(texts: readonly string[]): Promise<Float32Array>;
}

/**
 * Batch k + 1 is read and decoded while batch k is embedded. Pixels and bytes of an item are copied when it is read: a source
 * may fill one buffer again and again.
 */
export async function* embedStream(
  stream: AsyncIterable<Item>,
  model: StreamModel,
): AsyncGenerator<EmbeddedBatch, void, undefined> {
  let pending: Promise<EmbeddedBatch> | undefined;
  for await (const batch of batches(stream, model)) {
    const next = embedBatch(batch, model, pending);
    next.catch(() => {});
    if (pending !== undefined) yield await pending;
    pending = next;
  }

  if (pending !== undefined) yield await pending;
}

async function* batches(
  stream: AsyncIterable<Item>,
  model: StreamModel,
): AsyncGenerator<Started[], void, undefined> {
  if (typeof stream?.[Symbol.asyncIterator] !== 'function') {
    throw new OptionError(`Expected \`stream\` to be an async iterable of items, got ${check.show(stream)}.`);
  }

  let batch: Started[] = [];
  let width: number | undefined;
  for await (const item of itemsOf(stream, model)) {
    const own = widthOf(item, model);
    if (batch.length === model.batchSize || (own !== undefined && width !== undefined && own !== width)) {
      yield batch;
      batch = [];
      width = undefined;
    }

    const prepared = prepare(item, model);
    prepared.catch(() => {});
    batch.push({ item, prepared });
    width ??= own;
  }

  if (batch.length > 0) yield batch;
}

/** The stream's items; a source that stalls does not delay an abort or a disposal. */
async function* itemsOf(
  stream: AsyncIterable<Item>,
  model: StreamModel,
): AsyncGenerator<Item, void, undefined> {
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

/** Rows of a batch are of one width, so images and texts of a model without projection do not share a batch. */
function widthOf(item: Item, model: StreamModel): number | undefined {
  if (typeof item?.id !== 'string')
    throw new OptionError(
      `Expected each item of the stream to have a text \`id\`, got ${check.show(item?.id)}.`,
    );
  if ('image' in item) return model.dimensions.image;
  return 'text' in item ? model.dimensions.text : undefined;
}

type Prepared =
  | { item: Item; pixels: Uint8Array }
  | { item: Item; text: string }
  | { item: Item; error: CotsError };

interface Started {
  readonly item: Item;
  readonly prepared: Promise<Prepared>;
}

async function embedBatch(
  batch: readonly Started[],
  model: StreamModel,
  previous: Promise<unknown> | undefined,
): Promise<EmbeddedBatch> {
  const items = batch.map(({ item }) => item);
  const prepared = await Promise.all(batch.map((started) => started.prepared));
  await previous;
  const images = prepared.filter((one) => 'pixels' in one);
  const texts = prepared.filter((one) => 'text' in one);
  const rows = new Map<Item, Float32Array>();
  if (images.length > 0) {
    const packed = pack(images.map(({ pixels }) => pixels));
    spread(await model.embedPixels(packed, images.length), images, rows);
  }

  if (texts.length > 0) spread(await model.embedTexts(texts.map(({ text }) => text)), texts, rows);
  return {
    ids: items.filter((item) => rows.has(item)).map(({ id }) => id),
    vectors: stack(items, rows, images.length > 0 ? model.dimensions.image : model.dimensions.text),
    errors: prepared.flatMap((one) =>
      'error' in one ? [{ id: one.item.id, code: one.error.code, message: one.error.message }] : [],
    ),
  };
}

async function prepare(item: Item, model: StreamModel): Promise<Prepared> {
  try {
    if ('image' in item) return { item, pixels: await model.view(ownedInput(item.image)) };
    if ('text' in item && typeof item.text === 'string') return { item, text: item.text };
    if ('video' in item)
      throw new CotsError(
        'ERR_COTS_NOT_IMPLEMENTED',
        'Expected an image or a text, got a video, which this version cannot embed yet.',
      );
    throw new OptionError(
      `Expected item '${item.id}' to have an \`image\` or a \`text\`, got ${check.show('text' in item ? item.text : item)}.`,
    );
  } catch (error) {
    if (error instanceof CotsError && error.code !== 'ERR_COTS_DISPOSED') return { item, error };
    throw error;
  }
}

function pack(parts: readonly Uint8Array[]): Uint8Array {
  const size = parts[0]?.length ?? 0;
  const packed = new Uint8Array(size * parts.length);
  for (const [index, part] of parts.entries()) packed.set(part, index * size);
  return packed;
}

function spread(data: Float32Array, owners: readonly { item: Item }[], rows: Map<Item, Float32Array>): void {
  const width = data.length / owners.length;
  for (const [index, { item }] of owners.entries())
    rows.set(item, data.subarray(index * width, (index + 1) * width));
}

function stack(items: readonly Item[], rows: Map<Item, Float32Array>, width: number): Matrix {
  const data = new Float32Array(rows.size * width);
  let row = 0;
  for (const item of items) {
    const vector = rows.get(item);
    if (vector !== undefined) data.set(vector, width * row++);
  }

  return { data, shape: [rows.size, width] };
}

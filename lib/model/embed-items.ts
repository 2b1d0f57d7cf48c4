/** Images and texts of a stream, in batches: batch k + 1 is read and decoded while batch k is embedded. */
import type { Matrix } from '../binding.js';
import * as check from '../checks.js';
import { CotsError, OptionError } from '../errors.js';
import type { EmbeddedBatch } from './embedded-batch.js';
import { type ImageInput, ownedInput } from './image-input.js';

/** An image or a text. */
export type PlainItem = { id: string } & ({ image: ImageInput } | { text: string });

/** What they need of a model. */
export interface ItemModel {
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
export async function* embedItems(
  stream: AsyncIterable<PlainItem>,
  model: ItemModel,
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
  stream: AsyncIterable<PlainItem>,
  model: ItemModel,
): AsyncGenerator<Started[], void, undefined> {
  let batch: Started[] = [];
  let width: number | undefined;
  for await (const item of stream) {
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

/** Rows of a batch are of one width, so images and texts of a model without projection do not share a batch. */
function widthOf(item: PlainItem, model: ItemModel): number | undefined {
  if ('image' in item) return model.dimensions.image;
  return 'text' in item ? model.dimensions.text : undefined;
}

type Prepared =
  | { item: PlainItem; pixels: Uint8Array }
  | { item: PlainItem; text: string }
  | { item: PlainItem; error: CotsError };

interface Started {
  readonly item: PlainItem;
  readonly prepared: Promise<Prepared>;
}

async function embedBatch(
  batch: readonly Started[],
  model: ItemModel,
  previous: Promise<unknown> | undefined,
): Promise<EmbeddedBatch> {
  const items = batch.map(({ item }) => item);
  const prepared = await Promise.all(batch.map((started) => started.prepared));
  await previous;
  const images = prepared.filter((one) => 'pixels' in one);
  const texts = prepared.filter((one) => 'text' in one);
  const rows = new Map<PlainItem, Float32Array>();
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

async function prepare(item: PlainItem, model: ItemModel): Promise<Prepared> {
  try {
    if ('image' in item) return { item, pixels: await model.view(ownedInput(item.image)) };
    if ('text' in item && typeof item.text === 'string') return { item, text: item.text };
    throw new OptionError(
      `Expected item '${item.id}' to have an \`image\`, a \`text\` or a \`video\`, got ${check.show('text' in item ? item.text : item)}.`,
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

function spread(
  data: Float32Array,
  owners: readonly { item: PlainItem }[],
  rows: Map<PlainItem, Float32Array>,
): void {
  const width = data.length / owners.length;
  for (const [index, { item }] of owners.entries())
    rows.set(item, data.subarray(index * width, (index + 1) * width));
}

function stack(items: readonly PlainItem[], rows: Map<PlainItem, Float32Array>, width: number): Matrix {
  const data = new Float32Array(rows.size * width);
  let row = 0;
  for (const item of items) {
    const vector = rows.get(item);
    if (vector !== undefined) data.set(vector, width * row++);
  }

  return { data, shape: [rows.size, width] };
}

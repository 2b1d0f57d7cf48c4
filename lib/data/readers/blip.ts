/** BLIP's and ALBEF's rows: `[{"image", "caption", "image_id"?}]`, a caption a row or a list of captions (ECOSYSTEM 3.1). */
import path from 'node:path';
import type { ManifestEntry } from '../manifest.js';
import { groupBy, splitOfName, wrongField } from './fields.js';

interface Row {
  /** Path, relative to the images' folder unless absolute. */
  readonly image: string;
  readonly caption: string | readonly string[];
  readonly image_id?: string | number;
}

export function isBlip(value: unknown): value is unknown[] {
  return (
    Array.isArray(value) &&
    value.length > 0 &&
    typeof value[0] === 'object' &&
    value[0] !== null &&
    'caption' in value[0]
  );
}

/**
 * One entry an image, with the captions of all its rows in order; the split is the one in the file's name
 * (`coco_karpathy_val.json`), `train` without one. `images` is the file's folder by default.
 */
export function blipEntries(rows: readonly unknown[], file: string, images: string | null): ManifestEntry[] {
  const root = images ?? path.dirname(file);
  const split = splitOfName(file);
  const source = path.parse(file).name;
  const checked = rows.map((row, index) => check(row, index, file));
  return [...groupBy(checked, ({ image }) => image)].map(([image, group]) => ({
    id: String(group[0]?.image_id ?? image),
    image: path.resolve(root, image),
    captions: group.flatMap(({ caption }) => caption),
    split,
    source,
  }));
}

function check(row: unknown, index: number, file: string): Row {
  const { image, caption, image_id } = (row ?? {}) as Record<string, unknown>;
  const place = `row ${index}`;
  if (typeof image !== 'string' || image === '') throw wrongField(file, place, '`image` as a path', image);
  const texts = Array.isArray(caption) ? caption : [caption];
  if (!texts.every((text) => typeof text === 'string'))
    throw wrongField(file, place, '`caption` as a text or a list of texts', caption);
  if (image_id !== undefined && typeof image_id !== 'string' && typeof image_id !== 'number')
    throw wrongField(file, place, '`image_id` as text or a number', image_id);
  return row as Row;
}

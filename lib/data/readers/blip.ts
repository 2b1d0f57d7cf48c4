/** Rows of BLIP and ALBEF, `[{"image", "caption", "image_id"?}]`, and LAVIS' of clips, `[{"video", "caption"}]`: a caption a row or a list of captions (ECOSYSTEM 3.1). */
import path from 'node:path';
import { locate } from '../../remote/location.js';
import type { ManifestEntry } from '../manifest.js';
import { groupBy, splitOfName, wrongField } from './fields.js';

interface Row {
  /** Path, relative to the folder of images or clips unless absolute. */
  readonly media: string;
  readonly kind: 'image' | 'video';
  readonly caption: readonly string[];
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
 * One entry an image or clip, with the captions of all its rows in order; the split is the one in the file's name
 * (`coco_karpathy_val.json`), `train` without one. `media` is the file's folder by default.
 */
export function blipEntries(rows: readonly unknown[], file: string, media: string | null): ManifestEntry[] {
  const root = media ?? path.dirname(file);
  const split = splitOfName(file);
  const source = path.parse(file).name;
  const checked = rows.map((row, index) => check(row, index, file));
  return [...groupBy(checked, (row) => row.media)].map(([name, group]) => ({
    id: String(group[0]?.image_id ?? name),
    [group[0]?.kind as Row['kind']]: locate(root, name),
    captions: group.flatMap(({ caption }) => caption),
    split,
    source,
  }));
}

function check(row: unknown, index: number, file: string): Row {
  const { image, video, caption, image_id } = (row ?? {}) as Record<string, unknown>;
  const place = `row ${index}`;
  const kind = image === undefined && video !== undefined ? 'video' : 'image';
  const media = kind === 'video' ? video : image;
  if (typeof media !== 'string' || media === '')
    throw wrongField(file, place, `\`${kind}\` as a path`, media);
  const texts = Array.isArray(caption) ? caption : [caption];
  if (!texts.every((text) => typeof text === 'string'))
    throw wrongField(file, place, '`caption` as a text or a list of texts', caption);
  if (image_id !== undefined && typeof image_id !== 'string' && typeof image_id !== 'number')
    throw wrongField(file, place, '`image_id` as text or a number', image_id);
  return { media, kind, caption: texts, ...(image_id === undefined ? {} : { image_id }) };
}

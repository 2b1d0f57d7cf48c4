/** Karpathy's split files `dataset_coco.json` and `dataset_flickr30k.json` (ECOSYSTEM 3.1). */
import path from 'node:path';
import { locate } from '../../remote/location.js';
import type { ManifestEntry } from '../manifest.js';
import { wrongField } from './fields.js';

interface KarpathyImage {
  readonly filepath?: string;
  readonly filename: string;
  readonly imgid: number;
  readonly cocoid?: number;
  readonly split: string;
  readonly sentences: readonly { readonly raw: string }[];
}

interface KarpathyFile {
  readonly dataset?: unknown;
  readonly images: readonly KarpathyImage[];
}

export function isKarpathy(value: unknown): value is KarpathyFile {
  const [first] = ((value ?? {}) as { images?: unknown[] }).images ?? [];
  return typeof first === 'object' && first !== null && ('sentences' in first || 'sentids' in first);
}

/**
 * One entry an image; `restval` counts as `train`. Image paths are `images`/filepath/filename, `images` being the file's
 * folder by default. Throws `ERR_COTS_DATA` naming the image that lacks a field.
 */
export function karpathyEntries(value: KarpathyFile, file: string, images: string | null): ManifestEntry[] {
  const dataset = typeof value.dataset === 'string' ? value.dataset : path.parse(file).name;
  const root = images ?? path.dirname(file);
  return value.images.map((image, index) => {
    check(image, index, file);
    return {
      id: `${dataset}_${image.cocoid ?? image.imgid}`,
      image: locate(root, image.filepath ?? '', image.filename),
      captions: image.sentences.map(({ raw }) => raw),
      split: image.split === 'restval' ? 'train' : image.split,
      source: dataset,
    };
  });
}

function check(image: KarpathyImage, index: number, file: string): void {
  const wrong = (field: string, got: unknown) => wrongField(file, `image ${index}`, `\`${field}\``, got);
  if (typeof image?.filename !== 'string') throw wrong('filename', image?.filename);
  if (typeof image.split !== 'string') throw wrong('split', image.split);
  if (image.cocoid === undefined && image.imgid === undefined) throw wrong('imgid', undefined);
  if (
    !Array.isArray(image.sentences) ||
    image.sentences.some((sentence) => typeof sentence?.raw !== 'string')
  ) {
    throw wrong('sentences', image.sentences);
  }
}

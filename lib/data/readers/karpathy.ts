/** Karpathy's split files `dataset_coco.json` and `dataset_flickr30k.json` (ECOSYSTEM 3.1). */
import path from 'node:path';
import { show } from '../../checks.js';
import { DataError } from '../../errors.js';
import { readText } from '../../read-file.js';
import type { ManifestEntry } from '../manifest.js';

export interface KarpathyOptions {
  /** Captions taken of each image, in the file's order; null: all. The COCO test split has 25,010, and 25,000 with 5. */
  readonly captionsPerImage?: number | null;
}

interface KarpathyImage {
  readonly filepath?: string;
  readonly filename: string;
  readonly imgid: number;
  readonly cocoid?: number;
  readonly split: string;
  readonly sentences: readonly { readonly raw: string }[];
}

/**
 * Reads a Karpathy file; `restval` counts as `train`. Image paths are `images`/filepath/filename, `images` being the file's
 * folder by default. Throws `ERR_COTS_DATA` naming the image that lacks a field, `ERR_COTS_FILE`.
 */
export async function readKarpathy(
  file: string,
  images: string | null,
  options: KarpathyOptions = {},
): Promise<ManifestEntry[]> {
  const { dataset, images: list } = parse(await readText(file, 'a Karpathy file'), file);
  const root = images ?? path.dirname(file);
  return list.map((image, index) => {
    check(image, index, file);
    const captions = image.sentences.map(({ raw }) => raw);
    return {
      id: `${dataset}_${image.cocoid ?? image.imgid}`,
      image: path.resolve(root, image.filepath ?? '', image.filename),
      captions: captions.slice(0, options.captionsPerImage ?? captions.length),
      split: image.split === 'restval' ? 'train' : image.split,
      source: dataset,
    };
  });
}

function parse(text: string, file: string): { dataset: string; images: KarpathyImage[] } {
  let value: { dataset?: unknown; images?: unknown } | null;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new DataError(
      `Expected ${file} to be JSON, got: ${(error as Error).message}. Restore it from its source.`,
      { cause: error },
    );
  }

  if (!Array.isArray(value?.images) || value.images.length === 0) {
    throw new DataError(
      `Expected ${file} to be a Karpathy file {"dataset": ..., "images": [{"filename", "split", "sentences"}]}, got ${show(value?.images)} as images. A manifest ends in .jsonl.`,
    );
  }

  return {
    dataset: typeof value.dataset === 'string' ? value.dataset : path.parse(file).name,
    images: value.images,
  };
}

function check(image: KarpathyImage, index: number, file: string): void {
  const wrong = (field: string, got: unknown) =>
    new DataError(
      `Expected image ${index} of ${file} to have \`${field}\`, got ${show(got)}. Restore the file from its source.`,
    );
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

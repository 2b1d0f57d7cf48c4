/** The named evaluation protocols (SPEC 5): what sizes they take, and how images fall into folds. */
import { DataError } from '../errors.js';

export const protocolNames = ['plain', 'coco-5k', 'coco-1k-5fold', 'flickr30k-1k', 'msrvtt-1ka'] as const;

/**
 * `plain` takes any sizes. `coco-5k` is 5,000 images x 5 texts; `coco-1k-5fold` the mean of its five folds of 1,000
 * consecutive images; `flickr30k-1k` 1,000 x 5; `msrvtt-1ka` 1,000 x 1.
 */
export type Protocol = (typeof protocolNames)[number];

interface Sizes {
  readonly images: number;
  readonly textsAnImage: number;
  readonly folds: number;
}

const sizes: Readonly<Record<Exclude<Protocol, 'plain'>, Sizes>> = {
  'coco-5k': { images: 5000, textsAnImage: 5, folds: 1 },
  'coco-1k-5fold': { images: 5000, textsAnImage: 5, folds: 5 },
  'flickr30k-1k': { images: 1000, textsAnImage: 5, folds: 1 },
  'msrvtt-1ka': { images: 1000, textsAnImage: 1, folds: 1 },
};

/** Texts kept of each image: the first five in COCO's and Flickr30K's protocols, one in MSR-VTT's, all in `plain`. */
export function textsAnImage(protocol: Protocol): number {
  return protocol === 'plain' ? Infinity : sizes[protocol].textsAnImage;
}

/** A fold: images [begin, end) and, in input order, the texts of these images. */
export interface Fold {
  readonly begin: number;
  readonly end: number;
  readonly texts: Int32Array;
}

/**
 * Checks sizes and pairing, and cuts the images into folds.
 * Throws `ERR_COTS_DATA` for an index out of range, an image without a text, and sizes that the protocol does not have.
 */
export function foldsOf(protocol: Protocol, images: number, imageOfText: Int32Array): Fold[] {
  const counts = countTexts(images, imageOfText);
  const folds = protocol === 'plain' ? 1 : checkSizes(protocol, images, counts);
  const foldSize = images / folds;
  const textsOfFold: number[][] = Array.from({ length: folds }, () => []);
  for (const [text, image] of imageOfText.entries()) textsOfFold[Math.floor(image / foldSize)]?.push(text);
  return textsOfFold.map((texts, fold) => ({
    begin: fold * foldSize,
    end: (fold + 1) * foldSize,
    texts: Int32Array.from(texts),
  }));
}

function countTexts(images: number, imageOfText: Int32Array): Int32Array {
  const counts = new Int32Array(images);
  for (const [text, image] of imageOfText.entries()) {
    if (image < 0 || image >= images) {
      throw new DataError(
        `Expected \`imageOfText[${text}]\` to be an index from 0 to ${images - 1}, got ${image}.`,
      );
    }

    counts[image] = (counts[image] as number) + 1;
  }

  const bare = counts.indexOf(0);
  if (bare !== -1) {
    throw new DataError(
      `Expected every image to have a text, image ${bare} has none. Drop it or give it a caption.`,
    );
  }

  return counts;
}

function checkSizes(protocol: Exclude<Protocol, 'plain'>, images: number, counts: Int32Array): number {
  const want = sizes[protocol];
  const rule = `${want.images} images x ${want.textsAnImage} ${want.textsAnImage === 1 ? 'text' : 'texts'}`;
  if (images !== want.images) {
    throw new DataError(
      `Expected ${rule} for protocol '${protocol}', got ${images} images. Use protocol 'plain' for other sizes.`,
    );
  }

  const odd = counts.findIndex((count) => count !== want.textsAnImage);
  if (odd !== -1) {
    throw new DataError(
      `Expected ${rule} for protocol '${protocol}', image ${odd} has ${counts[odd]} texts. Use protocol 'plain' for other sizes.`,
    );
  }

  return want.folds;
}

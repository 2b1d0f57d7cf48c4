/** Images on their way to the vision tower: decoded, and resized as Pillow does to its square input. */
import { binding } from '../binding.js';
import { wholeImage } from '../data/augment.js';
import { decodeImage, type ImageInput } from '../data/decode.js';
import { CotsError } from '../errors.js';
import type { ResizeFilter } from '../ops.js';

export type { ImageInput } from '../data/decode.js';

/**
 * uint8 [n, size, size, 3]; the aspect is not kept. Throws the first failure with the index of its image, counted from `first`.
 */
export async function imageViews(
  images: readonly ImageInput[],
  first: number,
  size: number,
  filter: ResizeFilter,
): Promise<Uint8Array> {
  const decoded = await Promise.all(images.map((image, index) => decodeAt(image, first + index)));
  const [views] = await binding().makeViews({
    images: decoded.map((image) => ({ ...image, transform: wholeImage(image.width, image.height) })),
    views: [{ size, filter, jitter: false }],
  });
  return views as Uint8Array;
}

async function decodeAt(image: ImageInput, index: number): ReturnType<typeof decodeImage> {
  try {
    return await decodeImage(image);
  } catch (error) {
    if (error instanceof CotsError) error.message = `${error.message} (It is images[${index}].)`;
    throw error;
  }
}

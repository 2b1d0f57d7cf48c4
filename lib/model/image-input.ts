/** Images on their way to the vision tower: decoded, resized as Pillow does, and cropped where the model's rules say so. */
import { binding, type NativeView } from '../binding.js';
import { wholeImage } from '../data/augment.js';
import { ByteBudget } from '../data/byte-budget.js';
import { decodeImage, type ImageInput, isPixels } from '../data/decode.js';
import { CotsError } from '../errors.js';
import type { ImageRules } from './image-rules.js';

export type { ImageInput } from '../data/decode.js';

/** Files open and images decoded at the same time, of all models: a batch of any size holds no more at full size. */
const slots = new ByteBudget(16);
const decodedBytes = new ByteBudget(2 ** 29);

/**
 * uint8 [n, size, size, 3]. Throws the first failure with the index of its image, counted from `first`.
 */
export async function imageViews(
  images: readonly ImageInput[],
  first: number,
  size: number,
  rules: ImageRules,
  scaleOnLoad = false,
): Promise<Uint8Array> {
  const bytes = 3 * size * size;
  const packed = new Uint8Array(images.length * bytes);
  await Promise.all(
    images.map(async (image, index) => {
      const view = await imageView(image, size, rules, scaleOnLoad).catch((error: unknown) => {
        if (error instanceof CotsError) error.message = `${error.message} (It is images[${first + index}].)`;
        throw error;
      });
      packed.set(view, index * bytes);
    }),
  );
  return packed;
}

/** An input that its owner may write over: pixels and bytes are copied. */
export function ownedInput(image: ImageInput): ImageInput {
  if (Buffer.isBuffer(image)) return Buffer.from(image);
  return isPixels(image) && image.data instanceof Uint8Array ? { ...image, data: image.data.slice() } : image;
}

/**
 * Pixels of a decoded image for each that the resize leaves, a side: with fewer, what a JPEG loses by being decoded at a part of its size
 * would show (Pillow's `reducing_gap`).
 */
const scaleOnLoadGap = 2;

/** One image as uint8 [size, size, 3]. */
export async function imageView(
  image: ImageInput,
  size: number,
  rules: ImageRules,
  scaleOnLoad = false,
): Promise<Uint8Array> {
  await slots.acquire(1);
  let held = 0;
  const admit = async (bytes: number): Promise<void> => {
    await decodedBytes.acquire(bytes);
    held = bytes;
  };
  try {
    const least = scaleOnLoad ? scaleOnLoadGap * (rules.resize?.side ?? size) : undefined;
    const decoded = await decodeImage(image, { admit, least });
    const [view] = await binding().makeViews({
      images: [{ ...decoded, transform: wholeImage(decoded.width, decoded.height) }],
      views: [viewOf(decoded, size, rules)],
    });
    return view as Uint8Array;
  } finally {
    if (held > 0) decodedBytes.release(held);
    slots.release(1);
  }
}

/** What is made of an image of that size. The longer side is rounded down, as transformers does. */
export function viewOf(
  { width, height }: { width: number; height: number },
  size: number,
  { filter, resize }: ImageRules,
): NativeView {
  const view = { size, filter, jitter: false };
  if (resize === null) return view;
  const { to, side } = resize;
  if (to === 'stretch') return { ...view, frame: { width: side, height: side } };
  const longer = Math.floor((side * Math.max(width, height)) / Math.min(width, height));
  return {
    ...view,
    frame: width <= height ? { width: side, height: longer } : { width: longer, height: side },
  };
}

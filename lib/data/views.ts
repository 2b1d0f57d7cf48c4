/** The views that networks take of an image, made by the addon beside a training step. */
import { binding, type NativeImage, type NativeMadeViews, type NativeTransform } from '../binding.js';
import type { DecodedImage } from './decode.js';
import type { PlainJpeg } from './jpeg.js';

/** One view that the addon makes of each image. */
export interface View {
  /** Side in pixels. */
  readonly size: number;
  readonly filter: 'bicubic' | 'bilinear' | 'lanczos';
  /** Apply the color jitter of the transform. */
  readonly jitter: boolean;
}

/** An image and what becomes of it. */
export interface DrawnImage {
  readonly image: DecodedImage;
  readonly transform: NativeTransform;
}

/** Views made ahead of their batch. */
export type MadeViews = NativeMadeViews;

/** uint8 [n, side, side, 3] a view, of images and of views made ahead (which are used up), in their order. */
export async function makeViews(
  images: readonly (DrawnImage | MadeViews)[],
  views: readonly View[],
): Promise<Uint8Array[]> {
  if (views.length === 0) return [];
  return binding().makeViews({
    images: images.map((one) => ('image' in one ? nativeImage(one) : one)),
    views: [...views],
  });
}

/** Views of images, or of a clip's frames, ahead of their batch. */
export function prepareViews(images: readonly DrawnImage[], views: readonly View[]): Promise<MadeViews> {
  return binding().prepareViews({ images: images.map(nativeImage), views: [...views] });
}

/** The same of one JPEG, decoded as far as the transform's crop needs it; null where sharp must decode it. */
export async function prepareJpegViews(
  { image, transform }: { image: PlainJpeg; transform: NativeTransform },
  views: readonly View[],
): Promise<MadeViews | null> {
  return binding().prepareJpegViews({ ...image, transform, views: [...views] });
}

function nativeImage({ image: { data, width, height }, transform }: DrawnImage): NativeImage {
  return { data, width, height, transform };
}
